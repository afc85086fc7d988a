"""The command ``etn convert``."""

from __future__ import annotations

from typing import Annotated

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


def convert(
    data: Annotated[
        list[str],
        typer.Argument(
            metavar="DATA", help="Extended XYZ or other files of ASE, or an embedded set."
        ),
    ],
    *,
    out: Annotated[str, typer.Option(metavar="FILE", help="Write them here, as extended XYZ.")],
    index: Annotated[
        str,
        typer.Option(metavar="SLICE", help="Which frames of each file, such as ::10 or -100:."),
    ] = ":",
    energy_key: EnergyKey = "energy",
    forces_key: ForcesKey = "forces",
    stress_key: StressKey = "stress",
    virial_key: VirialKey = "none",
    stress_unit: StressUnit = "eV/Å³",
    stress_convention: StressConvention = "none",
    charge_key: ChargeKey = "charge",
    debug: Debug = False,
) -> None:
    """Gather structures and labels into one file of extended XYZ, and say what they hold."""
    from pathlib import Path

    from etn.errors import SettingsError
    from etn.potential import Dataset

    if Path(out).suffix not in (".xyz", ".extxyz"):
        raise SettingsError(f"--out: expected a file that ends in .xyz or .extxyz, got {out}")
    if Path(out).resolve() in {Path(path).resolve() for path in data}:
        raise SettingsError(f"--out: {out} is one of the data files; choose another file")
    keys = label_keys(
        energy_key, forces_key, stress_key, virial_key, stress_unit, stress_convention, charge_key
    )
    dataset = Dataset.read(data, index=index, **keys)
    dataset.write(out)
    frames = f"{len(dataset)} frame{'' if len(dataset) == 1 else 's'}"
    typer.echo(f"{dataset}\n\n{frames} written to {out}")
