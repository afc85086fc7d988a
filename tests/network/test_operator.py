"""Operators on chains against dense matrices and textbook spins."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etn.errors import CoreError, IrrepsError
from etn.network import Chain, Operator, aklt, heisenberg, operator_leg, pair_sum
from etn.network.operator import operator_basis, operator_elements, reduced_element
from etn.o3 import Irrep, Irreps, clebsch_gordan, irreps_d
from etn.tensor import Truncation

MIXED = ["1x0e+2x1o", "1x1e+1x0o", "2x0e+1x1o"]
KINDS = [{"backend": "torch"}, {"dtype": "float32"}, {"backend": "torch", "dtype": "float32"}]
GPU = pytest.param({"backend": "torch", "device": "cuda"}, marks=pytest.mark.gpu)


def random_operator(sites, max_bond=2, seed=0):
    """A scalar operator without any symmetry under transposition."""
    legs = [operator_leg(site) for site in sites]
    return Operator(Chain.random(legs, max_bond=max_bond, seed=seed), sites)


def flat(state):
    """Dense state as (start and sites, out), for start legs of dimension one."""
    return np.asarray(state.to_dense()).reshape(-1, state.out.dim)


def cartesian_spins():
    """Spin-1 matrices on the components (y, z, x): (S_a)_bc = -i eps_abc."""
    spins = np.zeros((3, 3, 3), dtype=complex)
    for a, b, c in [(0, 1, 2), (1, 2, 0), (2, 0, 1)]:
        spins[a, b, c], spins[a, c, b] = -1j, 1j
    return spins


def test_the_operator_leg_holds_all_matrices():
    for site in ("1x1e", "1x0e+2x1o", "2x2e+1x0o", "3x0e"):
        assert operator_leg(site).dim == Irreps(site).dim ** 2


@pytest.mark.parametrize("site", ["1x2e", "1x0e+2x1o", "1x0o+1x1e+1x1o"])
def test_the_basis_is_orthonormal_and_complete(site):
    basis = operator_basis(site).to_dense()
    dim = Irreps(site).dim
    matrix = basis.reshape(dim**2, dim**2)
    np.testing.assert_allclose(matrix.T @ matrix, np.eye(dim**2), atol=1e-13)


def test_rank_one_on_spin_one_is_the_spin_vector():
    vectors = operator_basis("1x1e").to_dense()[:, :, 1:4]
    spins = np.moveaxis(cartesian_spins(), 0, 2)
    scale = np.vdot(spins[..., 0], vectors[..., 0]) / np.vdot(spins[..., 0], spins[..., 0])
    # An imaginary factor, the same for all components, and S^2 = 2.
    assert abs(scale.real) < 1e-15
    assert abs(scale) == pytest.approx(1 / math.sqrt(2))
    np.testing.assert_allclose(vectors, scale * spins, atol=1e-14)


@pytest.mark.parametrize(("bra", "ket"), [("1e", "1e"), ("2e", "1e"), ("0e", "2e"), ("1o", "2e")])
def test_matrix_elements_obey_the_wigner_eckart_theorem(bra, ket):
    bra, ket = Irrep(bra), Irrep(ket)
    site = Irreps([(1, ket)]) if bra == ket else Irreps([(1, ir) for ir in sorted((bra, ket))])
    basis = operator_basis(site).to_dense()
    rows, columns = site.indices(bra).ravel(), site.indices(ket).ravel()
    block = basis[np.ix_(rows, columns)]
    for k in bra * ket:
        columns = [block[..., at] for at in operator_leg(site).indices(k)]
        (found,) = [each for each in columns if np.abs(each).max() > 1e-12]
        cg = clebsch_gordan(ket.l, k.l, bra.l)
        expected = reduced_element(k, bra) * np.einsum("mqn->nmq", cg)
        np.testing.assert_allclose(found, expected, atol=1e-13)


def test_identity():
    identity = Operator.identity(MIXED)
    dim = math.prod(Irreps(site).dim for site in MIXED)
    np.testing.assert_allclose(identity.to_dense(), np.eye(dim), atol=1e-14)
    state = Chain.random(MIXED, out="1o", seed=1)
    assert (identity.apply(state) - state).norm() < 1e-14 * state.norm()


@pytest.mark.parametrize("reflect", [False, True])
def test_scalar_operators_commute_with_rotations(orthogonal, reflect):
    operator = random_operator(MIXED, seed=2).to_dense()
    d = np.eye(1)
    for site in MIXED:
        d = np.kron(d, irreps_d(site, -orthogonal if reflect else orthogonal))
    np.testing.assert_allclose(d @ operator, operator @ d, atol=1e-11)


def test_the_norm_is_that_of_the_matrix():
    operator = random_operator(MIXED, seed=3)
    assert operator.chain.norm() == pytest.approx(np.linalg.norm(operator.to_dense()), rel=1e-13)


@settings(max_examples=8)
@given(st.integers(0, 1000), st.sampled_from(["0e", "1o", "1e+2o", "1x0e+2x1e"]))
def test_apply_is_the_matrix_product(seed, out):
    operator = random_operator(MIXED, seed=seed)
    state = Chain.random(MIXED, out=out, max_bond=2, seed=seed + 1)
    moved = operator.apply(state)
    assert moved.sites == state.sites
    expected = operator.to_dense() @ flat(state)
    np.testing.assert_allclose(flat(moved), expected, atol=1e-12 * np.abs(expected).max())


def test_apply_with_an_open_start():
    operator = random_operator(MIXED[:2], seed=4)
    state = Chain.random(MIXED[:2], start="1x0e+1x1o", out="1x1e+1x0o", max_bond=2, seed=5)
    start = state.start.dim
    dense = np.asarray(state.to_dense()).reshape(start, -1, state.out.dim)
    moved = np.asarray(operator.apply(state).to_dense()).reshape(dense.shape)
    np.testing.assert_allclose(
        moved, np.einsum("xy,syo->sxo", operator.to_dense(), dense), atol=1e-12
    )


def test_apply_of_a_vector_operator():
    """The ends of an operator may carry irreps: the result is (l, k) coupled."""
    legs = [operator_leg("1x1e")] * 2
    chain = Chain.random(legs, out="1e", max_bond=2, seed=6)
    operator = Operator(chain, ["1x1e"] * 2)
    state = Chain.random(["1x1e"] * 2, out="1e", max_bond=2, seed=7)
    moved = operator.apply(state)
    assert moved.out == Irreps("1x0e+1x1e+1x2e")
    basis = operator_basis("1x1e").to_dense()
    dense = np.einsum("pqk,abp,cdq->acbdk", chain.to_dense()[0], basis, basis).reshape(9, 9, 3)
    by_component = np.einsum("xyk,ym->xmk", dense, flat(state))
    for l in range(3):
        expected = np.einsum("xmk,mkn->xn", by_component, clebsch_gordan(1, 1, l))
        found = flat(moved)[:, moved.out.indices(Irrep(l, 1)).ravel()]
        np.testing.assert_allclose(found, expected, atol=1e-13)


@pytest.mark.parametrize("out", ["0e", "1o"])
def test_expectation(out):
    operator = random_operator(MIXED, seed=8)
    state = Chain.random(MIXED, out=out, max_bond=2, seed=9)
    psi, h = flat(state), operator.to_dense()
    expected = np.einsum("xm,xy,ym->", psi, h, psi) / np.vdot(psi, psi)
    assert operator.expectation(state) == pytest.approx(expected, rel=1e-12)


def test_variance():
    operator = pair_sum(4, [0.3, -1.0, 0.7], distances=[1.0, -0.4])
    state = Chain.random(operator.sites, out="1e", max_bond=2, seed=10)
    psi, h = flat(state), operator.to_dense()
    norm = np.vdot(psi, psi)
    mean = np.einsum("xm,xy,ym->", psi, h, psi) / norm
    square = np.einsum("xm,xy,ym->", psi, h @ h, psi) / norm
    assert operator.variance(state) == pytest.approx(square - mean**2, rel=1e-11)
    assert operator.variance(state) > 0.1


def test_the_variance_of_an_eigenstate_vanishes():
    operator = heisenberg(4)
    values, vectors = np.linalg.eigh(operator.to_dense())
    shape = (1, 3, 3, 3, 3, 1)
    ground = Chain.from_dense(vectors[:, 0].reshape(shape), operator.sites)
    assert operator.expectation(ground) == pytest.approx(values[0], rel=1e-13)
    assert operator.variance(ground) < 1e-25


def test_sums_and_multiples():
    one, two = random_operator(MIXED, seed=11), random_operator(MIXED, seed=12)
    a, b = one.to_dense(), two.to_dense()
    for operator, expected in [
        (one + two, a + b),
        (one - two, a - b),
        (2.5 * one, 2.5 * a),
        (one * -3, -3 * a),
        (0.5 * (one + two) - one, (b - a) / 2),
    ]:
        np.testing.assert_allclose(operator.to_dense(), expected, atol=1e-12)
        assert operator.sites == one.sites


def test_truncation_finds_the_narrow_form():
    operator = pair_sum(6, [-2.0, -1.0, 1.0], distances=[1.0, 0.5])
    twice = operator + operator
    assert twice.chain.bonds[2].dim == 2 * operator.chain.bonds[2].dim
    narrow = twice.truncate(Truncation(rel_tol=1e-12))
    assert all(
        bond.dim <= other.dim
        for bond, other in zip(narrow.chain.bonds, operator.chain.bonds, strict=True)
    )
    assert narrow.chain.bonds[2] == operator.chain.bonds[2]
    np.testing.assert_allclose(narrow.to_dense(), 2 * operator.to_dense(), atol=1e-11)


def test_the_error_of_a_truncation_is_that_of_the_matrix():
    operator = random_operator(MIXED, max_bond=4, seed=13)
    cut = operator.truncate(Truncation(max_bond=2))
    error = np.linalg.norm(operator.to_dense() - cut.to_dense())
    assert error > 1e-2
    assert cut.chain.discarded_weight == pytest.approx(error, rel=1e-10)


@pytest.mark.parametrize("kind", [*KINDS, GPU], ids=str)
def test_other_kinds_of_arrays(kind):
    operator = random_operator(MIXED, seed=14)
    state = Chain.random(MIXED, out="1o", max_bond=2, seed=15)
    other, moved = operator.to(**kind), state.to(**kind)
    tol = 1e-12 if kind.get("dtype", "float64") == "float64" else 1e-5
    assert other.chain.kind == moved.kind
    back = other.to("numpy", dtype="float64")
    np.testing.assert_allclose(back.to_dense(), operator.to_dense(), atol=tol)
    assert other.expectation(moved) == pytest.approx(operator.expectation(state), rel=tol, abs=tol)
    assert other.variance(moved) == pytest.approx(operator.variance(state), rel=10 * tol)
    applied = other.apply(moved).to("numpy", dtype="float64")
    np.testing.assert_allclose(flat(applied), flat(operator.apply(state)), atol=10 * tol)
    identity = Operator.identity(MIXED).to(**kind)
    assert identity.expectation(moved) == pytest.approx(1.0, rel=tol)
    assert (other + other).to("numpy", dtype="float64").chain.norm() == pytest.approx(
        2 * operator.chain.norm(), rel=10 * tol
    )


def test_elements_leave_out_zeros():
    site = Irreps("1x1e")
    elements = operator_elements(heisenberg(3).chain[1], site)
    assert {k for (_, k, _), *_ in elements} == {Irrep("0e"), Irrep("1e")}
    ranks = {path for path, *_ in elements}
    assert len(ranks) == 3


def test_repr():
    assert repr(aklt(4)) == "Operator(4 sites of 1x1e, bonds 2x0e+1x1e+1x2e)"
    assert repr(Operator.identity(["1x1e"])) == "Operator(1 sites of 1x1e, bonds none)"


def test_errors():
    h = heisenberg(4)
    with pytest.raises(IrrepsError, match="expected 4 sites as in the chain, got 3"):
        Operator(h.chain, ["1x1e"] * 3)
    with pytest.raises(IrrepsError, match=r"site 2: operators on 1x2e carry .*4e, the chain has"):
        Operator(h.chain, ["1x1e", "1x1e", "1x2e", "1x1e"])
    with pytest.raises(IrrepsError, match="operators on the same sites, got 4 sites of 1x1e and 3"):
        h + heisenberg(3)
    with pytest.raises(IrrepsError, match="acts on 4 sites of 1x1e, the state has 4 sites of 1x2e"):
        h.apply(Chain.random(["1x2e"] * 4))
    state = Chain.random(h.sites)
    with pytest.raises(CoreError, match=r"operator is of numpy float64 .* state of numpy float32"):
        h.expectation(state.to(dtype="float32"))
    vector = Operator(Chain.random([operator_leg("1x1e")], out="1e"), ["1x1e"])
    with pytest.raises(CoreError, match="whose ends are scalars"):
        vector.to_dense()


SITES = ["1x0e+2x1o", "2x0e+1x1o", "1x0e+1x1e"]


def test_the_transpose_is_that_of_the_dense_matrix():
    operator = Operator(Chain.random([operator_leg(s) for s in SITES], seed=3), SITES)
    dense = operator.to_dense()
    np.testing.assert_allclose(operator.transpose().to_dense(), dense.T, atol=1e-14)
    skew = np.linalg.norm(dense - dense.T) / np.linalg.norm(dense)
    assert operator.asymmetry() == pytest.approx(skew, rel=1e-12)
    assert (1e-200 * operator).asymmetry() == pytest.approx(skew, rel=1e-12)
    assert (operator + operator.transpose()).asymmetry() < 1e-14
    assert (0 * operator).asymmetry() == 0.0
    whole = operator + operator.transpose()
    energies = np.linalg.eigvalsh(whole.to_dense())
    assert whole.typical_energy() == pytest.approx(np.sqrt((energies**2).mean()), rel=1e-12)
    assert (0 * operator).typical_energy() == 0.0


@pytest.mark.parametrize("scale", [1e-200, 1e-100, 1.0, 1e100, 1e200])
def test_means_do_not_depend_on_the_norm_of_the_state(scale):
    operator = heisenberg(4)
    state = Chain.random(operator.sites, seed=1)
    scaled = Chain([core.scale(scale) for core in state])
    mean, variance = operator.expectation(state), operator.variance(state)
    assert operator.expectation(scaled) == pytest.approx(mean, rel=1e-12)
    assert operator.variance(scaled) == pytest.approx(variance, rel=1e-10)


def test_states_and_numbers_that_are_none():
    operator = heisenberg(4)
    state = Chain.random(operator.sites)
    for ask in (operator.expectation, operator.variance):
        with pytest.raises(CoreError, match="state: expected one with a norm, got zero"):
            ask(0.0 * state)
        with pytest.raises(CoreError, match="expected a state as a chain, got 3"):
            ask(3)
    with pytest.raises(CoreError, match="expected an operator to add, got 1"):
        operator + 1
    with pytest.raises(CoreError, match="expected a real one"):
        operator * 1j
    with pytest.raises(CoreError, match=r"the matrix of Operator.20 sites.* would take 9.7e.10 GB"):
        heisenberg(20).to_dense()
