"""Neural potentials: networks of equivariant messages, trained by gradients.

- :class:`TensorNet`, :class:`ICTP` and :class:`TDN`: three published architectures, over the
  products and Cartesian tensors of etn; each a :class:`Network`, the class of your own as well.
- :class:`NeuralPotential`: a network with units, baseline, forces and stress, a
  :class:`~etn.potential.Potential` like any other; its torch part is an :class:`AtomicModel`.
- :func:`untrained` makes one with the scales of a data set, :func:`train` trains it by a
  :class:`Recipe`; ``etn train`` is the same from the command.
- :class:`LastLayer`: error bars and extrapolation grades, which every training ends with and
  :func:`with_uncertainty` makes of a trained network and its data.

torch is loaded with this package and by nothing else in etn.
"""

from etn.backend import Kind

Kind("torch").zeros((0,))  # says what to install where there is no torch

from etn.nn.calibration import with_uncertainty  # noqa: E402
from etn.nn.compiled_potential import CompiledPotential  # noqa: E402
from etn.nn.exported import export  # noqa: E402
from etn.nn.graph import Batch, Edges, Graph  # noqa: E402
from etn.nn.ictp import ICTP  # noqa: E402
from etn.nn.last_layer import LastLayer  # noqa: E402
from etn.nn.model import AtomicModel, Outcome  # noqa: E402
from etn.nn.network import Network  # noqa: E402
from etn.nn.potential import NeuralPotential  # noqa: E402
from etn.nn.progress import Epoch, Progress, TrainingReport  # noqa: E402
from etn.nn.recipe import Recipe  # noqa: E402
from etn.nn.start import untrained  # noqa: E402
from etn.nn.tdn import TDN  # noqa: E402
from etn.nn.tensornet import TensorNet  # noqa: E402
from etn.nn.trainer import train  # noqa: E402

__all__ = [
    "ICTP",
    "TDN",
    "AtomicModel",
    "Batch",
    "CompiledPotential",
    "Edges",
    "Epoch",
    "Graph",
    "LastLayer",
    "Network",
    "NeuralPotential",
    "Outcome",
    "Progress",
    "Recipe",
    "TensorNet",
    "TrainingReport",
    "export",
    "train",
    "untrained",
    "with_uncertainty",
]
