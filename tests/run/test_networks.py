"""Settings of networks: the arguments of their constructors, no more and no less."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

from etn.errors import SettingsError
from etn.nn.network import HOMES, network_class
from etn.potential import Dataset, PolynomialPotential, load
from etn.run.folder import run_fit
from etn.run.networks import KINDS, PolynomialSettings, TensorNetSettings, training_settings
from etn.run.settings import FitSettings

# Arguments that the settings leave to the constructor: one counts rows for published weights, one
# is a constant of normalisation.
OWN = {"n_embeddings", "n_neighbors"}


def test_every_network_has_settings_and_every_argument_one():
    assert KINDS.keys() == HOMES.keys()
    for name, kind in KINDS.items():
        if name == "polynomial":  # it takes what a fit has settled
            continue
        arguments = inspect.signature(network_class(name)).parameters
        assert set(kind.NETWORK) == arguments.keys() - {"elements", "r_max"} - OWN
        for argument in kind.NETWORK:
            assert kind.model_fields[argument].default == arguments[argument].default


@pytest.mark.parametrize("name", ["tensornet", "ictp", "tdn"])
def test_sizes_give_what_is_not_given(name):
    small, large = (KINDS[name](train="etn:Mo", size=size) for size in ("small", "large"))
    assert small.channels < large.channels
    assert KINDS[name](train="etn:Mo").channels == small.channels
    given = KINDS[name](train="etn:Mo", size="large", channels=8)
    assert given.channels == 8
    for size in KINDS[name].SIZES.values():
        assert size.keys() == KINDS[name].SIZES["small"].keys() <= set(KINDS[name].NETWORK)
        network_class(name)(("Mo",), **size)


def test_unknown_networks_and_settings():
    with pytest.raises(
        SettingsError, match="network: expected one of tensornet, ictp, tdn, polynomial, got"
    ):
        training_settings(train="etn:Mo", network="mace")
    with pytest.raises(SettingsError, match=r'unknown key "chanels" \(did you mean "channels"'):
        training_settings(train="etn:Mo", network="ictp", chanels=3)


@pytest.fixture(scope="module")
def fitted(mo_data, small, tmp_path_factory):
    out = tmp_path_factory.mktemp("fit") / "run"
    run_fit(FitSettings(train=mo_data / "train.xyz", **small), out)
    return out / "model.etn"


def test_a_fit_is_polished_to_a_polynomial_potential(mo_data, fitted, tmp_path):
    settings = PolynomialSettings(
        train=mo_data / "train.xyz", test=mo_data / "test.xyz", valid=None, from_=str(fitted),
        max_epochs=8, batch_size=3, learning_rate=3e-4, warmup=2, average=0.0,
    )  # fmt: skip
    result = run_fit(settings, tmp_path / "run")
    assert isinstance(result.model, PolynomialPotential)
    assert result.model.has_uncertainty
    losses = [epoch.loss for epoch in result.report.epochs]
    assert losses[-1] < losses[0]
    loaded = load(tmp_path / "run" / "model.etn")
    test = Dataset.read(mo_data / "test.xyz")
    for one, two in zip(loaded.predict(test), result.model.predict(test), strict=True):
        np.testing.assert_array_equal(one.forces, two.forces)


def test_a_fit_stands_below_a_network(mo_data, fitted, tmp_path):
    settings = TensorNetSettings(
        train=mo_data / "train.xyz", valid=None, below=fitted, channels=4, layers=1, n_max=5,
        r_max=3.6, max_epochs=1,
    )  # fmt: skip
    assert settings.resolved().below == str(fitted)
    result = run_fit(settings, tmp_path / "run")
    assert isinstance(result.model.below, PolynomialPotential)
    assert load(tmp_path / "run" / "model.etn").baseline == load(fitted).baseline


def test_what_cannot_be_polished(mo_data, fitted, tmp_path):
    with pytest.raises(SettingsError, match="from_: expected a value, got none"):
        PolynomialSettings(train="etn:Mo")
    with pytest.raises(SettingsError, match="below: expected none, as a fit that is"):
        PolynomialSettings(train="etn:Mo", from_="a.etn", below="b.etn")
    with pytest.raises(SettingsError, match="r_max: expected none, as a fit that is"):
        PolynomialSettings(train="etn:Mo", from_="a.etn", r_max=4)
    network = TensorNetSettings(
        train=mo_data / "train.xyz", valid=None, channels=2, layers=0, max_epochs=1, r_max=3.6
    )
    run_fit(network, tmp_path / "run")
    settings = PolynomialSettings(
        train=mo_data / "train.xyz", from_=str(tmp_path / "run" / "model.etn")
    )
    with pytest.raises(SettingsError, match="expected the file of a fitted polynomial potential"):
        run_fit(settings, tmp_path / "polished")
