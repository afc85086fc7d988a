"""Linear least squares on the cores of a chain."""
