"""The settings of a fit: defaults, checks, messages, and their YAML form."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest
import yaml

from etn.errors import SettingsError
from etn.potential import Baseline, Basis, Dataset, PolynomialPotential, Weights, fit
from etn.run.settings import FitSettings
from etn.sweep import EarlyStop, Schedule
from etn.sweep.schedule import FIT_DEFAULTS

# Where the Python interface has each setting.
SAME_AS = {
    "valid": (fit, "valid"),
    "energy_key": (Dataset.read, "energy"),
    "forces_key": (Dataset.read, "forces"),
    "stress_key": (Dataset.read, "stress"),
    "virial_key": (Dataset.read, "virial"),
    "stress_unit": (Dataset.read, "stress_unit"),
    "stress_convention": (Dataset.read, "stress_convention"),
    "charge_key": (Dataset.read, "charge"),
    "missing": (fit, "missing"),
    "r_max": (Basis.for_dataset, "r_max"),
    "n_max": (Basis.for_dataset, "n_max"),
    "max_channels": (Basis.for_dataset, "max_channels"),
    "l_max": (Basis.for_dataset, "l_max"),
    "smoothness": (Basis.for_dataset, "smoothness"),
    "body_order": (PolynomialPotential, "body_order"),
    "max_bond": (PolynomialPotential, "max_bond"),
    "e0": (Baseline.fit, "e0"),
    "zbl": (Baseline.fit, "zbl"),
    "energy_weight": (Weights, "energy"),
    "forces_weight": (Weights, "forces"),
    "stress_weight": (Weights, "stress"),
    "robust": (fit, "robust"),
    "kind_weights": (Weights, "kinds"),
    "ridge": (fit, "ridge"),
    "min_sweeps": (Schedule, "min_sweeps"),
    "refine": (fit, "refine"),
    "early_stop_rel_tol": (EarlyStop, "rel_tol"),
    "early_stop_patience": (EarlyStop, "patience"),
    "memory": (fit, "memory"),
    "seed": (fit, "seed"),
}


def test_every_setting_has_the_default_of_the_python_interface():
    settings = FitSettings(train="a.xyz")
    for name, (function, parameter) in SAME_AS.items():
        expected = inspect.signature(function).parameters[parameter].default
        assert getattr(settings, name) == expected, name
    for name, expected in FIT_DEFAULTS.items():
        assert getattr(settings, name) == expected, name
    # Of these the Python functions know nothing: they choose data, numbers or the function.
    others = {"train", "test", "max_force", "size", "layers"}
    assert {*SAME_AS, *FIT_DEFAULTS} == set(FitSettings.model_fields) - others


def test_default_settings_give_the_default_objects():
    settings = FitSettings(train="a.xyz")
    assert settings.weights() == Weights()
    assert settings.schedule() == Schedule().for_problem()
    assert settings.early_stop() == EarlyStop()


@pytest.mark.parametrize("name", FitSettings.model_fields)
def test_every_setting_is_described(name):
    field = FitSettings.model_fields[name]
    assert field.description
    assert field.description[0].isupper()
    assert field.description.endswith(".")
    assert set(field.json_schema_extra) == {"unit", "form"}


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("stress_unit", "psi", "one of eV/Å³, GPa"),
        ("stress_convention", "pressure", "one of tension, compression, vasp"),
        ("r_max", 0, "greater than 0"),
        ("r_max", -5, "greater than 0"),
        ("r_max", 25, "less than or equal to 20"),
        ("r_max", "far", "a valid number"),
        ("r_max", float("nan"), "20"),
        ("n_max", 0, "greater than or equal to 1"),
        ("n_max", 2.5, "a valid integer"),
        ("l_max", 13, "less than or equal to 12"),
        ("smoothness", -1, "greater than or equal to 0"),
        ("body_order", 2, "greater than or equal to 3"),
        ("max_bond", 0, "a positive whole number"),
        ("max_bond", [0, 3], "a positive whole number"),
        ("max_bond", True, "a positive whole number"),
        ("max_bond", "3x1o", "irreps with scalars"),
        ("max_bond", "3x1q", "irreps with scalars"),
        ("e0", {}, '"lstsq"'),
        ("e0", {"Mo": "x"}, "energies in eV"),
        ("e0", "Mo=nan", "energies in eV"),
        ("energy_weight", -1, "greater than or equal to 0"),
        ("forces_weight", float("inf"), "finite"),
        ("stress_weight", -1, "greater than or equal to 0"),
        ("ridge", -1e-3, "greater than or equal to 0"),
        ("max_sweeps", 0, "a positive whole number"),
        ("max_sweeps", [3, 0], "a positive whole number"),
        ("max_sweeps", 1.5, "a positive whole number"),
        ("min_sweeps", 0, "greater than or equal to 1"),
        ("rel_tol", 1, "less than 1"),
        ("early_stop_patience", 0, "greater than or equal to 1"),
        ("missing", "ignore", "'error' or 'skip'"),
        ("size", "huge", "'small', 'medium', 'wide', 'large' or 'auto'"),
        ("size", None, "'small', 'medium', 'wide', 'large' or 'auto'"),
        ("valid", 1.0, "fraction between 0 and 1"),
        ("valid", "-0.1", "fraction between 0 and 1"),
        ("seed", -1, "greater than or equal to 0"),
        ("train", [], "at least one path"),
        ("train", None, "at least one path"),
        ("train", 3, "a path"),
        ("test", [""], "at least one path"),
        ("zbl", "perhaps", "a valid boolean"),
    ],
)
def test_wrong_value_is_explained(key, value, expected):
    with pytest.raises(SettingsError) as caught:
        FitSettings(**{"train": "a.xyz", key: value})
    message = str(caught.value)
    assert message.startswith(f"settings: {key}: expected ")
    assert expected in message
    assert ", got " in message
    assert "\n" not in message


def test_train_is_needed():
    with pytest.raises(SettingsError, match="train: expected a value"):
        FitSettings()


def test_weights_must_not_all_be_zero():
    with pytest.raises(SettingsError, match="weights: all are zero"):
        FitSettings(train="a.xyz", energy_weight=0, forces_weight=0, stress_weight=0)


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("r_max", "4.5", 4.5),
        ("ridge", "1e-3", 1e-3),
        ("max_bond", "5", 5),
        ("max_bond", "5, 4,3", (5, 4, 3)),
        ("max_bond", [5, 4], (5, 4)),
        ("max_bond", "4x0e+2x1o", "4x0e+2x1o"),
        ("max_sweeps", "3,1", (3, 1)),
        ("valid", "0.1", 0.1),
        ("valid", "valid.xyz", "valid.xyz"),
        ("valid", "none", None),
        ("valid", 0, None),
        ("test", "none", None),
        ("test", ["a.xyz", Path("b.xyz")], ("a.xyz", "b.xyz")),
        ("stress_key", "none", None),
        ("stress_weight", "none", None),
        ("stress_weight", "2", 2.0),
        ("e0", "Mo=-10.5, Nb=-9", {"Mo": -10.5, "Nb": -9.0}),
        ("e0", "lstsq", "lstsq"),
        ("e0", "atoms.xyz", "atoms.xyz"),
        ("zbl", "yes", True),
    ],
)
def test_values_may_be_text(key, text, value):
    found = getattr(FitSettings(**{"train": "a.xyz", key: text}), key)
    assert found == value
    assert type(found) is type(value)


def test_embedded_set_stands_for_its_two_parts():
    settings = FitSettings(train="etn:Mo")
    assert (settings.train, settings.test) == (("etn:Mo/train",), ("etn:Mo/test",))
    several = FitSettings(train=["etn:Mo", "b.xyz", "etn:NbMoTaW"])
    assert several.train == ("etn:Mo/train", "b.xyz", "etn:NbMoTaW/train")
    assert several.test == ("etn:Mo/test", "etn:NbMoTaW/test")
    assert FitSettings(train="etn:Mo", test="own.xyz").test == ("own.xyz",)
    assert FitSettings(train="etn:Mo", test=None).test is None
    assert FitSettings(train="etn:Mo/train").test is None


def test_resolved_paths_hold_everywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings = FitSettings(train=["a.xyz", "etn:Mo/train"], valid="v.xyz", e0="atoms.xyz")
    resolved = settings.resolved()
    assert resolved.train == (str(tmp_path / "a.xyz"), "etn:Mo/train")
    assert (resolved.valid, resolved.e0) == (str(tmp_path / "v.xyz"), str(tmp_path / "atoms.xyz"))
    assert resolved.test is None
    assert resolved.resolved() == resolved


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (None, None),
        ("none", None),
        ("Surface=2,Elastic = 0.5", {"Surface": 2.0, "Elastic": 0.5}),
        ({"Surface": 2}, {"Surface": 2.0}),
    ],
)
def test_weights_of_kinds(given, expected):
    settings = FitSettings(train="a.xyz", kind_weights=given)
    assert settings.kind_weights == expected
    assert settings.weights() == Weights(kinds=expected)
    assert yaml.safe_load(settings.dump())["kind_weights"] == expected


@pytest.mark.parametrize("given", ["Surface", "Surface=-1", {"Surface": "much"}, "a=1,b"])
def test_malformed_weights_of_kinds(given):
    with pytest.raises(SettingsError, match="kind_weights: expected a number, zero or more, for"):
        FitSettings(train="a.xyz", kind_weights=given)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("energy_weight", 1e300),
        ("forces_weight", 1e160),
        ("stress_weight", 1e300),
        ("memory", 1e300),
        ("e0", {"Mo": -1e300}),
        ("train", "a\0b"),
        ("test", ["a\0b"]),
        ("valid", "a\0b"),
        ("e0", "a\0b"),
    ],
)
def test_numbers_that_would_overflow_and_paths_that_cannot_be_are_refused(name, value):
    with pytest.raises(SettingsError, match=f"^settings: {name}: expected "):
        FitSettings(**{"train": "etn:Mo", name: value})
