"""A group of commands that tells errors in the language of the command."""

from __future__ import annotations

from typing import Any

import typer
from typer.core import TyperGroup

from etn.cli.options import INPUT_ERROR, INTERRUPTED
from etn.errors import EtnError
from etn.surface import speaking

__all__ = ["Speaking"]


class Speaking(TyperGroup):
    """Turns the errors of etn into one message on stderr and exit code 2."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command that was called."""
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
        command = self.get_command(ctx, ctx.invoked_subcommand)
        bare = message.removeprefix("settings: ")
        for parameter in command.params if command is not None else ():
            flags = [flag for flag in parameter.opts if flag.startswith("--")]
            if flags and bare.startswith(f"{parameter.name}: "):
                return f"{flags[0]}{bare.removeprefix(str(parameter.name))}"
        return message
