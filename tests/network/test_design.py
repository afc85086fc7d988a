"""Design rows of one core against the dense contraction of the whole chain."""

from __future__ import annotations

import numpy as np
import pytest

from etn.network import Chain, left_environment, right_environment
from etn.network.design import CoreDesign
from etn.tensor import Core
from etn.testing import dense_leg, dense_value, random_batch

LEGS = ["2x0e+2x1o+1x2e", "1x0e+1x0o+1x1e+1x1o", "1x1o+1x0e+1x1o"]


def design_rows(chain, center, samples):
    design = CoreDesign(chain[center])
    left = left_environment(chain.cores[:center], samples, jacobian=True)
    right = right_environment(chain.cores[center + 1 :], samples, jacobian=True)
    return design, design.rows(samples, left, right)


def dense_rows(chain, samples):
    """The value of each row by brute force: sums of values, then directional derivatives."""
    start, v = dense_leg(chain.start, samples.start), dense_leg(chain.sites[0], samples.site)
    out = []
    for row in range(samples.n_rows):
        along = dense_leg(
            chain.sites[0],
            {ir: d[:, :, row].transpose(2, 0, 1) for ir, d in samples.directions.items()},
        )
        if row < samples.n_sums:
            member = np.any(along != 0, axis=0)
            out.append(dense_value(chain, [start, *[v] * len(chain)])[0][member].sum())
            continue
        total = 0.0
        for k in range(len(chain)):
            legs = [v] * len(chain)
            legs[k] = along
            total += dense_value(chain, [start, *legs])[0].sum()
        out.append(total)
    return np.array(out)


@pytest.mark.parametrize("start", ["1x0e", "3x0e", "1x0e+1x1o"])
@pytest.mark.parametrize("leg", LEGS)
@pytest.mark.parametrize("n_sites", [1, 2, 3, 4])
def test_rows_times_core_are_sums_and_derivatives(n_sites, leg, start):
    chain = Chain.random([leg] * n_sites, start=start, max_bond=2, seed=n_sites)
    samples = random_batch(chain, seed=3, n_samples=6, n_sums=3, n_tangents=4).samples
    expected = dense_rows(chain, samples)
    for center in range(n_sites):
        design, rows = design_rows(chain, center, samples)
        got = rows @ design.from_core(chain[center])
        np.testing.assert_allclose(got, expected, rtol=0, atol=1e-12 * np.abs(expected).max())


@pytest.mark.parametrize("center", [0, 1, 2])
def test_each_column_is_the_answer_to_one_parameter(center):
    chain = Chain.random(["2x0e+2x1o"] * 3, start="2x0e", max_bond=2, seed=4)
    samples = random_batch(chain, seed=3, n_samples=5, n_sums=2, n_tangents=3).samples
    design, rows = design_rows(chain, center, samples)
    assert rows.shape == (5, chain[center].n_parameters)
    for column in range(design.columns):
        one = np.zeros(design.columns)
        one[column] = 1.0
        changed = chain.replace(center, design.to_core(one))
        np.testing.assert_allclose(rows[:, column], dense_rows(changed, samples), atol=1e-12)


def test_rows_are_finite_differences_of_the_summed_values():
    from etn.network import evaluate

    chain = Chain.random(["2x0e+2x1o+1x2e"] * 4, start="2x0e", max_bond=2, seed=4)
    samples = random_batch(chain, seed=3, n_samples=8, n_sums=1, n_tangents=6).samples
    design, rows = design_rows(chain, 2, samples)
    got = rows @ design.from_core(chain[2])
    h = 1e-3
    for row in range(1, 7):
        at = [
            evaluate(
                chain,
                samples.start,
                {
                    ir: v + t * h * samples.directions[ir][:, :, row].transpose(2, 0, 1)
                    for ir, v in samples.site.items()
                },
            ).sum()
            for t in (-2, -1, 1, 2)
        ]
        finite = (at[0] - 8 * at[1] + 8 * at[2] - at[3]) / (12 * h)
        assert got[row] == pytest.approx(finite, rel=1e-7, abs=1e-7 * np.abs(got).max())


def test_batches_without_sums_or_without_tangents():
    chain = Chain.random(["2x0e+2x1o"] * 3, max_bond=2, seed=4)
    for sums, tangents in ((0, 5), (5, 0)):
        samples = random_batch(chain, seed=3, n_sums=sums, n_tangents=tangents).samples
        design, rows = design_rows(chain, 1, samples)
        expected = dense_rows(chain, samples)
        np.testing.assert_allclose(rows @ design.from_core(chain[1]), expected, atol=1e-11)


def test_core_and_column_order_are_inverse():
    core = Core.random(["2x0e+1x1o", "1x1o+2x0e+1x2e", "1x0e+2x1o"], seed=1)
    design = CoreDesign(core)
    assert sorted(design.order) == list(range(core.n_parameters))
    again = design.to_core(design.from_core(core))
    np.testing.assert_array_equal(again.to_vector(), core.to_vector())
