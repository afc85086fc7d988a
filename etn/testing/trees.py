"""Laws of trees."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from etn.backend import FloatArray as Array
from etn.backend import to_numpy
from etn.network.files import load, save
from etn.network.trees.recouple import rounding
from etn.network.trees.topology import Edge, Nested, balanced, comb
from etn.network.trees.tree import Tree
from etn.o3 import Irreps
from etn.o3.rotation import irreps_d
from etn.tensor import Core, Spectrum, Truncation, absorb, isometry_error
from etn.testing.suite import Laws, as_double, assert_c_order, orthogonals, steps


class TreeLaws(Laws):
    """What holds for every tree, of NumPy or torch, in either precision.

    Subclass it in a test module, with a name that starts with Test, and provide
    :meth:`make_tree`.  Keep the trees small, the dense tensors are formed.  Trees of float32 are
    held to ``single_tolerance``.

    Examples
    --------
    >>> class TestMyTrees(TreeLaws):
    ...     seeds = (0,)
    ...     def make_tree(self, rng):
    ...         return Tree.random(((0, 1), (2, 3)), ["1x0e+1x1o"] * 4, max_bond=2, seed=rng)
    >>> TestMyTrees().check()
    """

    def make_tree(self, rng: np.random.Generator) -> Tree:
        """A tree, drawn at random."""
        raise NotImplementedError

    def _trees(self) -> Iterator[tuple[Tree, np.random.Generator]]:
        for rng in self.generators():
            tree = self.make_tree(rng)
            self.dtype = tree.kind.dtype
            yield tree, rng

    def test_dense_tensor_is_the_contraction_of_the_cores(self) -> None:
        """One einsum over the dense cores."""
        for tree, _ in self._trees():
            topology = tree.topology
            open_legs = [*((leaf,) for leaf in topology.root), topology.root]
            self.close(tree.to_dense(), _contract(tree, topology.nodes, open_legs))

    def test_norm_is_the_dense_norm_in_every_gauge(self) -> None:
        """||T|| is the norm of the center core."""
        for tree, _ in self._trees():
            norm = float(np.linalg.norm(_dense(tree)))
            self.close(tree.norm(), norm, scale=norm)
            for node in tree.topology.nodes:
                self.close(tree.canonicalize(node).norm(), norm, scale=norm)

    def test_canonical_forms_are_the_same_tensor(self) -> None:
        """From no center, and from every center to every other."""
        for tree, _ in self._trees():
            dense = _dense(tree)
            for first in tree.topology.nodes:
                canonical = tree.canonicalize(first)
                assert canonical.center == first
                self.close(canonical.to_dense(), dense)
                self.close(canonical.orthogonality_error(), 0.0, scale=1.0)
                for second in tree.topology.nodes:
                    moved = canonical.canonicalize(second)
                    self.close(moved.to_dense(), dense)
                    self.close(moved.orthogonality_error(), 0.0, scale=1.0)

    def test_both_sides_of_an_edge_are_dense_isometries(self) -> None:
        """T = A diag(s) B, with A all cores below the edge and B all others."""
        for tree, _ in self._trees():
            dense = _dense(tree)
            for edge in tree.topology.edges:
                form = tree.canonicalize_edge(edge)
                lower, upper = _sides(form.tree, edge)
                self.close(lower.T @ lower, np.eye(lower.shape[1]), scale=1.0)
                self.close(upper @ upper.T, np.eye(upper.shape[0]), scale=1.0)
                on_edge = _on_leg(form.spectrum, form.tree.bond(edge))
                self.close((lower * on_edge) @ upper, _unfold(dense, edge))
                for node in tree.topology.nodes:
                    neighbor = tree.topology.parent[node] if node == edge else edge
                    towards = tree.topology.towards(node, neighbor)
                    leg = tree.topology.leg(node, towards)
                    self.close(isometry_error(form.tree[node], leg=leg), 0.0, scale=1.0)

    def test_spectra_are_the_dense_singular_values(self) -> None:
        """Each value of irrep l stands for 2 l + 1, across every cut, open legs included."""
        for tree, _ in self._trees():
            dense = _dense(tree)
            scale = float(np.linalg.norm(dense))
            together = tree.spectra()
            assert list(together) == list(tree.topology.edges)
            for edge in (*tree.bonds, *((leaf,) for leaf in tree.topology.root)):
                self._same_values(tree.singular_values(edge), _unfold(dense, edge), scale)
            for edge, spectrum in together.items():
                self._same_values(spectrum, _unfold(dense, edge), scale)
            out = tree.singular_values(tree.topology.root)
            self._same_values(out, dense.reshape(-1, tree.out.dim), scale)

    def _same_values(self, spectrum: Spectrum, matrix: Array, scale: float) -> None:
        expected = np.linalg.svd(matrix, compute_uv=False)
        values = sorted(
            (s for ir in spectrum for s in np.repeat(spectrum[ir], ir.dim)), reverse=True
        )
        length = max(len(expected), len(values))
        got = np.pad(values, (0, length - len(values)))
        self.close(got, np.pad(expected, (0, length - len(expected))), scale=scale)

    def test_the_discarded_weight_is_the_dense_error(self) -> None:
        """For rules that cut all bonds at once, from every center."""
        for tree, _ in self._trees():
            dense = _dense(tree)
            scale = float(np.linalg.norm(dense))
            for rule in (
                Truncation(max_multiplets=1),
                Truncation(max_bond=1),
                Truncation(max_multiplets=3) & Truncation(rel_tol=1e-3),
                Truncation(rel_tol=0.2),
            ):
                for start in (tree, tree.canonicalize(tree.topology.nodes[-1])):
                    small = start.truncate(rule)
                    error = float(np.linalg.norm(_dense(small) - dense))
                    self.close(small.discarded_weight, error, scale=scale)
                    self.close(small.orthogonality_error(), 0.0, scale=1.0)
                    if rule.max_multiplets is not None:
                        most = max((bond.num_irreps for bond in small.bonds.values()), default=0)
                        assert most <= rule.max_multiplets
                    if rule.rel_tol == 0.2:
                        assert error <= rule.rel_tol * scale * max(1, len(tree) - 1) ** 0.5

    def test_a_gauge_move_changes_nothing(self) -> None:
        """An invertible matrix of each irrep on an edge, and its inverse."""
        for tree, rng in self._trees():
            moved = tree
            for edge, bond in tree.bonds.items():
                kind, (node, leg) = tree.kind, tree.topology.upper_end(edge)
                x = {
                    ir: np.eye(bond.count(ir)) + 0.3 * rng.normal(size=(bond.count(ir),) * 2)
                    for ir in bond.unique
                }
                below = {ir: kind.array(m.T) for ir, m in x.items()}
                above = {ir: kind.array(np.linalg.inv(m)) for ir, m in x.items()}
                cores = dict(moved.items())
                cores[edge] = absorb(cores[edge], below, 2)
                cores[node] = absorb(cores[node], above, leg)
                moved = Tree(tree.topology, cores)
            self.close(moved.to_dense(), _dense(tree), tolerance=1e3 * self.allowed)

    def test_rotations_and_inversion_leave_the_tensor_alone(self) -> None:
        """Wigner matrices on every leg, out included."""
        for tree, rng in self._trees():
            dense = _dense(tree)
            for R in orthogonals(rng):
                turned = dense
                for axis, leg in enumerate((*tree.legs, tree.out)):
                    turned = np.moveaxis(np.tensordot(irreps_d(leg, R), turned, (1, axis)), 0, axis)
                self.close(turned, dense)

    def test_recoupling_is_exact_and_has_an_inverse(self) -> None:
        """The tensor stays, and recoupling the new edge restores the tree and minimal bonds."""
        for tree, _ in self._trees():
            dense = _dense(tree)
            minimal = tree.truncate(rounding(tree.kind))
            for edge in tree.topology.edges:
                moved = minimal.recouple(edge)
                assert moved.center == tree.topology.parent[edge]
                self.close(moved.to_dense(), dense)
                self.close(moved.orthogonality_error(), 0.0, scale=1.0)
                new = next(e for e in moved.topology.edges if e not in tree.topology.edges)
                back = moved.recouple(new)
                assert back.topology == tree.topology
                assert back.bonds == minimal.bonds
                self.close(back.to_dense(), dense)

    def test_recoupling_cuts_with_the_dense_error(self) -> None:
        """The singular values of the new edge are those of the tensor."""
        for tree, _ in self._trees():
            dense = _dense(tree)
            for edge in tree.topology.edges:
                cut = tree.recouple(edge, Truncation(max_multiplets=1))
                error = float(np.linalg.norm(_dense(cut) - dense))
                self.close(cut.discarded_weight, error, scale=float(np.linalg.norm(dense)))

    def test_swapping_twice_changes_nothing(self) -> None:
        """The tensor stays once, the blocks twice."""
        for tree, _ in self._trees():
            for node in tree.topology.nodes:
                swapped = tree.swap(node)
                first, second = tree.topology.children[node]
                assert swapped.topology.children[node] == (second, first)
                self.close(swapped.to_dense(), _dense(tree))
                _assert_same(swapped.swap(node), tree)

    def test_every_topology_carries_the_same_tensor(self) -> None:
        """To a comb, to a balanced tree with other neighbors, and back."""
        for tree, rng in self._trees():
            dense, n = _dense(tree), len(tree.legs)
            shuffled = _relabel(balanced(n), rng.permutation(n).tolist())
            for topology in (comb(n), shuffled, tree.topology):
                moved = tree.reshape(topology)
                assert moved.topology == topology
                self.close(moved.to_dense(), dense)
                self.close(moved.reshape(tree.topology).to_dense(), dense)

    def test_sums_and_products_are_those_of_the_dense_tensors(self) -> None:
        """Sum, difference, multiples and inner product."""
        for tree, rng in self._trees():
            other = self._like(tree, rng)
            one, two = _dense(tree), _dense(other)
            scale = float(np.abs(one).max() + np.abs(two).max())
            self.close((tree + other).to_dense(), one + two, scale=scale)
            self.close((tree - other).to_dense(), one - two, scale=scale)
            self.close((-2.0 * tree / 3).to_dense(), -2.0 * one / 3)
            canonical = 2.0 * tree.canonicalize(tree.topology.nodes[0])
            self.close(canonical.orthogonality_error(), 0.0, scale=1.0)
            self.close(canonical.to_dense(), 2.0 * one)
            size = float(np.linalg.norm(one) * np.linalg.norm(two))
            self.close(tree.inner(other), float((one * two).sum()), scale=size)
            self.close(tree.inner(tree), tree.norm() ** 2)
            self.close((tree - tree).norm(), 0.0, scale=tree.norm())

    def _like(self, tree: Tree, rng: np.random.Generator) -> Tree:
        """A tree with the open legs of another one and narrower bonds."""
        other = Tree.random(tree.topology, tree.legs, out=tree.out, max_bond=1, seed=rng)
        return other.to(**vars(tree.kind))

    def test_dense_tensors_come_back(self) -> None:
        """With the smallest bonds that carry them."""
        for tree, _ in self._trees():
            dense = tree.to_dense()
            again = Tree.from_dense(dense, tree.topology, tree.legs, out=tree.out)
            self.close(again.to_dense(), _dense(tree))
            self.close(again.orthogonality_error(), 0.0, scale=1.0)
            assert again.bonds == tree.truncate(rounding(tree.kind)).bonds

    def test_numpy_and_torch_agree(self) -> None:
        """Dense tensors, moves and truncations, from the same numbers; nothing without torch."""
        for tree, _ in self._trees() if find_spec("torch") else ():
            one, two = tree.to("numpy"), tree.to("torch")
            moves: list[Callable[[Tree], Tree]] = [
                lambda t: t,
                lambda t: t.canonicalize(t.topology.nodes[0]),
                lambda t: t.truncate(Truncation(max_multiplets=2)),
                lambda t: t.reshape(comb(len(t.legs))),
                lambda t: t + t,
            ]
            for move in moves:
                a, b = move(one), move(two)
                assert (b.topology, b.bonds, b.center) == (a.topology, a.bonds, a.center)
                assert b.kind == two.kind
                self.close(_dense(b), _dense(a))
                self.close(b.discarded_weight, a.discarded_weight, scale=tree.norm())
            self.close(two.inner(two), one.inner(one))

    def test_blocks_stand_in_c_order(self) -> None:
        """In all that is made of a tree, and the same before it is saved as once it is loaded."""
        for tree, rng in self._trees():
            made = [tree.canonicalize(node) for node in tree.topology.nodes]
            made += [tree, tree.truncate(Truncation(max_multiplets=2)), 2.0 * tree]
            made += [tree + self._like(tree, rng), tree.reshape(comb(len(tree.legs)))]
            made += [tree.swap(tree.topology.root), tree.to(dtype="float32")]
            made += [Tree.from_dense(tree.to_dense(), tree.topology, tree.legs, out=tree.out)]
            for one in made:
                assert_c_order(*one)
            with tempfile.TemporaryDirectory() as folder:
                for one in (tree, made[0]):
                    save(one, Path(folder) / "tree.etn")
                    two = load(Path(folder) / "tree.etn")
                    assert isinstance(two, Tree)
                    assert list(map(steps, one)) == list(map(steps, two))

    def test_trees_are_made_of_their_parts(self) -> None:
        """Topology, cores and center, as they stand in a file."""
        for tree, _ in self._trees():
            for one in (tree, tree.canonicalize(tree.topology.nodes[0])):
                _assert_same(Tree(one.topology.nested, one.cores, center=one.center), one)


def _dense(tree: Tree) -> Array:
    return as_double(tree.to_dense())


def _contract(tree: Tree, nodes: Iterable[Edge], output: Sequence[Edge]) -> Array:
    """Contraction of some cores by one einsum; the axes of the result are named edges."""
    numbers: dict[Edge, int] = {}
    operands: list[object] = []
    for node in nodes:
        around = tree.topology.around(node)
        operands += [
            as_double(tree[node].to_dense()),
            [numbers.setdefault(edge, len(numbers)) for edge in around],
        ]
    out = [numbers[edge] for edge in output]
    return np.einsum(*operands, out, optimize=True)  # type: ignore[call-overload]


def _sides(tree: Tree, edge: Edge) -> tuple[Array, Array]:
    """Matrices (leaves below, edge) and (edge, other leaves and out) of a cut tree."""
    root = tree.topology.root
    below = [node for node in tree.topology.nodes if set(node) <= set(edge)]
    above = [node for node in tree.topology.nodes if node not in below]
    inner: list[Edge] = [(leaf,) for leaf in edge]
    outer: list[Edge] = [(leaf,) for leaf in root if leaf not in edge]
    lower = _contract(tree, below, [*inner, edge])
    upper = _contract(tree, above, [edge, *outer, root])
    return lower.reshape(-1, lower.shape[-1]), upper.reshape(upper.shape[0], -1)


def _unfold(dense: Array, edge: Edge) -> Array:
    """Matrix (leaves below the edge, all other legs) of a dense tensor."""
    others = [axis for axis in range(dense.ndim) if axis not in edge]
    rows = int(np.prod([dense.shape[axis] for axis in edge]))
    return np.transpose(dense, [*edge, *others]).reshape(rows, -1)


def _on_leg(spectrum: Spectrum, leg: Irreps) -> Array:
    """Singular values along the dense index of a leg."""
    values = np.zeros(leg.dim)
    for ir, s in spectrum.items():
        values[leg.indices(ir)] = s[:, None]
    return values


def _relabel(nested: Nested, names: list[int]) -> Nested:
    if isinstance(nested, int):
        return names[nested]
    return tuple(_relabel(child, names) for child in nested)


def _assert_same(one: Tree, two: Tree) -> None:
    """Bit by bit, center included."""
    assert one.topology == two.topology
    assert one.center == two.center
    for a, b in zip(one, two, strict=True):
        assert isinstance(a, Core)
        assert a.legs == b.legs
        np.testing.assert_array_equal(to_numpy(a.to_vector()), to_numpy(b.to_vector()))
