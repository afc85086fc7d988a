from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt
import pytest

from etn.o3 import clebsch_gordan
from etn.o3.cartesian.histories import histories, invariants, multiplicities, projector
from etn.o3.cartesian.indices import parse

FORMULAS = [
    "ij=ji",
    "ij=-ji",
    "ijk=jki",
    "ijk=jik=jki",
    "ijk=-jik=-ikj",
    "ijkl=jikl=klij",
    "ijkl=-jikl=-ijlk",
    "ijkl=-klij",
    "ijklm=jiklm=ijmkl",
]


def assert_close(actual: npt.ArrayLike, expected: npt.ArrayLike, tolerance: float) -> None:
    np.testing.assert_allclose(actual, expected, rtol=0, atol=tolerance)


def dense_path(history: tuple[int, ...]) -> npt.NDArray[np.float64]:
    """One path by the plain chain of Clebsch-Gordan tensors, axes (x, y, z)."""
    tensor = np.ones(1)
    for before, after in itertools.pairwise((0, *history)):
        C = clebsch_gordan(before, 1, after)[:, [2, 0, 1]]
        tensor = np.tensordot(tensor, C, axes=1)
    return tensor


def dense_average(formula: str, tensor: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Average over all permutations of the group, found by trying them all."""
    symmetry = parse(formula)
    signs = {tuple(range(symmetry.rank)): 1}
    grown = True
    while grown:
        grown = False
        for axes, sign in list(signs.items()):
            for generator in symmetry.generators:
                product = tuple(axes[d] for d in generator.axes)
                if product not in signs:
                    signs[product] = sign * generator.sign
                    grown = True
    moved = (s * tensor.transpose(*axes, symmetry.rank) for axes, s in signs.items())
    return sum(moved) / len(signs)


# Central trinomial coefficients (OEIS A002426) and Riordan numbers (A005043).
TRINOMIALS = [1, 3, 7, 19, 51, 141, 393, 1107, 3139]
RIORDAN = [0, 1, 1, 3, 6, 15, 36, 91, 232]


@pytest.mark.parametrize("rank", range(1, 10))
def test_counts(rank: int) -> None:
    counts = multiplicities(rank)
    assert sum(counts) == TRINOMIALS[rank - 1]
    assert counts[0] == RIORDAN[rank - 1]
    assert sum((2 * l + 1) * count for l, count in enumerate(counts)) == 3**rank


def test_counts_without_indices() -> None:
    assert multiplicities(0) == (1,)
    assert histories(0) == (((),),)


@pytest.mark.parametrize("rank", range(1, 7))
def test_histories(rank: int) -> None:
    found = histories(rank)
    assert tuple(map(len, found)) == multiplicities(rank)
    for l, own in enumerate(found):
        assert len(set(own)) == len(own)
        assert [h[::-1] for h in own] == sorted(h[::-1] for h in own)
        for history in own:
            assert history[-1] == l
            for a, b in itertools.pairwise((0, *history)):
                assert abs(a - 1) <= b <= a + 1


@pytest.mark.parametrize("formula", FORMULAS)
def test_projector_is_the_average_of_dense_tensors(formula: str) -> None:
    rank = parse(formula).rank
    for l, own in enumerate(histories(rank)):
        if not own:
            continue
        dense = np.stack([dense_path(history) for history in own])
        average = np.stack([dense_average(formula, tensor) for tensor in dense])
        axes = list(range(1, rank + 2))
        expected = np.tensordot(dense, average, (axes, axes)) / (2 * l + 1)
        assert_close(projector(parse(formula), own), expected, 1e-13)


@pytest.mark.parametrize("formula", [*FORMULAS, "abcdef=bacdef=cdabef=efcdab", "abcdef=bacdef"])
def test_invariants_are_an_orthonormal_basis(formula: str) -> None:
    symmetry = parse(formula)
    for own in histories(symmetry.rank):
        P = projector(symmetry, own)
        V = invariants(symmetry, own)
        assert_close(V.T @ V, P, 1e-13)
        assert_close(V @ V.T, np.eye(len(V)), 1e-13)


def test_signs_of_the_basis_are_fixed() -> None:
    for formula in FORMULAS:
        symmetry = parse(formula)
        for own in histories(symmetry.rank):
            V = invariants(symmetry, own)
            for number, row in enumerate(V):
                # The history that it was made from is in no later combination.
                last = (abs(row) > 1e-12) & (abs(V[number + 1 :]) < 1e-12).all(axis=0)
                assert (row[last] > 0).any()


def test_fully_symmetric_tensors_hold_every_other_degree() -> None:
    symmetry = parse("abcdefg=bacdefg=bcdefga")
    found = [len(invariants(symmetry, own)) for own in histories(7)]
    assert found == [0, 1, 0, 1, 0, 1, 0, 1]
