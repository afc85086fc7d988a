"""The compiled evaluator of polynomial potentials, where it was built."""

from etn.native.evaluated import Evaluated, compiled_grades
from etn.native.evaluator import Evaluator, compiled
from etn.native.library import is_built, is_on, why_not

__all__ = [
    "Evaluated", "Evaluator", "compiled", "compiled_grades", "is_built", "is_on", "why_not",
]  # fmt: skip
