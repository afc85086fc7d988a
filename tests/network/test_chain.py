"""Chains: laws for many shapes, construction, drawing and errors."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etn.errors import CoreError, IrrepsError, SettingsError
from etn.network import Chain, dense_parameters, evaluate
from etn.o3 import Irrep, Irreps
from etn.tensor import Core, Truncation
from etn.testing import ChainLaws, random_blocks


class TestFourSites(ChainLaws):
    def make_chain(self, rng):
        return Chain.random(["2x0e+1x1o+1x2e"] * 4, start="2x0e", max_bond=2, seed=rng)


class TestFiveSites(ChainLaws):
    seeds = (0,)

    def make_chain(self, rng):
        return Chain.random(["1x0e+2x1o"] * 5, start="1x0e", max_bond=3, seed=rng)


class TestDistinctSitesAndAnOpenEnd(ChainLaws):
    def make_chain(self, rng):
        sites = ["1x0e+1x1o", "2x0e+1x2e", "1x1e+1x0e", "1x1o+1x0o"]
        return Chain.random(sites, start="1x0e+1x1o", out="1x1o+2x0e", max_bond=2, seed=rng)


class TestBothParities(ChainLaws):
    def make_chain(self, rng):
        return Chain.random(["1x0e+1x0o+1x1e+1x1o"] * 3, max_bond=2, seed=rng)


class TestOneSite(ChainLaws):
    def make_chain(self, rng):
        return Chain.random(["3x0e+1x1o"], start="2x0e", seed=rng)


KINDS = [
    {"backend": "torch"},
    {"dtype": "float32"},
    {"backend": "torch", "dtype": "float32"},
]
GPU = [
    pytest.param({"backend": "torch", "device": "cuda"}, marks=pytest.mark.gpu),
    pytest.param({"backend": "torch", "dtype": "float32", "device": "cuda"}, marks=pytest.mark.gpu),
]


@pytest.mark.parametrize("kind", KINDS + GPU, ids=str)
@pytest.mark.parametrize(
    "suite",
    [TestFourSites, TestFiveSites, TestDistinctSitesAndAnOpenEnd, TestBothParities, TestOneSite],
)
def test_laws_of_chains_of_other_kinds(suite, kind):
    class Laws(suite):
        seeds = suite.seeds[:1]

        def make_chain(self, rng):
            return super().make_chain(rng).to(**kind)

    Laws().check()


irreps = st.lists(
    st.tuples(st.integers(1, 2), st.sampled_from([Irrep(l, p) for l in range(3) for p in (1, -1)])),
    min_size=1,
    max_size=2,
).map(lambda drawn: Irreps([(1, Irrep("0e")), *drawn]))


@given(
    st.lists(irreps, min_size=1, max_size=3),
    irreps,
    irreps,
    st.sampled_from([{}, *KINDS]),
    st.integers(0, 2**16),
)
@settings(max_examples=25)
def test_laws_of_chains_with_random_legs(sites, start, out, kind, seed):
    class Laws(ChainLaws):
        seeds = (seed,)

        def make_chain(self, rng):
            chain = Chain.random(sites, start=start, out=out, max_bond=2, seed=rng)
            return chain.to(**kind)

    Laws().check()


def test_inserting_the_constant_keeps_every_value():
    leg = "3x0e+2x1o"
    chain = Chain.random([leg] * 3, start="2x0e", max_bond=2, seed=1)
    start, site = random_blocks("2x0e", 9, seed=1), random_blocks(leg, 9, seed=2)
    site[Irrep("0e")][1] = 1.0
    value = evaluate(chain, start, site)
    for at in range(4):
        longer = chain.insert(at, channel=1)
        assert len(longer) == 4
        assert longer.center is None
        np.testing.assert_allclose(evaluate(longer, start, site), value, rtol=1e-12)


def test_parameter_count_of_a_chain():
    chain = Chain.random(["10x0e+10x1o+10x2e"] * 4, max_bond="4x0e+4x1o+4x2e")
    assert chain.n_parameters == 2 * (3 * 40) + 2 * (11 * 160)
    assert dense_parameters(chain) == 90 * 36 * 2 + 36 * 90 * 36 * 2


def test_replace_knows_when_the_center_is_lost():
    chain = Chain.random(["2x0e+1x1o"] * 3, max_bond=2, seed=1).canonicalize(1)
    assert chain.replace(1, chain[1]).center == 1
    assert chain.replace(0, chain[0]).center is None
    assert chain.replace(-2, chain[1]).center == 1


def test_orthogonality_error_finds_a_wrong_core():
    chain = Chain.random(["2x0e+1x1o"] * 3, max_bond=2, seed=1).canonicalize(1)
    cores = list(chain.cores)
    cores[2] = cores[2].from_vector(1.5 * cores[2].to_vector())
    assert Chain(cores, center=1).orthogonality_error() == pytest.approx(1.25)


def test_a_chain_is_a_sequence_of_cores():
    chain = Chain.random(["2x0e+1x1o"] * 3, start="2x0e", max_bond=2, seed=1)
    assert len(chain) == len(list(chain)) == 3
    assert chain[-1] is chain.cores[2]
    assert "not canonical" in repr(chain)
    assert "center 1" in repr(chain.canonicalize(-2))


def test_drawing_shows_the_center():
    chain = Chain.random(["2x0e+1x1o"] * 4, max_bond=2, seed=1)
    assert chain.show().count("○") == 4
    lines = chain.canonicalize(2).show().splitlines()
    assert [mark for mark in lines[1] if mark != "─"] == [">", ">", "●", "<"]
    assert lines[0].split() == [str(b) for b in (chain.start, *chain.bonds, chain.out)]
    assert lines[3].split() == [str(s) for s in chain.sites]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Chain([]), "at least one core"),
        (lambda: Chain([Core(["0e", "0e"])]), "site 0: a chain is made of cores with three legs"),
        (lambda: Chain.random(["0e"] * 2).canonicalize(2), r"expected a site 0..1, got 2"),
        (lambda: Chain.random(["0e"] * 2).insert(3), r"expected a position 0..2, got 3"),
        (lambda: Chain.random(["0e"] * 2).insert(1, channel=1), "has 1 scalar channels"),
        (lambda: Chain.random(["0e"] * 2).orthogonality_error(), "canonicalize"),
    ],
)
def test_malformed_chains(make, message):
    with pytest.raises(CoreError, match=message):
        make()


@pytest.mark.parametrize(
    ("left", "right", "message"),
    [
        ("2x0e", "1x0e", r"left core ends in 2x0e, right core starts with 1x0e \(multiplicity"),
        ("2x0e+1x1o", "2x0e+1x1e", r"\(parity differs in term 1\)"),
        ("2x0e+1x1o", "2x0e", r"\(one has more terms\)"),
    ],
)
def test_bonds_that_differ(left, right, message):
    with pytest.raises(IrrepsError, match="bond 0: .*" + message):
        Chain([Core(["0e", "0e+1o", left]), Core([right, "0e", "0e"])])


def test_chains_that_cannot_be_added():
    one = Chain.random(["1x0e+1x1o"] * 2)
    with pytest.raises(IrrepsError, match="one length, got 2 and 3"):
        one + Chain.random(["1x0e+1x1o"] * 3)
    with pytest.raises(IrrepsError, match=r"site 1: the chains carry 1x0e\+1x1o and 1x0e\+1x1e"):
        one.inner(Chain.random(["1x0e+1x1o", "1x0e+1x1e"]))
    with pytest.raises(CoreError, match="float64 on cpu and numpy float32"):
        one - one.to(dtype="float32")
    with pytest.raises(CoreError, match="site 1: core of numpy float32"):
        Chain([one[0], one[1].to(dtype="float32")])


def test_chains_of_different_kinds_do_not_mix():
    chain = Chain.random(["1x0e+1x1o"] * 2, seed=1)
    other = chain.to("torch")
    one, two = "numpy float64 on cpu", "torch float64 on cpu"
    for mix in (
        lambda: chain + other,
        lambda: chain - other,
        lambda: chain.inner(other),
        lambda: chain.replace(1, other[1]),
        lambda: Chain([chain[0], other[1]]),
        lambda: chain.map_site(0, Core.random(["1x0e+1x1o"] * 2).to("torch")),
    ):
        with pytest.raises(CoreError, match=f"{one}.*{two}|{two}.*{one}"):
            mix()


def test_every_operation_keeps_the_kind():
    chain = Chain.random(["1x0e+1x1o"] * 3, max_bond=2, seed=1).to("torch", dtype="float32")
    matrix = Core(["1x0e+1x1o", "2x2e"]).to("torch", dtype="float32")
    nowhere = chain.map_site(0, matrix)  # an equivariant map between these legs is zero
    assert nowhere.norm() == 0.0
    for derived in (
        chain.canonicalize(1),
        chain.truncate(Truncation(max_multiplets=2)),
        chain + chain,
        2.0 * chain / 3.0,
        chain.insert(1),
        nowhere,
        Chain.from_dense(chain.to_dense(), chain.sites),
    ):
        assert derived.kind == chain.kind
        blocks = [block for core in derived for block in core.blocks.values()]
        assert {str(block.dtype) for block in blocks} <= {"torch.float32"}
    assert chain.canonicalize(1).to("numpy").center == 1


def test_values_that_are_not_finite_are_refused():
    dense = Chain.random(["1x0e+1x1o"] * 2).to_dense()
    dense[0, 0, 0] = np.nan
    with pytest.raises(CoreError, match="finite"):
        Chain.from_dense(dense, ["1x0e+1x1o"] * 2)
    core = Core.random(["0e", "0e+1o", "0e+1o"])
    with pytest.raises(CoreError, match=r"block \(0e, 1o, 1o\): expected finite values, 1 of 1"):
        core.replace({path: block * np.inf for path, block in core if path[1].l})


def test_truncation_that_leaves_nothing():
    with pytest.raises(CoreError, match="leaves nothing of a bond 1x0e"):
        Chain.random(["2x0e"] * 2, max_bond=1).truncate(Truncation(max_bond="3x1o"))


SCALES = [1e-300, 1e-100, 1e-75, 1.0, 1e75, 1e100, 1e300]


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("backend", ["numpy", "torch"])
def test_what_does_not_depend_on_the_scale_does_not(scale, backend):
    chain = Chain.random(["1x0e+2x1o"] * 4, max_bond=3, seed=0).to(backend)
    scaled = Chain([core.scale(scale) for core in chain])
    change = 4 * math.log(scale)
    assert scaled.log_norm() == pytest.approx(chain.log_norm() + change, rel=1e-12)
    for bond in range(3):
        assert scaled.entropy(bond) == pytest.approx(chain.entropy(bond), rel=1e-12)
    unit = scaled.normalize()
    assert unit.norm() == pytest.approx(1, rel=1e-14)
    assert unit.orthogonality_error() < 1e-14
    assert float(unit.inner(chain)) == pytest.approx(chain.norm(), rel=1e-12)
    rule = Truncation(rel_tol=0.1)
    assert unit.truncate(rule).bonds == chain.truncate(rule).bonds
    if abs(change) < 600:
        assert scaled.norm() == pytest.approx(scale**4 * chain.norm(), rel=1e-12)
        assert scaled.truncate(rule).bonds == chain.truncate(rule).bonds
        spectrum = scaled.singular_values(1).normalized()
        assert spectrum.change(chain.singular_values(1)) < 1e-12
        assert scaled.canonicalize(2).orthogonality_error() < 1e-14
        np.testing.assert_allclose(
            np.asarray(scaled.to_dense()) / scale**4, np.asarray(chain.to_dense()), rtol=1e-11
        )
    elif abs(change) > 900:
        for ask in (scaled.norm, lambda: scaled.canonicalize(1), lambda: scaled.truncate(rule)):
            with pytest.raises(CoreError, match=r"the norm of the tensor is about 10.*log_norm"):
                ask()
        with pytest.raises(CoreError, match="the largest entry of the dense tensor is about 10"):
            scaled.to_dense()
    if abs(change) > 400:
        with pytest.raises(CoreError, match="the inner product is about 10"):
            scaled.inner(scaled)


def test_scales_that_cancel_leave_every_digit():
    chain = Chain.random(["1x0e+2x1o"] * 4, max_bond=3, seed=0)
    for signs in ((1, 1, -1, -1), (-1, -1, 1, 1), (1, -1, 1, -1)):
        mixed = Chain([c.rescaled(900 * sign) for c, sign in zip(chain, signs, strict=True)])
        assert mixed.norm() == pytest.approx(chain.norm(), rel=1e-14)
        np.testing.assert_allclose(mixed.to_dense(), chain.to_dense(), atol=1e-15)
        assert float(mixed.inner(chain)) == pytest.approx(float(chain.inner(chain)), rel=1e-13)


def test_a_chain_of_zeros_has_no_direction():
    zero = 0.0 * Chain.random(["1x0e+1x1o"] * 3)
    assert zero.norm() == 0.0
    assert zero.log_norm() == -math.inf
    assert float(zero.inner(zero)) == 0.0
    with pytest.raises(CoreError, match="normalize: expected a tensor with a norm, got one that"):
        zero.normalize()


def test_from_dense_judges_equivariance_at_every_scale():
    dense = np.random.default_rng(0).normal(size=(1, 4, 4, 1)) * 1e200
    with pytest.raises(CoreError, match="it is not equivariant"):
        Chain.from_dense(dense, ["1x0e+1x1o"] * 2)


def test_numbers_of_numpy_and_torch_multiply_from_either_side():
    import torch

    chain = Chain.random(["1x0e+1x1o"] * 3, seed=0)
    for two in (np.float64(2), np.float32(2), np.int64(2), np.array(2.0), torch.tensor(2.0)):
        for product in (two * chain, chain * two, chain / (1 / two)):
            assert isinstance(product, Chain)
            assert (product - 2.0 * chain).norm() < 1e-14
    assert isinstance(chain.inner(chain) * chain, Chain)
    assert (sum([chain, chain]) - 2 * chain).norm() < 1e-14
    on_torch = chain.to("torch")
    factor = torch.tensor(3.0, dtype=torch.float64, requires_grad=True)
    value = (factor * on_torch).inner(on_torch)
    (gradient,) = torch.autograd.grad(value, factor)
    assert float(gradient) == pytest.approx(float(chain.inner(chain)), rel=1e-12)


def test_calls_that_are_refused():
    chain = Chain.random(["1x0e+1x1o"] * 4, seed=0)
    for factor in (1j, "2", chain, [1.0, 2.0], np.nan):
        with pytest.raises(CoreError, match="a chain times a number: expected a"):
            chain * factor
    with pytest.raises(CoreError, match="Chain divided by a number: got zero"):
        chain / 0
    for other in (1, "chain", chain[0]):
        with pytest.raises(CoreError, match="expected a chain, got"):
            chain + other
        with pytest.raises(CoreError, match="expected a chain, got"):
            chain.inner(other)
    with pytest.raises(CoreError, match="expected a chain with bonds, got bond 0 of 1 sites"):
        Chain.random(["1x0e"]).entropy(0)
    assert Chain.random(["1x0e+2x1o"] * 3, max_bond=np.int64(3)).n_parameters == 23
    with pytest.raises(SettingsError, match="max_bond: expected at least 1, got 0"):
        Chain.random(["1x0e+2x1o"] * 3, max_bond=0)


def test_dense_tensors_that_do_not_fit_are_refused_before_they_are_made():
    with pytest.raises(CoreError, match=r"the dense tensor of 30 sites would take 9.2e\+09 GB"):
        Chain.random(["1x0e+1x1o"] * 30).to_dense()


def test_canonical_forms_of_zero_chains_have_derivatives():
    import torch

    chain = (0.0 * Chain.random(["1x0e+1x1o"] * 4, max_bond=2, seed=0)).to("torch")
    leaves = [block.requires_grad_() for core in chain for _, block in core]
    for center in range(4):
        moved = chain.canonicalize(center)
        for gradient in torch.autograd.grad(moved.inner(moved), leaves):
            assert (gradient == 0).all()


def test_derivatives_pass_through_canonical_forms_and_truncations():
    import torch

    chain = Chain.random(["1x0e+1x1o"] * 4, max_bond=2, seed=0).to("torch")
    weights = torch.randn(chain.to_dense().shape, dtype=torch.float64)
    leaves = [block.requires_grad_() for core in chain for _, block in core]
    exact = torch.autograd.grad((chain.to_dense() * weights).sum(), leaves)
    # A truncation that drops nothing is the identity, equal singular values or not.
    for moved in (chain.canonicalize(1), chain.truncate(Truncation(rel_tol=1e-14))):
        found = torch.autograd.grad((moved.to_dense() * weights).sum(), leaves)
        for one, two in zip(found, exact, strict=True):
            assert (one - two).abs().max() < 1e-10 * max(1.0, float(two.abs().max()))
