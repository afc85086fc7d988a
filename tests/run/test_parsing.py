"""From what a user writes to values: each reader by a table, and files that are no settings."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import pytest

from etn.errors import SettingsError
from etn.o3 import Irreps
from etn.run import parsing
from etn.run.settings import FitSettings


@pytest.mark.parametrize(
    ("reader", "given", "expected"),
    [
        ("to_optional", "None", None),
        ("to_optional", "null", None),
        ("to_optional", "", None),
        ("to_optional", "nothing", "nothing"),
        ("to_optional", 0, 0),
        ("to_paths", "a.xyz", ("a.xyz",)),
        ("to_paths", Path("a.xyz"), ("a.xyz",)),
        ("to_paths", ["a.xyz", Path("b.xyz")], ("a.xyz", "b.xyz")),
        ("to_paths", "none", None),
        ("to_train", ("a.xyz",), ("a.xyz",)),
        ("to_valid", "0.25", 0.25),
        ("to_valid", 0, None),
        ("to_valid", "0", None),
        ("to_valid", Path("v.xyz"), "v.xyz"),
        ("to_valid", "none", None),
        ("to_max_sweeps", "3, 2", (3, 2)),
        ("to_max_sweeps", "3", 3),
        ("to_max_sweeps", [3, 2], (3, 2)),
        ("to_max_channels", "16,12", (16, 12)),
        ("to_max_channels", "none", None),
        ("to_max_bond", "5,0,3", (5, 0, 3)),
        ("to_max_bond", 4, 4),
        ("to_max_bond", Irreps("2x1o+1x0e"), "2x1o+1x0e"),
        ("to_count", " 2 ", 2),
        ("to_count", "-2", "-2"),
        ("to_count", 2.5, 2.5),
        ("to_irreps", "2x0e+1x1o", "2x0e+1x1o"),
        ("to_irreps", Irreps("1o"), "1x1o"),
        ("to_optional_irreps", "none", None),
        ("to_optional_irreps", "1e", "1x1e"),
        ("to_bond", "4", 4),
        ("to_bond", "4x0e", "4x0e"),
        ("to_e0", "Mo=-10.5, Nb=-9", {"Mo": -10.5, "Nb": -9.0}),
        ("to_e0", {"Mo": "-1e1"}, {"Mo": -10.0}),
        ("to_e0", Path("atoms.xyz"), "atoms.xyz"),
        ("to_e0", "lstsq", "lstsq"),
        ("to_kind_weights", "Surface=2,a=b=0.5", {"Surface": 2.0, "a=b": 0.5}),
        ("to_kind_weights", {"Surface": "0"}, {"Surface": 0.0}),
        ("to_kind_weights", "none", None),
        ("to_ridge", "evidence", "evidence"),
        ("to_ridge", "1e-3", 1e-3),
        ("to_ridge", 0, 0.0),
    ],
)
def test_what_is_read(reader, given, expected):
    found = getattr(parsing, reader)(given)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("reader", "given", "expected"),
    [
        ("to_paths", 3, "expected a path, or a list of paths, got 3"),
        ("to_paths", ["a", 3], "expected a path, or a list of paths"),
        ("to_paths", [], "expected at least one path, none of them empty"),
        ("to_paths", ["a", ""], "expected at least one path, none of them empty"),
        ("to_train", "none", "expected at least one path, got none"),
        ("to_valid", 1, "expected a fraction between 0 and 1"),
        ("to_valid", "1.5", "expected a fraction between 0 and 1"),
        ("to_valid", True, "expected a fraction between 0 and 1"),
        ("to_valid", ["v.xyz"], "expected a fraction between 0 and 1"),
        ("to_max_sweeps", "3,", "a positive whole number, or one for each length"),
        ("to_max_sweeps", 0, "a positive whole number, or one for each length"),
        ("to_max_sweeps", None, "a positive whole number, or one for each length"),
        ("to_max_channels", [3, 0], "a positive whole number, one for each l"),
        ("to_max_bond", "0,3", "a positive whole number, one number for each l"),
        ("to_max_bond", "3x1o", "or irreps with scalars"),
        ("to_max_bond", "3x", "or irreps with scalars"),
        ("to_max_bond", 2.0, "or irreps with scalars"),
        ("to_irreps", "", "expected irreps"),
        ("to_irreps", "0x0e", "expected irreps"),
        ("to_irreps", 3, "expected irreps"),
        ("to_bond", "3,2", "expected a positive whole number, or irreps with scalars"),
        ("to_e0", "Mo=", "energies in eV"),
        ("to_e0", {"Mo": float("inf")}, "energies in eV"),
        ("to_e0", {}, "energies in eV"),
        ("to_kind_weights", "Surface", "a number, zero or more, for each config_type"),
        ("to_kind_weights", "a=1,b", "a number, zero or more, for each config_type"),
        ("to_kind_weights", {"a": -1}, "a number, zero or more, for each config_type"),
        ("to_ridge", "much", 'a number greater than or equal to 0, or "evidence"'),
        ("to_ridge", True, 'a number greater than or equal to 0, or "evidence"'),
        ("to_ridge", -1e-9, 'a number greater than or equal to 0, or "evidence"'),
        ("to_ridge", float("nan"), 'a number greater than or equal to 0, or "evidence"'),
    ],
)
def test_what_is_refused(reader, given, expected):
    with pytest.raises(ValueError, match=r"^expected .*got ") as caught:
        getattr(parsing, reader)(given)
    assert expected in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("train: a.xyz\nrmax: 4\n", 'unknown key "rmax"'),
        ("train: [a.xyz\n", "expected YAML"),
        ("- a\n- b\n", "expected YAML"),
        ("", "expected YAML"),
        ("r_max: 4\nr_max: 5\ntrain: a.xyz\n", 'the key "r_max" stands twice'),
        ("1: 2\n", "expected YAML"),
        ("!!python/object/apply:os.getcwd []\n", "expected YAML"),
    ],
)
def test_settings_file_that_cannot_be_used(tmp_path, content, message):
    path = tmp_path / "settings.yaml"
    path.write_text(content)
    with pytest.raises(SettingsError, match=message):
        FitSettings.load(path)


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(SettingsError, match=r"none\.yaml: there is no such settings file"):
        parsing.read_yaml(tmp_path / "none.yaml")
    with pytest.raises(SettingsError, match=r"cannot be read \("):
        parsing.read_yaml(tmp_path)
    path = tmp_path / "latin.yaml"
    path.write_bytes("name: Å\n".encode("latin-1"))
    with pytest.raises(SettingsError, match="expected YAML"):
        parsing.read_yaml(path)


def test_a_mapping_is_read_as_it_stands(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text("# a comment\na: [1, {b: 2, c: none}]\nd: Å\n", encoding="utf-8")
    assert parsing.read_yaml(path) == {"a": [1, {"b": 2, "c": "none"}], "d": "Å"}
    path.write_text("a: {b: 1, b: 2}\n", encoding="utf-8")
    with pytest.raises(SettingsError, match='the key "b" stands twice'):
        parsing.read_yaml(path)


LAUGHS = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n + 1}: &a{n + 1} [{', '.join([f'*a{n}'] * 9)}]\n" for n in range(9)
)
HOSTILE_YAML = [
    ("a: 2001-99-99", 'kind "timestamp"'),
    (f"a: {'1' * 5000}", 'kind "int"'),
    ("a: !!int foo", 'kind "int"'),
    ("a: !!float foo", 'kind "float"'),
    ("a: !!bool foo", 'kind "bool"'),
    ("a: !!timestamp foo", 'kind "timestamp"'),
    ("a: &a [*a]", r"write out what \*a stands for"),
    (LAUGHS, r"write out what \*a0 stands for"),
    ("a: !!python/object/apply:os.system [touch hacked]", "could not determine a constructor"),
    ("a: 1\n" + "# \n" * 400_000, "at most 1000000 bytes"),
    ("a\0: 1", "unacceptable character"),
    ("? [a]\n: 1", "unhashable key"),
]


@pytest.mark.parametrize(("text", "message"), HOSTILE_YAML)
def test_hostile_yaml_is_refused_at_once(text, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.yaml").write_text(text)
    tracemalloc.start()
    try:
        with pytest.raises(SettingsError, match=rf"a\.yaml: expected .*{message}") as caught:
            parsing.read_yaml(tmp_path / "a.yaml")
        assert tracemalloc.get_traced_memory()[1] < 100e6
    finally:
        tracemalloc.stop()
    assert len(str(caught.value)) < 500
    assert [path.name for path in tmp_path.iterdir()] == ["a.yaml"]


@pytest.mark.parametrize("opening", ["[", "{a: ", "- "])
def test_yaml_too_deep_for_the_stack_is_refused(opening, tmp_path):
    (tmp_path / "a.yaml").write_text("a: " + opening * 10**4 + "1\n")
    with pytest.raises(SettingsError, match=r"a\.yaml: expected YAML, one `key: value` a line"):
        parsing.read_yaml(tmp_path / "a.yaml")


def test_a_byte_order_mark_is_no_part_of_the_first_key(tmp_path):
    (tmp_path / "a.yaml").write_bytes(b"\xef\xbb\xbfr_max: 4.5\n")
    assert parsing.read_yaml(tmp_path / "a.yaml") == {"r_max": 4.5}


@pytest.mark.parametrize("huge", [10**400, str(10**400), "9" * 5000])
@pytest.mark.parametrize(
    "reader",
    [parsing.to_e0, parsing.to_kind_weights, parsing.to_ridge, parsing.to_max_sweeps,
     parsing.to_max_bond],
)  # fmt: skip
def test_numbers_beyond_all_are_refused_or_whole(reader, huge):
    given = {"Mo": huge} if reader in (parsing.to_e0, parsing.to_kind_weights) else huge
    if reader in (parsing.to_max_sweeps, parsing.to_max_bond) and huge != "9" * 5000:
        assert reader(given) == 10**400
        return
    with pytest.raises(ValueError, match=r"expected|digits"):
        reader(given)
