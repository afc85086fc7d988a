"""Blocks and effective Hamiltonians against dense projections of the Hamiltonian."""

from __future__ import annotations

import math

import numpy as np
import pytest

from etn.backend import Kind
from etn.network import Chain, Operator, aklt, operator_leg, pair_sum
from etn.network.operator import operator_basis
from etn.o3 import Irrep, Irreps, clebsch_gordan
from etn.sweep.eigen.block_operators import (
    end_block,
    enlarge,
    multiplets,
    project,
    site_tables,
)
from etn.sweep.eigen.effective_hamiltonian import EffectiveHamiltonian
from etn.tensor import Core, Pair, matricize, merge, tensorize
from etn.tensor.pair import couplings, pair_shapes


def random_operator(sites, seed=0):
    """A scalar operator with wide bonds and no symmetry under transposition."""
    return Operator(Chain.random([operator_leg(site) for site in sites], seed=seed), sites)


SPINS = ["1x1e"] * 4
MIXED = ["1x0e+2x1o", "1x1e+1x0o", "2x0e+1x1o", "1x1o"]
# Ends that carry irreps; several copies and both parities on the sites; symmetric or not.
CASES = {
    "long range": (
        pair_sum(4, [0.3, -1.0, 0.7], distances=[1, 0.4], decays=[(1, 0.5)]),
        "0e",
        "1e",
    ),
    "open start": (aklt(4), "1x1e", "1x0e+1x2e"),
    "spin 2": (pair_sum(4, [-3, 1, 0, 2, 1], spin=2), "0e", "2e"),
    "not symmetric": (random_operator(MIXED, seed=1), "0e", "1o"),
    "not symmetric, open": (random_operator(SPINS, seed=2), "1x0e+1x1e", "1x1e"),
}


def make_state(case, center):
    operator, start, out = CASES[case]
    widest = Irreps([(2, Irrep(l, p)) for l in range(3) for p in (1, -1)])
    state = Chain.random(operator.sites, start=start, out=out, max_bond=widest, seed=3)
    return operator, state.canonicalize(center)


def left_block(operator, state, n):
    """Operators of the first n sites in the basis of the bond."""
    block = end_block(state.start, operator)
    tables = site_tables(operator, "left")
    for site in range(n):
        core = state[site]
        wanted = core.legs[2].unique
        block = project(enlarge(block, core.legs[0], tables[site], wanted), matricize(core, 2))
    return block


def right_block(operator, state, n):
    """Operators of the last n sites in the basis of the bond."""
    block = end_block(state.out, operator)
    tables = site_tables(operator, "right")
    for site in range(len(state) - 1, len(state) - 1 - n, -1):
        core = state[site]
        wanted = core.legs[0].unique
        block = project(enlarge(block, core.legs[2], tables[site], wanted), matricize(core, 0))
    return block


def dense_operator(operator, first, last):
    """Cores first .. last - 1 as (left bond, bras, kets, right bond)."""
    dense = np.eye(operator.chain[first].legs[0].dim)[:, None, None, :]
    for core, site in zip(
        operator.chain.cores[first:last], operator.sites[first:last], strict=True
    ):
        one = np.einsum("akb,xyk->axyb", core.to_dense(), operator_basis(site).to_dense())
        dense = np.einsum("lXYa,axyb->lXxYyb", dense, one)
        size = dense.shape
        dense = dense.reshape(size[0], size[1] * size[2], size[3] * size[4], size[5])
    return dense


def assert_reduced(block, bond, w_bond, elements):
    """Check <j' a' m'| O_w q |j a m> = A[w, a', a] C^{j' m'}_{j m, k q} for all labels."""
    nonzero = 0
    for j in bond.unique:
        for j2 in bond.unique:
            kets, bras = bond.indices(j), bond.indices(j2)
            where = multiplets(w_bond, j, j2)
            for k in w_bond.unique:
                columns = w_bond.indices(k)
                found = elements[np.ix_(bras.ravel(), kets.ravel(), columns.ravel())]
                found = found.reshape(*bras.shape, *kets.shape, *columns.shape)
                if k not in where or (j, j2) not in block:
                    np.testing.assert_allclose(found, 0, atol=1e-12)
                    continue
                reduced = block[j, j2][where[k]]
                cg = clebsch_gordan(j.l, k.l, j2.l)
                expected = np.einsum("wba,mqn->bnamwq", reduced, cg)
                np.testing.assert_allclose(found, expected, atol=1e-11)
                nonzero += np.abs(expected).max() > 1e-3
    assert nonzero >= 3


