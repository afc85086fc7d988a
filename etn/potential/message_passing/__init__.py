"""Two-layer potentials: message passing, pooling and attention as parts of one network."""

from etn.potential.message_passing.fit import LayerRecord, LayersReport, fit_layers
from etn.potential.message_passing.layers import Layers
from etn.potential.message_passing.message import MessageCoupling, Messages
from etn.potential.message_passing.model import MessagePassingPotential

__all__ = [
    "LayerRecord",
    "Layers",
    "LayersReport",
    "MessageCoupling",
    "MessagePassingPotential",
    "Messages",
    "fit_layers",
]
