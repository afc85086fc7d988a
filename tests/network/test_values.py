"""Values and gradients of chains against brute force, finite differences and autograd."""

from __future__ import annotations

import numpy as np
import pytest

from etn.errors import CoreError
from etn.network import Chain, evaluate, value_and_gradient
from etn.network.environment import propagate
from etn.network.values import left_values, pull_back, site_gradient, zeros_like
from etn.o3 import Irrep, Irreps
from etn.testing import dense_leg, dense_value, random_blocks

CASES = [
    # leg, start, bond, number of sites
    ("2x0e+2x1o+1x2e", "1x0e", 3, 1),
    ("2x0e+2x1o+1x2e", "2x0e", 3, 2),
    ("2x0e+2x1o+1x2e", "3x0e", 2, 3),
    ("2x0e+1x1o", "2x0e", 2, 4),
    ("1x0e+1x1o", "1x0e", 2, 5),
    ("1x0e+1x0o+1x1e+2x1o", "1x0e", 2, 3),  # parity of both kinds
    ("1x1o+2x0e+1x1o", "1x0e+1x1o", 2, 3),  # a split term, a start that is no scalar
    ("2x1o+1x2e", "1x0e", 2, 3),  # no scalar on the leg
]


def build(leg, start, bond, n_sites, *, seed=0, n_samples=7):
    chain = Chain.random([leg] * n_sites, start=start, max_bond=bond, seed=seed)
    start_blocks = random_blocks(start, n_samples, seed=seed + 1)
    site = random_blocks(leg, n_samples, seed=seed + 2)
    return chain, start_blocks, site


@pytest.mark.parametrize("case", CASES, ids=str)
def test_value_is_the_dense_contraction(case):
    chain, start, site = build(*case)
    leg = dense_leg(case[0], site)
    dense = dense_value(chain, [dense_leg(case[1], start), *[leg] * len(chain)])[0]
    value = evaluate(chain, start, site)
    np.testing.assert_allclose(value, dense, rtol=0, atol=1e-12 * np.abs(dense).max())
    assert np.abs(value).max() > 0


@pytest.mark.parametrize("case", CASES, ids=str)
def test_gradient_is_that_of_the_dense_contraction(case):
    chain, start, site = build(*case)
    irreps = Irreps(case[0])
    s, leg = dense_leg(case[1], start), dense_leg(irreps, site)
    expected = np.zeros_like(leg)
    for j in range(irreps.dim):
        unit = np.zeros_like(leg)
        unit[j] = 1.0
        for k in range(len(chain)):
            legs = [leg] * len(chain)
            legs[k] = unit
            expected[j] += dense_value(chain, [s, *legs])[0]
    values, gradient = value_and_gradient(chain, start, site)
    np.testing.assert_array_equal(values, evaluate(chain, start, site))
    np.testing.assert_allclose(
        dense_leg(irreps, gradient), expected, rtol=0, atol=1e-12 * np.abs(expected).max()
    )


@pytest.mark.parametrize("case", CASES[:4], ids=str)
def test_gradient_is_the_finite_difference(case, rng):
    chain, start, site = build(*case)
    along = {ir: rng.normal(size=v.shape) for ir, v in site.items()}
    _, gradient = value_and_gradient(chain, start, site)
    slope = sum(np.sum(gradient[ir] * along[ir], axis=(0, 1)) for ir in site)
    h = 1e-4
    at = [
        evaluate(chain, start, {ir: v + t * h * along[ir] for ir, v in site.items()})
        for t in (-2, -1, 1, 2)
    ]
    finite = (at[0] - 8 * at[1] + 8 * at[2] - at[3]) / (12 * h)
    np.testing.assert_allclose(slope, finite, rtol=0, atol=1e-9 * np.abs(finite).max())


@pytest.mark.parametrize("case", CASES, ids=str)
def test_gradient_is_the_complex_step(case, rng):
    # Im f(x + i h d) / h has no cancellation: exact to rounding for a tiny h.  Chains refuse
    # complex samples, the contraction of one site after another does not care.
    chain, start, site = build(*case)
    along = {ir: rng.normal(size=v.shape) for ir, v in site.items()}
    _, gradient = value_and_gradient(chain, start, site)
    slope = sum(np.sum(gradient[ir] * along[ir], axis=(0, 1)) for ir in site)
    stepped, env = {ir: v + 1e-30j * along[ir] for ir, v in site.items()}, start
    for core in chain:
        env = propagate(core, env, stepped, to=2)
    step = env[Irrep("0e")][0, 0]
    np.testing.assert_allclose(slope, step.imag / 1e-30, rtol=0, atol=1e-13 * np.abs(slope).max())


@pytest.mark.parametrize("out", ["1x0e", "2x0e+1x1o"])
def test_passes_with_a_leg_for_each_site_are_dense_contractions(out):
    sites = ["2x0e+1x1o", "1x0e+1x1o+1x1e", "1x0e+1x2e+1x1o"]
    chain = Chain.random(sites, start="1x0e+1x1o", out=out, max_bond=2, seed=0)
    start = random_blocks(chain.start, 4, seed=1)
    legs = [random_blocks(leg, 4, seed=2 + site) for site, leg in enumerate(sites)]
    end = random_blocks(out, 4, seed=9)
    vectors = [dense_leg(chain.start, start), *map(dense_leg, sites, legs)]
    lefts = left_values(chain, start, legs)
    values = dense_value(chain, vectors)
    scale = np.abs(values).max()
    np.testing.assert_allclose(dense_leg(out, lefts[-1]), values, rtol=0, atol=1e-12 * scale)
    gradients = pull_back(chain, lefts, legs, end)
    for site, leg in enumerate(map(Irreps, sites)):
        found, weights = dense_leg(leg, gradients[site]), dense_leg(out, end)
        expected = np.zeros_like(found)
        for j in range(leg.dim):
            unit = np.zeros_like(found)
            unit[j] = 1.0
            there = [*vectors[: site + 1], unit, *vectors[site + 2 :]]
            expected[j] = (weights * dense_value(chain, there)).sum(axis=0)
        limit = 1e-12 * np.abs(expected).max()
        np.testing.assert_allclose(found, expected, rtol=0, atol=limit)


