"""Two-layer potentials: message passing, pooling and attention as parts of one network."""

from etn.potential.layers.chains import Layers
from etn.potential.layers.fitting import LayerRecord, LayersReport, fit_layers
from etn.potential.layers.message import MessageCoupling, Messages
from etn.potential.layers.model import MessagePassingPotential

__all__ = [
    "LayerRecord",
    "Layers",
    "LayersReport",
    "MessageCoupling",
    "MessagePassingPotential",
    "Messages",
    "fit_layers",
]
