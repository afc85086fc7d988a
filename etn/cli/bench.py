"""The command ``etn bench``."""

from __future__ import annotations

from typing import Annotated

import typer

from etn.cli.options import Debug


def bench(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Model file (model.etn).")],
    structure: Annotated[
        str,
        typer.Argument(
            metavar="STRUCTURE",
            help="File of a structure; default: a crystal of the first element, 1000 atoms.",
            show_default=False,
        ),
    ] = "",
    *,
    seconds: Annotated[float, typer.Option(help="For each part.", min=0.01, max=600.0)] = 1.0,
    debug: Debug = False,
) -> None:
    """Measure what a step of molecular dynamics costs here, part by part."""
    from etn.potential import Dataset, load
    from etn.run.bench import bench as measured

    potential = load(model)
    atoms = Dataset.read(structure)[-1].to_atoms() if structure else None
    typer.echo(measured(potential, atoms, seconds=seconds))
