"""Arrays of any size against the same arrays of size one, and against exact powers of two."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest

from etn.errors import CoreError
from etn.o3 import Irrep
from etn.tensor import Core, Spectrum, Truncation, eigh, merge, qr, svd
from etn.tensor.scale import (
    as_number,
    check_range,
    exponent,
    frobenius,
    multiplied,
    rescaled,
    times_power,
    unscaled,
)

LEGS = ["1x0e+2x1o", "2x0e+1x1o+1x2e", "2x0e+2x1o+1x2e"]
sizes = pytest.mark.parametrize("power", [-1000, -600, -40, 0, 40, 600, 1000])


@sizes
def test_taking_a_size_out_and_in_changes_no_digit(power):
    array = times_power(np.random.default_rng(0).normal(size=7), power)
    small, found = unscaled({"a": array})
    assert found == (0 if abs(exponent([array])) <= 32 else exponent([array]))
    np.testing.assert_array_equal(rescaled(small, found, "it")["a"], array)


@sizes
def test_norms_are_those_of_exact_arithmetic(power):
    array = times_power(np.array([3.0, -4.0, 12.0]), power)
    exact = sum(Fraction(x) ** 2 for x in array.tolist())
    assert Fraction(frobenius([array])) ** 2 == exact


@sizes
@pytest.mark.parametrize("backend", ["numpy", "torch"])
def test_norms_spectra_and_cuts_of_a_core_follow_its_scale(power, backend):
    core = Core.random(LEGS, seed=1).to(backend)
    large = core.rescaled(power)
    assert large.norm() == math.ldexp(core.norm(), power)
    rule = Truncation(rel_tol=0.3)
    one, two = svd(core, 2, rule), svd(large, 2, rule)
    assert two.spectrum.irreps == one.spectrum.irreps
    assert two.discarded == pytest.approx(math.ldexp(one.discarded, power), rel=1e-12)
    assert two.spectrum.entropy() == pytest.approx(one.spectrum.entropy(), rel=1e-12)
    assert two.spectrum.change(one.spectrum) < 1e-14
    assert two.spectrum.norm == pytest.approx(math.ldexp(one.spectrum.norm, power), rel=1e-14)
    isometry = qr(large).isometry
    assert (isometry.to_vector() - qr(core).isometry.to_vector()).max() < 1e-14


@sizes
def test_an_absolute_tolerance_is_one(power):
    spectrum = Spectrum({Irrep("0e"): times_power(np.array([4.0, 2.0, 1.0]), power)})
    kept = Truncation(abs_tol=math.ldexp(1.5, power)).cut(spectrum).kept
    assert kept == {Irrep("0e"): 2}
    if power < 0:
        with pytest.raises(CoreError, match="leaves nothing"):
            Truncation(abs_tol=100.0).cut(spectrum)


def test_pairs_and_dense_projections_of_any_scale():
    one, two = Core.random(LEGS, seed=1), Core.random([LEGS[2], "1x0e+1x1o", "1x0e"], seed=2)
    pair, large = merge(one, two), merge(one.rescaled(600), two.rescaled(300))
    assert large.norm() == math.ldexp(pair.norm(), 900)
    dense = np.random.default_rng(0).normal(size=(7, 10, 13))
    residual = Core.from_dense(dense, LEGS).residual
    found = Core.from_dense(times_power(dense, 900), LEGS).residual
    assert found == pytest.approx(math.ldexp(residual, 900), rel=1e-12)


def test_what_is_beyond_floating_point_is_refused_and_not_infinite_or_zero():
    core = Core.random(LEGS, seed=1)
    for factor in (1e200, 1e-200):
        scaled = core.scale(factor)
        with pytest.raises(CoreError, match=r"about 10\^-?(400|399|401), beyond the range"):
            scaled.scale(factor)
    with pytest.raises(CoreError, match="beyond the range of float32"):
        core.to(dtype="float32").scale(1e60)
    with pytest.raises(CoreError, match="beyond the range of float64"):
        core.rescaled(2000)
    with pytest.raises(CoreError, match="norm is about"):
        frobenius([np.full(100, 1.7e308)])
    assert (0.0 * np.ones(1) == multiplied({"a": np.ones(1)}, 0.0, "it")["a"]).all()
    check_range(-5000, "float64", "it", zero=True)


@pytest.mark.parametrize("factor", [1j, np.nan, np.inf, "2", None, np.ones(2), [1.0]])
def test_a_factor_is_a_finite_real_number(factor):
    with pytest.raises(CoreError, match="a core times a number: expected a"):
        as_number(factor, "a core times a number")
    with pytest.raises(CoreError):
        Core.random(LEGS).scale(factor)


def test_numbers_of_every_type_are_numbers():
    import torch

    for two in (2, 2.0, np.float32(2), np.int64(2), np.array(2.0), np.ones(1) * 2, torch.tensor(2)):
        assert as_number(two, "it") == 2.0


def test_symmetry_is_judged_relative_to_the_size():
    core = Core.random(["2x0e", "2x0e"], seed=0)
    for power in (-900, 0, 900):
        with pytest.raises(CoreError, match="is not symmetric"):
            eigh(core.rescaled(power))
