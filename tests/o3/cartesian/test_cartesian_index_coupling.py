"""Coupling of indices one after the other, against dense Clebsch-Gordan tensors."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from etn.o3 import clebsch_gordan
from etn.o3.cartesian.histories import histories
from etn.o3.cartesian.index_coupling import couple, path_tensors, uncouple

Array = npt.NDArray[np.float64]

XYZ = [2, 0, 1]


def dense_path(history: tuple[int, ...]) -> Array:
    """The tensor of a history, shape (3, ..., 3, 2l+1): vectors coupled from left to right."""
    tensor, last = np.ones((1,)), 0
    for l in history:
        # Places of x, y, z among the components of degree 1, which are (y, z, x).
        C = clebsch_gordan(last, 1, l)[:, XYZ, :]
        tensor, last = np.tensordot(tensor, C, 1), l
    return tensor


@pytest.mark.parametrize("rank", range(1, 5))
def test_components_are_contractions_with_the_paths(rank: int, rng: np.random.Generator) -> None:
    T = rng.normal(size=(3**rank, 2))
    blocks = couple(T, rank)
    assert sorted(blocks) == [l for l, known in enumerate(histories(rank)) if known]
    for l, known in enumerate(histories(rank)):
        if not known:
            continue
        assert blocks[l].shape == (2 * l + 1, len(known), 2)
        for path, history in enumerate(known):
            expected = dense_path(history).reshape(3**rank, -1).T @ T
            np.testing.assert_allclose(blocks[l][:, path], expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize("rank", range(1, 5))
def test_path_tensors_are_the_dense_ones(rank: int) -> None:
    degrees = [l for l, known in enumerate(histories(rank)) if known]
    found = path_tensors(rank, degrees)
    for l in degrees:
        expected = [dense_path(history).reshape(3**rank, -1) for history in histories(rank)[l]]
        np.testing.assert_allclose(found[l], np.stack(expected, axis=1), rtol=0, atol=1e-14)


@pytest.mark.parametrize("rank", range(6))
def test_uncoupling_is_the_inverse_and_the_transpose(rank: int, rng: np.random.Generator) -> None:
    T, S = rng.normal(size=(2, 3**rank, 3))
    blocks = couple(T, rank)
    np.testing.assert_allclose(uncouple(dict(blocks), rank), T, rtol=0, atol=1e-13)
    other = couple(S, rank)
    inner = sum(float((blocks[l] * other[l]).sum()) for l in blocks)
    assert inner == pytest.approx(float((T * S).sum()), abs=1e-11)


def test_degrees_left_out_are_zero(rng: np.random.Generator) -> None:
    block = rng.normal(size=(3, 6, 1))
    found = couple(uncouple({1: block}, 4), 4)
    np.testing.assert_allclose(found[1], block, rtol=0, atol=1e-13)
    assert max(abs(found[l]).max() for l in (0, 2, 3, 4)) < 1e-13


def test_torch_gives_what_numpy_gives(rng: np.random.Generator) -> None:
    torch = pytest.importorskip("torch")
    T = rng.normal(size=(27, 2))
    blocks = couple(torch.from_numpy(T), 3)
    for l, block in couple(T, 3).items():
        np.testing.assert_allclose(blocks[l].numpy(), block, rtol=0, atol=1e-14)
    np.testing.assert_allclose(uncouple(blocks, 3).numpy(), T, rtol=0, atol=1e-13)
