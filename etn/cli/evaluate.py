"""The commands ``etn evaluate`` and ``etn info``."""

from __future__ import annotations

import json
import math
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from etn.cli.labels import (
    ChargeKey,
    EnergyKey,
    ForcesKey,
    StressConvention,
    StressKey,
    StressUnit,
    VirialKey,
    label_keys,
)
from etn.cli.options import Debug

if TYPE_CHECKING:
    from etn.potential import Dataset, Potential, Prediction

# What ``--out`` may be, and of these what holds predictions, which need no labels.
_STRUCTURES = (".xyz", ".extxyz")
_PREDICTIONS = (".csv", *_STRUCTURES)
_OUT = (".json", *_PREDICTIONS)


def evaluate(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Model file (model.etn).")],
    data: Annotated[
        list[str],
        typer.Argument(
            metavar="DATA", help="Extended XYZ or other files of ASE, or an embedded set."
        ),
    ],
    *,
    energy_key: EnergyKey = "energy",
    forces_key: ForcesKey = "forces",
    stress_key: StressKey = "stress",
    virial_key: VirialKey = "none",
    stress_unit: StressUnit = "eV/Å³",
    stress_convention: StressConvention = "none",
    charge_key: ChargeKey = "charge",
    out: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Write too: .json all statistics, .csv one line a frame, .xyz the structures "
            "with predictions, error bars and grades; data without labels are predicted.",
            show_default=False,
        ),
    ] = None,
    max_force: Annotated[
        float | None,
        typer.Option(
            metavar="FLOAT",
            help="Give the errors without the frames in which a force is longer (eV/Å), too.",
            show_default=False,
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the statistics as JSON, not as a table.")
    ] = False,
    debug: Debug = False,
) -> None:
    """Print the errors of a potential on data, or predict structures without labels."""
    from etn.data.force_cap import capped_metrics
    from etn.data.missing import check_some_label
    from etn.errors import SettingsError
    from etn.io import write_atomic
    from etn.potential import Dataset, load
    from etn.run.predictions import write_predictions

    suffix = "" if out is None else Path(out).suffix
    if out is not None and suffix not in _OUT:
        raise SettingsError(f"--out: expected a file that ends in .json, .csv or .xyz, got {out}")
    if out is not None and Path(out).resolve() in {Path(path).resolve() for path in data}:
        raise SettingsError(f"--out: {out} is one of the data files; choose another file")
    if max_force is not None and not 0 < max_force < math.inf:
        raise SettingsError(f"--max-force: expected a positive number of eV/Å, got {max_force}")
    potential = load(model)
    keys = label_keys(
        energy_key, forces_key, stress_key, virial_key, stress_unit, stress_convention, charge_key
    )
    dataset = Dataset.read(data, **keys)
    if suffix not in _PREDICTIONS:
        check_some_label(dataset, then="or predict with --out predictions.xyz")
    for text in dataset.summary().warnings if any(dataset.labels.values()) else ():
        typer.echo(f"warning: {text}", err=True)
    predictions = potential.predict(dataset)
    metrics, *within = capped_metrics("", predictions, dataset, max_force).values()
    statistics = metrics.to_dict()
    if within:
        statistics["within_max_force"] = within[0].to_dict()
    text = json.dumps(statistics, indent=1, ensure_ascii=False)
    if out is not None and suffix in _STRUCTURES:
        write_predictions(out, potential, dataset, predictions)
    elif out is not None:
        write_atomic(out, text + "\n" if suffix == ".json" else _frame_table(dataset, predictions))
    if suffix in _PREDICTIONS and (warning := _unlike(potential, dataset)):
        typer.echo(f"warning: {warning}", err=True)
    if as_json:
        typer.echo(text)
        return
    if not any(dataset.labels.values()):
        frames = f"{len(dataset)} frame{'' if len(dataset) == 1 else 's'}"
        typer.echo(f"{model} on {dataset.source}: {frames} predicted, written to {out}")
        return
    typer.echo(f"{model} on {dataset.source}\n{metrics}")
    if within:
        typer.echo(f"\nforces up to {max_force:g} eV/Å\n{within[0]}")


