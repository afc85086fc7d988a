"""The commands ``etn evaluate`` and ``etn info``: errors, facts, and bad input."""

from __future__ import annotations

import csv
import json
from dataclasses import replace

import ase.io
import numpy as np
import pytest
from ase.stress import voigt_6_to_full_3x3_stress
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

import etn
from etn import io
from etn.potential import Dataset, Frame, load
from etn.run.settings import FitSettings


def test_charges_are_left_out_where_the_network_reads_none(data, tmp_path, invoke):
    from etn.nn import ICTP, AtomicModel, NeuralPotential

    network = ICTP(("Mo",), 3.5, channels=2, l_max=1, layers=1, n_max=3, hidden=4)
    NeuralPotential(AtomicModel(network)).save(tmp_path / "model.etn")
    ions = [replace(frame, charge=-1) for frame in Dataset.read(data / "test.xyz")[:2]]
    Dataset(ions).write(tmp_path / "ions.xyz")
    result = invoke("evaluate", tmp_path / "model.etn", tmp_path / "ions.xyz")
    assert result.exit_code == 2
    assert "frame ions.xyz:0: a total charge of -1, which the network ictp does" in result.stderr
    assert "--charge-key none" in result.stderr
    left_out = ["--charge-key", "none"]
    result = invoke("evaluate", tmp_path / "model.etn", tmp_path / "ions.xyz", *left_out)
    assert result.exit_code == 0


def test_evaluate_prints_the_errors(finished, data, tmp_path, invoke):
    out, _ = finished
    expected = load(out / "model.etn").evaluate(Dataset.read(data / "test.xyz"))
    result = invoke("evaluate", out / "model.etn", data / "test.xyz")
    assert result.exit_code == 0
    assert str(expected) in result.stdout
    result = invoke("evaluate", out / "model.etn", data / "test.xyz", "--json")
    assert json.loads(result.stdout) == json.loads(json.dumps(expected.to_dict()))
    for name in ("errors.json", "errors.csv"):
        path = tmp_path / name
        result = invoke("evaluate", out / "model.etn", data / "test.xyz", "--out", path)
        assert result.exit_code == 0
    assert json.loads((tmp_path / "errors.json").read_text()) == expected.to_dict()
    rows = list(csv.DictReader((tmp_path / "errors.csv").read_text().splitlines()))
    errors = [abs(float(row["energy_error_eV_per_atom"])) for row in rows]
    assert np.mean(errors) == pytest.approx(expected.energy.mae)
    assert float(rows[0]["forces_mae_eV_per_A"]) > 0


def test_evaluate_without_labels(finished, tmp_path, invoke):
    out, _ = finished
    frame = Dataset.read("etn:Mo/test")[0]
    bare = Frame(frame.numbers, frame.positions, frame.cell, frame.pbc)
    Dataset([bare]).write(tmp_path / "bare.xyz")
    table = tmp_path / "energies.csv"
    result = invoke("evaluate", out / "model.etn", tmp_path / "bare.xyz", "--out", table)
    assert result.exit_code == 0
    assert "1 frame predicted, written to" in result.stdout
    (row,) = csv.DictReader(table.read_text().splitlines())
    assert row["energy_eV"] == row["forces_mae_eV_per_A"] == ""
    assert float(row["predicted_energy_eV"]) < 0


@pytest.mark.parametrize("name", ["energies.csv", "predictions.xyz"])
def test_predictions_far_from_the_training_data_are_named(finished, tmp_path, invoke, name):
    out, _ = finished
    inside = Dataset.read("etn:Mo/train")[0]
    close = Frame([42, 42], [[0, 0, 0], [0, 0, 1.0]], np.zeros((3, 3)), [False] * 3)
    bare = Frame(inside.numbers, inside.positions, inside.cell, inside.pbc)
    Dataset([bare, close]).write(tmp_path / "far.xyz")
    (grade,) = load(out / "model.etn").uncertainty.gamma([close])
    result = invoke("evaluate", out / "model.etn", tmp_path / "far.xyz", "--out", tmp_path / name)
    assert result.exit_code == 0
    assert "warning: 1 of 2 frames with an extrapolation grade above 2" in result.stderr
    assert f"far.xyz:1: {grade.max():.3g}" in result.stderr


