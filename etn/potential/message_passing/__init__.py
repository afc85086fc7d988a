"""Two-layer potentials: message passing, pooling and attention as parts of one network.

The names below load on first use: predicting loads no code of fits.
"""

from typing import TYPE_CHECKING

from etn.lazy import attach

if TYPE_CHECKING:
    from etn.potential.message_passing.fit import LayersReport, fit_layers
    from etn.potential.message_passing.layers import Layers
    from etn.potential.message_passing.message import MessageCoupling, Messages
    from etn.potential.message_passing.model import MessagePassingPotential

__all__ = [
    "Layers", "LayersReport", "MessageCoupling", "MessagePassingPotential", "Messages",
    "fit_layers",
]  # fmt: skip

_HOMES = {
    "etn.potential.message_passing.fit": "LayersReport fit_layers",
    "etn.potential.message_passing.layers": "Layers",
    "etn.potential.message_passing.message": "MessageCoupling Messages",
    "etn.potential.message_passing.model": "MessagePassingPotential",
}
__getattr__, __dir__ = attach(__name__, _HOMES)
