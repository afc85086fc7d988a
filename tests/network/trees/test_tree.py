"""Trees: laws for many shapes, moves, conversions and errors."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etn.errors import CoreError, IrrepsError
from etn.network import Chain
from etn.network.trees.topology import Topology, balanced, comb
from etn.network.trees.tree import Tree
from etn.o3 import Irrep, Irreps
from etn.tensor import Core, Truncation
from etn.testing.trees import TreeLaws

LEGS = ["1x0e+2x1o", "2x0e+1x1o", "1x1o+1x2e", "1x0e+1x1o"]


class TestBalanced(TreeLaws):
    def make_tree(self, rng):
        return Tree.random(balanced(4), LEGS, max_bond=2, seed=rng)


class TestComb(TreeLaws):
    def make_tree(self, rng):
        return Tree.random(comb(4), LEGS, out="2x0e+1x1o", max_bond=3, seed=rng)


class TestFiveLeaves(TreeLaws):
    seeds = (0,)

    def make_tree(self, rng):
        legs = ["1x0e+1x1o", "1x0o+1x1o", "1x0e+1x1e", "1x1o", "1x0e+1x0o"]
        return Tree.random(((0, 1), (2, (3, 4))), legs, out="1x1o", max_bond=2, seed=rng)


class TestLeavesOutOfOrder(TreeLaws):
    def make_tree(self, rng):
        legs = ["1x1o+2x0e+1x1o", "1x0e+1x0o", "1x1e+1x1o", "1x2e+1x0e"]
        return Tree.random(((3, (2, 0)), 1), legs, out="1x1e+1x0o", max_bond=2, seed=rng)


class TestTwoLeaves(TreeLaws):
    def make_tree(self, rng):
        return Tree.random((1, 0), ["2x0e+1x1o", "1x1o+1x0e"], out="3x0e+1x2e", seed=rng)


class TestTreesOfTorch(TreeLaws):
    def make_tree(self, rng):
        pytest.importorskip("torch")
        return Tree.random(((0, 2), (1, 3)), LEGS, max_bond=2, seed=rng).to("torch")


class TestSinglePrecision(TreeLaws):
    def make_tree(self, rng):
        return Tree.random(((0, 2), (1, 3)), LEGS, max_bond=2, seed=rng).to(dtype="float32")


irreps = st.lists(
    st.tuples(st.integers(1, 2), st.sampled_from([Irrep(l, p) for l in range(3) for p in (1, -1)])),
    min_size=1,
    max_size=2,
).map(lambda drawn: Irreps([(1, Irrep("0e")), *drawn]))


def random_topology(n, seed):
    """Any tree over n leaves, by joining two parts at a time."""
    rng = np.random.default_rng(seed)
    parts = rng.permutation(n).tolist()
    while len(parts) > 1:
        first = parts.pop(rng.integers(len(parts)))
        second = parts.pop(rng.integers(len(parts)))
        parts.append((first, second))
    return parts[0]


@given(st.lists(irreps, min_size=2, max_size=4), irreps, st.integers(0, 2**16))
@settings(max_examples=12)
def test_laws_of_trees_with_random_legs(legs, out, seed):
    class Laws(TreeLaws):
        seeds = (seed,)

        def make_tree(self, rng):
            topology = random_topology(len(legs), seed)
            return Tree.random(topology, legs, out=out, max_bond=2, seed=rng)

    Laws().check()


@given(st.sampled_from([4, 5]), st.integers(0, 2**16), st.integers(0, 2**16))
@settings(max_examples=25)
def test_any_topology_is_reached_from_any_other(n, one, two):
    legs = (["1x0e+1x1o", "1x1e+1x0o", "1x0e+1x2e", "1x1o", "2x0e+1x0o"])[:n]
    tree = Tree.random(random_topology(n, one), legs, out="1x1o+1x1e", max_bond=2, seed=one)
    wanted = random_topology(n, two)
    moved = tree.reshape(wanted)
    assert moved.topology == wanted
    dense = tree.to_dense()
    np.testing.assert_allclose(moved.to_dense(), dense, rtol=0, atol=1e-12 * abs(dense).max())
    assert moved.discarded_weight <= 1e-13 * tree.norm()


def test_moving_back_and_forth_keeps_minimal_bonds():
    tree = Tree.random(balanced(5), ["1x0e+1x1o"] * 5, out="1x0e+1x1o", max_bond=2, seed=3)
    moved = tree
    for seed in range(6):
        moved = moved.reshape(random_topology(5, seed))
    moved = moved.reshape(tree.topology)
    assert moved.bonds == tree.bonds
    np.testing.assert_allclose(moved.to_dense(), tree.to_dense(), rtol=0, atol=1e-12)


def test_chains_are_combs():
    chain = Chain.random(
        ["2x0e+1x1o"] * 3, start="1x0e+1x1o", out="1x1o+1x0e", max_bond=2, seed=1
    ).canonicalize(1)
    tree = Tree.from_chain(chain)
    assert tree.topology == (((0, 1), 2), 3)
    assert tree.center == (0, 1, 2)
    assert tree.legs == (chain.start, *chain.sites)
    assert tree.out == chain.out
    assert tuple(tree.bonds.values()) == chain.bonds
    np.testing.assert_allclose(tree.to_dense(), chain.to_dense(), atol=1e-14)
    for one, two in zip(tree.spectra().values(), chain.spectra(), strict=True):
        assert one.change(two) < 1e-14
    assert float(tree.inner(tree)) == pytest.approx(float(chain.inner(chain)), rel=1e-13)
    again = tree.to_chain()
    assert again.center == 1
    assert all(a is b for a, b in zip(again, chain, strict=True))
    with pytest.raises(CoreError, match=r"needs the topology \(\(\(0, 1\), 2\), 3\), got"):
        tree.swap((0, 1)).to_chain()
    elsewhere = tree.reshape(((3, 1), (0, 2)))
    restored = elsewhere.reshape(Tree.comb(4)).to_chain()
    np.testing.assert_allclose(restored.to_dense(), chain.to_dense(), atol=1e-13)


def test_numpy_and_torch_agree():
    torch = pytest.importorskip("torch")
    tree = Tree.random(((0, 2), (1, 3)), LEGS, out="1x0e+1x1o", max_bond=3, seed=5)
    twin = tree.to("torch")
    assert isinstance(twin.to_dense(), torch.Tensor)
    assert str(twin.kind) == "torch float64 on cpu"
    assert twin.to("numpy").kind == tree.kind
    rule = Truncation(max_multiplets=4)
    for do in (
        lambda t: t.canonicalize((0, 2)),
        lambda t: t.truncate(rule),
        lambda t: t.recouple((0, 2)),
        lambda t: t.recouple((1, 3), rule),
        lambda t: t.reshape(comb(4)),
        lambda t: t + t.swap((0, 2)).swap((0, 2)),
        lambda t: Tree.from_dense(t.to_dense(), t.topology, t.legs, out=t.out),
    ):
        one, two = do(tree), do(twin)
        assert one.bonds == two.bonds
        np.testing.assert_allclose(two.to_dense().numpy(), one.to_dense(), atol=1e-12)
        assert two.discarded_weight == pytest.approx(one.discarded_weight, abs=1e-12)
    assert float(twin.inner(twin)) == pytest.approx(tree.norm() ** 2, rel=1e-12)
    assert twin.entropy((0, 2)) == pytest.approx(tree.entropy((0, 2)), rel=1e-12)
    with pytest.raises(CoreError, match="expected trees of one kind"):
        tree.inner(twin)
    with pytest.raises(CoreError, match=r"node \(1, 3\): core of torch"):
        tree.replace((1, 3), twin[1, 3])


def test_autograd_goes_through_the_inner_product():
    pytest.importorskip("torch")
    tree = Tree.random(balanced(4), LEGS, max_bond=2, seed=2).canonicalize((2, 3)).to("torch")
    core = tree[2, 3]
    for block in core.blocks.values():
        block.requires_grad_()
    tree.inner(tree).backward()
    # ||T||^2 = sum (2 l + 1) |a|^2 over the blocks of the center.
    for path, block in core:
        expected = 2 * path[-1].dim * block.detach().numpy()
        np.testing.assert_allclose(block.grad.numpy(), expected, atol=1e-12)


def test_a_tensor_that_is_not_equivariant_is_refused():
    tree = Tree.random(balanced(4), LEGS, seed=1)
    dense = tree.to_dense()
    noise = np.random.default_rng(0).normal(size=dense.shape)
    # What is left of the noise after averaging, independently, over its equivariant part.
    equivariant = Tree.from_dense(noise, tree.topology, LEGS, tolerance=1.0).to_dense()
    stray = 0.1 * (noise - equivariant)
    assert abs(float((stray * dense).sum())) < 1e-10
    residual = f"{np.linalg.norm(stray):.3g}"
    with pytest.raises(CoreError, match=rf"not equivariant .*: {residual} of its norm"):
        Tree.from_dense(dense + stray, tree.topology, LEGS)
    allowed = Tree.from_dense(dense + stray, tree.topology, LEGS, tolerance=0.99)
    np.testing.assert_allclose(allowed.to_dense(), dense, atol=1e-11)


def test_a_dense_tensor_is_truncated_on_the_way():
    tree = Tree.random(((0, 2), (1, 3)), LEGS, out="1x1o", max_bond=3, seed=4)
    dense = tree.to_dense()
    small = Tree.from_dense(
        dense, tree.topology, LEGS, out="1x1o", truncation=Truncation(max_multiplets=2)
    )
    assert {bond.num_irreps for bond in small.bonds.values()} == {2}
    assert small.discarded_weight == pytest.approx(np.linalg.norm(small.to_dense() - dense))


def test_tensors_that_are_zero():
    tree = 0.0 * Tree.random(balanced(4), LEGS, max_bond=2, seed=1)
    assert tree.norm() == tree.truncate(Truncation(max_bond=1)).norm() == 0
    assert tree.entropy((0, 1)) == 0
    assert str(tree.recouple((0, 1)).bond((1, 2, 3))) == "1x0e"
    assert abs(tree.reshape(comb(4)).to_dense()).max() == 0
    # Legs that do not couple have a bond without irreps between them.
    tree = Tree(((0, 1), 2), [Core(["1o", "0e", ""]), Core(["", "1e", "0e"])])
    assert tree.recouple((0, 1)).to_dense().shape == (3, 1, 3, 1)
    assert tree.norm() == tree.canonicalize((0, 1)).inner(tree) == 0


def test_only_the_cores_on_the_way_change():
    tree = Tree.random(balanced(5), ["1x0e+1x1o"] * 5, max_bond=2, seed=1).canonicalize((0, 1))
    moved = tree.canonicalize((2, 3, 4))
    assert moved[3, 4] is tree[3, 4]
    assert moved[0, 1] is not tree[0, 1]
    assert tree.canonicalize((0, 1)).cores == tree.cores


def test_truncation_keeps_the_center_and_adds_up():
    tree = Tree.random(balanced(4), ["2x0e+2x1o"] * 4, max_bond=4, seed=6)
    assert tree.truncate(Truncation(max_bond=3)).center == tree.topology.root
    once = tree.canonicalize((2, 3)).truncate(Truncation(max_bond=3))
    assert once.center == (2, 3)
    assert once.discarded_weight > 0.01 * tree.norm()
    fresh = Tree(once.topology, once.cores, center=once.center)
    for cut in (
        lambda one: one.truncate(Truncation(max_bond=1)),
        lambda one: one.recouple((2, 3), Truncation(max_bond=1)),
    ):
        both = math.hypot(once.discarded_weight, cut(fresh).discarded_weight)
        assert cut(fresh).discarded_weight > 0.01 * tree.norm()
        assert cut(once).discarded_weight == pytest.approx(both, rel=1e-12)
    assert once.canonicalize((0, 1)).discarded_weight == once.discarded_weight
    assert once.swap((0, 1)).discarded_weight == once.discarded_weight
    assert (-2 * once).discarded_weight == pytest.approx(2 * once.discarded_weight)


def test_replace_knows_when_the_center_is_lost():
    tree = Tree.random(balanced(4), LEGS, max_bond=2, seed=1).canonicalize((1, 0))
    assert tree.center == (0, 1)
    assert tree.replace((0, 1), tree[0, 1]).center == (0, 1)
    assert tree.replace((2, 3), tree[2, 3]).center is None
    assert "center (0, 1)" in repr(tree)
    assert "not canonical" in repr(tree.replace((2, 3), tree[2, 3]))


def test_orthogonality_error_finds_a_wrong_core():
    tree = Tree.random(balanced(4), LEGS, max_bond=2, seed=1).canonicalize((0, 1))
    cores = dict(tree.items())
    cores[2, 3] = cores[2, 3].scale(1.5)
    wrong = Tree(tree.topology, cores, center=(0, 1))
    assert wrong.orthogonality_error() == pytest.approx(1.25)


def test_what_a_tree_is_made_of():
    tree = Tree.random(((0, 1), (2, 3)), LEGS, out="2x0e", max_bond=2, seed=1)
    assert len(tree) == len(list(tree)) == 3
    assert tree.bond((1, 0)) == tree.bonds[0, 1] == tree[0, 1].legs[2] == tree.cores[2].legs[0]
    assert [str(leg) for leg in tree.legs] == LEGS
    assert tree.bond(2) == tree.legs[2]
    assert tree.bond(range(4)) == tree.out == Irreps("2x0e")
    assert tree.n_parameters == sum(block.size for core in tree for _, block in core)
    assert tree.wiring().labels == (
        ("x0", "x1", "b0_1"),
        ("x2", "x3", "b2_3"),
        ("b0_1", "b2_3", "out"),
    )
    assert Tree.balanced(5) == ((0, 1), (2, (3, 4)))


def test_topologies_may_come_from_a_file():
    topology = Topology([[0, 2], [1, 3]])
    assert topology == ((0, 2), (1, 3))
    assert topology == Topology(topology)
    assert hash(topology) == hash(Topology(((0, 2), (1, 3))))
    assert topology != ((0, 1), (2, 3))
    assert Topology([0, [1, 2]]) == Topology((np.int64(0), (1, np.int64(2))))
    tree = Tree.random([[0, 2], [1, 3]], LEGS, seed=1)
    assert Tree(topology, tree.cores, center=[0, 2]).center == (0, 2)


def two_leaves(**changes):
    return Tree.random((0, 1), ["1x0e+1x1o"] * 2, seed=0, **changes)


def four_leaves():
    return Tree.random(balanced(4), LEGS, max_bond=2, seed=0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Tree.balanced(1), "at least two leaves, got 1"),
        (lambda: Tree.comb(0), "at least two leaves, got 0"),
        (
            lambda: Tree(balanced(3), [Core(["0e"] * 3)]),
            r"expected 2 cores, one for each of the nodes \(1, 2\), \(0, 1, 2\), got 1",
        ),
        (
            lambda: Tree((0, 1), [Core(["0e", "0e"])]),
            r"node \(0, 1\): a tree is made of cores with three legs",
        ),
        (lambda: Tree.random((0, 1), ["0e"] * 3), "expected the irreps of 2 legs, got 3"),
        (lambda: four_leaves().canonicalize((0, 2)), r"no node couples the leaves \(0, 2\)"),
        (lambda: four_leaves().canonicalize(2), r"no node couples the leaves \(2,\); expected one"),
        (lambda: four_leaves()[1, 2], r"no node couples the leaves \(1, 2\); expected one of"),
        (lambda: four_leaves().bond((1, 2)), r"no edge lies above the leaves \(1, 2\)"),
        (lambda: four_leaves().recouple((0,)), r"no inner edge lies above the leaves \(0,\)"),
        (lambda: four_leaves().recouple(range(4)), "no inner edge lies above the leaves"),
        (lambda: two_leaves().recouple((0, 1)), "expected there is none"),
        (lambda: four_leaves().canonicalize_edge((0,)), "no inner edge lies above"),
        (lambda: four_leaves().orthogonality_error(), "canonicalize"),
        (lambda: four_leaves().reshape(balanced(5)), "expected a topology of the leaves"),
        (lambda: four_leaves() + four_leaves().swap((0, 1)), "expected trees of one topology"),
        (
            lambda: four_leaves().truncate(Truncation(max_bond="3x4e")),
            r"edge \(0, 1\): the truncation .* leaves nothing",
        ),
        (
            lambda: four_leaves().recouple((0, 1), Truncation(max_bond="3x4e")),
            r"edge \(1, 2, 3\): the truncation .* leaves nothing",
        ),
        (
            lambda: Tree.from_dense(np.ones((2, 3)), (0, 1), ["0e", "1o"]),
            r"expected shape \(1, 3, 1\) from the legs \(1x0e, 1x1o, 1x0e\), got \(2, 3\)",
        ),
        (
            lambda: Tree.from_dense(np.full((1, 1, 1), np.nan), (0, 1), ["0e", "0e"]),
            "expected finite values",
        ),
    ],
)
def test_malformed_trees(make, message):
    with pytest.raises(CoreError, match=message):
        make()


def test_legs_that_do_not_match():
    below, above = Core(["0e", "0e", "2x0e"]), Core(["0e", "3x0e", "0e"])
    with pytest.raises(IrrepsError, match=r"edge \(1, 2\): .* ends in 2x0e, leg 1 .* carries 3x0e"):
        Tree((0, (1, 2)), [below, above])
    with pytest.raises(IrrepsError, match="out: the trees carry 1x0e and 2x0e"):
        two_leaves().inner(two_leaves(out="2x0e"))
    other = Tree.random((0, 1), ["1x0e+1x1o", "1x1o+1x0e"], seed=0)
    with pytest.raises(IrrepsError, match=r"leg 1: the trees carry 1x0e\+1x1o and 1x1o\+1x0e"):
        two_leaves() + other


@pytest.mark.parametrize("scale", [1e-300, 1e-100, 1e-75, 1e75, 1e100, 1e300])
def test_what_does_not_depend_on_the_scale_does_not(scale):
    tree = Tree.random(((0, 1), (2, (3, 4))), ["1x0e+2x1o"] * 5, max_bond=2, seed=0)
    scaled = Tree(tree.topology, [core.scale(scale) for core in tree])
    change = 4 * math.log(scale)
    assert scaled.log_norm() == pytest.approx(tree.log_norm() + change, rel=1e-12)
    for edge in tree.topology.edges:
        assert scaled.entropy(edge) == pytest.approx(tree.entropy(edge), rel=1e-12)
    unit = scaled.normalize()
    assert unit.norm() == pytest.approx(1, rel=1e-14)
    assert float(unit.inner(tree)) == pytest.approx(tree.norm(), rel=1e-12)
    rule = Truncation(rel_tol=0.1)
    assert unit.truncate(rule).bonds == tree.truncate(rule).bonds
    if abs(change) < 700:
        assert scaled.norm() == pytest.approx(scale**4 * tree.norm(), rel=1e-12)
        assert scaled.truncate(rule).bonds == tree.truncate(rule).bonds
        dense = scaled.to_dense() / scale**4
        np.testing.assert_allclose(dense, tree.to_dense(), rtol=1e-11)
    else:
        with pytest.raises(CoreError, match=r"the norm of the tensor is about 10.*log_norm"):
            scaled.norm()
        with pytest.raises(CoreError, match="the largest entry of the dense tensor is about 10"):
            scaled.to_dense()
    with pytest.raises(CoreError, match="the inner product is about 10"):
        scaled.inner(scaled)


def test_numbers_and_sums_of_trees():
    tree = Tree.random(((0, 1), 2), ["1x0e+1x1o"] * 3)
    assert (np.float64(2) * tree - tree * 2).norm() < 1e-14
    assert (sum([tree, tree]) - 2 * tree).norm() < 1e-14
    with pytest.raises(CoreError, match="a tree times a number: expected a real one, got 1j"):
        tree * 1j
    with pytest.raises(CoreError, match="expected a tree, got 3"):
        tree + 3
    assert (0 * tree).log_norm() == -math.inf
    with pytest.raises(CoreError, match="normalize: expected a tensor with a norm"):
        (0 * tree).normalize()
    assert Tree.random(((0, 1), 2), ["1x0e+2x1o"] * 3, max_bond=np.int64(1)).n_parameters > 0
    large = Tree.random(Tree.balanced(16), ["1x0e+1x1o"] * 16, max_bond=1)
    with pytest.raises(CoreError, match="the dense tensor of 15 cores would take 34 GB"):
        large.to_dense()


def test_derivatives_at_equal_singular_values_are_those_of_the_tensor():
    import torch

    tree = Tree.random(((0, 1), (2, 3)), ["1x0e+1x1o"] * 4, max_bond=2, seed=0).to("torch")
    # Isometries below the root, and a root with equal values.
    cores = tree.canonicalize((0, 1, 2, 3))._by_node()
    root = cores[0, 1, 2, 3]
    ones = {p: torch.eye(*b.shape[:2], dtype=b.dtype)[..., None] for p, b in root}
    for blocks in (dict(root.blocks), ones):
        cores[0, 1, 2, 3] = root.replace(blocks)
        made = Tree(tree.topology, cores)
        leaves = [block.requires_grad_() for core in made for _, block in core]
        weights = torch.randn(made.to_dense().shape, dtype=torch.float64)
        exact = torch.autograd.grad((made.to_dense() * weights).sum(), leaves)
        for moved in (made.canonicalize((0, 1)), made.recouple((0, 1)).recouple((1, 2, 3))):
            found = torch.autograd.grad((moved.to_dense() * weights).sum(), leaves)
            for one, two in zip(found, exact, strict=True):
                assert (one - two).abs().max() < 1e-10