def test_evaluate_reads_stresses_as_told(finished, data, tmp_path, invoke):
    out, _ = finished
    expected = load(out / "model.etn").evaluate(Dataset.read(data / "test.xyz"))
    images = [frame.to_atoms() for frame in Dataset.read(data / "test.xyz")]
    for atoms in images:
        stress = atoms.calc.results.pop("stress")
        atoms.info["W"] = -atoms.get_volume() * voigt_6_to_full_3x3_stress(stress)
        atoms.info["S"] = -1602.1766208 * stress[[0, 1, 2, 5, 3, 4]]
    ase.io.write(tmp_path / "other.xyz", images, format="extxyz")
    for keys in (
        ("--virial-key", "W"),
        ("--stress-key", "S", "--stress-unit", "kbar", "--stress-convention", "vasp"),
    ):
        result = invoke("evaluate", out / "model.etn", tmp_path / "other.xyz", "--json", *keys)
        assert result.exit_code == 0
        found = json.loads(result.stdout)["stress"]
        assert found["mae"] == pytest.approx(expected.stress.mae, rel=1e-5)
        assert found["count"] == expected.stress.count


def test_evaluate_says_what_it_did_not_read(finished, data, tmp_path, invoke):
    out, _ = finished
    images = [frame.to_atoms() for frame in Dataset.read(data / "test.xyz")]
    for atoms in images:
        atoms.info["virial"] = np.eye(3)
        del atoms.calc.results["stress"]
    ase.io.write(tmp_path / "other.xyz", images, format="extxyz")
    result = invoke("evaluate", out / "model.etn", tmp_path / "other.xyz")
    assert result.exit_code == 0
    assert "give --virial-key virial" in result.stderr


def test_errors_without_the_largest_forces(finished, data, invoke):
    out, _ = finished
    given = Dataset.read(data / "test.xyz")
    largest = np.array([np.linalg.norm(frame.forces, axis=1).max() for frame in given])
    within = load(out / "model.etn").evaluate(given[largest <= 7.0])
    command = ("evaluate", out / "model.etn", data / "test.xyz", "--max-force")
    text = invoke(*command, 7).stdout
    assert text.endswith(f"\n\nforces up to 7 eV/Å\n{within}\n")
    statistics = json.loads(invoke(*command, 7, "--json").stdout)
    assert (statistics["n_frames"], statistics["within_max_force"]["n_frames"]) == (3, 2)
    assert "up to" not in invoke(*command, 100).stdout
    refused = invoke(*command, "-1")
    assert refused.exit_code == 2
    assert "--max-force: expected a positive number" in refused.stderr


