"""The laws of trees: kept by trees, and each broken by a wrong operation."""

from __future__ import annotations

import pytest

from etn.network import Tree
from etn.testing import TreeLaws


class Laws(TreeLaws):
    seeds = (0,)

    def make_tree(self, rng):
        return Tree.random(((0, 1), 2), ["1x0e+1x1o"] * 3, out="2x0e", max_bond=2, seed=rng)


def more_discarded(tree):
    weight = 1.001 * tree.discarded_weight + 1e-3
    return Tree(tree.topology, tree.cores, center=tree.center, discarded_weight=weight)


HERE, TREE = "etn.testing.trees", "etn.network:Tree"
# For each law: what is broken, and how.
BREAKS = {
    "test_blocks_stand_in_c_order": ("etn.backend:Kind.c_order", "fortran"),
    "test_dense_tensor_is_the_contraction_of_the_cores": (f"{TREE}.to_dense", "larger"),
    "test_norm_is_the_dense_norm_in_every_gauge": (f"{TREE}.norm", "larger"),
    "test_canonical_forms_are_the_same_tensor": (f"{TREE}.canonicalize", "larger"),
    "test_both_sides_of_an_edge_are_dense_isometries": (
        f"{TREE}.canonicalize_edge",
        lambda form: form._replace(tree=1.001 * form.tree),
    ),
    "test_spectra_are_the_dense_singular_values": (f"{TREE}.singular_values", "larger"),
    "test_the_discarded_weight_is_the_dense_error": (f"{TREE}.truncate", more_discarded),
    "test_a_gauge_move_changes_nothing": (f"{HERE}:absorb", "larger"),
    "test_rotations_and_inversion_leave_the_tensor_alone": (f"{TREE}.to_dense", "tilted"),
    "test_recoupling_is_exact_and_has_an_inverse": (f"{TREE}.recouple", "larger"),
    "test_recoupling_cuts_with_the_dense_error": (f"{TREE}.recouple", more_discarded),
    "test_swapping_twice_changes_nothing": (f"{TREE}.swap", "rounded"),
    "test_every_topology_carries_the_same_tensor": (f"{TREE}.reshape", "larger"),
    "test_sums_and_products_are_those_of_the_dense_tensors": (f"{TREE}.inner", "larger"),
    "test_dense_tensors_come_back": (f"{TREE}.from_dense", "larger"),
    "test_numpy_and_torch_agree": (
        f"{TREE}.inner",
        lambda found, tree, other: found * (1.001 if tree.kind.backend == "torch" else 1),
    ),
    "test_trees_are_made_of_their_parts": (f"{HERE}:Tree", "rounded"),
}


def test_every_law_has_a_break(laws):
    assert laws(TreeLaws) == BREAKS.keys()


@pytest.mark.parametrize("law", BREAKS)
def test_right_trees_keep_the_law_and_wrong_ones_do_not(law, breaks):
    breaks(Laws, law, *BREAKS[law])
