"""Environments and their Jacobians against the dense contraction, at every site."""

from __future__ import annotations

import numpy as np
import pytest

from etn.network import Chain, left_environment, right_environment
from etn.testing import dense_leg, random_batch

LEGS = ["2x0e+2x1o+1x2e", "1x0e+1x0o+1x1e+1x1o", "1x1o+1x0e+1x1o"]


def vectors(chain, samples):
    return dense_leg(chain.start, samples.start), dense_leg(chain.sites[0], samples.site)


def absorb(env, core, leg, *, to):
    """Next dense environment (bond, samples) of a dense core."""
    script = "axb,as,xs->bs" if to == 2 else "bxa,as,xs->bs"
    return np.einsum(script, core.to_dense(), env, leg)


def dense_environment(cores, first, leg, *, to):
    env = first
    for core in cores:
        env = absorb(env, core, leg, to=to)
    return env


def dense_derivative(cores, first, leg, along, *, to):
    env, derivative = first, np.zeros_like(first)
    for core in cores:
        derivative = absorb(derivative, core, leg, to=to) + absorb(env, core, along, to=to)
        env = absorb(env, core, leg, to=to)
    return derivative


def sides(chain, samples, center):
    """(environment, cores in the order they are absorbed, first bond, direction) of both sides."""
    start, _ = vectors(chain, samples)
    before, after = chain.cores[:center], chain.cores[center + 1 :]
    one = np.ones((1, samples.n_samples))
    left = left_environment(before, samples, jacobian=True)
    right = right_environment(after, samples, jacobian=True)
    return [(left, before, start, 2), (right, after[::-1], one, 0)]


@pytest.mark.parametrize("start", ["1x0e", "3x0e", "1x0e+1x1o"])
@pytest.mark.parametrize("leg", LEGS)
@pytest.mark.parametrize("n_sites", [1, 2, 3, 4, 5])
def test_environments_are_the_dense_contraction(n_sites, leg, start):
    chain = Chain.random([leg] * n_sites, start=start, max_bond=2, seed=n_sites)
    samples = random_batch(chain, seed=5, n_samples=6, n_sums=2, n_tangents=5).samples
    _, v = vectors(chain, samples)
    for center in range(n_sites):
        for env, cores, first, to in sides(chain, samples, center):
            dense = dense_environment(cores, first, v, to=to)
            bond = chain[center].legs[2 - to]
            got = dense_leg(bond, env.values)
            np.testing.assert_allclose(got, dense, rtol=0, atol=1e-12 * np.abs(dense).max())
            assert env.is_constant == (not cores)
            if cores and all(ir.l == 0 for ir in (cores[0].legs[2 - to].unique)):
                assert (env.linear is not None) == (len(cores) == 1)


@pytest.mark.parametrize("start", ["1x0e", "3x0e", "1x0e+1x1o"])
@pytest.mark.parametrize("leg", LEGS)
@pytest.mark.parametrize("n_sites", [2, 3, 4, 5])
def test_push_forward_is_the_derivative_of_the_environment(n_sites, leg, start):
    chain = Chain.random([leg] * n_sites, start=start, max_bond=2, seed=n_sites)
    samples = random_batch(chain, seed=6, n_samples=6, n_sums=2, n_tangents=5).samples
    _, v = vectors(chain, samples)
    for center in range(n_sites):
        for env, cores, first, to in sides(chain, samples, center):
            pushed = env.push_forward(samples)
            if not cores:
                assert not pushed
                continue
            for row in range(5):
                along = {
                    ir: d[:, :, samples.n_sums + row].transpose(2, 0, 1)
                    for ir, d in samples.directions.items()
                }
                dense = dense_derivative(cores, first, v, dense_leg(chain.sites[0], along), to=to)
                got = dense_leg(
                    chain[center].legs[2 - to],
                    {ir: block[:, :, row].transpose(2, 0, 1) for ir, block in pushed.items()},
                )
                np.testing.assert_allclose(got, dense, rtol=0, atol=1e-12 * np.abs(dense).max())


def test_jacobian_axes_run_over_irreps_then_m_then_multiplicity():
    chain = Chain.random(["2x0e+2x1o"] * 4, max_bond=2, seed=1)
    samples = random_batch(chain, seed=7, n_samples=4).samples
    env = left_environment(chain.cores[:2], samples, jacobian=True)
    leg, bond = chain.sites[0], chain.bonds[1]
    rows = np.concatenate([leg.indices(ir).T.ravel() for ir in leg.unique])
    cols = np.concatenate([bond.indices(ir).T.ravel() for ir in bond.unique])
    start, v = vectors(chain, samples)
    for j, position in enumerate(rows):
        along = np.zeros_like(v)
        along[position] = 1.0
        dense = dense_derivative(chain.cores[:2], start, v, along, to=2)
        np.testing.assert_allclose(env.jacobian[:, j], dense[cols].T, atol=1e-13)


def test_without_jacobian_none_is_computed():
    chain = Chain.random(["2x0e+2x1o"] * 4, max_bond=2, seed=1)
    samples = random_batch(chain, seed=7).samples
    env = left_environment(chain.cores[:3], samples, jacobian=False)
    assert env.jacobian is None
    assert env.linear is None
