"""Powers of a representation: counts against dimensions and characters."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etn.o3 import Irrep, Irreps
from etn.product.symmetric_powers import symmetric_multiplicities

LEG = "0e+1o+2e"


@given(
    st.lists(st.sampled_from(["0e", "0o", "1e", "1o", "2e", "3o"]), min_size=1, max_size=4),
    st.integers(1, 5),
)
@settings(max_examples=40, deadline=None)
def test_multiplicities_add_up_to_the_symmetric_power(irreps: list[str], order: int) -> None:
    """dim S^n V = binomial(d + n - 1, n)."""
    dim = Irreps(irreps).dim
    total = sum(n * ir.dim for ir, n in symmetric_multiplicities(irreps, order).items())
    assert total == math.comb(dim + order - 1, order)


def test_known_powers() -> None:
    """S^n of a vector is the harmonics n, n-2, ...; S^2 of 2e has no odd degrees."""
    powers = symmetric_multiplicities("1o", 5)
    assert powers == {Irrep("1o"): 1, Irrep("3o"): 1, Irrep("5o"): 1}
    assert set(map(str, symmetric_multiplicities("2e", 2))) == {"0e", "2e", "4e"}
    # Invariants of a traceless symmetric matrix: tr S^2 and tr S^3 generate them.
    counts = [symmetric_multiplicities("2e", n).get(Irrep("0e"), 0) for n in range(1, 7)]
    assert counts == [0, 1, 1, 1, 1, 2]


def symmetrized_rank(leg: str, order: int, ir: Irrep) -> int:
    """Multiplicity of an irrep in the symmetric power, by traces of dense matrices over rotations.

    The character of the symmetric power from power sums (Newton), integrated over the group.
    """
    angles = (np.arange(4001) + 0.5) * np.pi / 4001
    total = 0.0
    for sign in (1, -1):

        def character(irreps: Irreps, k: int, sign: int = sign) -> np.ndarray:
            parts = [
                (term.ir.p if sign < 0 else 1) ** k
                * np.sum([np.cos(m * k * angles) for m in range(-term.ir.l, term.ir.l + 1)], axis=0)
                for term in irreps
            ]
            return np.sum(parts, axis=0)

        powers = [np.ones_like(angles)]
        for n in range(1, order + 1):
            powers.append(
                sum(character(Irreps(leg), k) * powers[n - k] for k in range(1, n + 1)) / n
            )
        haar = 2.0 / np.pi * np.sin(angles / 2) ** 2
        integrand = haar * powers[order] * character(Irreps([ir]), 1)
        total += 0.5 * float(integrand.mean() * np.pi)
    return round(total)


@pytest.mark.parametrize("order", [2, 3, 4, 5, 6])
def test_counts_agree_with_characters_integrated_over_the_group(order: int) -> None:
    known = symmetric_multiplicities(LEG, order)
    for ir in ("0e", "1o", "2e", "0o", "1e"):
        assert known.get(Irrep(ir), 0) == symmetrized_rank(LEG, order, Irrep(ir))
