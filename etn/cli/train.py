"""The command ``etn train``: one command for each network, with its own options."""

from __future__ import annotations

import contextlib
import shlex
import time
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Annotated, Any

import typer

from etn.cli.fit import default_folder, modified, print_result, with_settings
from etn.cli.group import Speaking
from etn.cli.options import INTERRUPTED, Debug

if TYPE_CHECKING:
    from etn.nn.progress import Epoch, Progress
    from etn.run.plan import Plan

__all__ = ["NETWORKS", "Networks", "networks"]

NETWORKS = {
    "tensornet": "TensorNet: 3x3 matrices, multiplied as matrices.",
    "ictp": "ICTP: irreducible Cartesian tensors, many-body products.",
    "tdn": "TDN: attention, products with shared path weights, exact or in CP form.",
    "polynomial": "Polish a fitted polynomial potential: all cores and channels by gradients.",
}
"""What can be trained, in a line each."""

# Seconds between two lines of a training.
EVERY = 2.0


class Networks(Speaking):
    """Builds the command of a network when it is asked for: only then torch is loaded."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Names of the networks."""
        return list(NETWORKS)

    def get_command(self, ctx: Any, name: str) -> Any:
        """The command of a network; until it is called with its name and its help alone."""
        if name in NETWORKS and name not in self.commands:
            return _made(name, _nothing)
        return self.commands.get(name)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command that is called, with all its options."""
        name, command, rest = super().resolve_command(ctx, args)
        if name in NETWORKS:
            command = self.commands[name] = _made(name, _command(name))
        return name, command, rest


def _made(name: str, function: Callable[..., None]) -> Any:
    single = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    single.command(name, help=NETWORKS[name])(function)
    command = typer.main.get_command(single)
    command.name = name
    return command


def networks() -> typer.Typer:
    """The group of commands ``etn train NETWORK``."""
    return typer.Typer(
        cls=Networks,
        help="Train a neural potential: " + ", ".join(NETWORKS) + ".",
        no_args_is_help=True,
        callback=_nothing,
        epilog="Example: etn train tensornet train.xyz --valid 0.1 --test test.xyz --out runs/tn",
    )


def _nothing() -> None:
    """Do nothing."""


def _command(name: str) -> Callable[..., None]:
    """The command of a network."""
    from etn.run.networks import KINDS

    kind = KINDS[name]
    fields = {}
    for field, info in kind.model_fields.items():
        if field in ("network", *kind.KEPT) or (field == "size" and not kind.NETWORK):
            continue
        panel = "Settings of the training"
        if field in kind.NETWORK or field in ("size", "r_max"):
            panel = "Settings of the network"
        fields[field] = (info, panel)

    def run(
        train: Annotated[
            list[str] | None,
            typer.Argument(
                metavar="TRAIN",
                help="Training data: extended XYZ or other files of ASE, or an embedded set.",
                show_default=False,
            ),
        ] = None,
        *,
        out: Annotated[
            str | None,
            typer.Option(
                metavar="DIR",
                help="Run folder. Default: runs/ and the name of TRAIN.",
                show_default=False,
            ),
        ] = None,
        config: Annotated[
            str | None,
            typer.Option(
                metavar="FILE",
                help="YAML file of settings, such as the settings.yaml of a run; options win.",
                show_default=False,
            ),
        ] = None,
        resume: Annotated[
            bool, typer.Option("--resume", help="Continue the interrupted run in DIR.")
        ] = False,
        force: Annotated[bool, typer.Option("--force", help="Replace the run in DIR.")] = False,
        quiet: Annotated[
            bool, typer.Option("--quiet", "-q", help="Print nothing but errors.")
        ] = False,
        debug: Debug = False,
        **settings: Any,
    ) -> None:
        _train(name, train, out, config, resume, force, quiet, settings)

    run.__doc__ = NETWORKS[name]
    return with_settings(run, fields, sized=kind.SIZES.get("small", ()))


def _train(
    name: str,
    train: list[str] | None,
    out: str | None,
    config: str | None,
    resume: bool,
    force: bool,
    quiet: bool,
    settings: dict[str, Any],
) -> None:
    from pathlib import Path

    from etn.nn.parallel import launched
    from etn.run.folder import run_fit
    from etn.run.networks import KINDS
    from etn.run.options import overlay
    from etn.run.parsing import read_yaml
    from etn.run.record import CHECKPOINT, SETTINGS

    kind = KINDS[name]
    given = {key: value for key, value in settings.items() if value is not None}
    if config is not None:
        given = overlay(read_yaml(config), given, kind.SIZES.get("small", ()))
    if train:
        given["train"] = train
    command = f"etn train {name}"
    folder = Path(out) if out is not None else default_folder(given, command=command)
    if resume and given and (folder / SETTINGS).exists():
        stored = read_yaml(folder / SETTINGS)
        given = {key: stored[key] for key in ("train", "from_") if key in stored} | given
    chosen = kind(**{**given, "network": name}) if "train" in given or not resume else None
    earlier = modified(folder / CHECKPOINT)
    quiet = quiet or not launched().leads
    display = None if quiet else _Display()
    try:
        with display or contextlib.nullcontext():
            result = run_fit(
                chosen,
                folder,
                resume=resume,
                force=force,
                callbacks=() if display is None else (display,),
                announce=None if display is None else display.announce,
            )
    except KeyboardInterrupt:
        now = modified(folder / CHECKPOINT)
        hint = (
            "the last complete epoch is kept; continue with: "
            f"{command} --resume --out {shlex.quote(str(folder))}"
            if now is not None and (resume or now != earlier)
            else "no epoch was complete, so there is nothing to resume"
        )
        typer.echo(f"etn: interrupted; {hint}", err=True)
        raise typer.Exit(INTERRUPTED) from None
    if not quiet:
        print_result(result)


class _Display:
    """Prints a line an epoch, at most one every few seconds, with the time left."""

    def __init__(self) -> None:
        from etn.cli.display import Lines

        self._lines = Lines()
        self._epochs = 0
        self._done = 0
        self._start = self._last = time.perf_counter()

    def __enter__(self) -> _Display:
        self._lines.start("reading the data")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._lines.stop()

    def announce(self, plan: Plan) -> None:
        """Say what is about to be trained."""
        from etn.nn.progress import HEAD

        self._lines.describe(plan)
        self._lines.print("")
        self._lines.print(HEAD)
        self._epochs = plan.settings.max_epochs  # type: ignore[attr-defined]
        self._start = time.perf_counter()

    def __call__(self, epoch: Epoch, progress: Callable[[], Progress]) -> None:
        """Print the line of an epoch."""
        from etn.cli.display import duration
        from etn.nn.progress import line

        self._done += 1
        now = time.perf_counter()
        each = (now - self._start) / self._done
        left = each * (self._epochs - epoch.number)
        self._lines.move(f"epoch {epoch.number}", now - self._start, left, f"{duration(left)} left")
        if now - self._last >= EVERY or epoch.number in (1, self._epochs):
            self._lines.print(f"{line(epoch)}  {duration(left)} left".rstrip())
            self._last = now
