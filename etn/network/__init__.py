"""Networks of equivariant cores."""

from etn.network.chain import Chain, dense_parameters
from etn.network.environment import Environment, left_environment, right_environment
from etn.network.evaluate import evaluate, value_and_gradient
from etn.network.hamiltonian import aklt, bilinear_biquadratic, heisenberg, pair_sum
from etn.network.operator import Operator, operator_leg
from etn.network.samples import Blocks, Samples

__all__ = [
    "Blocks",
    "Chain",
    "Environment",
    "Operator",
    "Samples",
    "aklt",
    "bilinear_biquadratic",
    "dense_parameters",
    "evaluate",
    "heisenberg",
    "left_environment",
    "operator_leg",
    "pair_sum",
    "right_environment",
    "value_and_gradient",
]
