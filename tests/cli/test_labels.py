"""Labels through the command: where they stand, in which form, and what is said without them."""

from __future__ import annotations

import ase.io
import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.stress import voigt_6_to_full_3x3_stress

from etn.potential import Dataset, load


@pytest.fixture(scope="module")
def copper(tmp_path_factory):
    """Crystals of copper with the energies, forces and stresses of EMT."""
    rng = np.random.default_rng(0)
    folder = tmp_path_factory.mktemp("copper")
    sets = {}
    for name, count in (("train", 24), ("test", 12)):
        images = []
        for k in range(count):
            atoms = bulk("Cu", a=3.6 * (1 + 0.02 * rng.normal()), cubic=True) * (1 + k % 2, 1, 1)
            atoms.positions += 0.1 * rng.normal(size=atoms.positions.shape)
            atoms.calc = EMT()
            labels = {"energy": atoms.get_potential_energy(), "forces": atoms.get_forces()}
            atoms.calc = SinglePointCalculator(atoms, **labels, stress=atoms.get_stress())
            images.append(atoms)
        ase.io.write(folder / f"{name}.xyz", images, format="extxyz")
        sets[name] = images
    return folder, sets


COPPER = ("--r-max", "4.5", "--n-max", "5", "--l-max", "2", "--body-order", "3",
          "--max-bond", "3,2,1", "--max-sweeps", "2")  # fmt: skip


def test_forces_key_none_alone_gives_a_fit_to_energies(copper, tmp_path, invoke):
    folder, _ = copper
    keys = ("--forces-key", "none", "--stress-key", "none")
    result = invoke("fit", folder / "train.xyz", "--out", tmp_path / "run", *COPPER, *keys)
    assert result.exit_code == 0
    assert "forces         left out" in result.stdout
    metrics = load(tmp_path / "run" / "model.etn").evaluate(Dataset.read(folder / "train.xyz"))
    assert metrics.energy.mae < 2e-3


def test_a_fit_to_forces_leaves_a_constant_open_and_says_so(copper, tmp_path, invoke):
    folder, _ = copper
    key = ("--energy-key", "none")
    result = invoke("fit", folder / "train.xyz", "--out", tmp_path / "run", *COPPER, *key)
    assert result.exit_code == 0
    said = " ".join(result.stdout.split())
    assert "determine the energy up to a constant for each element (Cu)" in said
    assert "--e0 Cu=-4.2" in said
    test = Dataset.read(folder / "test.xyz")
    model = load(tmp_path / "run" / "model.etn")
    assert model.evaluate(test).forces.mae < 0.05
    # The errors of the energies are one constant per atom, as EMT says.
    errors = [
        (found.energy - frame.energy) / frame.n_atoms
        for found, frame in zip(model.predict(test), test, strict=True)
    ]
    assert abs(np.mean(errors)) > 0.1
    assert np.std(errors) < 3e-3


def test_virials_give_the_fit_that_stresses_give(copper, tmp_path, invoke):
    folder, sets = copper
    images = []
    for atoms in sets["train"]:
        copy = atoms.copy()
        labels = {k: v for k, v in atoms.calc.results.items() if k != "stress"}
        copy.calc = SinglePointCalculator(copy, **labels)
        full = voigt_6_to_full_3x3_stress(atoms.calc.results["stress"])
        copy.info["virial"] = -atoms.get_volume() * full
        images.append(copy)
    ase.io.write(tmp_path / "virial.xyz", images, format="extxyz")
    ase.io.write(tmp_path / "settings.xyz", images, format="extxyz")
    (tmp_path / "virial.yaml").write_text("virial_key: virial\n", encoding="utf-8")
    for name, source, more in (
        ("stress", folder / "train.xyz", ()),
        ("virial", tmp_path / "virial.xyz", ("--virial-key", "virial")),
        ("yaml", tmp_path / "virial.xyz", ("--config", tmp_path / "virial.yaml")),
    ):
        result = invoke("fit", source, "--out", tmp_path / name, *COPPER, *more)
        assert result.exit_code == 0, result.output
    test = Dataset.read(folder / "test.xyz")
    errors = {
        name: load(tmp_path / name / "model.etn").evaluate(test)
        for name in ("stress", "virial", "yaml")
    }
    for name in ("virial", "yaml"):
        assert errors[name].stress.mae == pytest.approx(errors["stress"].stress.mae, rel=1e-3)
        assert errors[name].forces.mae == pytest.approx(errors["stress"].forces.mae, rel=1e-3)


def test_warnings_of_the_test_set_are_shown(copper, tmp_path, invoke):
    folder, sets = copper
    images = []
    for atoms in sets["test"]:
        copy = atoms.copy()
        copy.info["energy"] = atoms.calc.results["energy"]
        copy.arrays["force"] = atoms.calc.results["forces"]
        images.append(copy)
    ase.io.write(tmp_path / "force.xyz", images, format="extxyz")
    result = invoke("fit", folder / "train.xyz", "--test", tmp_path / "force.xyz",
                    "--out", tmp_path / "run", *COPPER)  # fmt: skip
    said = " ".join(result.stdout.split())
    assert "test: forces: 12 of 12 frames have none" in said
    assert "give --forces-key force" in said


@pytest.fixture
def refused_by(invoke, copper, tmp_path):
    folder, _ = copper

    def check(*options):
        out = tmp_path / "run"
        result = invoke("fit", folder / "train.xyz", "--out", out, *COPPER, *options)
        assert result.exit_code == 2, result.output
        assert result.stdout == ""
        assert not out.exists()
        return result.stderr

    return check


def test_a_missing_label_is_an_error_that_names_the_keys_and_the_option(refused_by):
    text = refused_by("--energy-key", "E", "--forces-key", "F")
    assert text == (
        'etn: training set: none of the 24 frames has an energy (key "E"), but there is energy '
        "(24 frames): if it holds the total energy in eV, give --energy-key energy; to fit "
        'without, set --energy-weight 0. none of the 24 frames has forces (key "F"), but there is '
        "forces (24 frames): if it holds the forces in eV/Å, give --forces-key forces; to fit "
        "without, set --forces-weight 0. Or allow that labels are missing with --missing skip\n"
    )


def test_energies_that_are_missing_altogether_are_an_error_even_where_some_may_be(refused_by):
    text = refused_by("--energy-key", "E", "--missing", "skip")
    assert "none of the 24 frames has an energy" in text
    assert "--energy-key energy" in text


@pytest.mark.parametrize(
    "options",
    [
        [word for label in ("energy", "forces", "stress") for word in (f"--{label}-key", "none")],
        ["--missing", "skip"]
        + [word for label in ("energy", "forces", "stress") for word in (f"--{label}-key", "X")],
    ],
)
def test_nothing_to_fit_is_an_error_before_anything_is_fitted(refused_by, options):
    assert "nothing to fit: " in refused_by(*options)
