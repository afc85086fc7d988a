"""Checks of the data before a fit: what they find, and what they leave in peace."""

from __future__ import annotations

import dataclasses
import re

import numpy as np
import pytest
from ase.build import bulk

from etn.data import Dataset, Frame
from etn.data.checks import check_data, check_unknowns
from etn.errors import DataError
from etn.run.plan import Plan
from etn.run.settings import FitSettings


def frame(atoms, seed: int | None = None, **labels) -> Frame:
    atoms = atoms.copy()
    if seed is not None:
        atoms.rattle(0.1, seed=seed)
    return Frame(atoms.numbers, atoms.positions, atoms.cell.array, atoms.pbc, **labels)


def crystal(seed: int, **labels) -> Frame:
    return frame(bulk("NaCl", "rocksalt", a=5.6, cubic=True), seed, **labels)


def named(frames: list[Frame], name: str) -> Dataset:
    return Dataset(dataclasses.replace(one, name=f"{name}.xyz:{k}") for k, one in enumerate(frames))


def test_repeated_frames_are_counted_by_data_set(copied):
    base = [crystal(seed) for seed in range(5)]
    train = named([*base, copied(base[3], 0), copied(base[3], 1)], "train")
    valid = named([crystal(10), crystal(10)], "valid")
    test = named([crystal(20), copied(base[0], 2), crystal(21)], "test")
    warnings = check_data({"train": train, "valid": valid, "test": test})
    assert [text for text in warnings if "repeat" in text or "too" in text] == [
        "train: 2 of 7 frames repeat another one (train.xyz:5 is train.xyz:3): they count more "
        "than once; remove them unless that is meant",
        "valid: 1 of 2 frames repeat another one (valid.xyz:1 is valid.xyz:0): they count more "
        "than once; remove them unless that is meant",
        "test: 1 of 3 frames are in the training set too (test.xyz:1 is train.xyz:0): errors on "
        "these frames are training errors; remove them from one of the two",
    ]


@pytest.mark.parametrize(("apart", "outcome"), [(0.0, None), (0.01, "warning"), (0.5, "error")])
def test_energies_of_one_structure(apart, outcome):
    frames = [crystal(seed, energy=-3.0 * 8) for seed in range(5)]
    frames.append(dataclasses.replace(frames[1], energy=(-3.0 + apart) * 8))
    train = named(frames, "t")
    if outcome == "error":
        with pytest.raises(DataError, match=r"t.xyz:5 is the same structure as t.xyz:1, but its "
                           r"energy is 0.5 eV/atom higher: .*; remove"):  # fmt: skip
            check_data({"train": train})
        return
    found = [text for text in check_data({"train": train}) if "energies of one" in text]
    assert len(found) == (outcome == "warning")
    if found:
        assert "up to 10 meV/atom (t.xyz:1, t.xyz:5)" in found[0]


def element_warnings(frames: list[Frame]) -> list[str]:
    return [text for text in check_data({"train": named(frames, "t")}) if "bonded" in text]


def test_rare_elements():
    assert element_warnings([crystal(seed) for seed in range(3)]) == []
    impurity = crystal(9)
    numbers = impurity.numbers.copy()
    numbers[0] = 19
    frames = [*(crystal(seed) for seed in range(4)), dataclasses.replace(impurity, numbers=numbers)]
    (text,) = element_warnings(frames)
    assert text.startswith("train: K has 1 bonded atom in 1 frame, expected at least 10 in several")
    # Enough atoms, but all in one frame.
    alone = frame(bulk("Cu", cubic=True) * 2, 0)
    (text,) = element_warnings([*frames[:4], alone])
    assert text.startswith("train: Cu has 32 bonded atoms in 1 frame,")


def test_isolated_atoms_do_not_count():
    atom = Frame([19], np.zeros((1, 3)), np.zeros((3, 3)), [False] * 3, energy=-1.0)
    (text,) = element_warnings([*(crystal(seed) for seed in range(4)), atom])
    assert text.startswith("train: K has 0 bonded atoms in 0 frames")


def outliers(energies: np.ndarray, config_type: str = "") -> list[str]:
    frames = [
        crystal(seed, energy=8 * energy, config_type=config_type)
        for seed, energy in enumerate(energies)
    ]
    return [text for text in check_data({"train": named(frames, "t")}) if "robust" in text]


def test_an_energy_that_stands_alone(rng):
    energies = -3.0 + 0.02 * rng.normal(size=30)
    assert outliers(energies) == []
    energies[7] += 0.8
    (text,) = outliers(energies, "MD")
    assert re.match(r"train: the energy of t.xyz:7 is 0.[78]\d* eV/atom", text)
    assert 'config type "MD", -2.99' in text
    energies[7] -= 1.6
    assert len(outliers(energies)) == 1


def test_energies_that_spread_are_left_in_peace(rng):
    two_kinds = np.concatenate([0.002 * rng.normal(size=30), 0.5 + 0.1 * rng.normal(size=15)])
    assert outliers(two_kinds) == []
    curve = 20 * (np.linspace(0.85, 1.15, 25) - 1) ** 2
    assert outliers(curve) == []
    few = np.array([0.0] * 8 + [3.0])
    assert outliers(few) == []


def test_more_unknowns_than_rows():
    assert check_unknowns(100, 100) == []
    (text,) = check_unknowns(99, 100)
    assert text.startswith("train: 99 data rows for 100 unknowns in one core")
    assert 'size="small"' in text


def test_a_plan_tells_what_is_wrong(tmp_path):
    Dataset.read("etn:Mo/train", index=":1").write(tmp_path / "train.xyz")
    path = tmp_path / "train.xyz"
    plan = Plan.read(FitSettings(train=path, test=path, size="small"))
    first, second = plan.warnings
    assert first.startswith("test: 1 of 1 frames are in the training set too")
    assert second.startswith("train: ")
    assert "1297 unknowns" in second
    assert Plan.read(FitSettings(train="etn:Mo", valid=0.1)).warnings == ()


@pytest.mark.parametrize("name", ["etn:Mo", "etn:NbMoTaW"])
def test_no_alarm_on_the_embedded_sets(name):
    parts = {part: Dataset.read(f"{name}/{part}") for part in ("train", "test")}
    assert check_data(parts) == []


@pytest.mark.shared_data
@pytest.mark.parametrize(
    ("train", "test"),
    [
        ("mlearn_Si/train.xyz", "mlearn_Si/test.xyz"),
        ("mlearn_Cu/train.xyz", "mlearn_Cu/test.xyz"),
        ("3BPA/train_300K.xyz", "3BPA/test_300K.xyz"),
        ("acac/train_300K.xyz", "acac/test_MD_300K.xyz"),
        ("rMD17_aspirin/train_01.xyz", "rMD17_aspirin/test_01.xyz"),
        ("rMD17_ethanol/train_01.xyz", "rMD17_ethanol/test_01.xyz"),
    ],
)
def test_no_alarm_on_the_reference_sets(shared_data, train, test):
    parts = {"train": Dataset.read(shared_data / train), "test": Dataset.read(shared_data / test)}
    assert check_data(parts) == []


@pytest.mark.slow
@pytest.mark.shared_data
def test_no_alarm_on_the_alloy(shared_data):
    """Its 24 groups of orderings that share all distances are no duplicates."""
    assert check_data({"train": Dataset.read(shared_data / "NbMoTaW/train.xyz")}) == []
