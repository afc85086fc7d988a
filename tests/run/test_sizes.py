"""Sizes: what they stand for, what wins over them, and what auto makes of the data."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

from etn.data.weights import count_rows
from etn.errors import SettingsError
from etn.potential import Baseline, Basis, Dataset, PolynomialPotential, Weights, fit
from etn.potential.fitting.rows import Rows
from etn.run.folder import run_fit
from etn.run.settings import SIZED, FitSettings
from etn.run.sizes import (
    MAX_UNKNOWNS,
    MAX_WORK,
    SIZES,
    choose_size,
    count_unknowns,
)
from etn.sweep import Schedule
from etn.sweep.schedule import FIT_DEFAULTS

README_MULTI = {"n_max": 8, "l_max": 3, "body_order": 4, "max_bond": (4, 3, 2, 2)}


def test_medium_is_what_the_python_functions_do():
    medium = SIZES["medium"]
    for key, (function, parameter) in {
        "n_max": (Basis.for_dataset, "n_max"),
        "l_max": (Basis.for_dataset, "l_max"),
        "body_order": (PolynomialPotential, "body_order"),
        "max_bond": (PolynomialPotential, "max_bond"),
    }.items():
        assert getattr(medium, key) == inspect.signature(function).parameters[parameter].default
    assert medium.max_sweeps == FIT_DEFAULTS["max_sweeps"]
    # The numbers in the README were measured with these.
    assert medium.values() == {
        "n_max": 8, "l_max": 4, "body_order": 4, "max_bond": (5, 4, 3, 3, 2), "max_sweeps": (3, 2),
    }  # fmt: skip
    assert SIZES["small"].values() == {**README_MULTI, "max_sweeps": (2, 1)}


@pytest.mark.parametrize("name", SIZES)
@pytest.mark.parametrize("n_elements", [1, 3])
def test_unknowns_are_those_of_the_grown_chain(name, n_elements):
    values = SIZES[name].values()
    train = Dataset.read("etn:NbMoTaW/train", index="::6")
    train = Dataset([f for f in train if set(f.symbols) <= set(("Mo", "Nb", "W")[:n_elements])])
    assert len(train.elements) == n_elements
    basis = Basis.for_dataset(train, n_max=values["n_max"], l_max=values["l_max"])
    model = PolynomialPotential(basis, body_order=values["body_order"], max_bond=values["max_bond"])
    chain = model.initial_chain(seed=3)
    while len(chain) < model.body_order - 1:
        chain = chain.insert(1)
    largest = max(sum(block.size for block in core.blocks.values()) for core in chain.cores)
    assert count_unknowns(n_elements, values) == largest


def test_unknowns_of_a_small_chain_by_hand():
    # Two sites, l = 0 only, one element, one radial function and the constant: the first core
    # holds 1 x 2 x b numbers, the last b x 2 x 1.
    values = {"n_max": 1, "l_max": 0, "body_order": 3, "max_bond": 2}
    assert count_unknowns(1, values) == 1 * 2 * 2
    # With a third site there is an inner core of b x 2 x b.
    assert count_unknowns(1, {**values, "body_order": 4}) == 2 * 2 * 2


@pytest.mark.parametrize(
    "weights",
    [Weights(), Weights(energy=0), Weights(forces=0), Weights(stress=0), Weights(stress=2.0)],
    ids=str,
)
def test_rows_are_those_of_the_fit(weights):
    train = Dataset.read("etn:Mo/train", index="::40")
    rows = Rows(train, Basis.for_dataset(train, r_max=3, n_max=2, l_max=0), Baseline({"Mo": 0}),
                weights)  # fmt: skip
    assert count_rows(train, weights) == len(rows)


@pytest.mark.parametrize("n_elements", [1, 2, 3, 4, 6, 10, 20])
@pytest.mark.parametrize("n_rows", [30, 300, 3_000, 30_000, 300_000])
def test_auto_keeps_its_promises(n_elements, n_rows):
    values, reason = choose_size(n_elements, n_rows, {})
    unknowns = count_unknowns(n_elements, values)
    assert unknowns <= MAX_UNKNOWNS
    # Nothing smaller is worth a fit: what remains open a warning says.
    if (values["n_max"], values["l_max"]) != (3, 1):
        assert n_rows >= unknowns
    assert n_rows * unknowns**2 <= MAX_WORK or values["l_max"] < 3
    assert reason.startswith(("medium: ", "wide: ", "small: ", "less than small: "))


def test_auto_falls_below_small_where_needed():
    """Two frames of two atoms: 26 rows; and a dozen elements, whose small core is too large."""
    few, reason = choose_size(1, 26, {})
    assert reason.startswith("less than small: medium has 3575 unknowns in one core for 26 data")
    assert count_unknowns(1, few) == 22
    many, reason = choose_size(12, 10**6, {})
    assert reason.startswith("less than small: wide has 20029 unknowns")
    assert many["l_max"] == 2


def test_auto_takes_more_for_more_data():
    unknowns = [count_unknowns(1, choose_size(1, 10**k, {})[0]) for k in range(1, 6)]
    assert unknowns == sorted(unknowns)
    assert unknowns[0] < unknowns[-1] == count_unknowns(1, SIZES["medium"].values())


def test_given_values_stay_and_count():
    values, _ = choose_size(1, 1500, {"n_max": 12, "max_sweeps": 7})
    assert (values["n_max"], values["max_sweeps"]) == (12, 7)
    assert count_unknowns(1, values) <= 1500


def test_expensive_values_that_are_given_take_nothing_back():
    values, reason = choose_size(1, 10**5, {"max_bond": 9})
    assert count_unknowns(1, values) > MAX_UNKNOWNS
    assert (values["l_max"], reason[:8]) == (4, "medium: ")


@pytest.mark.parametrize("name", SIZES)
def test_a_named_size_gives_its_values(name):
    settings = FitSettings(train="etn:Mo", size=name)
    assert {key: getattr(settings, key) for key in SIZED} == SIZES[name].values()
    assert settings.model_fields_set == {"train", "test", "size"}


def test_explicit_values_win_over_a_size():
    settings = FitSettings(train="etn:Mo", size="small", l_max=2, max_bond="2,1")
    assert (settings.l_max, settings.max_bond, settings.n_max) == (2, (2, 1), 8)


def test_unknown_size_names_the_known_ones():
    with pytest.raises(SettingsError) as caught:
        FitSettings(train="etn:Mo", size="huge")
    message = str(caught.value)
    assert message.startswith("settings: size: expected ")
    assert message.endswith("got 'huge'")
    assert all(f"'{name}'" in message for name in (*SIZES, "auto"))


def test_the_embedded_sets_have_the_sizes_of_the_readme():
    mo, reason = FitSettings(train="etn:Mo").sized_for(Dataset.read("etn:Mo/train"))
    assert mo == FitSettings(train="etn:Mo", size="medium").model_copy(update={"size": "auto"})
    assert reason == "auto, medium: 31619 data rows for 3575 unknowns in one core"
    train = Dataset.read("etn:NbMoTaW/train")
    alloy, reason = FitSettings(train="etn:NbMoTaW").sized_for(train)
    assert {key: getattr(alloy, key) for key in SIZED} == SIZES["wide"].values()
    assert reason == "auto, wide: 27047 data rows for 11773 unknowns in one core"


@pytest.mark.shared_data
@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("mlearn_Si/train.xyz", "medium"),
        ("mlearn_Cu/train.xyz", "medium"),
        ("NbMoTaW/train.xyz", "small"),
        ("3BPA/train_300K.xyz", "wide"),
        ("rMD17_ethanol/train_01.xyz", "wide"),
        ("acac/train_300K.xyz", "wide"),
    ],
)
def test_sizes_of_the_reference_sets(shared_data, path, name):
    train = Dataset.read(shared_data / path)
    settings, _ = FitSettings(train=shared_data / path).sized_for(train)
    assert {key: getattr(settings, key) for key in SIZED} == SIZES[name].values()


def test_sizing_changes_nothing_but_the_free_numbers():
    few = Dataset.read("etn:Mo/train", index="::40")
    before = FitSettings(train="etn:Mo", r_max=4.2, n_max=5, ridge=0.1)
    after, reason = before.sized_for(few)
    changed = {key for key, value in dict(after).items() if value != getattr(before, key)}
    assert changed
    assert changed <= set(SIZED) - {"n_max"}
    assert reason.endswith("(given: n_max)")
    assert after.sized_for(few)[0] == after


def test_stored_numbers_hold_whatever_the_data(tmp_path):
    few = Dataset.read("etn:Mo/train", index="::20")
    chosen, _ = FitSettings(train="etn:Mo").sized_for(few)
    path = tmp_path / "settings.yaml"
    path.write_text(chosen.dump(), encoding="utf-8")
    again, reason = FitSettings.load(path).sized_for(Dataset.read("etn:Mo/train"))
    assert again == chosen
    assert reason.startswith("as given: 31619 data rows")
    # A size that is asked for replaces the stored numbers, and a number wins over the size.
    assert FitSettings.load(path, size="medium").l_max == 4
    assert FitSettings.load(path, size="medium", l_max=1).l_max == 1
    assert FitSettings.load(path, seed=1).l_max == chosen.l_max


def test_a_run_of_a_chosen_size_is_repeated_and_resumed(tmp_path):
    settings = FitSettings(train="etn:Mo/test", r_max=3.2, n_max=1, body_order=3, max_sweeps=1)
    result = run_fit(settings, tmp_path / "a")
    stored = FitSettings.load(tmp_path / "a" / "settings.yaml")
    assert stored.size == "auto"
    assert stored.l_max == result.model.basis.l_max
    assert stored.model_fields_set == set(FitSettings.model_fields)
    assert run_fit(settings, tmp_path / "a", resume=True).finished_before
    again = run_fit(stored, tmp_path / "b")
    frames = Dataset.read("etn:Mo/test")[:2]
    for one, other in zip(result.model.predict(frames), again.model.predict(frames), strict=True):
        np.testing.assert_array_equal(one.forces, other.forces)
    with pytest.raises(SettingsError, match=r"size: the run in .* was started with 'auto', got"):
        run_fit(FitSettings(train="etn:Mo/test", size="small"), tmp_path / "a", resume=True)


def test_fit_accepts_what_auto_chooses_for_two_frames():
    train = Dataset.read("etn:Mo/train")[:2]
    settings, _ = FitSettings(train="etn:Mo").sized_for(train)
    basis = Basis.for_dataset(train, r_max=4, n_max=settings.n_max, l_max=settings.l_max)
    model = PolynomialPotential(
        basis, body_order=settings.body_order, max_bond=settings.max_bond,
        baseline=Baseline.fit(train),
    )  # fmt: skip
    report = fit(model, train, schedule=Schedule(max_sweeps=1))
    assert np.isfinite(report.records[-1].loss)
