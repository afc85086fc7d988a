"""Law suites and random inputs for tests of etn and of code built on it.

Subclass a suite in a test module and provide what it asks for; pytest collects the laws.
Nothing here needs pytest: :meth:`Laws.check` checks all laws of a suite.
"""

from etn.testing.batches import dense_leg, dense_value, random_batch, random_blocks
from etn.testing.chains import ChainLaws
from etn.testing.cores import CoreLaws
from etn.testing.graphs import NetworkLaws
from etn.testing.potentials import PotentialLaws
from etn.testing.problems import ProblemLaws
from etn.testing.products import ProductLaws
from etn.testing.suite import Laws
from etn.testing.trees import TreeLaws

__all__ = [
    "ChainLaws",
    "CoreLaws",
    "Laws",
    "NetworkLaws",
    "PotentialLaws",
    "ProblemLaws",
    "ProductLaws",
    "TreeLaws",
    "dense_leg",
    "dense_value",
    "random_batch",
    "random_blocks",
]
