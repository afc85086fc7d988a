"""Radial functions: values from elsewhere, and a smooth end."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.special
import torch

from etn.errors import SettingsError
from etn.nn.radial import (
    Bessel,
    ExpNormal,
    cosine_cutoff,
    cutoff,
    polynomial_cutoff,
    radial_basis,
)


def test_bessel_functions_are_spherical_ones():
    r = np.linspace(0.0, 4.9, 50)
    found = Bessel(6, 5.0)(torch.as_tensor(r))
    for n in range(6):
        k = (n + 1) * np.pi / 5.0
        expected = np.sqrt(2 / 5.0) * k * scipy.special.spherical_jn(0, k * r)
        expected = expected * polynomial_cutoff(torch.as_tensor(r), 5.0).numpy()
        np.testing.assert_allclose(found[:, n], expected, rtol=1e-12, atol=1e-14)


def test_exponentials_of_gaussians():
    r = torch.linspace(0.5, 4.4, 9, dtype=torch.float64)
    basis = ExpNormal(4, 4.5, "cosine")
    start = np.exp(-4.5)
    for n, mu in enumerate(np.linspace(start, 1, 4)):
        away = np.exp(-5.0 / 4.5 * r.numpy()) - mu
        end = 0.5 * (np.cos(np.pi * r.numpy() / 4.5) + 1)
        expected = end * np.exp(-((2 / 4 * (1 - start)) ** -2) * away**2)
        np.testing.assert_allclose(basis(r)[:, n], expected, rtol=1e-12)


@pytest.mark.parametrize("name", ["bessel", "expnormal", "gaussian"])
def test_two_derivatives_vanish_at_the_end(name):
    basis = radial_basis(name, 5, 4.0, "polynomial").double()
    r = torch.tensor([4.0 - 1e-4, 4.0, 4.1], dtype=torch.float64, requires_grad=True)
    value = basis(r)
    (slope,) = torch.autograd.grad(value.sum(), r, create_graph=True)
    (curve,) = torch.autograd.grad(slope.sum(), r)
    assert value[1:].abs().max() == 0
    assert value[0].abs().max() < 1e-9
    assert slope.abs()[0] < 1e-4
    assert slope.abs()[1:].max() < 1e-12
    assert curve.abs()[0] < 0.2


def test_cutoffs_are_one_at_zero_and_fall():
    r = torch.linspace(0.0, 4.0, 41, dtype=torch.float64)
    for phi in (cosine_cutoff(r, 4.0), polynomial_cutoff(r, 4.0)):
        assert phi[0] == 1
        assert phi[-1].abs() < 1e-15
        assert (phi.diff() <= 0).all()


def test_unknown_names_and_numbers():
    with pytest.raises(SettingsError, match="cutoff: expected one of polynomial, cosine"):
        cutoff("square")
    with pytest.raises(SettingsError, match="radial: expected one of bessel"):
        radial_basis("hat", 4, 4.0, "cosine")
    with pytest.raises(SettingsError, match="n_max: expected at least 1"):
        radial_basis("bessel", 0, 4.0, "cosine")
