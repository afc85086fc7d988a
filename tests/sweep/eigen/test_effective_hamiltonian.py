"""Effective Hamiltonians against dense projections of the Hamiltonian."""

from __future__ import annotations

import math

import numpy as np
import pytest

from etn.backend import Kind
from etn.network import Chain
from etn.o3 import Irrep
from etn.sweep.eigen.block_operators import (
    enlarge,
    site_tables,
)
from etn.sweep.eigen.effective_hamiltonian import EffectiveHamiltonian
from etn.tensor import Core, Pair, matricize, merge, tensorize
from etn.tensor.pair import couplings, pair_shapes


def one_site(blocks, case, site):
    """Effective Hamiltonian at a site, and the chain of a vector of it."""
    operator, state = blocks.make_state(case, site)
    core = state[site]
    rows = couplings(core.legs[0], core.legs[1])
    shapes = {ir: (rows[ir], core.legs[2].count(ir)) for ir in core.legs[2].unique if ir in rows}
    left = enlarge(
        blocks.left(operator, state, site),
        core.legs[0],
        site_tables(operator, "left")[site],
        list(shapes),
    )
    right = blocks.right(operator, state, 3 - site)
    h = EffectiveHamiltonian(left, right, shapes, state.kind)

    def chain(vector):
        new = tensorize(h.from_vector(vector), core.legs, 2, state.kind)
        return [*state.cores[:site], new, *state.cores[site + 1 :]]

    return operator, h, chain, h.to_vector(matricize(core, 2)), state


def two_site(blocks, case, site):
    operator, state = blocks.make_state(case, site)
    pair = merge(state[site], state[site + 1])
    shapes = pair_shapes(pair.legs)
    left = enlarge(
        blocks.left(operator, state, site),
        pair.legs[0],
        site_tables(operator, "left")[site],
        list(shapes),
    )
    right = enlarge(
        blocks.right(operator, state, 2 - site),
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
def test_effective_hamiltonian_is_the_projected_one(blocks, case, make, site):
    operator, h, chain, vector, state = make(blocks, case, site)
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


def test_vectors_and_matrices(blocks):
    _, h, _, vector, _ = two_site(blocks, "long range", 1)
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


@pytest.mark.parametrize("kind", [{"backend": "torch"}, {"dtype": "float32"}], ids=str)
def test_other_kinds_of_arrays(blocks, kind):
    operator, state = blocks.make_state("long range", 1)
    pair = merge(state[1], state[2])
    shapes = pair_shapes(pair.legs)

    def act(operator, state):
        left = enlarge(
            blocks.left(operator, state, 1),
            pair.legs[0],
            site_tables(operator, "left")[1],
            list(shapes),
        )
        right = enlarge(
            blocks.right(operator, state, 1),
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
