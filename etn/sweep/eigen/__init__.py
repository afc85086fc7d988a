"""Lowest states of Hamiltonians: the eigenvalue problem of DMRG."""
