"""Rows of a chain and their derivatives by all cores, against finite differences."""

from __future__ import annotations

import numpy as np
import pytest

from etn.network import Chain, evaluate
from etn.network.derivatives import BatchRows
from etn.testing import random_batch

CASES = [
    # leg, start, number of sites
    ("2x0e+2x1o+1x2e", "3x0e", 3),
    ("1x0e+1x0o+1x1e+1x1o", "1x0e", 2),
    ("1x1o+1x0e+1x1o", "1x0e+1x1o", 4),
    ("2x0e+1x1o", "2x0e", 1),
]


def drawn(leg, start, n_sites):
    chain = Chain.random([leg] * n_sites, start=start, max_bond=2, seed=1)
    samples = random_batch(chain, seed=2, n_samples=6, n_sums=2, n_tangents=3).samples
    rng = np.random.default_rng(3)
    changes = [core.from_vector(rng.normal(size=core.n_parameters)) for core in chain]
    return chain, samples, changes


def moved(chain, changes, step):
    """The chain with every core moved along its change."""
    return Chain(
        [
            core.from_vector(core.to_vector() + step * change.to_vector())
            for core, change in zip(chain, changes, strict=True)
        ]
    )


def difference(values, h):
    """Derivative at 0 of a function on the grid -2h, -h, h, 2h, to fourth order."""
    return (values[0] - 8 * values[1] + 8 * values[2] - values[3]) / (12 * h)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_rows_are_sums_of_values_and_their_differences_along_the_directions(case):
    chain, samples, _ = drawn(*case)
    rows, h = BatchRows(chain, samples).values, 1e-3
    values = evaluate(chain, samples.start, samples.site)
    member = np.arange(samples.n_samples) % samples.n_sums
    sums = [values[member == row].sum() for row in range(samples.n_sums)]
    np.testing.assert_allclose(rows[: samples.n_sums], sums, rtol=0, atol=1e-12)
    for row in range(samples.n_sums, samples.n_rows):
        ends = []
        for t in (-2 * h, -h, h, 2 * h):
            along = {
                ir: v + t * samples.directions[ir][:, :, row].transpose(2, 0, 1)
                for ir, v in samples.site.items()
            }
            ends.append(evaluate(chain, samples.start, along).sum())
        assert rows[row] == pytest.approx(difference(ends, h), abs=1e-7 * np.abs(rows).max())


@pytest.mark.parametrize("case", CASES, ids=str)
def test_pushed_changes_are_finite_differences_of_the_rows(case):
    chain, samples, changes = drawn(*case)
    h = 1e-3
    ends = [BatchRows(moved(chain, changes, t), samples).values for t in (-2 * h, -h, h, 2 * h)]
    pushed = BatchRows(chain, samples).push(changes)
    scale = np.abs(pushed).max()
    np.testing.assert_allclose(pushed, difference(ends, h), rtol=0, atol=1e-7 * scale)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_pulled_weights_are_the_transpose_of_pushed_changes(case, rng):
    chain, samples, changes = drawn(*case)
    rows, weights = BatchRows(chain, samples), rng.normal(size=samples.n_rows)
    pulled = rows.pull(weights)
    assert [core.legs for core in pulled] == [core.legs for core in chain]
    inner = sum(
        float(one.to_vector() @ two.to_vector()) for one, two in zip(pulled, changes, strict=True)
    )
    assert inner == pytest.approx(float(weights @ rows.push(changes)), rel=1e-11)
