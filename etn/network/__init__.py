"""Networks of equivariant cores."""

from etn.network.chain import Chain, dense_parameters
from etn.network.environment import Environment, left_environment, right_environment
from etn.network.files import load, save
from etn.network.graphs.einsum import Cost
from etn.network.graphs.network import Network
from etn.network.hamiltonian import aklt, bilinear_biquadratic, heisenberg, pair_sum
from etn.network.operator import Operator, operator_leg
from etn.network.samples import Blocks, Samples
from etn.network.trees.topology import Topology, balanced, comb
from etn.network.trees.tree import Tree
from etn.network.values import evaluate, value_and_gradient
from etn.network.views.info import NetworkInfo, info
from etn.network.views.show import html
from etn.network.views.symbolic import coefficient_values, to_sympy
from etn.network.views.wiring import Wiring

__all__ = [
    "Blocks",
    "Chain",
    "Cost",
    "Environment",
    "Network",
    "NetworkInfo",
    "Operator",
    "Samples",
    "Topology",
    "Tree",
    "Wiring",
    "aklt",
    "balanced",
    "bilinear_biquadratic",
    "coefficient_values",
    "comb",
    "dense_parameters",
    "evaluate",
    "heisenberg",
    "html",
    "info",
    "left_environment",
    "load",
    "operator_leg",
    "pair_sum",
    "right_environment",
    "save",
    "to_sympy",
    "value_and_gradient",
]
