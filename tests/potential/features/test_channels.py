"""Radial channels: principal components of the features, and what they leave alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from etn.errors import SettingsError
from etn.o3 import Irreps
from etn.potential import Baseline, Basis, Dataset, PolynomialPotential, fit, load
from etn.potential.features.basis import most_channels
from etn.potential.features.channels import Channels, natural, prior_weights
from etn.potential.features.pairs import Pairs
from etn.run.sizes import SIZES, count_unknowns
from etn.sweep import Schedule

ALLOY = Dataset.read("etn:NbMoTaW/train", index="::40")


def legs(basis, data=ALLOY):
    return [basis.expand(Pairs.find([f], basis.elements, basis.r_max)).values for f in data]


def channels_of(values, l, count):
    """Values of the channels without the constant: (count, (2 l + 1) samples)."""
    return np.concatenate([v[natural(l)][-count:].reshape(count, -1) for v in values], axis=1)


def test_components_are_those_of_a_singular_value_decomposition():
    full = Basis.for_dataset(ALLOY, r_max=4.5, n_max=4, l_max=2, max_channels=None)
    few = Basis.for_dataset(ALLOY, r_max=4.5, n_max=4, l_max=2, max_channels=(5, 3))
    assert few.leg == Irreps("17x0e+5x1o+3x2e")
    for l, count in ((1, 5), (2, 3)):
        everything = channels_of(legs(full), l, 16)
        kept = channels_of(legs(few), l, count)
        u, s, _ = np.linalg.svd(everything, full_matrices=False)
        # What is kept is the projection on the leading left singular vectors.
        np.testing.assert_allclose(
            kept.T @ kept, everything.T @ u[:, :count] @ u[:, :count].T @ everything, atol=1e-9
        )
        np.testing.assert_allclose(np.sum(kept**2, axis=1), s[:count] ** 2, rtol=1e-9)
    # Scalars keep every function of every element.
    np.testing.assert_array_equal(channels_of(legs(full), 0, 17), channels_of(legs(few), 0, 17))


def test_few_elements_keep_what_they_had():
    train = Dataset.read("etn:Mo/train", index="::40")
    assert Basis.for_dataset(train).channels is None
    capped = Basis.for_dataset(train, n_max=6, l_max=2, max_channels=3)
    assert capped.leg == Irreps("7x0e+3x1o+3x2e")


def test_contract_and_expand_are_transposes():
    rng = np.random.default_rng(0)
    channels = Channels(tuple(rng.normal(size=(3, 4, k)) for k in (12, 5)))
    ir = natural(1)
    x, y = rng.normal(size=(7, 2, 3, 4)), rng.normal(size=(7, 2, 5))
    assert np.sum(channels.contract(ir, x) * y) == pytest.approx(
        np.sum(x * channels.expand(ir, y)), rel=1e-12
    )
    element = rng.integers(3, size=20)
    values = rng.normal(size=(20, 4))
    padded = np.zeros((20, 3, 4))
    padded[np.arange(20), element] = values
    np.testing.assert_allclose(
        channels.of_pairs(ir, values, element), channels.contract(ir, padded), rtol=1e-12
    )


def test_forces_with_few_channels_are_derivatives():
    basis = Basis.for_dataset(ALLOY, r_max=4.0, n_max=4, l_max=2, max_channels=4)
    model = PolynomialPotential(basis, body_order=4, max_bond=2, baseline=Baseline.fit(ALLOY))
    model = fit(model, ALLOY, schedule=Schedule(max_sweeps=1), uncertainty=False).model
    frame = next(f for f in ALLOY if 4 <= f.n_atoms <= 16)
    h, step = 1e-4, np.zeros((frame.n_atoms, 3))
    step[1, 2] = h
    there, back = (
        model.predict([replace(frame, positions=frame.positions + s)])[0].energy
        for s in (step, -step)
    )
    force = model.predict([frame])[0].forces[1, 2]
    assert force == pytest.approx(-(there - back) / (2 * h), abs=1e-6)


def test_the_model_file_keeps_the_channels(tmp_path):
    basis = Basis.for_dataset(ALLOY, r_max=4.0, n_max=4, l_max=2, max_channels=4)
    model = PolynomialPotential(basis, body_order=3, max_bond=2, baseline=Baseline.fit(ALLOY))
    model = fit(model, ALLOY, schedule=Schedule(max_sweeps=1), uncertainty=False).model
    model.save(tmp_path / "model.etn")
    again = load(tmp_path / "model.etn")
    assert again.basis == basis
    assert hash(again.basis) == hash(basis)
    assert again.predict(ALLOY[:3])[1].energy == model.predict(ALLOY[:3])[1].energy


def test_unknowns_grow_at_most_linearly_with_the_elements():
    counts = [count_unknowns(n, SIZES["small"].values()) for n in (1, 2, 4, 10)]
    slopes = np.diff(counts) / np.diff([1, 2, 4, 10])
    # The first step also pays for the channels of l > 0, which then stay.
    assert np.all(np.diff(slopes) <= 0)
    assert counts[3] < 10 * counts[0]


@pytest.mark.parametrize("wrong", [0, (), (3, 0), -1])
def test_channels_must_be_positive(wrong):
    with pytest.raises(SettingsError, match="max_channels: expected a positive number"):
        most_channels(wrong, 3)


def test_channels_of_another_basis_are_refused():
    weights = prior_weights(4, 2, scale=1.0, smoothness=1.0)
    with pytest.raises(SettingsError, match=r"channels: expected .* \(3, 1, 5\)"):
        Basis(("Mo",), n_max=5, l_max=2, channels=Channels.all(weights, 1))
    with pytest.raises(SettingsError, match="one matrix"):
        Channels((np.zeros((1, 4, 4)), np.zeros((1, 3, 4))))
