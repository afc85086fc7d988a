"""Operators of blocks against matrix elements of the dense operator in the dense basis."""

from __future__ import annotations

import numpy as np
import pytest

from etn.network import aklt
from etn.network.operator import operator_basis
from etn.o3 import clebsch_gordan
from etn.sweep.eigen.block_operators import enlarge, multiplets, site_tables
from etn.tensor.pair import couplings


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
def test_left_blocks(blocks, case, n):
    operator, state = blocks.make_state(case, 3)
    basis = np.eye(state.start.dim)
    for core in state.cores[:n]:
        basis = np.tensordot(basis, core.to_dense(), axes=1)
    basis = basis.reshape(state.start.dim, -1, basis.shape[-1])
    dense = dense_operator(operator, 0, n)[0]
    elements = np.einsum("sXb,XYw,sYa->baw", basis, dense, basis, optimize=True)
    bond, w_bond = state.bonds[n - 1], operator.chain.bonds[n - 1]
    assert_reduced(blocks.left(operator, state, n), bond, w_bond, elements)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_right_blocks(blocks, case, n):
    operator, state = blocks.make_state(case, 0)
    basis = np.eye(state.out.dim)
    for core in state.cores[: -n - 1 : -1]:
        basis = np.tensordot(core.to_dense(), basis, axes=1)
    basis = basis.reshape(basis.shape[0], -1, state.out.dim)
    dense = dense_operator(operator, 4 - n, 4)[..., 0]
    elements = np.einsum("bXo,wXY,aYo->baw", basis, dense, basis, optimize=True)
    bond, w_bond = state.bonds[3 - n], operator.chain.bonds[3 - n]
    assert_reduced(blocks.right(operator, state, n), bond, w_bond, elements)


def test_only_wanted_irreps_are_built(blocks):
    operator, state = blocks.make_state("long range", 3)
    block, bond = blocks.left(operator, state, 2), state.bonds[1]
    tables = site_tables(operator, "left")[2]
    every = [*couplings(bond, state.sites[2])]
    whole = enlarge(block, bond, tables, every)
    some = enlarge(block, bond, tables, every[1:3])
    assert set(some) == {key for key in whole if set(key) <= set(every[1:3])}
    for key, found in some.items():
        np.testing.assert_array_equal(found, whole[key])


def test_what_a_block_lacks_is_zero(blocks):
    operator, state = blocks.make_state("long range", 3)
    block, bond = blocks.left(operator, state, 2), state.bonds[1]
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
