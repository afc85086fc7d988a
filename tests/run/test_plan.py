"""Data and starting point of a fit: what is read, checked and refused, and its fingerprint."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from etn.data.weights import count_rows
from etn.errors import DataError, SettingsError
from etn.potential import Baseline, Dataset, Frame, Weights
from etn.run.networks import training_settings
from etn.run.plan import Plan, check_reach
from etn.run.settings import FitSettings
from etn.run.sizes import SIZES


def test_held_out_frames_still_count_for_the_baseline(mo_data, small):
    plan = Plan.read(FitSettings(train=mo_data / "train.xyz", valid=0.3, **small))
    everything = Dataset.read(mo_data / "train.xyz")
    assert len(plan.train) + len(plan.valid) == len(everything)
    assert plan.model.baseline == Baseline.fit(everything)
    train, _ = everything.split(0.3, seed=0)
    assert [frame.name for frame in plan.train] == [frame.name for frame in train]


def test_isolated_atoms_may_come_from_another_file(mo_data, tmp_path, small):
    atom = Frame([42], np.zeros((1, 3)), np.zeros((3, 3)), [False] * 3, energy=-4.5)
    Dataset([atom]).write(tmp_path / "atoms.xyz")
    plan = Plan.read(FitSettings(train=mo_data / "train.xyz", e0=tmp_path / "atoms.xyz", **small))
    assert plan.model.baseline.e0 == {"Mo": -4.5}


def test_reach_of_crystals_and_molecules():
    mo = Dataset.read("etn:Mo/train", index=":5")
    check_reach(mo, 8.0)
    with pytest.raises(SettingsError, match=r"r_max: 18 Å gives an atom \d+ neighbours .* at most"):
        check_reach(mo, 18.0)
    water = Frame(
        [8, 1, 1], [[0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]], np.zeros((3, 3)), [False] * 3
    )
    check_reach(Dataset([water]), 5.0)
    with pytest.raises(SettingsError, match="far beyond the data"):
        check_reach(Dataset([water]), 12.0)


def test_kinds_that_the_data_lack_are_named():
    settings = FitSettings(train="etn:Mo", kind_weights="Surfaces=2", size="small")
    with pytest.raises(SettingsError, match=r'config_type "Surfaces", expected one of "Vacancy'):
        Plan.read(settings)


def test_the_plan_has_the_numbers_and_says_why():
    plan = Plan.read(FitSettings(train="etn:Mo/test", valid=0.3))
    assert plan.size.startswith("auto, small: medium has 3575 unknowns in one core")
    assert plan.model.basis.l_max == plan.settings.l_max == SIZES["small"].l_max
    # What is held out does not count.
    assert f"for {count_rows(plan.train, Weights())} data rows" in plan.size


def test_a_cap_on_forces(mo_data, small):
    settings = FitSettings(train=mo_data / "train.xyz", max_force=9.0, **small)
    plan = Plan.read(settings)
    assert list(plan.left_out) == ["train"]
    assert [len(plan.train), len(plan.left_out["train"]), len(plan.evaluated["train"])] == [
        11,
        2,
        13,
    ]
    assert plan.describe_left_out().startswith("2 of 13 frames of train have forces above 9 eV/Å")
    plain = Plan.read(settings.model_copy(update={"max_force": 50.0}))
    assert plain.left_out == {}
    assert plain.describe_left_out() == ""
    assert plain.fingerprint() != plan.fingerprint()
    with pytest.raises(DataError, match=r"all 23 frames have a force above max_force=1e-06"):
        Plan.read(FitSettings(train="etn:Mo/test", max_force=1e-6, **small))


@pytest.mark.parametrize("value", [0, -1, "inf", "much"])
def test_a_cap_that_is_none(value):
    with pytest.raises(SettingsError, match=r"settings: max_force: expected"):
        FitSettings(train="etn:Mo", max_force=value)


@pytest.fixture(scope="module")
def held_out(mo_data, small):
    files = {"train": mo_data / "train.xyz", "test": mo_data / "test.xyz"}
    return Plan.read(FitSettings(**files, valid=0.3, **small))


def test_data_sets_have_their_names(held_out):
    assert list(held_out.datasets) == ["train", "valid", "test"]
    alone = replace(held_out, valid=None, test=None)
    assert list(alone.datasets) == ["train"]


@pytest.mark.parametrize(
    "change",
    [
        lambda f: replace(f, energy=np.nextafter(f.energy, 0.0)),
        lambda f: replace(f, forces=-f.forces),
        lambda f: replace(f, stress=None),
        lambda f: replace(f, positions=f.positions + 1e-12),
        lambda f: replace(f, cell=2 * f.cell),
        lambda f: replace(f, pbc=[False] * 3, stress=None),
        lambda f: replace(f, numbers=f.numbers + 1),
        lambda f: replace(f, weight=2.0),
        lambda f: replace(f, config_type="other"),
    ],
    ids=["energy", "forces", "stress", "positions", "cell", "pbc", "numbers", "weight", "kind"],
)
def test_the_fingerprint_tells_any_number_of_the_fit(held_out, change):
    before = held_out.fingerprint()
    for part in ("train", "valid"):
        data = getattr(held_out, part)
        other = Dataset([*data[:-1], change(data[-1])])
        assert replace(held_out, **{part: other}).fingerprint() != before
    turned = Dataset(list(held_out.train)[::-1])
    assert replace(held_out, train=turned).fingerprint() != before


def test_the_fingerprint_is_of_what_is_fitted_alone(held_out):
    before = held_out.fingerprint()
    renamed = Dataset([replace(f, name="x") for f in held_out.train])
    assert replace(held_out, train=renamed, test=None).fingerprint() == before


def test_a_test_set_without_labels_is_refused(mo_data, small, tmp_path):
    frame = Dataset.read(mo_data / "test.xyz")[0]
    bare = replace(frame, energy=None, forces=None, stress=None)
    Dataset([bare]).write(tmp_path / "bare.xyz")
    with pytest.raises(DataError, match=r"bare.xyz: nothing to test on: no frame has an"):
        Plan.read(FitSettings(train=mo_data / "train.xyz", test=tmp_path / "bare.xyz", **small))


def test_a_radius_shorter_than_any_bond_is_refused():
    with pytest.raises(SettingsError, match=r"r_max: 1e-300 Å is shorter than any bond"):
        check_reach(Dataset.read("etn:Mo/test"), 1e-300)


def test_charges_are_told_of_by_fits_and_refused_by_networks_without(tmp_path, small):
    data = Dataset.read("etn:Mo/train", index="::20")
    some = Dataset([replace(f, charge=-(k % 2), stress=None) for k, f in enumerate(data)])
    some.write(tmp_path / "ions.xyz")
    Dataset([replace(f, charge=0) for f in some]).write(tmp_path / "neutral.xyz")
    files = {"train": tmp_path / "neutral.xyz", "test": tmp_path / "ions.xyz"}

    def told(settings):
        return [text for text in Plan.read(settings).warnings if "charge" in text]

    (text,) = told(FitSettings(**files, **small))
    assert text.startswith("test: charges -1 to 0 are not read by a fit")
    assert text.endswith("(charge_key=None)")
    assert told(FitSettings(**files, charge_key="none", **small)) == []
    assert told(training_settings(network="tensornet", **files)) == []
    for changes in ({}, {"train": files["test"], "test": None}):
        with pytest.raises(DataError, match=r"ions.xyz:1: a total charge of -1 \(. more"):
            Plan.read(training_settings(network="ictp", **files | changes))
    assert told(training_settings(network="ictp", **files, charge_key=None)) == []


def test_another_charge_is_another_fingerprint():
    frame = Frame([42], np.zeros((1, 3)), np.zeros((3, 3)), [False] * 3, energy=-4.5)
    prints = [
        Plan(None, Dataset([replace(frame, charge=charge)]), None, None, None).fingerprint()
        for charge in (0, 1, -1)
    ]
    assert len(set(prints)) == 3
