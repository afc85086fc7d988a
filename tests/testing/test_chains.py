"""The laws of chains: kept by chains, and each broken by a wrong operation."""

from __future__ import annotations

import pytest

from etn.network import Chain
from etn.testing import ChainLaws


class Laws(ChainLaws):
    seeds = (0,)

    def make_chain(self, rng):
        return Chain.random(["1x0e+1x1o"] * 3, start="2x0e", max_bond=2, seed=rng)


def more_discarded(chain):
    weight = 1.001 * chain.discarded_weight + chain.norm()
    return Chain(chain.cores, center=chain.center, discarded_weight=weight)


HERE, CHAIN = "etn.testing.chains", "etn.network:Chain"
# For each law: what is broken, and how.
BREAKS = {
    "test_blocks_stand_in_c_order": ("etn.backend:Kind.c_order", "fortran"),
    "test_dense_tensor_is_the_contraction_of_the_cores": (f"{CHAIN}.to_dense", "larger"),
    "test_norm_is_the_dense_norm_in_every_gauge": (f"{CHAIN}.norm", "larger"),
    "test_canonical_forms_are_the_same_tensor": (f"{CHAIN}.canonicalize", "larger"),
    "test_cores_in_a_row_are_a_dense_isometry": (
        f"{CHAIN}.canonicalize",
        lambda found, chain, center: chain,
    ),
    "test_a_gauge_move_changes_nothing": (f"{HERE}:absorb", "larger"),
    "test_sums_and_multiples_are_those_of_the_dense_tensors": (f"{CHAIN}.inner", "larger"),
    "test_spectra_are_the_singular_values_of_the_dense_tensor": (
        f"{CHAIN}.spectra",
        "larger",
    ),
    "test_the_truncation_error_is_the_dense_error": (f"{CHAIN}.truncate", more_discarded),
    "test_truncation_keeps_its_promise": (f"{CHAIN}.truncate", more_discarded),
    "test_a_dense_tensor_becomes_a_chain_again": (f"{CHAIN}.from_dense", "larger"),
    "test_maps_of_a_site_leg_are_the_dense_contraction": (f"{CHAIN}.map_site", "larger"),
    "test_rotations_and_inversion_leave_the_tensor_alone": (f"{CHAIN}.to_dense", "tilted"),
    "test_an_inserted_site_passes_its_bond_on": (f"{CHAIN}.insert", "larger"),
    "test_values_and_gradients_are_the_dense_contraction": (
        f"{HERE}:value_and_gradient",
        lambda found: (found[0], {ir: 1.001 * part for ir, part in found[1].items()}),
    ),
    "test_saved_and_loaded_chains_are_the_same": (
        f"{HERE}:chain_from_arrays",
        "rounded",
    ),
    "test_numpy_and_torch_agree": (
        f"{CHAIN}.norm",
        lambda norm, chain: norm * (1.001 if chain.kind.backend == "torch" else 1),
    ),
}


def test_every_law_has_a_break(laws):
    assert laws(ChainLaws) == BREAKS.keys()


@pytest.mark.parametrize("law", BREAKS)
def test_right_chains_keep_the_law_and_wrong_ones_do_not(law, breaks):
    breaks(Laws, law, *BREAKS[law])
