"""Random inputs: what they promise, and dense values against an einsum."""

from __future__ import annotations

import numpy as np
import pytest

from etn.backend import Kind
from etn.errors import CoreError
from etn.network import Chain
from etn.o3 import Irrep, Irreps
from etn.testing import dense_leg, dense_value, random_batch, random_blocks

LEG = Irreps("3x0e+2x1o")
SCALAR = Irrep("0e")


def test_blocks_have_the_shapes_of_their_irreps():
    blocks = random_blocks("3x0e+2x1o+1x1o", 5, seed=1)
    assert {str(ir): b.shape for ir, b in blocks.items()} == {"0e": (3, 1, 5), "1o": (3, 3, 5)}
    single = random_blocks(LEG, 5, seed=1, kind=Kind(dtype="float32"))
    assert single[SCALAR].dtype == np.float32
    np.testing.assert_allclose(single[SCALAR], random_blocks(LEG, 5, seed=1)[SCALAR], rtol=1e-6)


def test_a_dense_leg_runs_over_terms_multiplicities_and_m():
    irreps = Irreps("1x1o+2x0e+1x1o")
    scalar = np.arange(4.0).reshape(2, 1, 2)
    vector = 10 + np.arange(12.0).reshape(2, 3, 2)
    dense = dense_leg(irreps, {SCALAR: scalar, Irrep("1o"): vector})
    expected = np.concatenate([vector[0], scalar[:, 0], vector[1]])
    np.testing.assert_array_equal(dense, expected)


def test_a_batch_is_sums_of_values_and_derivatives():
    chain = Chain.random([LEG] * 3, start="2x0e", max_bond=2, seed=0)
    batch = random_batch(chain, seed=2, n_samples=7, n_sums=3, n_tangents=4)
    samples = batch.samples
    assert (samples.n_samples, samples.n_sums, samples.n_rows) == (7, 3, 7)
    assert batch.targets.shape == batch.weights.shape == (7,)
    assert batch.weights.min() > 0
    # The start of a sample is one element, and its first channel is the constant.
    np.testing.assert_array_equal(samples.start[SCALAR].sum(axis=0), 1.0)
    assert set(np.unique(samples.start[SCALAR])) == {0.0, 1.0}
    np.testing.assert_array_equal(samples.site[SCALAR][0], 1.0)
    for ir, d in samples.directions.items():
        # Each sample is in the sum of its number modulo three, with its own leg.
        for sample in range(7):
            expected = np.zeros((ir.dim, 3, LEG.count(ir)))
            expected[:, sample % 3] = samples.site[ir][:, :, sample].T
            np.testing.assert_array_equal(d[:, sample, :3], expected)
    assert not samples.directions[SCALAR][:, :, 3:, 0].any()
    free = random_batch(chain, seed=2, n_sums=0, n_tangents=4, constant=False)
    assert free.samples.directions[SCALAR][..., 0].all()


def test_one_seed_is_one_batch():
    chain = Chain.random([LEG] * 2, start="1x0e+1x1o", max_bond=2, seed=0)
    one, two, other = (random_batch(chain, seed=seed) for seed in (5, 5, 6))
    np.testing.assert_array_equal(one.targets, two.targets)
    assert np.any(one.targets != other.targets)
    # A start that is no set of scalars is as random as a leg.
    assert not np.isin(one.samples.start[SCALAR], [0.0, 1.0]).any()


def test_sites_must_read_one_leg():
    chain = Chain.random([LEG, "1x0e"], max_bond=2, seed=0)
    with pytest.raises(CoreError, match=r"read the same leg, got 3x0e\+2x1o, 1x0e"):
        random_batch(chain)


def test_a_dense_value_is_the_sum_over_all_legs(rng):
    chain = Chain.random([LEG] * 2, start="2x0e", out="1x0e+1x1o", max_bond=2, seed=0)
    legs = [rng.normal(size=(leg.dim, 3)) for leg in (chain.start, *chain.sites)]
    first, second = (core.to_dense() for core in chain)
    expected = np.einsum("axb,byc,as,xs,ys->cs", first, second, *legs)
    np.testing.assert_allclose(dense_value(chain, legs), expected, atol=1e-12)