@pytest.mark.parametrize("has_labels", [True, False])
@pytest.mark.parametrize("name", ["predictions.xyz", "predictions.extxyz"])
def test_predictions_are_written_for_ase(finished, data, tmp_path, invoke, has_labels, name):
    out, _ = finished
    model, given = load(out / "model.etn"), Dataset.read(data / "test.xyz")
    source = data / "test.xyz"
    if not has_labels:
        source = tmp_path / "bare.traj"
        bare = [Frame(f.numbers, f.positions, f.cell, f.pbc).to_atoms() for f in given]
        ase.io.write(source, bare)
    result = invoke("evaluate", out / "model.etn", source, "--out", tmp_path / name)
    assert result.exit_code == 0
    assert ("energy MAE" in result.stdout) is has_labels
    assert (f"{len(given)} frames predicted, written to" in result.stdout) is not has_labels
    far = sum(grades.max() > 2 for grades in model.uncertainty.gamma(given))
    assert result.stderr.startswith(f"warning: {far} of {len(given)} frames with")
    assert result.stderr.count("\n") == 1
    images = ase.io.read(tmp_path / name, ":")
    expected = model.predict(given)
    for atoms, frame, found in zip(images, given, expected, strict=True):
        assert atoms.get_potential_energy() == pytest.approx(found.energy, abs=1e-8)
        np.testing.assert_allclose(atoms.get_potential_energies(), found.energies, atol=1e-8)
        np.testing.assert_allclose(atoms.get_forces(), found.forces, atol=1e-8)
        np.testing.assert_allclose(atoms.get_stress(), found.stress, atol=1e-8)
        assert ("reference_energy" in atoms.info) is has_labels
        if has_labels:
            assert atoms.info["reference_energy"] == pytest.approx(frame.energy)
            np.testing.assert_allclose(atoms.info["reference_stress"], frame.stress, atol=1e-8)
            np.testing.assert_allclose(atoms.arrays["reference_forces"], frame.forces, atol=1e-8)
    bars = [atoms.info["energy_bar"] for atoms in images]
    np.testing.assert_allclose(bars, model.uncertainty.energy(given), rtol=1e-6)
    np.testing.assert_allclose(
        images[0].arrays["forces_bar"], model.uncertainty.forces(given)[0], atol=1e-8
    )
    np.testing.assert_allclose(
        images[0].arrays["gamma"], model.uncertainty.gamma(given)[0], atol=1e-7
    )
    # etn reads its own predictions, on which the potential has no errors.
    again = model.evaluate(Dataset.read(tmp_path / name))
    assert again.energy.max < 1e-8
    assert again.forces.max < 1e-7


def test_info_describes_the_model(finished, invoke):
    out, _ = finished
    model = load(out / "model.etn")
    result = invoke("info", out / "model.etn")
    assert result.exit_code == 0
    for text in ("r_max 4 Å, n_max 3, l_max 1", "Mo", f"{model.baseline.e0['Mo']:.6g} eV"):
        assert text in result.stdout
    assert str(model.n_parameters) in result.stdout
    assert str(model.chain.show()) in result.stdout
    unknowns = len(model.uncertainty.spread)
    assert f"error bars and grades, {unknowns} unknowns" in result.stdout
    assert f"etn {etn.__version__}" in result.stdout
    errors = model.evaluate(Dataset.read(FitSettings.load(out / "settings.yaml").test))
    assert f"forces MAE (eV/Å) {errors.forces.mae:.4g}" in result.stdout


def test_info_of_a_model_without_a_note(finished, tmp_path, invoke):
    load(finished[0] / "model.etn").save(tmp_path / "plain.etn")
    assert invoke("info", tmp_path / "plain.etn").exit_code == 0


# Bad input. Each entry prepares files in a folder and returns the command and a part of the
# message; the folder holds data, a model and a finished run, and must stay as it is.


def newer_model(folder):
    path = folder / "run" / "model.etn"
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    record = json.loads(json.loads(data[8 : 8 + length])["__metadata__"]["etn"])
    record["format_version"] += 1
    path.write_bytes(save_tensors(load_tensors(data), metadata={"etn": json.dumps(record)}))
    return ["evaluate", path, folder / "test.xyz"], "upgrade etn"


def damaged_model(folder):
    path = folder / "run" / "model.etn"
    data = bytearray(path.read_bytes())
    data[-20] ^= 0xFF
    path.write_bytes(bytes(data))
    return ["info", path], "model.etn: the checksum does not fit"


def cut_model(folder):
    path = folder / "run" / "model.etn"
    path.write_bytes(path.read_bytes()[:-20])
    return ["info", path], "damaged"


def other_file_as_model(folder):
    return ["info", folder / "train.xyz"], "expected a model file"


def missing_model(folder):
    return ["evaluate", folder / "none.etn", folder / "test.xyz"], "no such file"


