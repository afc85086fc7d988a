"""From atoms to the legs of a network: pairs of neighbours, radial channels, expansion."""

from etn.potential.features.basis import Basis
from etn.potential.features.pairs import Pairs
from etn.potential.features.radial import Radial

__all__ = ["Basis", "Pairs", "Radial"]
