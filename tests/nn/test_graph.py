"""Graphs: every pair once, and forces and stress from one gradient."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from etn.data.neighbours import neighbour_list
from etn.nn.graph import Batch, Graph
from etn.potential.features.pairs import Pairs


def batch_of(frames, **options):
    return Batch.of(Pairs.find(frames, ("Nb", "Mo"), 3.4), **options)


def test_every_pair_is_there_once_and_its_edges_are_the_neighbour_list(rng, frames):
    for frame in frames(rng, [41, 42]):
        batch = batch_of([frame])
        i, j, vector, _ = neighbour_list(frame, 3.4)
        graph = Graph(
            batch.first, batch.second, batch.vector.norm(dim=1), batch.vector, batch.element,
            torch.zeros(batch.n_atoms),
        )  # fmt: skip
        edges = graph.edges()
        found = np.column_stack([edges.center, edges.neighbor, edges.direction.numpy().round(9)])
        expected = np.column_stack([i, j, vector.round(9)])
        assert sorted(map(tuple, found + 0.0)) == sorted(map(tuple, expected + 0.0))


def test_forces_and_strain_are_derivatives_by_positions_and_cell(rng, frames):
    # The energy sum of k(r) over pairs, whose derivatives need no graph: dense sums over images.
    for frame in frames(rng, [41, 42]):
        batch = batch_of([frame])
        gradient = torch.as_tensor(rng.normal(size=tuple(batch.vector.shape)))
        forces, strain = batch.forces(gradient), batch.strain(gradient)
        moved = torch.as_tensor(rng.normal(size=(frame.n_atoms, 3)))
        by_hand = ((moved[batch.second] - moved[batch.first]) * gradient).sum()
        torch.testing.assert_close((-forces * moved).sum(), by_hand)
        epsilon = torch.as_tensor(rng.normal(size=(3, 3)))
        torch.testing.assert_close(
            (strain[0] * epsilon).sum(), ((batch.vector @ epsilon) * gradient).sum()
        )


def test_charges_and_precision(rng, frames):
    some = zip(frames(rng, [41, 42])[:2], (1, -2), strict=True)
    batch = batch_of([replace(frame, charge=q) for frame, q in some], dtype=torch.float32)
    assert batch.charge.tolist() == [1.0, -2.0]
    assert batch.vector.dtype == torch.float32
    assert batch.n_frames == 2
    assert batch.to("cpu").frame.tolist() == [0] * 5 + [1] * 5
