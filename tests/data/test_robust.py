"""Robust fits: Huber's function, and wrong labels found."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.optimize
import scipy.stats

from etn.data.robust import Doubt, Huber, composition_offsets, describe_doubts
from etn.errors import SettingsError


@pytest.mark.parametrize(("label", "components"), [("energy", 1), ("forces", 3), ("stress", 6)])
def test_the_scale_of_normal_residuals_is_their_standard_deviation(rng, label, components):
    norms = np.linalg.norm(0.3 * rng.normal(size=(20000, components)), axis=1)
    huber = Huber(energy_threshold=1.345)
    huber.update({label: norms})
    assert huber.scales[label] == pytest.approx(0.3, rel=0.03)
    # As many are down-weighted, whatever the number of components.
    expected = 2 * scipy.stats.norm.sf(1.345)
    assert np.mean(huber.weights(label, norms) < 1) == pytest.approx(expected, abs=0.02)


def test_energies_count_in_full_up_to_ten_scales():
    huber = Huber(scales={"energy": 0.2, "forces": 0.2, "stress": 0.2})
    assert huber.limit("energy") == pytest.approx(10 * 0.2, rel=1e-12)
    for label, components in (("forces", 3), ("stress", 6)):
        exceeded = scipy.stats.chi.sf(huber.limit(label) / 0.2, components)
        assert exceeded == pytest.approx(2 * scipy.stats.norm.sf(1.345), rel=1e-12)
    np.testing.assert_allclose(huber.weights("energy", np.array([1.9, 4.0])), [1.0, 0.5])
    assert np.all(huber.weights("forces", np.array([1.9, 4.0])) < 0.5)


def test_the_loss_is_that_of_scipy(rng):
    huber = Huber(scales={"energy": 0.05})
    norms = np.abs(rng.normal(size=50))
    limit = huber.limit("energy")
    assert 10 < np.sum(norms > limit) < 40
    expected = 2 * scipy.special.huber(limit, norms)
    np.testing.assert_allclose(huber.loss("energy", norms), expected, rtol=1e-12)
    # The weights are half the slope of the loss over the residual.
    step = 1e-6
    slope = huber.loss("energy", norms + step) - huber.loss("energy", norms - step)
    np.testing.assert_allclose(
        huber.weights("energy", norms), slope / (4 * step * norms), rtol=1e-6
    )


def test_scales_never_rise_and_exact_residuals_do_not_count():
    huber = Huber()
    huber.update({"energy": np.array([0.0, 0.0, 0.0, 0.1]), "forces": np.zeros(5)})
    assert huber.scales == {"energy": pytest.approx(0.1 * 1.4826, rel=1e-4)}
    assert huber.limit("forces") == np.inf
    np.testing.assert_array_equal(huber.weights("forces", np.ones(2)), 1.0)
    np.testing.assert_array_equal(huber.loss("forces", np.full(2, 3.0)), 9.0)
    before = dict(huber.scales)
    huber.update({"energy": np.array([7.0])})
    assert huber.scales == before


def test_energies_in_the_tail_pull_less_the_further_they_are_off(rng):
    huber = Huber()
    norms = np.abs(rng.normal(size=99))
    huber.update({"energy": np.append(0.01 * norms, [0.5, 5.0]), "forces": norms})
    scale, tail = huber.scales["energy"], huber.tails["energy"]
    assert tail == pytest.approx(15 * scale)
    assert set(huber.tails) == {"energy"}
    far = np.array([0.5, 5.0])
    weights = huber.weights("energy", far)
    np.testing.assert_allclose(weights, 10 * scale * tail / far**2, rtol=1e-12)
    assert np.all(np.diff(weights * far) < 0)
    # The loss is continuous with the weights as half its slope over the residual, on both sides.
    step = 1e-7
    for at in (0.99 * tail, 1.01 * tail, 0.5):
        one, two = huber.loss("energy", np.array([at - step, at + step]))
        (weight,) = huber.weights("energy", np.array([at]))
        assert (two - one) / (4 * step * at) == pytest.approx(weight, rel=1e-5)
    inside, outside = huber.loss("energy", tail * np.array([1 - 1e-12, 1 + 1e-12]))
    assert inside == pytest.approx(outside, rel=1e-9)


def test_the_weighted_squares_touch_the_loss_from_above():
    huber = Huber(scales={"energy": 0.01}, tails={"energy": 0.15})
    norms = np.geomspace(1e-3, 10, 200)
    for at in (0.05, 0.12, 0.3, 4.0):
        (weight,) = huber.weights("energy", np.array([at]))
        (offset,) = huber.loss("energy", np.array([at])) - weight * at**2
        assert np.all(weight * norms**2 + offset >= huber.loss("energy", norms) - 1e-12)


def test_tails_never_rise_and_stand_in_the_record():
    huber = Huber()
    huber.update({"energy": np.array([0.01, 0.02, 0.03])})
    before = dict(huber.tails)
    huber.update({"energy": np.array([1.0, 2.0, 3.0])})
    assert huber.tails == before
    other = Huber()
    other.restore(huber.measures())
    assert other == huber


def test_offsets_are_those_of_the_majority(rng):
    composition = rng.dirichlet([1, 1, 1], size=60)
    offsets = np.array([3.5, -2.0, 0.1])
    residuals = composition @ offsets + 1e-3 * rng.normal(size=60)
    residuals[:15] += 5.0 + rng.random(15)
    found = composition_offsets(composition, residuals)
    np.testing.assert_allclose(found, offsets, atol=0.01)
    # The least sum of absolute residuals, as a linear programme.
    n = len(residuals)
    cost = np.concatenate([np.zeros(3), np.ones(n)])
    above = np.block([[composition, -np.eye(n)], [-composition, -np.eye(n)]])
    exact = scipy.optimize.linprog(
        cost,
        above,
        np.concatenate([residuals, -residuals]),
        bounds=[(None, None)] * 3 + [(0, None)] * n,
    )
    left = np.abs(residuals - composition @ found).sum()
    assert left == pytest.approx(exact.fun, rel=1e-3)


def test_a_threshold_must_be_positive():
    with pytest.raises(SettingsError, match="threshold: expected a positive number, got 0"):
        Huber(0)
    with pytest.raises(SettingsError, match="energy_threshold: expected a positive number, got -1"):
        Huber(energy_threshold=-1)


def test_messages_name_the_worst_frames_first():
    doubts = [Doubt(f"a.xyz:{k}", "forces", k, 0.1 * k, 10.0 * k) for k in range(2, 9)]
    (text,) = describe_doubts(doubts)
    assert text.startswith("train: 7 forces that the fit disbelieves: a.xyz:8 atom 8 (0.8 eV/Å, 80")
    assert "..., " not in text
    assert "a.xyz:2" not in text
    assert describe_doubts([]) == []
