"""Networks of equivariant cores."""

from etn.network.chain import Chain, dense_parameters
from etn.network.environment import Environment, left_environment, right_environment
from etn.network.evaluate import evaluate, value_and_gradient
from etn.network.samples import Blocks, Samples

__all__ = [
    "Blocks",
    "Chain",
    "Environment",
    "Samples",
    "dense_parameters",
    "evaluate",
    "left_environment",
    "right_environment",
    "value_and_gradient",
]
