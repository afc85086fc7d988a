"""Settings of networks: the arguments of their constructors, no more and no less."""

from __future__ import annotations

import inspect

import pytest

from etn.errors import SettingsError
from etn.nn.network import HOMES, network_class
from etn.run.networks import KINDS, training_settings

# Arguments that the settings leave to the constructor: one counts rows for published weights, one
# is a constant of normalisation.
OWN = {"n_embeddings", "n_neighbors"}


def test_every_network_has_settings_and_every_argument_one():
    assert KINDS.keys() == HOMES.keys()
    for name, kind in KINDS.items():
        arguments = inspect.signature(network_class(name)).parameters
        assert set(kind.NETWORK) == arguments.keys() - {"elements", "r_max"} - OWN
        for argument in kind.NETWORK:
            assert kind.model_fields[argument].default == arguments[argument].default


@pytest.mark.parametrize("name", list(KINDS))
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
    with pytest.raises(SettingsError, match="network: expected one of tensornet, ictp, tdn, got"):
        training_settings(train="etn:Mo", network="mace")
    with pytest.raises(SettingsError, match=r'unknown key "chanels" \(did you mean "channels"'):
        training_settings(train="etn:Mo", network="ictp", chanels=3)
