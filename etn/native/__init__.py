"""The compiled evaluator of polynomial potentials, where it was built."""

from etn.native.library import Evaluator, compiled, is_built, is_on, why_not

__all__ = ["Evaluator", "compiled", "is_built", "is_on", "why_not"]
