"""Canonical forms of trains of cores against dense matrices."""

from __future__ import annotations

import numpy as np
import pytest

from etn.network import Chain
from etn.network.chain_gauge import canonical, spectra, truncated
from etn.tensor import Truncation


@pytest.fixture
def cores():
    sites = ["1x0e+1x1o", "2x0e+1x2e", "1x1e+1x0e+1x1o", "1x1o+1x0e"]
    return list(Chain.random(sites, start="1x1o", out="1x0e+1x1o", max_bond=2, seed=0).cores)


def dense_of(cores):
    return np.einsum("axb,byc,czd,dwe->axyzwe", *(core.to_dense() for core in cores))


def gram(core, leg):
    m = np.moveaxis(core.to_dense(), leg, -1).reshape(-1, core.legs[leg].dim)
    return m.T @ m


@pytest.mark.parametrize("center", range(4))
def test_all_but_the_center_are_isometries_towards_it(cores, center):
    moved = canonical(cores, None, center)
    np.testing.assert_allclose(dense_of(moved), dense_of(cores), rtol=0, atol=1e-13)
    for site, core in enumerate(moved):
        if site != center:
            found = gram(core, 2 if site < center else 0)
            np.testing.assert_allclose(found, np.eye(len(found)), rtol=0, atol=1e-13)


@pytest.mark.parametrize(("old", "new"), [(0, 2), (3, 1), (2, 2)])
def test_only_the_cores_between_two_centers_change(cores, old, new):
    before = canonical(cores, None, old)
    after = canonical(before, old, new)
    for site in range(4):
        if not min(old, new) <= site <= max(old, new) or old == new:
            assert after[site] is before[site]
    np.testing.assert_allclose(dense_of(after), dense_of(cores), rtol=0, atol=1e-13)


def test_spectra_are_the_dense_singular_values(cores):
    dense, scale = dense_of(cores), np.linalg.norm(dense_of(cores))
    for bond, spectrum in enumerate(spectra(canonical(cores, None, 3)), start=2):
        rows = int(np.prod(dense.shape[:bond]))
        expected = np.linalg.svd(dense.reshape(rows, -1), compute_uv=False)
        found = sorted(s for ir in spectrum for s in np.repeat(spectrum[ir], ir.dim))[::-1]
        np.testing.assert_allclose(found, expected[: len(found)], rtol=0, atol=1e-13 * scale)


def test_the_errors_of_all_bonds_add_up_to_the_dense_error(cores):
    small, discarded = truncated(canonical(cores, None, 3), Truncation(max_multiplets=1))
    assert [core.legs[2].num_irreps for core in small[:-1]] == [1, 1, 1]
    error = np.linalg.norm(dense_of(small) - dense_of(cores))
    assert discarded == pytest.approx(error, rel=1e-12)
    assert discarded > 0.1 * np.linalg.norm(dense_of(cores))
