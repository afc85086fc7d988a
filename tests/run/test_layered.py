"""Fits of two layers from settings and from the command: the same run folder, the same rules."""

from __future__ import annotations

import inspect
import json
from pathlib import Path

import numpy as np
import pytest

import etn
from etn.errors import SettingsError
from etn.potential import Dataset, MessagePassingPotential, Messages, fit_layers
from etn.run.folder import run_fit
from etn.run.kinds import load_settings
from etn.run.layered import LayersSettings, all_fields, settings_for
from etn.run.record import OUTPUTS
from etn.run.settings import FitSettings

SMALL = {
    "layers": 2,
    "r_max": 3.4,
    "n_max": 2,
    "l_max": 1,
    "body_order": 3,
    "max_bond": 2,
    "max_sweeps": 1,
    "outputs": "1x0e+1x1o",
    "message_body_order": 2,
    "message_n_max": 2,
    "message_l_max": 1,
    "max_cycles": 2,
    "cycle_rel_tol": 0.0,
}
# Where the Python interface has each setting that only two layers have.
SAME_AS = {
    "outputs": (Messages, "outputs"),
    "attention": (Messages, "attention"),
    "message_body_order": (Messages, "body_order"),
    "message_bond": (Messages, "max_bond"),
    "message_n_max": (Messages, "n_max"),
    "message_l_max": (Messages, "l_max"),
    "max_cycles": (fit_layers, "max_cycles"),
    "cycle_rel_tol": (fit_layers, "rel_tol"),
}


def options(values: dict[str, object]) -> list[str]:
    return [f"--{key.replace('_', '-')}={value}" for key, value in values.items()]


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    for part, step in (("train", 12), ("test", 8)):
        frames = [f for f in Dataset.read(f"etn:NbMoTaW/{part}") if f.n_atoms <= 16]
        Dataset(frames[::step]).write(folder / f"{part}.xyz")
    return folder


@pytest.fixture(scope="module")
def finished(data, invoke):
    out = data / "run"
    files = [data / "train.xyz", "--test", data / "test.xyz", "--valid", "0.2", "--out", out]
    return out, invoke("fit", *files, *options(SMALL))


def test_the_command_writes_the_same_run_folder(finished):
    out, result = finished
    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    assert sorted(path.name for path in out.iterdir()) == sorted(OUTPUTS)
    assert type(load_settings(out / "settings.yaml")) is LayersSettings
    report = json.loads((out / "report.json").read_text())
    chains = [r["chain"] for r in report["fit"]["records"]]
    assert chains[:4] == ["", "", "readout", "readout"] or chains[:3] == ["", "readout", "readout"]
    assert set(report["metrics"]) == {"train", "valid", "test"}
    rows = [line.split()[:2] for line in result.stdout.splitlines()]
    assert ["2", "value"] in rows
    assert "messages       1x0e+1x1o of body order 2" in result.stdout
    assert (out / "errors.txt").read_text().strip() in result.stdout


def test_evaluate_info_and_ase_work_for_this_kind(finished, data, invoke):
    out, _ = finished
    model = etn.load(out / "model.etn")
    assert isinstance(model, MessagePassingPotential)
    test = Dataset.read(data / "test.xyz")
    result = invoke("evaluate", out / "model.etn", data / "test.xyz", "--json")
    assert json.loads(result.stdout) == json.loads(json.dumps(model.evaluate(test).to_dict()))
    result = invoke("info", out / "model.etn")
    assert result.exit_code == 0, result.output
    for text in ("message passing potential", "two layers, body order 3", "readout", "value"):
        assert text in result.stdout
    from etn.interfaces.ase import EtnCalculator

    atoms = test[0].to_atoms()
    atoms.calc = EtnCalculator(out / "model.etn")
    assert atoms.get_potential_energy() == pytest.approx(model.predict(test[:1])[0].energy)


def test_what_needs_error_bars_is_refused(finished, data, tmp_path, invoke):
    out, _ = finished
    arguments = [out / "model.etn", data / "test.xyz", "-n", "1", "--out", tmp_path / "a.xyz"]
    result = invoke("select", *arguments)
    assert result.exit_code == 2
    assert "a message passing potential has no error bars" in result.stderr
    with pytest.raises(SettingsError, match="no extrapolation grades yet"):
        etn.load(out / "model.etn").calculator(gamma_stop=2.0)


