"""Modes: shapes of weights and numbers of terms."""

from __future__ import annotations

from etn.product.modes import MODES, fan_in, weight_shape


def test_fan_in_counts_the_sums_of_the_mode() -> None:
    sizes = {mode: (4, 4, 4) if mode == "uuu" else (4, 4, 5) for mode in MODES}
    sizes |= {"uvu": (4, 3, 4), "uvv": (4, 3, 3), "uvw": (4, 3, 5)}
    expected = {"uvw": 12, "uvu": 3, "uvv": 4, "uuw": 4, "uuu": 1}
    assert {mode: fan_in(mode, sizes[mode]) for mode in MODES} == expected
    shapes = {"uvw": (4, 3, 5), "uvu": (4, 3), "uvv": (4, 3), "uuw": (4, 5), "uuu": (4,)}
    assert {mode: weight_shape(mode, sizes[mode]) for mode in MODES} == shapes
