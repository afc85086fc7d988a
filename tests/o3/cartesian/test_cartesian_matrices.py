"""Matrices between full tensors and the orthonormal packing."""

from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt
import pytest
import sympy

from etn.errors import IrrepsError
from etn.o3 import spherical_harmonics
from etn.o3.cartesian.constants import norm_constant
from etn.o3.cartesian.exact import monomials
from etn.o3.cartesian.matrices import check_bytes, full_places, packing_matrix, raising
from etn.o3.cartesian.packing import pack

Array = npt.NDArray[np.float64]


@pytest.mark.parametrize("l", range(7))
def test_packing_matrix_is_orthonormal_and_gives_the_harmonics(
    l: int, rng: np.random.Generator
) -> None:
    U, S = packing_matrix(l), packing_matrix(l, scaled=True)
    np.testing.assert_allclose(U @ U.T, np.eye(2 * l + 1), atol=1e-14)
    np.testing.assert_allclose(S @ S.T, float(norm_constant(l)) * np.eye(2 * l + 1), atol=1e-14)
    # S vec T^l(r) is the harmonic of unit norm, and traces do not matter: T^l is r^l over s_l.
    r = rng.normal(size=(5, 3))
    r /= np.linalg.norm(r, axis=1, keepdims=True)
    Y = spherical_harmonics(l, r)[:, l * l :] * np.sqrt(4 * np.pi / (2 * l + 1))
    found = power(r, l).reshape(5, -1) @ S.T / float(norm_constant(l))
    np.testing.assert_allclose(found, Y, atol=1e-13)


@pytest.mark.parametrize("l", range(5))
def test_exact_packing_matrix(l: int) -> None:
    for scaled in (False, True):
        S = packing_matrix(l, scaled=scaled, exact=True)
        assert not S.has(sympy.Float)
        norm = sympy.Rational(*norm_constant(l).as_integer_ratio()) if scaled else 1
        assert (S * S.T - norm * sympy.eye(2 * l + 1)).is_zero_matrix
        found = np.array(S.tolist(), dtype=float)
        np.testing.assert_allclose(packing_matrix(l, scaled=scaled), found, atol=1e-15)


@pytest.mark.parametrize("l", range(1, 7))
def test_chain_of_couplings_is_the_packing_matrix(l: int) -> None:
    V = raising(l)
    np.testing.assert_allclose(np.einsum("cax,dax->cd", V, V), np.eye(2 * l + 1), atol=1e-14)
    full = np.eye(3**l).reshape(3**l, *(3,) * l)
    np.testing.assert_allclose(pack(full, l, check=False), packing_matrix(l).T, atol=1e-14)


def power(r: Array, l: int) -> Array:
    """The full tensor r r ... r."""
    out = np.ones(r.shape[:-1])
    for _ in range(l):
        out = out[..., None] * r.reshape(*r.shape[:-1], *(1,) * (out.ndim - r.ndim + 1), 3)
    return out


@pytest.mark.parametrize("l", range(5))
def test_places_count_the_letters(l: int) -> None:
    places = full_places(l)
    known = list(monomials(l))
    for place, index in zip(places, itertools.product(range(3), repeat=l), strict=True):
        assert tuple(known[place]) == tuple(index.count(axis) for axis in range(3))


def test_memory_is_checked_first() -> None:
    check_bytes(8, 8, 64, "a tensor")
    with pytest.raises(IrrepsError, match=r"a tensor takes 2\.0 GiB, .* max_bytes = 1\.0 GiB"):
        check_bytes(2**28, 8, 2**30, "a tensor")
    with pytest.raises(IrrepsError, match="the packing matrix of degree 20 takes"):
        packing_matrix(20)
