"""Settings of any kind from a file: what it names decides."""

from __future__ import annotations

import pytest

from etn.errors import SettingsError
from etn.run.kinds import load_settings
from etn.run.layered import LayersSettings
from etn.run.networks import TDNSettings
from etn.run.settings import FitSettings


@pytest.mark.parametrize("kind", [FitSettings, LayersSettings, TDNSettings])
def test_what_is_dumped_is_loaded(kind, tmp_path):
    settings = kind(train="etn:Mo", seed=3)
    (tmp_path / "settings.yaml").write_text(settings.dump())
    loaded = load_settings(tmp_path / "settings.yaml")
    assert type(loaded) is kind
    assert loaded == settings
    assert load_settings(tmp_path / "settings.yaml", seed=4).seed == 4


def test_networks_that_there_are_not(tmp_path):
    (tmp_path / "settings.yaml").write_text("train: etn:Mo\nnetwork: schnet\n")
    with pytest.raises(SettingsError, match="network: expected one of tensornet, ictp, tdn"):
        load_settings(tmp_path / "settings.yaml")
