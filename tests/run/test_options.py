"""Options as values: names, messages, sizes, and the YAML form."""

from __future__ import annotations

import pytest
import yaml

from etn.errors import SettingsError
from etn.run.options import SIZED, Options, option, overlay
from etn.run.settings import FitSettings
from etn.run.sizes import SIZES


class Few(Options):
    """A set of options of a test."""

    reach: float = option(5.0, "How far atoms see.", unit="Å", gt=0)
    name: str = option(..., "What it is called.")
    size: str = option("auto", "How large it is.")
    l_max: int = option(4, "Highest degree.", ge=0)
    n_max: int = option(8, "Radial functions.", ge=1)
    body_order: int = option(4, "Atoms in a term.")
    max_bond: tuple[int, ...] = option((5, 4), "Multiplicities.")
    max_sweeps: tuple[int, ...] = option((3, 2), "Sweeps.")


def test_what_is_wrong_is_said_with_what_came():
    with pytest.raises(SettingsError) as caught:
        Few(reach=-1.0, l_max="many", rech=2)
    assert str(caught.value) == (
        "settings: reach: expected a value greater than 0, got -1.0; "
        "name: expected a value, got none; "
        "l_max: expected a valid integer, got 'many'; "
        'unknown key "rech" (did you mean "reach"?)'
    )


def test_the_numbers_of_a_size_are_no_choice_of_the_user():
    few = Few(name="a", size="small", l_max=1)
    expected = {**SIZES["small"].values(), "l_max": 1}
    assert {key: getattr(few, key) for key in SIZED} == expected
    assert few.model_fields_set == {"name", "size", "l_max"}
    # A size that has no numbers leaves the defaults.
    assert Few(name="a").n_max == 8


def test_yaml_has_a_comment_with_the_unit_and_a_line_for_each(tmp_path):
    few = Few(name="it's: a #name", reach=1e-5)
    text = few.dump()
    blocks = text.split("\n\n")
    assert len(blocks) == len(Few.model_fields)
    assert blocks[0] == "# How far atoms see. [Å]\nreach: 1.0e-05"
    path = tmp_path / "few.yaml"
    path.write_text(text, encoding="utf-8")
    assert Few.load(path) == few
    assert Few.load(path, name="b") == Few(name="b", reach=1e-5)


def test_changes_win_and_a_new_size_takes_the_numbers_of_the_old_one():
    stored = {"name": "a", "size": "auto", "l_max": 4, "n_max": 12}
    assert overlay(stored, {}) == stored
    assert overlay(stored, {"name": "b", "l_max": 1}) == {**stored, "name": "b", "l_max": 1}
    assert overlay(stored, {"size": "small"}) == {"name": "a", "size": "small"}
    assert overlay(stored, {"size": "small", "n_max": 3}) == {
        "name": "a", "size": "small", "n_max": 3
    }  # fmt: skip
    assert stored["l_max"] == 4


@pytest.mark.parametrize(
    ("wrong", "right"),
    [("rmax", "r_max"), ("energy_wieght", "energy_weight"), ("maxsweeps", "max_sweeps")],
)
def test_unknown_key_names_the_nearest(wrong, right):
    with pytest.raises(SettingsError) as caught:
        FitSettings(train="a.xyz", **{wrong: 1})
    assert str(caught.value) == f'settings: unknown key "{wrong}" (did you mean "{right}"?)'


def test_unknown_key_without_a_near_one():
    with pytest.raises(SettingsError, match=r'^settings: unknown key "qqqq"$'):
        FitSettings(train="a.xyz", qqqq=1)


def test_all_wrong_values_are_named_at_once():
    with pytest.raises(SettingsError, match=r"r_max: expected .*; l_max: expected "):
        FitSettings(train="a.xyz", r_max=-1, l_max=99)


def test_settings_are_immutable():
    settings = FitSettings(train="a.xyz")
    with pytest.raises(ValueError, match="frozen"):
        settings.r_max = 4.0


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"train": ["etn:Mo", "it's a: [file], #1.xyz"], "test": None, "valid": 0.25},
        {"max_bond": "5x0e+4x1o", "max_sweeps": 2, "stress_weight": 3, "ridge": 1e-9},
        {"e0": {"Mo": -10.123456789012345}, "zbl": True, "stress_key": None, "valid": "Å v.xyz"},
    ],
)
def test_dump_and_load_give_the_same(tmp_path, values):
    settings = FitSettings(**{"train": "a.xyz", **values})
    path = tmp_path / "settings.yaml"
    path.write_text(settings.dump(), encoding="utf-8")
    assert FitSettings.load(path) == settings
    assert FitSettings.load(path, r_max=3.5).r_max == 3.5


def test_dump_holds_every_setting_with_its_description():
    text = FitSettings(train="etn:Mo").dump()
    assert list(yaml.safe_load(text)) == list(FitSettings.model_fields)
    words = " ".join(text.replace("#", " ").split())
    for field in FitSettings.model_fields.values():
        assert field.description in words
    assert max(map(len, text.splitlines())) <= 100


def test_missing_settings_file(tmp_path):
    with pytest.raises(SettingsError, match="no such settings file"):
        FitSettings.load(tmp_path / "none.yaml")


def test_numbers_that_yaml_takes_for_text(tmp_path):
    path = tmp_path / "settings.yaml"
    path.write_text("train: a.xyz\nridge: 1e-3\n")  # YAML 1.1 wants 1.0e-3
    assert FitSettings.load(path).ridge == 1e-3


def test_messages_are_short_however_much_is_wrong(tmp_path):
    path = tmp_path / "many.yaml"
    path.write_text("train: a\nr_max: [" + "1, " * 50_000 + "1]\n")
    with pytest.raises(
        SettingsError, match=r"r_max: expected a valid number, got \[1, 1.*\.\.\.$"
    ) as e:
        FitSettings.load(path)
    assert len(str(e.value)) < 600
    path.write_text("train: a\n" + "".join(f"wrong{n}: 1\n" for n in range(3000)))
    with pytest.raises(SettingsError, match=r'unknown key "wrong19"; and 2980 more$') as e:
        FitSettings.load(path)
    assert len(str(e.value)) < 1000
