"""Hamiltonians of chains of integer spins, as finite-state machines over operator irreps.

Notes
-----
Half-integer spins are not covered.  The reduced algebra would stay as it is: 6j and 9j symbols,
the blocks of cores and of operators, and everything in :mod:`etn.sweep.eigen.block_operators` and
:mod:`etn.sweep.eigen.effective_hamiltonian` only know labels, and :mod:`etn.o3.recoupling` takes
half-integers
already.  What is missing: an irrep type with doubled spins in place of the integer l; the dense
expansion of cores, where the tensors are complex and the invariant form of a half-integer irrep is
antisymmetric, so that :func:`etn.tensor.coupling` of two legs cannot be the identity; and the signs
(-1)^(2j) that this brings where a leg is turned, as in factorisations on the first leg.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import accumulate

import numpy as np

from etn.errors import CoreError, IrrepsError
from etn.network.chain import Chain
from etn.network.operator import Operator, operator_leg
from etn.o3 import Irrep, Irreps, recoupling_4
from etn.tensor import Core
from etn.tensor.scale import is_whole

SCALAR = Irrep(0, 1)


def pair_coefficients(spin: int, energies: Sequence[float]) -> dict[int, float]:
    r"""Write an isotropic pair interaction as products of tensor operators.

    .. math:: \sum_J e_J P_J = \sum_k c_k \sum_q E^k_q \otimes E^k_q

    with P_J the projector on total spin J of the two sites.  On total spin J the product of rank k
    has the value v_k(J), and sum_J (2 J + 1) v_k(J) v_k'(J) = (2 k + 1) δ_kk'.

    Parameters
    ----------
    spin : int
        Spin s of both sites.
    energies : sequence of float
        e_J for J = 0 .. 2 s.

    Returns
    -------
    {k: c_k} for k = 0 .. 2 s

    Raises
    ------
    IrrepsError
        If the spin is not a positive integer, or the number of energies is another one.

    Examples
    --------
    >>> c = pair_coefficients(1, [-2, -1, 1])
    >>> [round(c[k], 12) for k in range(3)]
    [0.0, -2.0, 0.0]
    """
    spin = _integer_spin(spin)
    if len(energies) != 2 * spin + 1:
        raise IrrepsError(
            f"expected energies for J = 0..2 spin, got spin {spin} and {len(energies)} energies"
        )
    found = {}
    for k in range(2 * spin + 1):
        # The scalar product is sqrt(2 k + 1) times the coupling to rank zero.
        scale = math.sqrt(2 * k + 1) * (2 * k + 1) / (2 * spin + 1)
        values = [
            scale * recoupling_4(spin, k, spin, spin, k, spin, J, 0, J) for J in range(2 * spin + 1)
        ]
        total = sum(
            (2 * J + 1) * e * v for J, (e, v) in enumerate(zip(energies, values, strict=True))
        )
        found[k] = total / (2 * k + 1)
    return found


def _integer_spin(spin: object) -> int:
    """The spin as an int; 1.0 is one."""
    value = float(spin) if isinstance(spin, int | float | np.number) else math.nan
    if not value >= 1 or not value.is_integer():
        raise IrrepsError(
            f"expected an integer spin of at least 1, got spin {spin!r}; half-integer spins are "
            "not covered"
        )
    return int(value)


def pair_sum(
    n_sites: int,
    energies: Sequence[float],
    *,
    spin: int = 1,
    distances: Sequence[float] = (1.0,),
    decays: Sequence[tuple[float, float]] = (),
) -> Operator:
    r"""Sum of one isotropic interaction over all pairs of sites, by a finite-state machine.

    .. math:: H = \sum_{i < j} f(j - i) \sum_J e_J P_J(i, j), \qquad
        f(r) = \mathrm{distances}[r - 1] + \sum_t a_t\, \lambda_t^{r - 1}

    The bond carries the states "nothing yet" and "done" and, for each rank k of the interaction,
    the operator in flight: one copy for each distance up to the longest finite one, and one for
    each exponential (a_t, λ_t), which passes it on multiplied by λ_t.  Power laws are sums of
    exponentials to any accuracy.

    Parameters
    ----------
    n_sites : int
    energies : sequence of float
        e_J of a pair with total spin J = 0 .. 2 spin.
    spin : int
        Integer spin of the sites.
    distances : sequence of float
        Strength at distance 1, 2, ...; what reaches beyond the chain is ignored.
    decays : sequence of (amplitude, ratio)

    Returns
    -------
    Operator

    Raises
    ------
    CoreError
        If there are fewer than two sites, or neither distances nor decays.
    IrrepsError
        See :func:`pair_coefficients`.

    Notes
    -----
    Source: Crosswhite and Bacon, Phys. Rev. A 78, 012356 (2008), for operators as finite-state
    machines; Pirvu, Murg, Cirac, Verstraete, New J. Phys. 12, 025012 (2010), for exponentials.

    Examples
    --------
    >>> pair_sum(10, [-2, -1, 1], decays=[(1.0, 0.5)], distances=())
    Operator(10 sites of 1x1e, bonds 2x0e+1x1e)
    """
    if not is_whole(n_sites) or n_sites < 2:
        raise CoreError(f"pair_sum: expected at least 2 sites, got {n_sites!r}")
    n_sites, spin = int(n_sites), _integer_spin(spin)
    distances = list(distances[: n_sites - 1])
    if not distances and not decays:
        raise CoreError("pair_sum: expected strengths in distances or decays, got neither")
    coefficients = pair_coefficients(spin, energies)
    size = max(abs(c) for c in coefficients.values())
    active = {k: c for k, c in coefficients.items() if k and abs(c) > 1e-14 * size}
    flights = len(distances) + len(decays)
    site = Irreps([(1, Irrep(spin, 1))])
    bond = Irreps([(2, SCALAR), *((flights, Irrep(k, 1)) for k in active)])
    core = Core([bond, operator_leg(site), bond])
    # One site: E^0 = 1 / sqrt(2 s + 1).
    one = math.sqrt(2 * spin + 1)
    scalars = core.blocks[SCALAR, SCALAR, SCALAR]
    scalars[0, 0, 0] = scalars[1, 0, 1] = one
    for k, c in active.items():
        ir = Irrep(k, 1)
        start, pass_on, end = (
            core.blocks[path] for path in ((SCALAR, ir, ir), (ir, SCALAR, ir), (ir, ir, SCALAR))
        )
        # C^{00}_{kq kq'} = δ / sqrt(2 k + 1).
        finish = c * math.sqrt(2 * k + 1)
        for d, strength in enumerate(distances):
            end[d, 0, 1] = finish * strength
            if d + 1 < len(distances):
                pass_on[d, 0, d + 1] = one
        if distances:
            start[0, 0, 0] = 1.0
        for t, (amplitude, ratio) in enumerate(decays, len(distances)):
            start[0, 0, t] = amplitude
            pass_on[t, 0, t] = ratio * one
            end[t, 0, 1] = finish
    cores = [core] * n_sites
    # Rank zero is a number: the pairs that end at each site are counted there.
    if abs(coefficients[0]) > 1e-14 * size:
        strengths = [_strength(r, distances, decays) for r in range(1, n_sites)]
        sums = list(accumulate(strengths, initial=0.0))
        # A sum that repeats is one core: who works on the operator may do so once.
        known = {total: _with_constant(core, total * coefficients[0] / one) for total in set(sums)}
        cores = [known[total] for total in sums]
    first = _restrict(cores[0], 0, {SCALAR: [0]})
    last = _restrict(cores[-1], 2, {SCALAR: [1]})
    return Operator(Chain([first, *cores[1:-1], last]), [site] * n_sites)


def _strength(r: int, distances: Sequence[float], decays: Sequence[tuple[float, float]]) -> float:
    finite = distances[r - 1] if r <= len(distances) else 0.0
    return finite + sum(a * ratio ** (r - 1) for a, ratio in decays)


def _with_constant(core: Core, value: float) -> Core:
    blocks = {path: block.copy() for path, block in core}
    blocks[SCALAR, SCALAR, SCALAR][0, 0, 1] += value
    return core.replace(blocks)


def _restrict(core: Core, leg: int, copies: Mapping[Irrep, Sequence[int]]) -> Core:
    """Keep some copies of some irreps on a leg."""
    legs = list(core.legs)
    legs[leg] = Irreps([(len(copies[ir]), ir) for ir in sorted(copies)])
    index: list[slice | Sequence[int]] = [slice(None)] * 3
    blocks = {}
    for path, block in core:
        if path[leg] in copies:
            index[leg] = list(copies[path[leg]])
            blocks[path] = block[tuple(index)]
    return Core(legs, blocks)


def heisenberg(n_sites: int, *, spin: int = 1, coupling: float = 1.0) -> Operator:
    r"""Open Heisenberg chain, :math:`H = J \sum_i S_i \cdot S_{i+1}`.

    Parameters
    ----------
    n_sites : int
    spin : int
        Integer spin of the sites.
    coupling : float
        J, positive for the antiferromagnet.

    Raises
    ------
    CoreError, IrrepsError
        See :func:`pair_sum`.

    Examples
    --------
    >>> heisenberg(20)
    Operator(20 sites of 1x1e, bonds 2x0e+1x1e)
    """
    return pair_sum(n_sites, [coupling * x for x in _spin_products(spin)], spin=spin)


def bilinear_biquadratic(
    n_sites: int, *, bilinear: float = 1.0, biquadratic: float = 0.0, spin: int = 1
) -> Operator:
    r"""Open chain :math:`H = \sum_i a\, S_i \cdot S_{i+1} + b\, (S_i \cdot S_{i+1})^2`.

    Parameters
    ----------
    n_sites : int
    bilinear, biquadratic : float
        a and b.
    spin : int
        Integer spin of the sites.

    Raises
    ------
    CoreError, IrrepsError
        See :func:`pair_sum`.

    Examples
    --------
    >>> bilinear_biquadratic(10, bilinear=0, biquadratic=-1)
    Operator(10 sites of 1x1e, bonds 2x0e+1x1e+1x2e)
    """
    energies = [bilinear * x + biquadratic * x**2 for x in _spin_products(spin)]
    return pair_sum(n_sites, energies, spin=spin)


def _spin_products(spin: int) -> list[float]:
    """S · S' of two sites with total spin J = 0 .. 2 spin."""
    spin = _integer_spin(spin)
    return [J * (J + 1) / 2 - spin * (spin + 1) for J in range(int(2 * spin) + 1)]


def aklt(n_sites: int) -> Operator:
    """Open AKLT chain: spin 1, S·S + (S·S)^2 / 3; its ground states have -2/3 a bond.

    Notes
    -----
    Source: Affleck, Kennedy, Lieb, Tasaki, Phys. Rev. Lett. 59, 799 (1987).

    Examples
    --------
    >>> aklt(10)
    Operator(10 sites of 1x1e, bonds 2x0e+1x1e+1x2e)
    """
    return bilinear_biquadratic(n_sites, biquadratic=1 / 3)
