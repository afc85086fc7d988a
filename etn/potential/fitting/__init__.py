"""Fits of polynomial potentials: weights, design rows, robust losses, error bars."""
