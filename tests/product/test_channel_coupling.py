"""Legs with channels, and the coefficients of what couples them."""

from __future__ import annotations

import numpy as np
import pytest

from etn.errors import IrrepsError, SettingsError
from etn.o3 import Irreps
from etn.product import SphericalProduct
from etn.product.channel_coupling import (
    bare,
    channels_of,
    couple,
    default_output,
    filled,
    filled_paths,
)


def test_coefficients_component_give_unit_variance() -> None:
    """The variance of every output over random inputs and weights is one."""
    rng = np.random.default_rng(0)
    product = SphericalProduct("8x0e+8x1o+8x2e", "4x0e+4x1o", "5x0e+5x1o+5x2e", mode="uvw")
    x = rng.normal(size=(20000, product.irreps_in1.dim))
    y = rng.normal(size=(20000, product.irreps_in2.dim))
    draws = []
    for _ in range(20):
        z = product(x[:1000], y[:1000], rng.normal(size=product.weight_numel))
        draws.append((z**2).mean(axis=0))
        x, y = x[1000:], y[1000:]
    variance = np.mean(draws, axis=0)
    for part in product.irreps_out.slices():
        # 20 draws of 5 x 32 weights: a standard error of some three per cent.
        assert abs(variance[part].mean() - 1.0) < 0.15


def test_component_coefficients_are_those_of_the_formula() -> None:
    """alpha^2 = (2 l_out + 1) / sum of the fan-ins of all paths to the same output, by hand."""
    legs = (Irreps("4x0e+4x1o"), Irreps("3x0e+3x1o"), Irreps("5x0e+5x1o"))
    fused = couple(legs, "uvw", "component")
    assert fused.labels() == (
        "0e x 0e -> 0e",
        "1o x 1o -> 0e",
        "0e x 1o -> 1o",
        "1o x 0e -> 1o",
    )
    assert fused.coefficients**2 == pytest.approx([1 / 24, 1 / 24, 3 / 24, 3 / 24])
    fused = couple(legs, "uvw", "component", paths=[(0, 0, 0), (1, 0, 1)])
    assert fused.coefficients**2 == pytest.approx([1 / 12, 3 / 12])


def test_channels_and_the_outputs_of_a_mode() -> None:
    first, second = Irreps("4x0e+4x1o+4x2o"), Irreps("3x0e+3x1o")
    assert channels_of((first, second, first)) == (4, 3, 4)
    assert bare(first) == Irreps("1x0e+1x1o+1x2o")
    # 2o x 0e -> 2o, but no product of these ends in what is not there.
    assert default_output(first, second, "uvu") == first
    assert default_output(Irreps("4x0e+4x3o"), Irreps("1o"), "uvu") == Irreps("")
    assert default_output(first, second, "uvv") == Irreps("3x0e+3x1o+3x2o")
    with pytest.raises(IrrepsError, match=r"second operand .*one number of channels"):
        default_output(first, Irreps("2x0e+3x1o"), "uvv")
    with pytest.raises(SettingsError, match="irreps_out is needed"):
        default_output(first, second, "uuw")
    with pytest.raises(IrrepsError, match="output: expected irreps with channels, got none"):
        channels_of((first, second, Irreps("")))


def test_paths_between_terms_with_channels() -> None:
    legs = Irreps("0x0e+4x1o"), Irreps("0e+1o"), Irreps("4x1o+4x0e")
    assert filled(legs[0]) == Irreps("4x1o")
    paths, values = filled_paths(legs, [(0, 0, 1), (1, 1, 1)], [2.0, 3.0])
    assert (paths, list(values)) == (((0, 1, 1),), [3.0])
    for kept in ("component", {"1o x 1o -> 0e": 2.0}):
        assert filled_paths(legs, [(0, 0, 1)], kept) == ((), kept)
    for wrong in [(2, 0, 0), (-1, 0, 0), (0, 0)]:
        with pytest.raises(IrrepsError, match="couples nothing: the legs are 0x0e"):
            filled_paths(legs, [wrong], "component")  # type: ignore[list-item]
