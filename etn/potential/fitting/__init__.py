"""Fits of polynomial potentials: design rows, robust weights, sweeps, error bars."""