def test_gradients_of_a_site_are_added_to_what_is_there():
    chain, _, site = build("2x0e+2x1o+1x2e", "2x0e", 2, 3)
    core = chain[1]
    left, right = (random_blocks(core.legs[leg], 7, seed=leg) for leg in (0, 2))
    alone = site_gradient(core, left, right, onto=zeros_like(site, chain.kind))
    before = {ir: block.copy() for ir, block in site.items()}
    both = site_gradient(core, left, right, onto=site)
    for ir, block in site.items():
        np.testing.assert_array_equal(block, before[ir])
        np.testing.assert_allclose(both[ir], alone[ir] + block, rtol=0, atol=1e-13)


def test_value_is_invariant_and_the_gradient_turns_with_the_leg(orthogonal):
    from etn.o3 import wigner_d

    chain, start, site = build("2x0e+2x1o+1x2e", "2x0e", 3, 4)
    turned = {ir: np.einsum("ab,nbs->nas", wigner_d(ir, orthogonal), v) for ir, v in site.items()}
    value, gradient = value_and_gradient(chain, start, site)
    value2, gradient2 = value_and_gradient(chain, start, turned)
    np.testing.assert_allclose(value2, value, rtol=0, atol=1e-12 * np.abs(value).max())
    for ir, g in gradient.items():
        expected = np.einsum("ab,nbs->nas", wigner_d(ir, orthogonal), g)
        np.testing.assert_allclose(gradient2[ir], expected, rtol=0, atol=1e-12 * np.abs(g).max())


def test_gauge_does_not_change_the_value():
    chain, start, site = build("2x0e+2x1o+1x2e", "2x0e", 3, 4)
    value = evaluate(chain, start, site)
    for center in range(4):
        moved = evaluate(chain.canonicalize(center), start, site)
        np.testing.assert_allclose(moved, value, rtol=0, atol=1e-12 * np.abs(value).max())


def test_a_chain_that_ends_in_no_scalar_is_refused():
    chain = Chain.random(["1x0e+1x1o"] * 2, out="1o", max_bond=2)
    start, site = random_blocks("0e", 3), random_blocks("1x0e+1x1o", 3)
    with pytest.raises(CoreError, match="one scalar 1x0e, got 1x1o"):
        evaluate(chain, start, site)


def tensors(blocks):
    torch = pytest.importorskip("torch")
    return {ir: torch.tensor(v, requires_grad=True) for ir, v in blocks.items()}


@pytest.mark.parametrize("case", CASES, ids=str)
def test_gradient_is_that_of_autograd(case):
    chain, start, site = build(*case)
    leg = tensors(site)
    values = evaluate(chain.to("torch"), {ir: v.detach() for ir, v in tensors(start).items()}, leg)
    values.sum().backward()
    expected, gradient = value_and_gradient(chain, start, site)
    scale = np.abs(expected).max()
    np.testing.assert_allclose(values.detach().numpy(), expected, rtol=0, atol=1e-13 * scale)
    for ir, g in gradient.items():
        # A leg that no path reads has no gradient at all.
        found = np.zeros_like(g) if leg[ir].grad is None else leg[ir].grad.numpy()
        np.testing.assert_allclose(found, g, rtol=0, atol=1e-12 * np.abs(g).max())


@pytest.mark.parametrize("to", [0, 2])
def test_propagation_is_differentiable(to):
    torch = pytest.importorskip("torch")
    chain, _, site = build("2x0e+2x1o+1x2e", "2x0e", 2, 3, n_samples=2)
    core = chain[1]
    env = random_blocks(core.legs[2 - to], 2, seed=9)
    irreps = [*env, *site]

    def propagated(vector, *values):
        blocks = dict(zip(irreps[: len(env)], values[: len(env)], strict=True))
        leg = dict(zip(irreps[len(env) :], values[len(env) :], strict=True))
        out = propagate(core.from_vector(vector), blocks, leg, to=to)
        return tuple(out[ir] for ir in sorted(out))

    inputs = [torch.tensor(core.to_vector(), requires_grad=True)]
    inputs += [*tensors(env).values(), *tensors(site).values()]
    assert torch.autograd.gradcheck(propagated, inputs)


@pytest.mark.parametrize(
    ("chain_kind", "leg_kind", "message"),
    [
        ({"backend": "torch"}, {}, "torch float64 on cpu, got numpy float64 on cpu"),
        ({}, {"backend": "torch"}, "numpy float64 on cpu, got torch float64 on cpu"),
        ({"dtype": "float32"}, {}, "numpy float32 on cpu, got numpy float64 on cpu; convert"),
    ],
)
def test_samples_of_another_kind_are_refused(chain_kind, leg_kind, message):
    chain, _, _ = build("2x0e+2x1o", "2x0e", 2, 2)
    kind = chain.to(**leg_kind).kind
    start, site = (random_blocks(irreps, 3, kind=kind) for irreps in ("2x0e", "2x0e+2x1o"))
    for call in (evaluate, value_and_gradient):
        with pytest.raises(CoreError, match=message):
            call(chain.to(**chain_kind), start, site)
    site[Irrep("1o")] = site[Irrep("1o")] * (1.0 + 0.0j)
    with pytest.raises(CoreError, match="expected float32 or float64, got complex128"):
        evaluate(chain.to(**leg_kind), start, site)
