"""Lowest states of operators: the eigenvalue problem of DMRG, and what it is solved with."""
