"""Error bars and extrapolation grades, from a part in which a potential is linear."""

from etn.potential.uncertainty.base import Uncertainty
from etn.potential.uncertainty.last_core import LastCore

__all__ = ["LastCore", "Uncertainty"]
