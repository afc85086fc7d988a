"""The command ``etn``: fit, evaluate and inspect potentials, select and convert data for them.

Importing this module loads typer only; each command loads what it needs.
"""

from __future__ import annotations

import functools
import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from etn.cli.allocator import keep_freed_memory
from etn.cli.convert import convert
from etn.cli.evaluate import evaluate, info
from etn.cli.fit import fit, with_settings
from etn.cli.options import INPUT_ERROR, INTERRUPTED, Debug
from etn.cli.select import select
from etn.errors import EtnError
from etn.surface import speaking

__all__ = ["app", "main"]

_EPILOG = "Examples: etn fit etn:Mo --out runs/mo · etn fit train.xyz --valid 0.1 --test test.xyz"


class _Group(TyperGroup):
    """Turns the errors of etn into one message on stderr and exit code 2."""

    def invoke(self, ctx: Any) -> Any:
        try:
            with speaking("command"):
                return super().invoke(ctx)
        except BrokenPipeError:
            raise
        except (EtnError, OSError) as error:
            if ctx.meta.get("etn.debug"):
                raise
            typer.echo(f"etn: {self._spoken(str(error), ctx)}", err=True)
            raise typer.Exit(INPUT_ERROR) from None
        except MemoryError as error:
            if ctx.meta.get("etn.debug"):
                raise
            reason = f" ({error})" if str(error) else ""
            typer.echo(f"etn: out of memory{reason}; choose smaller settings", err=True)
            raise typer.Exit(INPUT_ERROR) from None
        except KeyboardInterrupt:
            typer.echo("etn: interrupted", err=True)
            raise typer.Exit(INTERRUPTED) from None

    def _spoken(self, message: str, ctx: Any) -> str:
        """The message, with the option instead of the argument of a function that it begins with.

        Functions name their own arguments; a command hands most of them over as they are called.
        """
        command = self.commands.get(ctx.invoked_subcommand)
        bare = message.removeprefix("settings: ")
        for parameter in command.params if command is not None else ():
            flags = [flag for flag in parameter.opts if flag.startswith("--")]
            if flags and bare.startswith(f"{parameter.name}: "):
                return f"{flags[0]}{bare.removeprefix(str(parameter.name))}"
        return message


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
        cls=_Group,
        help="Fit, evaluate and inspect O(3)-equivariant tensor-network potentials.",
        epilog=_EPILOG,
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
    )
    group.callback()(_common)
    group.command("fit", epilog=_EPILOG)(with_settings(fit))
    group.command("evaluate")(evaluate)
    group.command("info")(info)
    group.command("select")(select)
    group.command("convert")(convert)
    return group


def _common(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
    debug: Debug = False,
) -> None:
    pass
