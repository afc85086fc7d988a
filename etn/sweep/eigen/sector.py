"""All states of one total irrep: how many there are, and their energies where they are few.

The exact spectrum of a small sector says whether a search has missed a state.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from etn.backend import FloatArray, to_numpy
from etn.network import Chain, Operator
from etn.o3 import Irrep, Irreps
from etn.sweep.eigen.eigen_problem import EigenProblem
from etn.tensor import Core, tensorize
from etn.tensor.pair import couplings

# Sectors up to this size are diagonalized as a whole.
MAX_EXACT = 400


def sector_dimension(sites: Sequence[Irreps], total: Irreps) -> int:
    """In how many ways the sites couple to a total irrep: the number of its multiplets.

    Examples
    --------
    >>> sector_dimension([Irreps("1x1e")] * 5, Irreps("0e"))
    6
    """
    lefts, rights = _ways(sites, Irreps("1x0e")), _ways(sites[::-1], total)
    middle = len(sites) // 2
    right = rights[len(sites) - middle]
    return sum(n * right.get(ir, 0) for ir, n in lefts[middle].items())


def _ways(sites: Sequence[Irreps], end: Irreps) -> list[dict[Irrep, int]]:
    """Multiplets of the bonds from one end on, all sites coupled in every way."""
    found = [{ir: end.count(ir) for ir in end.unique}]
    for site in sites:
        new: dict[Irrep, int] = {}
        for one, n in found[-1].items():
            for two in site.unique:
                for ir in one * two:
                    new[ir] = new.get(ir, 0) + n * site.count(two)
        found.append(new)
    return found


def complete_chain(sites: Sequence[Irreps], total: Irreps) -> Chain:
    """A chain whose center, in the middle, holds every state of the sector as it is; it is zero.

    Left and right of it stand the couplings themselves; irreps from which the other end cannot be
    reached are left out.
    """
    n, middle = len(sites), len(sites) // 2
    lefts, rights = _ways(sites, Irreps("1x0e")), _ways(sites[::-1], total)
    there = [{ir for ir in lefts[at] if ir in rights[n - at]} for at in range(n + 1)]
    cores, bond = [], Irreps("1x0e")
    for at in range(middle):
        ways = couplings(bond, sites[at])
        eyes = {ir: np.eye(ways[ir]) for ir in ways if ir in there[at + 1]}
        cores.append(_isometry(eyes, bond, sites[at], leg=2))
        bond = cores[-1].legs[2]
    behind, last = [], total
    for at in range(n - 1, middle, -1):
        ways = couplings(sites[at], last)
        eyes = {ir: np.eye(ways[ir]) for ir in ways if ir in there[at]}
        behind.append(_isometry(eyes, last, sites[at], leg=0))
        last = behind[-1].legs[0]
    return Chain([*cores, Core([bond, sites[middle], last]), *behind[::-1]], center=middle)


def _isometry(eyes: dict[Irrep, FloatArray], bond: Irreps, site: Irreps, *, leg: int) -> Core:
    legs = (bond, site, Irreps()) if leg == 2 else (Irreps(), site, bond)
    return tensorize(eyes, legs, leg, Chain.random(["1x0e"]).kind)


def sector_energies(
    operator: Operator, total: Irreps, orthogonal_to: Sequence[Chain] = ()
) -> FloatArray:
    """All energies of one total irrep, ascending, of states orthogonal to those given.

    The couplings of the sites are the basis, and the matrix is diagonalized: for small sectors.

    Examples
    --------
    >>> from etn.network import heisenberg
    >>> sector_energies(heisenberg(3), Irreps("1e")).round(12) + 0.0
    array([-3., -1.,  0.])
    """
    chain = complete_chain(operator.sites, total).to(**vars(operator.chain.kind))
    problem = EigenProblem(operator, chain, orthogonal_to=orthogonal_to)
    hamiltonian, others = problem.at_center(chain)
    columns = hamiltonian.kind.eye(hamiltonian.size)
    matrix = np.stack([to_numpy(hamiltonian(column)) for column in columns]).astype(float)
    if others:
        rows = np.stack([to_numpy(hamiltonian.to_vector(other)) for other in others])
        _, sizes, basis = np.linalg.svd(rows.astype(float))
        free = basis[int((sizes > 1e-6).sum()) :]
        matrix = free @ matrix @ free.T
    return np.linalg.eigvalsh((matrix + matrix.T) / 2)
