"""The command ``etn``: fit, evaluate and inspect potentials, select and convert data for them.

Importing this module loads typer only; each command loads what it needs.
"""

from __future__ import annotations

import functools
import sys
from typing import Annotated

import typer

from etn.cli.allocator import keep_freed_memory
from etn.cli.bench import bench
from etn.cli.convert import convert
from etn.cli.evaluate import evaluate, info
from etn.cli.fit import fit_command
from etn.cli.group import Speaking
from etn.cli.lammps import lammps
from etn.cli.options import Debug
from etn.cli.select import select
from etn.cli.train import networks

__all__ = ["app", "main"]

_EPILOG = "Examples: etn fit etn:Mo --out runs/mo · etn fit train.xyz --valid 0.1 --test test.xyz"


def _show_version(value: bool) -> None:
    if value:
        from etn import __version__

        typer.echo(f"etn {__version__}")
        raise typer.Exit


def main() -> None:
    """Run the command; the entry point of the package."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a terminal may not know Å
    keep_freed_memory()
    app()()


@functools.cache
def app() -> typer.Typer:
    """Build the command with all its options.

    The options of ``etn fit`` are those of :class:`etn.run.settings.FitSettings`.
    """
    group = typer.Typer(
        name="etn",
        cls=Speaking,
        help="Fit, evaluate and inspect O(3)-equivariant tensor-network potentials.",
        epilog=_EPILOG,
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
    )
    group.callback()(_common)
    group.command("fit", epilog=_EPILOG)(fit_command())
    group.add_typer(networks(), name="train")
    group.command("evaluate")(evaluate)
    group.command("info")(info)
    group.command("select")(select)
    group.command("convert")(convert)
    group.command("bench")(bench)
    group.add_typer(lammps(), name="lammps")
    return group


def _common(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
    debug: Debug = False,
) -> None:
    pass
