"""Robust fits: Huber's function, and wrong labels found."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.optimize
import scipy.stats

from etn.data.robust import Doubt, Huber, describe_doubts
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
