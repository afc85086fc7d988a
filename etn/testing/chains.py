"""Laws of chains."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from etn.backend import FloatArray as Array
from etn.backend import Kind, to_numpy
from etn.errors import CoreError
from etn.io import load, save
from etn.network import Blocks, Chain, evaluate, value_and_gradient
from etn.network.storage import chain_from_arrays, chain_to_arrays
from etn.o3 import Irrep, Irreps
from etn.o3.rotation import irreps_d
from etn.tensor import (
    Core,
    Truncation,
    absorb,
)
from etn.testing.batches import dense_leg, dense_value, random_blocks
from etn.testing.suite import (
    Laws,
    as_double,
    assert_c_order,
    on_both,
    orthogonals,
    steps,
)

SCALAR = Irrep(0, 1)


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
                operands += [as_double(core.to_dense()), [site, n + 1 + site, site + 1]]
            out = [0, *range(n + 1, 2 * n + 1), n]
            expected = np.einsum(*operands, out, optimize=True)  # type: ignore[call-overload]
            self.close(chain.to_dense(), expected)

    def test_norm_is_the_dense_norm_in_every_gauge(self) -> None:
        """||T|| is the norm of the center core."""
        for chain, _ in self._chains():
            dense = float(np.linalg.norm(as_double(chain.to_dense())))
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
            one, two = as_double(chain.to_dense()), as_double(other.to_dense())
            scale = float(np.linalg.norm(one) + np.linalg.norm(two))
            self.close((chain + other).to_dense(), one + two, scale=scale)
            self.close((chain - other).to_dense(), one - two, scale=scale)
            self.close((-2.5 * chain / 2).to_dense(), -1.25 * one, scale=scale)
            self.close(chain.inner(other), np.sum(one * two), scale=scale**2)
            self.close(chain.inner(chain), np.sum(one * one), scale=scale**2)

    def test_spectra_are_the_singular_values_of_the_dense_tensor(self) -> None:
        """At every bond; each value of irrep l counts 2 l + 1 times, in the entropy too."""
        for chain, _ in self._chains():
            dense = as_double(chain.to_dense())
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
                error = np.linalg.norm(as_double(chain.to_dense()) - as_double(small.to_dense()))
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
            error = np.linalg.norm(as_double(small.to_dense()) - as_double(dense))
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
                mapped = as_double(chain.map_site(site, matrix).to_dense())
                dense, m = as_double(chain.to_dense()), as_double(matrix.to_dense())
                expected = np.moveaxis(np.tensordot(dense, m, (site + 1, 0)), -1, site + 1)
                self.close(mapped, expected)

    def _other(self, chain: Chain, rng: np.random.Generator) -> Chain:
        """Another chain with the same open legs."""
        ends: dict[str, Any] = {"start": chain.start, "out": chain.out}
        return Chain.random(chain.sites, max_bond=2, seed=rng, **ends).to(**vars(chain.kind))

    def test_rotations_and_inversion_leave_the_tensor_alone(self) -> None:
        """Wigner matrices on every leg, start and out included."""
        for chain, rng in self._chains():
            dense = as_double(chain.to_dense())
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
                    fed = np.tensordot(as_double(longer.to_dense()), constant, (site + 1, 0))
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
                    assert steps(a) == steps(b)
                    np.testing.assert_array_equal(to_numpy(a.to_vector()), b.to_vector())

    def test_blocks_stand_in_c_order(self) -> None:
        """In all that is made of a chain, and the same before it is saved as once it is loaded."""
        for chain, rng in self._chains():
            made = [chain.canonicalize(center) for center in range(len(chain))]
            made += [chain, chain.truncate(Truncation(max_multiplets=2)), 2.0 * chain]
            made += [chain + self._other(chain, rng), chain.to(dtype="float32")]
            ends: dict[str, Any] = {"start": chain.start, "out": chain.out}
            made += [Chain.from_dense(chain.to_dense(), chain.sites, **ends)]
            for one in made:
                assert_c_order(*one)
                again = chain_from_arrays(*chain_to_arrays(one))
                assert list(map(steps, again)) == list(map(steps, one))

    def test_numpy_and_torch_agree(self) -> None:
        """Dense tensors, gauges, sums and values, from the same numbers; needs torch."""
        for chain, rng in self._chains():
            other = self._other(chain, rng)
            scale = max(chain.norm() + other.norm(), 1.0) ** 2
            results = (_chain_results(c, other) for c in on_both(chain))
            for one, two in zip(*results, strict=True):
                self.close(two, one, scale=scale)
            leg = chain.sites[0]
            if str(chain.out) == "1x0e" and all(site == leg for site in chain.sites):
                legs = [random_blocks(irreps, 4, seed=rng) for irreps in (chain.start, leg)]
                for one, two in zip(*(_values(c, legs) for c in on_both(chain)), strict=True):
                    self.close(two, one)


def _product(cores: tuple[Core, ...]) -> Array:
    dense = as_double(cores[0].to_dense())
    for core in cores[1:]:
        dense = np.tensordot(dense, as_double(core.to_dense()), 1)
    return dense


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
