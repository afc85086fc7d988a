"""Sizes and spectra of sectors against dense matrices and known numbers."""

from __future__ import annotations

import numpy as np
import pytest

from etn.network import Chain, Operator, heisenberg, operator_leg, pair_sum
from etn.o3 import Irrep, Irreps
from etn.sweep.eigen.sector import complete_chain, sector_dimension, sector_energies


def test_motzkin_sums_count_the_singlets():
    # OEIS A005043: ways in which n spins one couple to zero.
    counts = [sector_dimension([Irreps("1x1e")] * n, Irreps("1x0e")) for n in range(2, 11)]
    assert counts == [1, 1, 3, 6, 15, 36, 91, 232, 603]
    assert sector_dimension([Irreps("1x1e")] * 400, Irreps("1x0e")) > 10**180
    assert sector_dimension([Irreps("1x1e")] * 3, Irreps("1x1o")) == 0


@pytest.mark.parametrize("n_sites", [1, 2, 3, 5])
@pytest.mark.parametrize("spin", [0, 1, 2])
def test_energies_are_those_of_the_dense_matrix(n_sites, spin, dense_energies):
    sites = [Irreps("1x1e")] * n_sites
    dimension = sector_dimension(sites, Irreps(f"1x{spin}e"))
    operator = (
        Operator.identity(sites)
        if n_sites == 1
        else pair_sum(n_sites, [-2.0, 0.3, 1.0], distances=[1, 0.5])
    )
    if not dimension:
        return
    found = sector_energies(operator, Irreps(f"1x{spin}e"))
    np.testing.assert_allclose(found, dense_energies(operator, spin), atol=1e-12)
    assert len(found) == dimension


def test_sites_of_several_irreps():
    sites = ["1x0e+2x1o", "2x0e+1x1o", "1x0e+1x1e"]
    operator = Operator(Chain.random([operator_leg(s) for s in sites], seed=3), sites)
    operator = operator + operator.transpose()
    found = []
    for l in range(4):
        for p in (1, -1):
            total = Irreps([(1, Irrep(l, p))])
            if sector_dimension(operator.sites, total):
                found += [e for e in sector_energies(operator, total) for _ in range(2 * l + 1)]
    np.testing.assert_allclose(np.sort(found), np.linalg.eigvalsh(operator.to_dense()), atol=1e-12)


def test_states_that_are_given_are_left_out():
    operator = heisenberg(5)
    chain = Chain.random(operator.sites, max_bond=9, seed=1)
    found = sector_energies(operator, Irreps("1x0e"), [chain])
    # Cauchy interlacing: one state fewer, each energy between two of the whole.
    whole = sector_energies(operator, Irreps("1x0e"))
    assert len(found) == len(whole) - 1
    assert (found >= whole[:-1] - 1e-12).all()
    assert (found <= whole[1:] + 1e-12).all()


def test_a_complete_chain_is_canonical_and_small_where_the_sector_is():
    chain = complete_chain([Irreps("1x1e")] * 6, Irreps("1x1e"))
    assert chain.orthogonality_error() == 0.0
    narrow = complete_chain([Irreps("1x1e")] * 30, Irreps("1x30e"))
    assert all(bond.num_irreps == 1 for bond in narrow.bonds)
