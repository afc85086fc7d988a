"""What the commands share: options, exit codes."""

from __future__ import annotations

from typing import Annotated

import typer

INPUT_ERROR = 2
INTERRUPTED = 130  # 128 + SIGINT, as shells count


def _keep_debug(ctx: typer.Context, value: bool) -> None:
    if value:
        ctx.meta["etn.debug"] = True


Debug = Annotated[
    bool,
    typer.Option("--debug", callback=_keep_debug, help="Show the traceback of an error."),
]