def info(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Model file (model.etn).")],
    debug: Debug = False,
) -> None:
    """Describe a potential: basis, baseline, network, and how it was made."""
    from etn.io import load as load_file
    from etn.potential import load
    from etn.stored import unpacking

    potential = load(model)
    e0 = ", ".join(f"{symbol} {energy:.6g} eV" for symbol, energy in potential.baseline.e0.items())
    facts = {
        "model": model,
        "kind": potential.KIND,
        "elements": ", ".join(potential.elements),
        **potential.describe(),
        "E0": e0,
        "ZBL": "yes" if potential.baseline.zbl else "no",
        "parameters": str(potential.n_parameters),
    }
    rows = [
        ("" if number else name, line)
        for name, text in facts.items()
        for number, line in enumerate(text.split("\n"))
    ]
    with unpacking(model, "potential with notes"):
        rows += _notes(load_file(model).header["note"])
    text = "\n".join(f"{name:<14}{text}".rstrip() for name, text in rows).replace("\1", " ")
    # A file from elsewhere may hold sequences that a terminal obeys.
    typer.echo("".join(c if c.isprintable() or c == "\n" else "?" for c in text))
    diagram = potential.diagram()
    if diagram:
        typer.echo(f"\n{diagram}")


def _notes(note: dict[str, Any]) -> list[tuple[str, str]]:
    """What a file says of how its potential was made."""
    rows: list[tuple[str, str]] = []
    for title, errors in note.get("errors", {}).items():
        if errors:
            text = ", ".join(f"{key} {value:.4g}" for key, value in errors.items())
            name, _, part = title.partition(", ")
            rows.append(("", f"{part}: {text}") if part else (f"{name} errors", text))
    if "created" in note:
        rows.append(("created", str(note["created"])))
    if "versions" in note:
        rows.append(("versions", ", ".join(f"{k} {v}" for k, v in note["versions"].items())))
    if "settings" in note:
        settings = [f"{k}={json.dumps(v)}" for k, v in note["settings"].items()]
        wrapped = textwrap.wrap("\0".join(settings).replace(" ", "\1").replace("\0", "  "), 84)
        rows += [("settings" if not i else "", line) for i, line in enumerate(wrapped)]
    return rows


def _unlike(potential: Potential, dataset: Dataset) -> str:
    """The frames that leave the training data; empty if none does, or if that is not known."""
    from etn.potential.coverage import WIDENED

    if not potential.has_uncertainty:
        return ""
    grades = [float(grades.max()) for grades in potential.uncertainty.gamma(dataset)]
    far = [k for k, grade in enumerate(grades) if not grade <= WIDENED]
    if not far:
        return ""
    worst = max(far, key=grades.__getitem__)
    return (
        f"{len(far)} of {len(dataset)} frame{'' if len(dataset) == 1 else 's'} with an "
        f"extrapolation grade above {WIDENED:g} ({dataset[worst].name}: {grades[worst]:.3g}): "
        "there predictions leave the training data and error bars are wide; the column gamma of "
        "--out predictions.xyz has the grade of every atom"
    )


def _frame_table(dataset: Dataset, predictions: Sequence[Prediction]) -> str:
    """One line of comma-separated values for each frame."""
    import csv
    import io

    import numpy as np

    head = "frame config_type atoms energy_eV predicted_energy_eV energy_error_eV_per_atom"
    head += " forces_mae_eV_per_A forces_rmse_eV_per_A stress_mae_eV_per_A3"
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(head.split())
    for frame, found in zip(dataset, predictions, strict=True):
        energy = "" if frame.energy is None else (found.energy - frame.energy) / frame.n_atoms
        row: list[object] = [frame.name, frame.config_type, frame.n_atoms]
        row += ["" if frame.energy is None else frame.energy, found.energy, energy]
        if frame.forces is None:
            row += ["", ""]
        else:
            error = found.forces - frame.forces
            row += [np.abs(error).mean(), np.sqrt((error**2).mean())]
        if frame.stress is None or found.stress is None:
            row.append("")
        else:
            row.append(np.abs(found.stress - frame.stress).mean())
        writer.writerow(row)
    return text.getvalue()
