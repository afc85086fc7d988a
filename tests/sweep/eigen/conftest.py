"""Operators and states that the tests of blocks and of effective Hamiltonians share."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from etn.network import Chain, Operator, aklt, operator_leg, pair_sum
from etn.o3 import Irrep, Irreps
from etn.sweep.eigen.block_operators import end_block, enlarge, project, site_tables
from etn.tensor import matricize


def random_operator(sites, seed=0):
    """A scalar operator with wide bonds and no symmetry under transposition."""
    return Operator(Chain.random([operator_leg(site) for site in sites], seed=seed), sites)


SPINS = ["1x1e"] * 4
MIXED = ["1x0e+2x1o", "1x1e+1x0o", "2x0e+1x1o", "1x1o"]


def cases():
    """Ends that carry irreps; several copies and both parities on the sites; symmetric or not."""
    return {
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
    """Operator of a case and a state for it, canonical around a center."""
    operator, start, out = cases()[case]
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


@pytest.fixture(
    params=["long range", "open start", "spin 2", "not symmetric", "not symmetric, open"]
)
def case(request):
    """Name of a case."""
    return request.param


@pytest.fixture
def blocks():
    """Functions that make the state of a case and blocks of it."""
    return SimpleNamespace(make_state=make_state, left=left_block, right=right_block)


# Spin matrices -i S in the real basis (y, z, x): any cyclic order will do.
K = np.zeros((3, 3, 3))
for a, b, c in ((0, 1, 2), (1, 2, 0), (2, 0, 1)):
    K[a, b, c], K[a, c, b] = -1, 1


def energies_of_spin(operator, spin):
    """Energies of one total spin of a chain of spins one, each multiplet once."""
    n, total = len(operator), 0
    for a in range(3):
        m = sum(np.kron(np.kron(np.eye(3**i), K[a]), np.eye(3 ** (n - i - 1))) for i in range(n))
        total = total - m @ m
    values, vectors = np.linalg.eigh(total)
    space = vectors[:, abs(values - spin * (spin + 1)) < 1e-8]
    return np.linalg.eigvalsh(space.T @ operator.to_dense() @ space)[:: 2 * spin + 1]


@pytest.fixture
def dense_energies():
    """Function of an operator and a spin: energies from the dense matrix."""
    return energies_of_spin
