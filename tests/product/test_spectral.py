"""Bounds of the spectral norm against maximization and known norms."""

from __future__ import annotations

import numpy as np
import pytest

from etn.errors import CoreError
from etn.product.spectral import spectral_norm_bound


def largest_value(T, rng, starts=10, steps=60):
    """Spectral norm from below: alternating maximization over unit vectors."""
    best = 0.0
    for _ in range(starts):
        vectors = [rng.normal(size=dim) for dim in T.shape]
        vectors = [vector / np.linalg.norm(vector) for vector in vectors]
        for step in range(steps):
            site = step % 3
            operands = [v for n, v in enumerate(vectors) if n != site]
            new = np.moveaxis(T, site, 0) @ operands[1] @ operands[0]
            best, vectors[site] = max(best, np.linalg.norm(new)), new / np.linalg.norm(new)
    return best


@pytest.mark.parametrize("shape", [(3, 4, 5), (9, 9, 9), (1, 6, 2), (16, 3, 3), (2, 1, 1)])
def test_bound_of_the_spectral_norm(shape, rng):
    T = rng.normal(size=shape)
    bound = spectral_norm_bound(T)
    unfoldings = [
        np.linalg.norm(np.moveaxis(T, leg, 0).reshape(shape[leg], -1), 2) for leg in range(3)
    ]
    assert largest_value(T, rng) * (1 - 1e-12) <= bound <= min(unfoldings) * (1 + 1e-12)


def test_bound_is_tight_where_the_norm_is_known(rng):
    q = [np.linalg.qr(rng.normal(size=(6, 4)))[0] for _ in range(3)]
    diagonal = np.einsum("r,ir,jr,kr->ijk", [3.0, 2.0, 1.0, 0.5], *q)
    assert spectral_norm_bound(diagonal) == pytest.approx(3.0, rel=1e-12)
    matrix = rng.normal(size=(5, 7))
    assert spectral_norm_bound(matrix) == pytest.approx(np.linalg.norm(matrix, 2), rel=1e-12)
    assert spectral_norm_bound(1e-200 * matrix) == pytest.approx(
        1e-200 * np.linalg.norm(matrix, 2), rel=1e-12
    )
    assert spectral_norm_bound(np.zeros((2, 2, 2))) == 0.0


def test_bound_beats_unfoldings_of_irregular_tensors(rng):
    T = rng.normal(size=(25, 25, 25))
    assert spectral_norm_bound(T) < 0.75 * np.linalg.norm(T.reshape(25, -1), 2)


def test_bound_needs_a_leg():
    with pytest.raises(CoreError, match="at least one leg"):
        spectral_norm_bound(1.0)
