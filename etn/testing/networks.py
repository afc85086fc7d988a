"""Laws of cores and chains."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from etn.backend import Kind, to_numpy
from etn.errors import CoreError
from etn.io import load, save
from etn.network import Blocks, Chain, evaluate, value_and_gradient
from etn.network.storage import chain_from_arrays, chain_to_arrays
from etn.o3 import Irrep, Irreps, clebsch_gordan
from etn.o3.rotation import irreps_d, random_rotation
from etn.tensor import (
    Core,
    Factors,
    Singular,
    Truncation,
    absorb,
    absorb_back,
    isometry_error,
    matricize,
    polar,
    qr,
    svd,
)
from etn.testing.batches import dense_leg, dense_value, random_blocks
from etn.testing.suite import Laws

Array = NDArray[np.float64]
SCALAR = Irrep(0, 1)
T = TypeVar("T", Core, Chain)


class CoreLaws(Laws):
    """What holds for every core, of NumPy or torch, in either precision.

    Subclass it in a test module, with a name that starts with Test, and provide
    :meth:`make_core`.  Cores of float32 are held to ``single_tolerance``; what they are compared
    with is computed in float64.

    Examples
    --------
    >>> class TestMyCores(CoreLaws):
    ...     def make_core(self, rng):
    ...         return Core.random(["2x0e", "2x0e+1x1o", "1x0e+2x1o"], seed=rng)
    >>> TestMyCores().check()
    """

    def make_core(self, rng: np.random.Generator) -> Core:
        """A core, drawn at random."""
        raise NotImplementedError

    def _cores(self) -> Iterator[tuple[Core, np.random.Generator]]:
        for rng in self.generators():
            core = self.make_core(rng)
            self.dtype = core.kind.dtype
            yield core, rng

    def test_dense_core_is_the_sum_over_paths(self) -> None:
        """T[(r1 m1), (r2 m2), (r3 m3)] = a[r1, r2, r3] C[m1, m2, m3], path by path."""
        for core, _ in self._cores():
            dense = _double(core.to_dense())
            rest = dense.copy()
            for path, block in core:
                at = [leg.indices(ir) for leg, ir in zip(core.legs, path, strict=True)]
                structure = _structure(path)
                reduced = _double(block)
                for r in np.ndindex(reduced.shape):
                    index = np.ix_(*(rows[k] for rows, k in zip(at, r, strict=True)))
                    self.close(dense[index], reduced[r] * structure, scale=core.norm())
                    rest[index] = 0.0
            self.close(rest, np.zeros_like(rest), scale=core.norm())

    def test_norm_is_the_dense_norm(self) -> None:
        """||T||^2 = sum (2 l + 1) ||block||^2."""
        for core, _ in self._cores():
            dense = float(np.linalg.norm(_double(core.to_dense())))
            self.close(core.norm(), dense, scale=dense)
            weighted = core.metric() @ _double(core.to_vector()) ** 2
            self.close(weighted, dense**2, scale=dense**2)

    def test_dense_round_trip(self) -> None:
        """from_dense inverts to_dense and leaves nothing out."""
        for core, _ in self._cores():
            projection = Core.from_dense(core.to_dense(), core.legs)
            self.close(projection.core.to_vector(), core.to_vector(), scale=core.norm())
            self.close(projection.residual, 0.0, scale=core.norm())

    def test_residual_is_the_part_that_is_not_equivariant(self) -> None:
        """from_dense is the orthogonal projection, and its residual the norm of the rest."""
        for core, rng in self._cores():
            noise = rng.normal(size=tuple(leg.dim for leg in core.legs))
            noise -= Core.from_dense(noise, core.legs).core.to_dense()
            total = core.to_dense() + core.kind.array(noise)
            projection = Core.from_dense(total, core.legs)
            scale = float(np.linalg.norm(_double(total))) + 1e-300
            self.close(projection.core.to_vector(), core.to_vector(), scale=scale)
            self.close(projection.residual, float(np.linalg.norm(noise)), scale=scale)
            self.close(np.vdot(noise, _double(core.to_dense())), 0.0, scale=scale**2)

    def test_vector_round_trip(self) -> None:
        """from_vector inverts to_vector, bit by bit."""
        for core, _ in self._cores():
            again = core.from_vector(core.to_vector())
            assert len(core.to_vector()) == core.n_parameters
            for path, block in core:
                np.testing.assert_array_equal(to_numpy(again.blocks[path]), to_numpy(block))

    def test_rotations_and_inversion_leave_the_core_alone(self) -> None:
        """(D1 x D2 x D3) T = T for proper and improper rotations."""
        for core, rng in self._cores():
            dense = _double(core.to_dense())
            for R in orthogonals(rng):
                turned = dense
                for axis, leg in enumerate(core.legs):
                    turned = np.moveaxis(np.tensordot(irreps_d(leg, R), turned, (1, axis)), 0, axis)
                self.close(turned, dense, scale=core.norm())

    def test_qr_splits_off_every_leg(self) -> None:
        """T = Q R with Q a dense isometry from the other legs to this one."""
        for core, leg in self._legs():
            factors = qr(core, leg)
            self.close(_restored(factors, core, leg), core.to_dense(), scale=core.norm())
            self._isometry(factors.isometry, leg=leg)
            for r in map(_double, factors.bond.values()):
                assert (np.diagonal(r) >= 0).all()
                self.close(np.tril(r, -1), np.zeros_like(r), scale=core.norm())

    def test_polar_factors_are_an_isometry_and_a_positive_matrix(self) -> None:
        """T = Q P; refused where an irrep of the leg is reached too seldom."""
        for core, leg in self._legs():
            try:
                factors = polar(core, leg)
            except CoreError:
                shapes = [tuple(m.shape) for m in matricize(core, leg).values()]
                assert any(rows < columns for rows, columns in shapes)
                continue
            self.close(_restored(factors, core, leg), core.to_dense(), scale=core.norm())
            self._isometry(factors.isometry, leg=leg)
            for p in map(_double, factors.bond.values()):
                self.close(p, p.T, scale=core.norm())
                assert np.linalg.eigvalsh(p).min() >= -self.allowed * core.norm()

    def test_singular_values_are_those_of_the_dense_matrix(self) -> None:
        """Each value of irrep l stands for 2 l + 1 of the dense matrix of a leg."""
        for core, leg in self._legs():
            dense = np.moveaxis(_double(core.to_dense()), leg, -1)
            expected = np.linalg.svd(dense.reshape(-1, dense.shape[-1]), compute_uv=False)
            spectrum = svd(core, leg).spectrum
            values = [s for ir in spectrum for s in np.repeat(spectrum[ir], ir.dim)]
            got = np.zeros(max(len(expected), len(values)))
            got[: len(values)] = sorted(values, reverse=True)
            expected = np.pad(expected, (0, len(got) - len(expected)))
            self.close(got, expected, scale=core.norm())

    def test_the_discarded_norm_is_the_dense_error(self) -> None:
        """For every number of multiplets that may stay."""
        for core, leg in self._legs():
            for n in range(1, svd(core, leg).spectrum.irreps.num_irreps + 1):
                factors = svd(core, leg, Truncation(max_multiplets=n))
                assert factors.isometry.legs[leg].num_irreps == n
                rest = _double(core.to_dense()) - _restored(factors, core, leg)
                self.close(np.linalg.norm(rest), factors.discarded, scale=core.norm())
                self._isometry(factors.isometry, leg=leg)

    def _legs(self) -> Iterator[tuple[Core, int]]:
        """Every core with each of its legs that another leg can reach."""
        for core, _ in self._cores():
            if core.order > 1 and core.blocks:
                yield from ((core, leg) for leg in range(core.order))

    def _isometry(self, q: Core, *, leg: int) -> None:
        gram = _gram(_double(q.to_dense()), leg)
        self.close(gram, np.eye(len(gram)), scale=1.0)
        self.close(isometry_error(q, leg=leg), 0.0, scale=1.0)

    def test_isometry_error_is_that_of_the_dense_core(self) -> None:
        """For a core that is no isometry too."""
        for core, leg in self._legs():
            gram = _gram(_double(core.to_dense()), leg)
            dense = float(np.abs(gram - np.eye(len(gram))).max(initial=0.0))
            self.close(isometry_error(core, leg=leg), dense, scale=max(dense, 1.0))

    def test_a_gradient_is_pulled_back_to_the_blocks(self) -> None:
        """<pull_back(G), a> = <G, T(a)> for every dense G."""
        for core, rng in self._cores():
            dense = core.kind.array(rng.normal(size=tuple(leg.dim for leg in core.legs)))
            pulled = core.pull_back(dense)
            product = sum(float((_double(pulled[path]) * _double(b)).sum()) for path, b in core)
            expected = float((_double(dense) * _double(core.to_dense())).sum())
            self.close(product, expected, scale=float(np.linalg.norm(_double(dense))) * core.norm())

    def test_numpy_and_torch_agree(self) -> None:
        """Dense tensors, norms and factors, from the same numbers; needs torch to be installed."""
        for core, rng in self._cores():
            dense = rng.normal(size=tuple(leg.dim for leg in core.legs))
            scale = core.norm() + float(np.linalg.norm(dense))
            results = (_core_results(c, dense) for c in _both(core))
            for one, two in zip(*results, strict=True):
                self.close(two, one, scale=scale)


class ChainLaws(Laws):
    """What holds for every chain, of NumPy or torch, in either precision.

    Subclass it in a test module, with a name that starts with Test, and provide
    :meth:`make_chain`; keep the chains small, the dense tensors are formed.  Chains of four and
    more sites have canonical forms with three isometries in a row.  Chains of float32 are held to
    ``single_tolerance``; what they are compared with is computed in float64.

    Examples
    --------
    >>> class TestMyChains(ChainLaws):
    ...     def make_chain(self, rng):
    ...         return Chain.random(["1x0e+2x1o"] * 4, start="2x0e", max_bond=2, seed=rng)
    >>> TestMyChains().check()
    """

    def make_chain(self, rng: np.random.Generator) -> Chain:
        """A chain, drawn at random."""
        raise NotImplementedError

    def _chains(self) -> Iterator[tuple[Chain, np.random.Generator]]:
        for rng in self.generators():
            chain = self.make_chain(rng)
            self.dtype = chain.kind.dtype
            yield chain, rng

    def test_dense_tensor_is_the_contraction_of_the_cores(self) -> None:
        """One einsum over the dense cores."""
        for chain, _ in self._chains():
            operands: list[object] = []
            n = len(chain)
            for site, core in enumerate(chain):
                operands += [_double(core.to_dense()), [site, n + 1 + site, site + 1]]
            out = [0, *range(n + 1, 2 * n + 1), n]
            expected = np.einsum(*operands, out, optimize=True)  # type: ignore[call-overload]
            self.close(chain.to_dense(), expected)

    def test_norm_is_the_dense_norm_in_every_gauge(self) -> None:
        """||T|| is the norm of the center core."""
        for chain, _ in self._chains():
            dense = float(np.linalg.norm(_double(chain.to_dense())))
            self.close(chain.norm(), dense, scale=dense)
            for center in range(len(chain)):
                self.close(chain.canonicalize(center).norm(), dense, scale=dense)

    def test_canonical_forms_are_the_same_tensor(self) -> None:
        """From no center, and from every center to every other."""
        for chain, _ in self._chains():
            dense = chain.to_dense()
            for first in range(len(chain)):
                canonical = chain.canonicalize(first)
                assert canonical.center == first
                self.close(canonical.to_dense(), dense)
                self.close(canonical.orthogonality_error(), 0.0, scale=1.0)
                for second in range(len(chain)):
                    moved = canonical.canonicalize(second)
                    self.close(moved.to_dense(), dense)
                    self.close(moved.orthogonality_error(), 0.0, scale=1.0)

    def test_cores_in_a_row_are_a_dense_isometry(self) -> None:
        """A1 A2 ... Ak left of the center, and the same from the right, for all k."""
        for chain, _ in self._chains():
            left = chain.canonicalize(len(chain) - 1).cores[:-1]
            for length in range(1, len(left) + 1):
                m = _product(left[:length]).reshape(-1, left[length - 1].legs[2].dim)
                self.close(m.T @ m, np.eye(m.shape[1]))
            right = chain.canonicalize(0).cores[1:]
            for length in range(1, len(right) + 1):
                m = _product(right[-length:]).reshape(right[-length].legs[0].dim, -1)
                self.close(m @ m.T, np.eye(m.shape[0]))

    def test_a_gauge_move_changes_nothing(self) -> None:
        """An invertible matrix of each irrep on a bond, and its inverse."""
        for chain, rng in self._chains():
            cores = list(chain.cores)
            for bond, irreps in enumerate(chain.bonds):
                x = {
                    ir: np.eye(irreps.count(ir)) + 0.3 * rng.normal(size=(irreps.count(ir),) * 2)
                    for ir in irreps.unique
                }
                array = chain.kind.array
                cores[bond] = absorb(cores[bond], {ir: array(m.T) for ir, m in x.items()}, 2)
                inverse = {ir: array(np.linalg.inv(m)) for ir, m in x.items()}
                cores[bond + 1] = absorb(cores[bond + 1], inverse, 0)
            self.close(Chain(cores).to_dense(), chain.to_dense(), tolerance=10 * self.allowed)

    def test_sums_and_multiples_are_those_of_the_dense_tensors(self) -> None:
        """Of two chains with the same legs and other bonds."""
        for chain, rng in self._chains():
            other = self._other(chain, rng)
            one, two = _double(chain.to_dense()), _double(other.to_dense())
            scale = float(np.linalg.norm(one) + np.linalg.norm(two))
            self.close((chain + other).to_dense(), one + two, scale=scale)
            self.close((chain - other).to_dense(), one - two, scale=scale)
            self.close((-2.5 * chain / 2).to_dense(), -1.25 * one, scale=scale)
            self.close(chain.inner(other), np.sum(one * two), scale=scale**2)
            self.close(chain.inner(chain), np.sum(one * one), scale=scale**2)

    def test_spectra_are_the_singular_values_of_the_dense_tensor(self) -> None:
        """At every bond; each value of irrep l counts 2 l + 1 times, in the entropy too."""
        for chain, _ in self._chains():
            dense = _double(chain.to_dense())
            spectra = chain.spectra()
            for bond, spectrum in enumerate(spectra):
                rows = int(np.prod(dense.shape[: bond + 2]))
                expected = np.linalg.svd(dense.reshape(rows, -1), compute_uv=False)
                got = sorted(s for ir in spectrum for s in np.repeat(spectrum[ir], ir.dim))[::-1]
                n = min(len(got), len(expected))
                self.close(got[:n], expected[:n], scale=chain.norm())
                self.close(expected[n:], 0 * expected[n:], scale=chain.norm())
                p = expected[expected > self.allowed * chain.norm()] ** 2 / chain.norm() ** 2
                allowed = 10 * self.allowed
                self.close(chain.entropy(bond), -p @ np.log(p), scale=1.0, tolerance=allowed)
                assert spectrum.change(chain.singular_values(bond)) < 10 * self.allowed

    def test_the_truncation_error_is_the_dense_error(self) -> None:
        """The errors of the bonds are orthogonal; whole multiplets go."""
        for chain, _ in self._chains():
            for n in (1, 2, 3):
                small = chain.truncate(Truncation(max_multiplets=n))
                assert all(bond.num_irreps <= n for bond in small.bonds)
                error = np.linalg.norm(_double(chain.to_dense()) - _double(small.to_dense()))
                self.close(small.discarded_weight, error, scale=chain.norm())
                self.close(small.orthogonality_error(), 0.0, scale=1.0)

    def test_truncation_keeps_its_promise(self) -> None:
        """The error stays below sqrt(bonds) times the tolerance."""
        for chain, _ in self._chains():
            for tol in (1e-1, 1e-2):
                small = chain.truncate(Truncation(rel_tol=tol))
                bound = tol * chain.norm() * max(1, len(chain) - 1) ** 0.5
                assert small.discarded_weight <= bound * (1 + self.allowed)

    def test_a_dense_tensor_becomes_a_chain_again(self) -> None:
        """TT-SVD, exact and truncated; parts that are not equivariant are refused."""
        for chain, rng in self._chains():
            dense = chain.to_dense()
            ends: dict[str, Any] = {"start": chain.start, "out": chain.out}
            again = Chain.from_dense(dense, chain.sites, **ends)
            self.close(again.to_dense(), dense, scale=chain.norm())
            self.close(again.orthogonality_error(), 0.0, scale=1.0)
            rule = Truncation(max_multiplets=2)
            small = Chain.from_dense(dense, chain.sites, truncation=rule, **ends)
            error = np.linalg.norm(_double(small.to_dense()) - _double(dense))
            self.close(small.discarded_weight, error, scale=chain.norm())
            noise = chain.kind.array(rng.normal(size=tuple(dense.shape)))
            if max(ir.l for leg in (*chain.sites, chain.start, chain.out) for ir in leg.unique):
                try:
                    Chain.from_dense(dense + noise, chain.sites, **ends)
                except CoreError as refusal:
                    answer = str(refusal)
                else:
                    answer = "accepted"
                assert "not equivariant" in answer

    def test_maps_of_a_site_leg_are_the_dense_contraction(self) -> None:
        """To a leg with other multiplicities."""
        for chain, rng in self._chains():
            for site, leg in enumerate(chain.sites):
                new = Irreps([(mul + 1, ir) for mul, ir in leg])
                matrix = Core.random([leg, new], seed=rng).to(**vars(chain.kind))
                mapped = _double(chain.map_site(site, matrix).to_dense())
                dense, m = _double(chain.to_dense()), _double(matrix.to_dense())
                expected = np.moveaxis(np.tensordot(dense, m, (site + 1, 0)), -1, site + 1)
                self.close(mapped, expected)

    def _other(self, chain: Chain, rng: np.random.Generator) -> Chain:
        """Another chain with the same open legs."""
        ends: dict[str, Any] = {"start": chain.start, "out": chain.out}
        return Chain.random(chain.sites, max_bond=2, seed=rng, **ends).to(**vars(chain.kind))

    def test_rotations_and_inversion_leave_the_tensor_alone(self) -> None:
        """Wigner matrices on every leg, start and out included."""
        for chain, rng in self._chains():
            dense = _double(chain.to_dense())
            for R in orthogonals(rng):
                turned = dense
                for axis, leg in enumerate((chain.start, *chain.sites, chain.out)):
                    turned = np.moveaxis(np.tensordot(irreps_d(leg, R), turned, (1, axis)), 0, axis)
                self.close(turned, dense)

    def test_an_inserted_site_passes_its_bond_on(self) -> None:
        """With the constant channel set to one, the longer chain is the shorter one."""
        for chain, _ in self._chains():
            for site in range(len(chain) + 1):
                leg = chain.sites[min(site, len(chain) - 1)]
                for channel in range(leg.count(SCALAR)):
                    longer = chain.insert(site, channel=channel)
                    constant = np.zeros(leg.dim)
                    constant[leg.indices(SCALAR)[channel, 0]] = 1.0
                    fed = np.tensordot(_double(longer.to_dense()), constant, (site + 1, 0))
                    self.close(fed, chain.to_dense())

    def test_values_and_gradients_are_the_dense_contraction(self) -> None:
        """For chains of one scalar whose sites read the same leg."""
        for chain, rng in self._chains():
            leg = chain.sites[0]
            if str(chain.out) != "1x0e" or any(other != leg for other in chain.sites):
                continue
            start, site = (
                random_blocks(irreps, 4, seed=rng, kind=chain.kind) for irreps in (chain.start, leg)
            )
            s, v = dense_leg(chain.start, start), dense_leg(leg, site)
            expected = dense_value(chain, [s, *[v] * len(chain)])[0]
            values, gradient = value_and_gradient(chain, start, site)
            self.close(evaluate(chain, start, site), expected)
            self.close(values, expected)
            along = rng.normal(size=v.shape)
            slope = np.zeros_like(expected)
            for k in range(len(chain)):
                legs = [v] * len(chain)
                legs[k] = along
                slope += dense_value(chain, [s, *legs])[0]
            self.close(np.sum(dense_leg(leg, gradient) * along, axis=0), slope)

    def test_saved_and_loaded_chains_are_the_same(self) -> None:
        """Bit by bit, center included; what is loaded is NumPy, in the precision that was saved."""
        for chain, _ in self._chains():
            for one in (chain, chain.canonicalize(len(chain) - 1)):
                header, arrays = chain_to_arrays(one)
                assert all(isinstance(array, np.ndarray) for array in arrays.values())
                with tempfile.TemporaryDirectory() as folder:
                    path = Path(folder) / "chain.etn"
                    save(path, kind="chain", header=header, arrays=arrays)
                    stored = load(path, kind="chain")
                two = chain_from_arrays(stored.header, stored.arrays)
                assert one.center == two.center
                assert two.kind == Kind(dtype=one.kind.dtype)
                for a, b in zip(one, two, strict=True):
                    assert a.legs == b.legs
                    np.testing.assert_array_equal(to_numpy(a.to_vector()), b.to_vector())

    def test_numpy_and_torch_agree(self) -> None:
        """Dense tensors, gauges, sums and values, from the same numbers; needs torch."""
        for chain, rng in self._chains():
            other = self._other(chain, rng)
            scale = max(chain.norm() + other.norm(), 1.0) ** 2
            results = (_chain_results(c, other) for c in _both(chain))
            for one, two in zip(*results, strict=True):
                self.close(two, one, scale=scale)
            leg = chain.sites[0]
            if str(chain.out) == "1x0e" and all(site == leg for site in chain.sites):
                legs = [random_blocks(irreps, 4, seed=rng) for irreps in (chain.start, leg)]
                for one, two in zip(*(_values(c, legs) for c in _both(chain)), strict=True):
                    self.close(two, one)


def orthogonals(rng: np.random.Generator) -> Iterator[Array]:
    """A rotation, one with reflection, and the inversion."""
    yield random_rotation(rng)
    yield random_rotation(rng, reflect=True)
    yield -np.eye(3)


def _structure(path: tuple[Irrep, ...]) -> Array:
    if len(path) == 3:
        return clebsch_gordan(path[0].l, path[1].l, path[2].l)
    return np.eye(path[0].dim) if len(path) == 2 else np.ones(1)


def _gram(dense: Array, leg: int) -> Array:
    """Overlaps of the slices of a dense core along one leg."""
    others = [axis for axis in range(dense.ndim) if axis != leg]
    return np.tensordot(dense, dense, (others, others))


def _restored(factors: Factors | Singular, core: Core, leg: int) -> Array:
    """Dense product of the factors on the legs of the core."""
    return _double(core.replace(absorb_back(factors, leg).blocks).to_dense())


def _product(cores: tuple[Core, ...]) -> Array:
    dense = _double(cores[0].to_dense())
    for core in cores[1:]:
        dense = np.tensordot(dense, _double(core.to_dense()), 1)
    return dense


def _double(values: Any) -> Array:
    """What a law computes with: NumPy, so that it rests on one library, and float64."""
    return to_numpy(values).astype(float)


def _both(made: T) -> list[T]:
    """The same object in NumPy and in torch; nothing where torch is not installed."""
    return [made.to("numpy"), made.to("torch")] if find_spec("torch") else []


def _core_results(core: Core, dense: Array) -> Iterator[Any]:
    yield core.norm()
    yield core.to_dense()
    yield core.to_vector()
    yield from core.pull_back(core.kind.array(dense)).values()
    if core.order > 1 and core.blocks:
        for leg in range(core.order):
            yield isometry_error(core, leg=leg)
            yield from matricize(core, leg).values()
            yield absorb_back(qr(core, leg), leg).to_dense()
            yield from svd(core, leg).spectrum.values()
            yield svd(core, leg, Truncation(max_multiplets=1)).discarded


def _chain_results(chain: Chain, other: Chain) -> Iterator[Any]:
    other = other.to(**vars(chain.kind))
    yield chain.norm()
    yield chain.to_dense()
    yield chain.canonicalize(len(chain) // 2).to_dense()
    yield chain.truncate(Truncation(max_multiplets=2)).discarded_weight
    yield chain.inner(other)
    yield (chain + other).to_dense()
    yield (chain - 2.0 * other).canonicalize(0).to_dense()
    for spectrum in chain.spectra():
        yield from spectrum.values()


def _values(chain: Chain, legs: Sequence[Blocks]) -> Iterator[Any]:
    start, site = ({ir: chain.kind.array(v) for ir, v in leg.items()} for leg in legs)
    yield evaluate(chain, start, site)
    values, gradient = value_and_gradient(chain, start, site)
    yield values
    yield from gradient.values()
