"""Batches against their limits, and the centers that feel a force by brute force."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from etn.potential import Basis, Frame
from etn.potential.features.batching import (
    ATOMS_AT_ONCE,
    ATOMS_PER_BATCH,
    BatchLimits,
    force_parts,
    frame_batches,
    join_frames,
    most_atoms,
    neighbourhoods,
    sample_parts,
)
from etn.potential.features.pairs import Pairs

BASIS = Basis(("Cu",), r_max=3.0, n_max=2, l_max=1)
sizes = st.lists(st.integers(1, 300), max_size=8)


def frames_of(sizes):
    """Frames of so many atoms in a row, without neighbours."""
    return [
        Frame([29] * n, 9.0 * np.arange(n)[:, None] * [1, 0, 0], np.zeros((3, 3)), [False] * 3)
        for n in sizes
    ]


@given(sizes)
def test_frames_are_predicted_in_order_up_to_256_atoms_together(sizes):
    frames = frames_of(sizes)
    batches = list(frame_batches(frames))
    assert [frame for batch in batches for frame in batch] == frames
    counts = [sum(frame.n_atoms for frame in batch) for batch in batches]
    for batch, count in zip(batches, counts, strict=True):
        assert count <= ATOMS_AT_ONCE or len(batch) == 1
    # No batch could have taken the first frame of the next one.
    for count, after in zip(counts, batches[1:], strict=False):
        assert count + after[0].n_atoms > ATOMS_AT_ONCE


@given(st.lists(st.integers(1, 30), min_size=1, max_size=12), st.sampled_from([None, 40, 150]))
def test_frames_of_a_fit_are_joined_within_the_limits(sizes, rows):
    frames, limits = frames_of(sizes), BatchLimits(directions=1e6, rows=rows)
    batches = list(join_frames(frames, BASIS, limits))
    assert [frame for batch in batches for frame in batch] == frames
    for batch in batches:
        n = sum(frame.n_atoms for frame in batch)
        if len(batch) == 1:
            continue
        # Full batches take no more: what was there before the last frame is below 48 atoms.
        assert n - batch[-1].n_atoms < ATOMS_PER_BATCH
        # 3 n force rows of the derivatives of n legs, in doubles.
        assert 8.0 * 3 * n * BASIS.leg.dim * n <= limits.directions
        assert rows is None or 3 * n + 7 * len(batch) <= rows


@given(st.integers(1, 200), st.integers(1, 50), st.integers(0, 2**16))
def test_neighbourhoods_are_small_parts_of_all_atoms(n, size, seed):
    rng = np.random.default_rng(seed)
    atoms = rng.permutation(2 * n)[:n]
    parts = list(neighbourhoods(atoms, rng.normal(size=(2 * n, 3)), size))
    assert sorted(np.concatenate(parts)) == sorted(atoms)
    for part in parts:
        assert 1 <= len(part) <= size
        assert np.all(np.diff(part) > 0)


def test_atoms_are_halved_along_the_longest_side():
    positions = np.array([[0, 0, 0], [0, 0, 9.0], [1, 0, 1], [0, 1, 8.0]])
    parts = neighbourhoods(np.arange(4), positions, 2)
    assert [part.tolist() for part in parts] == [[0, 2], [1, 3]]


@pytest.fixture
def row(rng):
    """A long periodic row of atoms, each with neighbours on both sides only."""
    positions = np.cumsum(rng.uniform(1.2, 1.8, size=(40, 1)), axis=0) * [1.0, 0, 0]
    cell = np.diag([positions[-1, 0] + 1.5, 20, 20])
    frame = Frame([29] * 40, positions, cell, [True, False, False])
    return frame, Pairs.find([frame], BASIS.elements, BASIS.r_max)


def test_parts_of_the_forces_have_the_centers_that_feel_them(row):
    frame, pairs = row
    x, length = frame.positions[:, 0], frame.cell[0, 0]
    apart = np.abs(x[:, None] - x)
    apart = np.minimum(apart, length - apart)
    limits = BatchLimits(rows=20)
    parts = list(force_parts(pairs, np.arange(40), [frame], BASIS, limits))
    assert sorted(np.concatenate([atoms for atoms, _ in parts])) == list(range(40))
    for atoms, felt in parts:
        assert 3 * len(atoms) <= limits.rows
        near = np.flatnonzero((apart[:, atoms] < BASIS.r_max).any(axis=1))
        np.testing.assert_array_equal(felt.sample, near)
        assert len(felt.sample) < 40
    ((atoms, whole),) = force_parts(pairs, np.arange(40), [frame], BASIS)
    assert whole is pairs
    assert len(atoms) == 40


def test_most_atoms_is_what_the_derivatives_allow(row):
    _, pairs = row
    each = 8.0 * 3 * BASIS.leg.dim * pairs.n_samples
    assert most_atoms(pairs, BASIS, BatchLimits(directions=7.5 * each)) == 7
    assert most_atoms(pairs, BASIS, BatchLimits(directions=7.5 * each, rows=13)) == 4
    assert most_atoms(pairs, BASIS, BatchLimits(directions=1.0)) == 1


def test_centers_are_taken_in_parts(row, monkeypatch):
    _, pairs = row
    assert [part is pairs for part in sample_parts(pairs)] == [True]
    monkeypatch.setattr("etn.potential.features.batching.ATOMS_AT_ONCE", 16)
    parts = list(sample_parts(pairs))
    assert [part.n_samples for part in parts] == [16, 16, 8]
    np.testing.assert_array_equal(np.concatenate([p.sample for p in parts]), pairs.sample)
    np.testing.assert_array_equal(np.concatenate([p.vector for p in parts]), pairs.vector)
