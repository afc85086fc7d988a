"""Views of networks: how the legs are joined, sizes, drawings in text, polynomials."""
