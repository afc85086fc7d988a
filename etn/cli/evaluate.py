"""The commands ``etn evaluate`` and ``etn info``."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from etn.cli.options import Debug

if TYPE_CHECKING:
    from etn.potential import Dataset, Prediction

EnergyKey = Annotated[str, typer.Option(metavar="NAME", help="Key of the total energy, eV.")]
ForcesKey = Annotated[str, typer.Option(metavar="NAME", help="Key of the forces, eV/Å.")]
StressKey = Annotated[str, typer.Option(metavar="NAME", help="Key of the stress, eV/Å³.")]


def evaluate(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Model file (model.etn).")],
    data: Annotated[
        list[str],
        typer.Argument(metavar="DATA", help="Extended XYZ files, or an embedded set."),
    ],
    *,
    energy_key: EnergyKey = "energy",
    forces_key: ForcesKey = "forces",
    stress_key: StressKey = "stress",
    out: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Write the errors too: .json all statistics, .csv one line a frame.",
            show_default=False,
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the statistics as JSON, not as a table.")
    ] = False,
    debug: Debug = False,
) -> None:
    """Print the errors of a potential on data."""
    from etn.errors import SettingsError
    from etn.io import write_atomic
    from etn.potential import Dataset, compute_metrics, load

    suffix = "" if out is None else Path(out).suffix
    if out is not None and suffix not in (".json", ".csv"):
        raise SettingsError(f"--out: expected a file that ends in .json or .csv, got {out}")
    potential = load(model)
    keys = {"energy": energy_key, "forces": forces_key, "stress": stress_key}
    used = {label: None if key.lower() == "none" else key for label, key in keys.items()}
    dataset = Dataset.read(data, **used)  # type: ignore[arg-type]
    predictions = potential.predict(dataset)
    metrics = compute_metrics(predictions, dataset)
    text = json.dumps(metrics.to_dict(), indent=1, ensure_ascii=False)
    if out is not None:
        write_atomic(out, text + "\n" if suffix == ".json" else _frame_table(dataset, predictions))
    if as_json:
        typer.echo(text)
        return
    typer.echo(f"{model} on {dataset.source}\n{metrics}")
    if not any(dataset.labels.values()):
        typer.echo("etn: the data have no labels under these keys (--energy-key ...)", err=True)


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
    for name in ("train", "valid", "test"):
        errors = note.get("errors", {}).get(name, {})
        if errors:
            text = ", ".join(f"{key} {value:.4g}" for key, value in errors.items())
            rows.append((f"{name} errors", text))
    if "created" in note:
        rows.append(("created", str(note["created"])))
    if "versions" in note:
        rows.append(("versions", ", ".join(f"{k} {v}" for k, v in note["versions"].items())))
    if "settings" in note:
        settings = [f"{k}={json.dumps(v)}" for k, v in note["settings"].items()]
        wrapped = textwrap.wrap("\0".join(settings).replace(" ", "\1").replace("\0", "  "), 84)
        rows += [("settings" if not i else "", line) for i, line in enumerate(wrapped)]
    return rows


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