@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize("case", CASES)
def test_left_blocks(case, n):
    operator, state = make_state(case, 3)
    basis = np.eye(state.start.dim)
    for core in state.cores[:n]:
        basis = np.tensordot(basis, core.to_dense(), axes=1)
    basis = basis.reshape(state.start.dim, -1, basis.shape[-1])
    dense = dense_operator(operator, 0, n)[0]
    elements = np.einsum("sXb,XYw,sYa->baw", basis, dense, basis, optimize=True)
    bond, w_bond = state.bonds[n - 1], operator.chain.bonds[n - 1]
    assert_reduced(left_block(operator, state, n), bond, w_bond, elements)


@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize("case", CASES)
def test_right_blocks(case, n):
    operator, state = make_state(case, 0)
    basis = np.eye(state.out.dim)
    for core in state.cores[: -n - 1 : -1]:
        basis = np.tensordot(core.to_dense(), basis, axes=1)
    basis = basis.reshape(basis.shape[0], -1, state.out.dim)
    dense = dense_operator(operator, 4 - n, 4)[..., 0]
    elements = np.einsum("bXo,wXY,aYo->baw", basis, dense, basis, optimize=True)
    bond, w_bond = state.bonds[3 - n], operator.chain.bonds[3 - n]
    assert_reduced(right_block(operator, state, n), bond, w_bond, elements)


def one_site(case, site):
    """Effective Hamiltonian at a site, and the chain of a vector of it."""
    operator, state = make_state(case, site)
    core = state[site]
    rows = couplings(core.legs[0], core.legs[1])
    shapes = {ir: (rows[ir], core.legs[2].count(ir)) for ir in core.legs[2].unique if ir in rows}
    left = enlarge(
        left_block(operator, state, site),
        core.legs[0],
        site_tables(operator, "left")[site],
        list(shapes),
    )
    right = right_block(operator, state, 3 - site)
    h = EffectiveHamiltonian(left, right, shapes, state.kind)

    def chain(vector):
        new = tensorize(h.from_vector(vector), core.legs, 2, state.kind)
        return [*state.cores[:site], new, *state.cores[site + 1 :]]

    return operator, h, chain, h.to_vector(matricize(core, 2)), state


def two_site(case, site):
    operator, state = make_state(case, site)
    pair = merge(state[site], state[site + 1])
    shapes = pair_shapes(pair.legs)
    left = enlarge(
        left_block(operator, state, site),
        pair.legs[0],
        site_tables(operator, "left")[site],
        list(shapes),
    )
    right = enlarge(
        right_block(operator, state, 2 - site),
        pair.legs[3],
        site_tables(operator, "right")[site + 1],
        list(shapes),
    )
    h = EffectiveHamiltonian(left, right, shapes, state.kind)

    def chain(vector):
        split = Pair(pair.legs, h.from_vector(vector)).split()
        return [*state.cores[:site], split.left, split.right, *state.cores[site + 2 :]]

    return operator, h, chain, h.to_vector(pair.matrices), state


def dense_states(h, chain):
    """The dense states of all unit vectors, (sites, components of the ends, vectors)."""
    states = []
    for vector in np.eye(h.size):
        dense = Chain(chain(vector)).to_dense()
        states.append(np.moveaxis(dense, 0, -1).reshape(-1, dense.shape[-1] * dense.shape[0]))
    return np.stack(states, axis=-1)


