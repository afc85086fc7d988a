"""Laws of cores."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from etn.backend import FloatArray as Array
from etn.backend import to_numpy
from etn.errors import CoreError
from etn.network import load, save
from etn.o3 import Irrep, clebsch_gordan
from etn.o3.rotation import irreps_d
from etn.tensor import (
    Core,
    Factors,
    Singular,
    Truncation,
    absorb_back,
    isometry_error,
    matricize,
    polar,
    qr,
    svd,
)
from etn.testing.suite import (
    Laws,
    as_double,
    assert_c_order,
    on_both,
    orthogonals,
    steps,
)

SCALAR = Irrep(0, 1)


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
            dense = as_double(core.to_dense())
            rest = dense.copy()
            for path, block in core:
                at = [leg.indices(ir) for leg, ir in zip(core.legs, path, strict=True)]
                structure = _structure(path)
                reduced = as_double(block)
                for r in np.ndindex(reduced.shape):
                    index = np.ix_(*(rows[k] for rows, k in zip(at, r, strict=True)))
                    self.close(dense[index], reduced[r] * structure, scale=core.norm())
                    rest[index] = 0.0
            self.close(rest, np.zeros_like(rest), scale=core.norm())

    def test_norm_is_the_dense_norm(self) -> None:
        """||T||^2 = sum (2 l + 1) ||block||^2."""
        for core, _ in self._cores():
            dense = float(np.linalg.norm(as_double(core.to_dense())))
            self.close(core.norm(), dense, scale=dense)
            weighted = core.metric() @ as_double(core.to_vector()) ** 2
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
            scale = float(np.linalg.norm(as_double(total))) + 1e-300
            self.close(projection.core.to_vector(), core.to_vector(), scale=scale)
            self.close(projection.residual, float(np.linalg.norm(noise)), scale=scale)
            self.close(np.vdot(noise, as_double(core.to_dense())), 0.0, scale=scale**2)

    def test_vector_round_trip(self) -> None:
        """from_vector inverts to_vector, bit by bit."""
        for core, _ in self._cores():
            again = core.from_vector(core.to_vector())
            assert len(core.to_vector()) == core.n_parameters
            for path, block in core:
                np.testing.assert_array_equal(to_numpy(again.blocks[path]), to_numpy(block))

    def test_blocks_stand_in_c_order(self) -> None:
        """Also where they are given in another order, and in all that is made of a core.

        They stand the same before the core is saved as once it is loaded.
        """
        for core, _ in self._cores():
            xp, axes = core.kind.xp, tuple(range(core.order))[::-1]
            turned = {
                path: xp.permute_dims(core.kind.array(to_numpy(b).T.copy()), axes)
                for path, b in core
            }
            other = core.replace(turned)
            for path, block in core:
                np.testing.assert_array_equal(to_numpy(other.blocks[path]), to_numpy(block))
            made = [core, other, core.scale(2.0), core.from_vector(core.to_vector())]
            made += [core.to(dtype="float32"), Core.from_dense(core.to_dense(), core.legs).core]
            assert_c_order(*made)
            with tempfile.TemporaryDirectory() as folder:
                save(core, Path(folder) / "core.etn")
                again = load(Path(folder) / "core.etn")
            assert isinstance(again, Core)
            assert steps(again) == steps(core)
        for core, leg in self._legs():
            small = svd(core, leg, Truncation(max_multiplets=1))
            assert_c_order(qr(core, leg).isometry, small.isometry, absorb_back(small, leg))

    def test_rotations_and_inversion_leave_the_core_alone(self) -> None:
        """(D1 x D2 x D3) T = T for proper and improper rotations."""
        for core, rng in self._cores():
            dense = as_double(core.to_dense())
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
            for r in map(as_double, factors.bond.values()):
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
            for p in map(as_double, factors.bond.values()):
                self.close(p, p.T, scale=core.norm())
                assert np.linalg.eigvalsh(p).min() >= -self.allowed * core.norm()

    def test_singular_values_are_those_of_the_dense_matrix(self) -> None:
        """Each value of irrep l stands for 2 l + 1 of the dense matrix of a leg."""
        for core, leg in self._legs():
            dense = np.moveaxis(as_double(core.to_dense()), leg, -1)
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
                rest = as_double(core.to_dense()) - _restored(factors, core, leg)
                self.close(np.linalg.norm(rest), factors.discarded, scale=core.norm())
                self._isometry(factors.isometry, leg=leg)

    def _legs(self) -> Iterator[tuple[Core, int]]:
        """Every core with each of its legs that another leg can reach."""
        for core, _ in self._cores():
            if core.order > 1 and core.blocks:
                yield from ((core, leg) for leg in range(core.order))

    def _isometry(self, q: Core, *, leg: int) -> None:
        gram = _gram(as_double(q.to_dense()), leg)
        self.close(gram, np.eye(len(gram)), scale=1.0)
        self.close(isometry_error(q, leg=leg), 0.0, scale=1.0)

    def test_isometry_error_is_that_of_the_dense_core(self) -> None:
        """For a core that is no isometry too."""
        for core, leg in self._legs():
            gram = _gram(as_double(core.to_dense()), leg)
            dense = float(np.abs(gram - np.eye(len(gram))).max(initial=0.0))
            self.close(isometry_error(core, leg=leg), dense, scale=max(dense, 1.0))

    def test_a_gradient_is_pulled_back_to_the_blocks(self) -> None:
        """<pull_back(G), a> = <G, T(a)> for every dense G."""
        for core, rng in self._cores():
            dense = core.kind.array(rng.normal(size=tuple(leg.dim for leg in core.legs)))
            pulled = core.pull_back(dense)
            product = sum(float((as_double(pulled[path]) * as_double(b)).sum()) for path, b in core)
            expected = float((as_double(dense) * as_double(core.to_dense())).sum())
            self.close(
                product, expected, scale=float(np.linalg.norm(as_double(dense))) * core.norm()
            )

    def test_numpy_and_torch_agree(self) -> None:
        """Dense tensors, norms and factors, from the same numbers; needs torch to be installed."""
        for core, rng in self._cores():
            dense = rng.normal(size=tuple(leg.dim for leg in core.legs))
            scale = core.norm() + float(np.linalg.norm(dense))
            results = (_core_results(c, dense) for c in on_both(core))
            for one, two in zip(*results, strict=True):
                self.close(two, one, scale=scale)


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
    return as_double(core.replace(absorb_back(factors, leg).blocks).to_dense())


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
