"""One setting, three ways to write it."""

from __future__ import annotations

import shlex

import pytest

from etn.data.dataset import Dataset
from etn.run.layered import all_fields, settings_for
from etn.surface import name_of, option, options, speaking


def test_each_surface_has_its_own_language():
    assert option("energy_key", "E") == 'energy="E"'
    with speaking("settings"):
        assert option("energy_key", "E") == 'energy_key="E"'
        assert option("forces_weight", 0) == "forces_weight=0"
    with speaking("command"):
        assert option("energy_key", "E") == "--energy-key E"
        assert option("e0", {"Cu": -3.5, "Al": -2.0}) == "--e0 Cu=-3.5,Al=-2.0"
    assert option("e0", {"Cu": -3.5}) == 'e0={"Cu": -3.5}'


def test_the_outermost_surface_is_addressed_and_forgotten_afterwards():
    with speaking("command"), speaking("settings"):
        assert name_of("max_bond") == "--max-bond"
    with pytest.raises(ZeroDivisionError), speaking("command"):
        name_of("energy_key" * (1 // 0))
    assert name_of("energy_key") == "energy"


@pytest.mark.parametrize("key", ["REF_energy", "my energy", "a'b", "Å"])
def test_the_command_reads_what_is_proposed(key):
    with speaking("command"):
        words = shlex.split(options(energy_key=key, stress_key=None))
    assert words == ["--energy-key", key, "--stress-key", "none"]
    assert settings_for(train="a.xyz", energy_key=key, stress_key="none").stress_key is None


def test_arguments_that_are_proposed_exist():
    for setting in ("energy_key", "forces_key", "stress_key", "virial_key", "stress_unit",
                    "stress_convention"):  # fmt: skip
        assert setting in all_fields()
        assert name_of(setting) in Dataset.read.__func__.__kwdefaults__
