"""Settings that every potential has: data, labels, weights."""

from __future__ import annotations

import pytest

from etn.errors import SettingsError
from etn.run.data_settings import DataSettings
from etn.run.layered import LayersSettings
from etn.run.networks import KINDS
from etn.run.settings import FitSettings

TRAININGS = [KINDS[name] for name in ("tensornet", "ictp", "tdn")]


@pytest.mark.parametrize("kind", [FitSettings, LayersSettings, *TRAININGS])
def test_all_kinds_mean_the_same_by_them(kind, tmp_path):
    settings = kind(
        train="etn:Mo", energy_weight=3, stress_unit="GPa", kind_weights="Surface=2", e0="Mo=-4.2"
    )
    assert settings.train == ("etn:Mo/train",)
    assert settings.test == ("etn:Mo/test",)
    assert settings.weights().energy == 3
    assert settings.weights().kinds == {"Surface": 2.0}
    assert settings.e0 == {"Mo": -4.2}
    assert settings.e0_path is None
    assert kind(train="a.xyz", e0="atoms.xyz").resolved().e0_path.startswith("/")
    assert set(DataSettings.model_fields) <= set(kind.model_fields)


def test_what_is_out_of_range_is_named():
    for kind in (FitSettings, *TRAININGS):
        with pytest.raises(SettingsError, match="r_max: expected a value greater than 0, got -1"):
            kind(train="etn:Mo", r_max=-1)
        with pytest.raises(SettingsError, match="weights: all are zero"):
            kind(train="etn:Mo", energy_weight=0, forces_weight=0, stress_weight=0)
