"""Matrices of a bond as one vector, and where their entries stand in a core."""

from __future__ import annotations

import numpy as np
import pytest

from etn.network import Chain
from etn.sweep.regression.bond_matrices import from_vector, matrix_entries, to_vector
from etn.tensor import Core, matricize, merge

LEGS = ["2x0e+1x1o", "1x0e+2x1o+1x2e", "3x0e+2x1o+1x2e"]


@pytest.mark.parametrize("leg", [0, 2])
def test_there_and_back(leg):
    matrices = matricize(Core.random(LEGS, seed=0), leg)
    vector = to_vector(matrices)
    shapes = {ir: matrices[ir].shape for ir in sorted(matrices)}
    back = from_vector(vector, shapes)
    assert list(back) == sorted(matrices)
    for ir, matrix in matrices.items():
        # Multiplied and divided by sqrt(2 j + 1): two roundings.
        np.testing.assert_allclose(back[ir], matrix, rtol=1e-15)


def test_the_norm_of_the_vector_is_that_of_the_dense_tensor():
    core = Core.random(LEGS, seed=1)
    chain = Chain.random([LEGS[1]] * 3, max_bond=2, seed=2).canonicalize(1)
    pair = merge(chain[1], chain[2])
    for vector, dense in (
        (to_vector(matricize(core, 2)), core.to_dense()),
        (to_vector(pair.matrices), chain.to_dense()),
    ):
        assert np.linalg.norm(vector) == pytest.approx(np.linalg.norm(dense), rel=1e-13)


@pytest.mark.parametrize("leg", [0, 2])
def test_entries_of_the_matrices_are_those_of_the_core(leg):
    core = Core.random(LEGS, seed=3)
    vector, entries = core.to_vector(), matrix_entries(core, leg)
    matrices = matricize(core, leg)
    assert set(entries) == set(matrices)
    for ir, (indices, weights) in entries.items():
        np.testing.assert_allclose(matrices[ir], weights * vector[indices], rtol=1e-14)
    # Each entry of the core stands in one place.
    places = np.concatenate([indices.ravel() for indices, _ in entries.values()])
    np.testing.assert_array_equal(np.sort(places), np.arange(core.n_parameters))


def test_torch_vectors():
    torch = pytest.importorskip("torch")
    matrices = matricize(Core.random(LEGS, seed=4), 2)
    there = {ir: torch.tensor(matrix) for ir, matrix in matrices.items()}
    np.testing.assert_allclose(to_vector(there).numpy(), to_vector(matrices), rtol=1e-15)