@pytest.mark.parametrize("count", [1, 3])
def test_an_interrupted_run_goes_on(finished, data, tmp_path, count, invoke, stop_after):
    """Once in the fit of one layer, once between two cycles."""
    whole, _ = finished
    settings = settings_for(train=data / "train.xyz", test=data / "test.xyz", valid=0.2, **SMALL)
    with pytest.raises(KeyboardInterrupt):
        run_fit(settings, tmp_path / "run", callbacks=[stop_after(count)])
    assert (tmp_path / "run" / "checkpoint.etn").exists()
    result = invoke("fit", "--resume", "--out", tmp_path / "run")
    assert result.exit_code == 0, result.output
    test = Dataset.read(data / "test.xyz")
    one, two = (etn.load(out / "model.etn").predict(test) for out in (whole, tmp_path / "run"))
    for a, b in zip(one, two, strict=True):
        np.testing.assert_allclose(a.forces, b.forces, atol=1e-9 * np.abs(a.forces).max())
    assert run_fit(None, tmp_path / "run", resume=True).finished_before
    again = invoke("fit", "--resume", "--out", tmp_path / "run", "--max-cycles", "7")
    assert again.exit_code == 2
    assert "--max-cycles: the run in" in again.stderr


def test_defaults_are_those_of_the_python_interface():
    settings = LayersSettings(train="a.xyz")
    for name, (function, parameter) in SAME_AS.items():
        expected = inspect.signature(function).parameters[parameter].default
        assert getattr(settings, name) == expected, name
    own = set(LayersSettings.model_fields) - set(FitSettings.model_fields)
    assert set(SAME_AS) == own
    assert settings.messages() == Messages()


@pytest.mark.parametrize("name", all_fields())
def test_every_setting_is_described(name):
    field = all_fields()[name]
    assert field.description[0].isupper()
    assert field.description.endswith(".")
    assert set(field.json_schema_extra) == {"unit", "form"}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"layers": 3}, "layers: expected 1 or 2, got 3"),
        ({"attention": "1x0e"}, "attention: expected with layers = 2 only, got layers = 1"),
        ({"layers": "2", "refine": 3}, "refine: expected with layers = 1 only, got layers = 2"),
        ({"layers": 2, "outputs": "3x"}, "outputs: expected irreps"),
        ({"layers": 2, "outputs": ""}, "outputs: expected irreps"),
        ({"layers": 2, "message_bond": "3,2"}, "message_bond: expected a positive whole number"),
        ({"layers": 2, "message_bond": 0}, r"irreps with scalars \(such as 4x0e\+3x1o\), got 0"),
        ({"layers": 2, "message_body_order": 1}, "message_body_order: expected"),
        ({"layers": 2, "max_cycles": 0}, "max_cycles: expected"),
        ({"layers": 2, "cycle_rel_tol": 1}, "cycle_rel_tol: expected"),
        ({"layers": 2, "outptus": "1x0e"}, r'unknown key "outptus" \(did you mean "outputs"'),
    ],
)
def test_malformed_settings(given, message):
    with pytest.raises(SettingsError, match=message):
        settings_for(train="a.xyz", **given)


def test_settings_survive_their_file(tmp_path):
    settings = settings_for(train="etn:Mo", layers="2", attention="1x1o+1x0e", message_bond="3")
    (tmp_path / "settings.yaml").write_text(settings.dump())
    assert load_settings(tmp_path / "settings.yaml") == settings
    changed = load_settings(tmp_path / "settings.yaml", attention="none")
    assert changed.attention is None
    # A file from before there were layers is of one layer.
    text = FitSettings(train="etn:Mo").dump()
    old = "\n\n".join(part for part in text.split("\n\n") if "layers:" not in part)
    (tmp_path / "old.yaml").write_text(old)
    assert load_settings(tmp_path / "old.yaml") == FitSettings(train="etn:Mo")


@pytest.mark.parametrize(("layers", "other"), [(1, 2), (2, 1)])
def test_a_file_of_the_other_kind_serves_where_it_says_nothing_of_that_kind(
    tmp_path, layers, other
):
    path = tmp_path / "settings.yaml"
    path.write_text(settings_for(train="etn:Mo", layers=layers, r_max=4.5).dump())
    changed = load_settings(path, layers=other)
    assert changed == settings_for(train="etn:Mo", layers=other, r_max=4.5)
    own = {1: {"refine": 2}, 2: {"outputs": "1x0e", "max_cycles": 3}}[layers]
    path.write_text(settings_for(train="etn:Mo", layers=layers, **own).dump())
    with pytest.raises(SettingsError, match=f"{', '.join(sorted(own))}: expected with layers"):
        load_settings(path, layers=other)
