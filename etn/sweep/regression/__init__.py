"""Least squares on the cores of a chain: on batches of design rows and on plain samples."""
