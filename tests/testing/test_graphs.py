"""The laws of networks: kept by networks, and each broken by a wrong operation."""

from __future__ import annotations

import pytest

from etn.network import Network
from etn.tensor import Core
from etn.testing import NetworkLaws

LEG = "2x0e+2x1o"


class Laws(NetworkLaws):
    """Two cores between which two bonds stand, with one open leg each."""

    def make_network(self, rng):
        one, two = (Core.random([LEG] * 3, seed=rng) for _ in range(2))
        return Network("one[a x b] two[b y a]", one=one, two=two)


NETWORK = "etn.network:Network"
# For each law: what is broken, and how.
BREAKS = {
    "test_blocks_stand_in_c_order": ("etn.backend:Kind.c_order", "fortran"),
    "test_contraction_is_an_einsum_over_dense_cores": (f"{NETWORK}.contract", "larger"),
    "test_feeding_is_contracting_afterwards": (
        "etn.testing.graphs:_contract",
        lambda found, network, inputs: found * (1.001 if inputs else 1),
    ),
    "test_rotating_the_inputs_rotates_the_result": (
        f"{NETWORK}.contract",
        lambda found: found + 1e-3,
    ),
    "test_the_order_of_the_cores_changes_nothing": (
        f"{NETWORK}.contract",
        lambda found, network: found * (1 + 1e-3 * network.formula.startswith("one")),
    ),
    "test_gradients_are_adjoint_to_contraction": (
        f"{NETWORK}.gradient",
        "larger",
    ),
    "test_gradients_are_finite_differences": (
        f"{NETWORK}.gradient",
        "larger",
    ),
    "test_input_gradients_are_adjoint_to_contraction": (f"{NETWORK}.input_gradient", "larger"),
    "test_up_to_three_open_legs_are_a_core": (f"{NETWORK}.to_core", "larger"),
    "test_the_wiring_is_the_same_network": ("etn.network:Wiring.dense", "larger"),
}


def test_every_law_has_a_break(laws):
    assert laws(NetworkLaws) == BREAKS.keys()


@pytest.mark.parametrize("law", BREAKS)
def test_right_networks_keep_the_law_and_wrong_ones_do_not(law, breaks):
    breaks(Laws, law, *BREAKS[law])
