"""Features and deviations of the last core: derivatives of predictions, samples, gauges."""

from __future__ import annotations

import numpy as np

from etn.potential import with_uncertainty

RIDGE = 1e-2


def test_features_times_core_is_the_energy(crystal_model, alloy_model, crystals, structures):
    rng = np.random.default_rng(0)
    for potential, frames in ((crystal_model, crystals[:3]), (alloy_model, structures(rng, 3))):
        core = potential.uncertainty.chain[-1].to_vector()
        pairs = [potential.uncertainty.features(frames), potential.predict(frames)]
        for phi, prediction, frame in zip(*pairs, frames, strict=True):
            base = np.array([potential.baseline.e0[symbol] for symbol in frame.symbols])
            np.testing.assert_allclose(phi @ core + base, prediction.energies, atol=1e-10)


def test_deviations_are_those_of_the_rows(alloy_model, structures, last_core_rows):
    frames = structures(np.random.default_rng(5), 2)
    u = alloy_model.uncertainty
    J = last_core_rows(alloy_model, frames)
    expected = np.sqrt(np.sum((J @ u.spread) ** 2, axis=1)).reshape(2, -1)
    np.testing.assert_allclose(u.energy(frames), u.scales["energy"] * expected[:, 0], rtol=1e-8)
    for got, row in zip(u.forces(frames), expected, strict=True):
        np.testing.assert_allclose(got.ravel(), u.scales["forces"] * row[1:], rtol=1e-7)


def test_deviations_are_those_of_a_sampled_posterior(alloy_model, structures, with_last_core):
    rng = np.random.default_rng(6)
    frames = structures(rng, 1)
    u = alloy_model.uncertainty
    at = u.chain[-1].to_vector()
    draws = [
        with_last_core(alloy_model, at + u.spread @ rng.normal(size=len(at))).predict(frames)[0]
        for _ in range(400)
    ]
    sampled = np.std([p.forces for p in draws], axis=0) * u.scales["forces"]
    np.testing.assert_allclose(sampled, u.forces(frames)[0], rtol=0.2)
    sampled = np.std([p.energies for p in draws], axis=0) * u.scales["energy"]
    np.testing.assert_allclose(sampled, u.energies(frames)[0], rtol=0.2)


def test_the_gauge_does_not_matter(crystal_model, crystals):
    turned = crystal_model.with_chain(crystal_model.chain.canonicalize(0))
    turned = with_uncertainty(turned, crystals, ridge=RIDGE)
    frames = crystals[:3]
    for got, expected in zip(
        measures(turned.uncertainty, frames),
        measures(crystal_model.uncertainty, frames),
        strict=True,
    ):
        np.testing.assert_allclose(got, expected, rtol=1e-3)


def measures(u, frames):
    return [*u.gamma(frames), *u.energies(frames), *u.forces(frames)]