def evaluate_unseen_element(folder):
    return ["evaluate", folder / "run" / "model.etn", "etn:NbMoTaW/test"], "element"


def evaluate_to_unknown_format(folder):
    model = folder / "run" / "model.etn"
    return [
        "evaluate",
        model,
        folder / "test.xyz",
        "--out",
        folder / "a.pdf",
    ], ".json, .csv or .xyz"


def evaluate_over_its_data(folder):
    model = folder / "run" / "model.etn"
    command = ["evaluate", model, folder / "test.xyz", "--out", folder / "test.xyz"]
    return command, "is one of the data files"


def nothing_to_test_on(folder):
    atoms = Dataset.read(folder / "test.xyz")[0].to_atoms()
    atoms.info["REF_energy"] = atoms.calc.results["energy"]
    atoms.arrays["force"] = atoms.calc.results["forces"]
    atoms.calc = None
    ase.io.write(folder / "ref.xyz", atoms, format="extxyz")
    command = ["evaluate", folder / "run" / "model.etn", folder / "ref.xyz"]
    return command, (
        'ref.xyz: nothing to test on: no frame has an energy (key "energy"), but there is '
        "REF_energy (1 frame): if it holds the total energy in eV, give --energy-key REF_energy; "
        'no frame has forces (key "forces"), but there is force (1 frame): if it holds the forces '
        "in eV/Å, give --forces-key force; or predict with --out predictions.xyz"
    )


def only_statistics_of_nothing(folder):
    command, _ = nothing_to_test_on(folder)
    return [*command, "--out", folder / "errors.json"], "nothing to test on"


def unit_that_is_none(folder):
    model = folder / "run" / "model.etn"
    return ["evaluate", model, folder / "test.xyz", "--stress-unit", "psi"], (
        "--stress-unit: expected one of eV/Å³, GPa,"
    )


BAD_INPUT = [
    nothing_to_test_on,
    only_statistics_of_nothing,
    unit_that_is_none,
    evaluate_over_its_data,
    newer_model,
    damaged_model,
    cut_model,
    other_file_as_model,
    missing_model,
    evaluate_unseen_element,
    evaluate_to_unknown_format,
]


@pytest.mark.parametrize("prepare", BAD_INPUT, ids=lambda function: function.__name__)
def test_bad_input_gets_a_clear_error_and_touches_nothing(prepare, refused):
    refused(prepare)


HOSTILE_NOTES = [
    {"errors": 3},
    {"errors": {"train": [1]}},
    {"errors": {"train": {"energy": "low"}}},
    {"versions": ["numpy"]},
    {"settings": "all"},
    [],
    "note",
]


@pytest.mark.parametrize("note", HOSTILE_NOTES)
def test_notes_that_etn_cannot_have_written_are_an_error_of_the_file(
    finished, tmp_path, invoke, note
):
    stored = io.load(finished[0] / "model.etn")
    header = {**stored.header, "note": note}
    io.save(tmp_path / "a.etn", kind=stored.kind, header=header, arrays=stored.arrays)
    result = invoke("info", tmp_path / "a.etn")
    assert result.exit_code == 2
    assert result.stderr.startswith(f"etn: {tmp_path / 'a.etn'}: the file is whole, but what it")


def test_what_a_terminal_would_obey_is_not_printed(finished, tmp_path, invoke):
    stored = io.load(finished[0] / "model.etn")
    note = {"created": "\x1b[2J\x1b]0;title\x07today", "versions": {"a\rb": "\u202e1"}}
    header = {**stored.header, "note": note}
    io.save(tmp_path / "a.etn", kind=stored.kind, header=header, arrays=stored.arrays)
    result = invoke("info", tmp_path / "a.etn")
    assert result.exit_code == 0
    assert "?[2J?]0;title?today" in result.stdout
    assert not set("\x1b\x07\r\u202e") & set(result.stdout)
