"""CP decompositions of fused tensors: alternating, joint, first-order and symmetric solvers."""

from etn.product.solve.alternating import FactorProblem, FactorSolution, alternate
from etn.product.solve.decompose import decompose
from etn.product.solve.first_order import descend
from etn.product.solve.levenberg_marquardt import levenberg
from etn.product.solve.orbit_search import symmetric_search
from etn.product.solve.path_coefficients import fit_coefficients, rescale
from etn.product.solve.portfolio import Method, random_start

__all__ = [
    "FactorProblem",
    "FactorSolution",
    "Method",
    "alternate",
    "decompose",
    "descend",
    "fit_coefficients",
    "levenberg",
    "random_start",
    "rescale",
    "symmetric_search",
]