@pytest.mark.parametrize(
    ("make", "site"), [(one_site, 0), (one_site, 1), (one_site, 3), (two_site, 0), (two_site, 1)]
)
@pytest.mark.parametrize("case", CASES)
def test_effective_hamiltonian_is_the_projected_one(case, make, site):
    operator, h, chain, vector, state = make(case, site)
    basis = dense_states(h, chain)
    np.testing.assert_allclose(np.einsum("xos,xot->st", basis, basis), np.eye(h.size), atol=1e-12)
    expected = np.einsum("xos,xy,yot->st", basis, operator.to_dense(), basis, optimize=True)
    found = np.stack([h(unit) for unit in np.eye(h.size)], axis=1)
    np.testing.assert_allclose(found, expected, atol=1e-11)
    if not case.startswith("not symmetric"):
        np.testing.assert_allclose(found, found.T, atol=1e-12)
    # The vector of the state is the state, and its mean value is that of the whole operator.
    assert np.linalg.norm(vector) == pytest.approx(state.norm(), rel=1e-13)
    mean = vector @ h(vector) / (vector @ vector)
    assert mean == pytest.approx(operator.expectation(state), rel=1e-11)


def test_vectors_and_matrices():
    _, h, _, vector, _ = two_site("long range", 1)
    matrices = h.from_vector(vector)
    assert {ir: m.shape for ir, m in matrices.items()} == h.shapes
    np.testing.assert_allclose(h.to_vector(matrices), vector, atol=1e-15)
    norm = math.sqrt(sum(ir.dim * (m**2).sum() for ir, m in matrices.items()))
    assert np.linalg.norm(vector) == pytest.approx(norm, rel=1e-14)
    missing = matrices.popitem()[0]
    assert not h.from_vector(h.to_vector(matrices))[missing].any()


def test_flops():
    j = Irrep("1e")
    left, right = {(j, j): np.ones((2, 3, 3))}, {(j, j): np.ones((2, 4, 4))}
    h = EffectiveHamiltonian(left, right, {j: (3, 4)}, Kind())
    # (3, 4) (4, 2 · 4), then (3, 3 · 2) (3 · 2, 4).
    assert h.flops == 2 * 3 * 4 * 8 + 2 * 3 * 6 * 4


def test_only_wanted_irreps_are_built():
    operator, state = make_state("long range", 3)
    block, bond = left_block(operator, state, 2), state.bonds[1]
    tables = site_tables(operator, "left")[2]
    every = [*couplings(bond, state.sites[2])]
    whole = enlarge(block, bond, tables, every)
    some = enlarge(block, bond, tables, every[1:3])
    assert set(some) == {key for key in whole if set(key) <= set(every[1:3])}
    for key, found in some.items():
        np.testing.assert_array_equal(found, whole[key])


def test_what_a_block_lacks_is_zero():
    operator, state = make_state("long range", 3)
    block, bond = left_block(operator, state, 2), state.bonds[1]
    tables = site_tables(operator, "left")[2]
    wanted = list(couplings(bond, state.sites[2]))
    key = next(iter(block))
    zeroed = {**block, key: 0 * block[key]}
    without = {other: value for other, value in block.items() if other != key}
    one, two = (enlarge(each, bond, tables, wanted) for each in (zeroed, without))
    for name, value in one.items():
        np.testing.assert_allclose(two[name] if name in two else 0 * value, value, atol=1e-15)


def test_equal_sites_share_tables():
    for side in ("left", "right"):
        assert len({id(tables) for tables in site_tables(aklt(40), side)}) == 3
        twice = aklt(6) + aklt(6)
        assert len({id(tables) for tables in site_tables(twice, side)}) == 3


@pytest.mark.parametrize("kind", [{"backend": "torch"}, {"dtype": "float32"}], ids=str)
def test_other_kinds_of_arrays(kind):
    operator, state = make_state("long range", 1)
    pair = merge(state[1], state[2])
    shapes = pair_shapes(pair.legs)

    def act(operator, state):
        left = enlarge(
            left_block(operator, state, 1),
            pair.legs[0],
            site_tables(operator, "left")[1],
            list(shapes),
        )
        right = enlarge(
            right_block(operator, state, 1),
            pair.legs[3],
            site_tables(operator, "right")[2],
            list(shapes),
        )
        h = EffectiveHamiltonian(left, right, shapes, state.kind)
        vector = h.to_vector(merge(state[1], state[2]).matrices)
        return np.asarray(h(vector)), h(vector)

    expected, _ = act(operator, state)
    found, raw = act(operator.to(**kind), state.to(**kind))
    assert Core(["1x0e"], {(Irrep("0e"),): raw[:1]}).kind == state.to(**kind).kind
    np.testing.assert_allclose(found, expected, atol=1e4 * state.to(**kind).kind.eps)
