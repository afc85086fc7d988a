"""The command ``etn fit``."""

from __future__ import annotations

import contextlib
import inspect
import shlex
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from etn.cli.options import INTERRUPTED, Debug

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

    from etn.run.folder import RunResult


def fit_command() -> Callable[..., None]:
    """The command with one option for each setting of a fit.

    Some belong to the one kind of potential or the other, most to both.
    """
    from etn.run.layered import all_fields
    from etn.run.options import SIZED
    from etn.run.settings import FitSettings

    return with_settings(
        fit,
        {
            name: (
                field,
                "Settings of the fit"
                if name in FitSettings.model_fields
                else "Settings of a second layer (--layers 2)",
            )
            for name, field in all_fields().items()
        },
        sized=SIZED,
    )


def with_settings(
    function: Callable[..., None],
    fields: Mapping[str, tuple[FieldInfo, str]],
    *,
    sized: Collection[str],
) -> Callable[..., None]:
    """Give a command one option for each setting, in place of ``**settings``.

    Parameters
    ----------
    function : callable
    fields : mapping of str to (FieldInfo, str)
        The settings and the heading that they stand under.
    sized : collection of str
        Those whose defaults a size gives.
    """
    signature = inspect.signature(function, eval_str=True)
    own = [p for p in signature.parameters.values() if p.kind != p.VAR_KEYWORD]
    added = []
    for name, (field, panel) in fields.items():
        if name == "train":
            continue
        flag = "--" + name.rstrip("_").replace("_", "-")
        is_switch = field.annotation is bool
        extra: Any = field.json_schema_extra
        number = {float: "FLOAT", int: "INT"}.get(field.annotation, "TEXT")  # type: ignore[arg-type]
        unit = f" ({extra['unit']})" if extra["unit"] else ""
        default = "of the size" if name in sized else _shown(field.default)
        ending = "Required." if field.is_required() else f"Default: {default}."
        option = typer.Option(
            f"{flag}/--no-{name.replace('_', '-')}" if is_switch else flag,
            metavar=None if is_switch else extra["form"] or number,
            help=f"{field.description}{unit} {ending}",
            rich_help_panel=panel,
            show_default=False,
        )
        # Values stay text here: the settings parse and check them, with one kind of message.
        annotation = Annotated[(bool if is_switch else str) | None, option]  # type: ignore[valid-type]
        added.append(
            inspect.Parameter(
                name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation
            )
        )

    def command(**values: Any) -> None:
        function(**values)

    command.__name__, command.__doc__ = function.__name__, function.__doc__
    command.__signature__ = inspect.Signature([*own, *added])  # type: ignore[attr-defined]
    command.__annotations__ = {p.name: p.annotation for p in [*own, *added]}
    return command


def _shown(value: object) -> str:
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "none" if value is None else str(value)


def fit(
    train: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="TRAIN",
            help="Training data: extended XYZ or other files of ASE, or an embedded set (etn:Mo, "
            "etn:NbMoTaW).",
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
            help="YAML file of settings, such as the settings.yaml of a run; options win over it.",
            show_default=False,
        ),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue the interrupted run in DIR.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace the run in DIR.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.")] = False,
    debug: Debug = False,
    **settings: Any,
) -> None:
    """Fit a potential to energies, forces and stress, and write a run folder."""
    from etn.cli.display import Display
    from etn.run.folder import run_fit
    from etn.run.layered import settings_for
    from etn.run.options import overlay
    from etn.run.parsing import read_yaml
    from etn.run.record import CHECKPOINT, SETTINGS

    given = {name: value for name, value in settings.items() if value is not None}
    if config is not None:
        given = overlay(read_yaml(config), given)
    if train:
        given["train"] = train
    folder = Path(out) if out is not None else default_folder(given)
    if resume and given and (folder / SETTINGS).exists():
        # Needed to check the other settings only: the run knows what it was started with.
        stored = read_yaml(folder / SETTINGS)
        given = {key: stored[key] for key in ("train", "layers") if key in stored} | given
    chosen = settings_for(**given) if "train" in given or not resume else None
    earlier = modified(folder / CHECKPOINT)
    display = None if quiet else Display()
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
        # A checkpoint may also stem from a run that this one was about to replace.
        now = modified(folder / CHECKPOINT)
        hint = (
            "the last complete sweep is kept; continue with: "
            f"etn fit --resume --out {shlex.quote(str(folder))}"
            if now is not None and (resume or now != earlier)
            else "no sweep was complete, so there is nothing to resume"
        )
        typer.echo(f"etn: interrupted; {hint}", err=True)
        raise typer.Exit(INTERRUPTED) from None
    if not quiet:
        print_result(result)


def default_folder(given: Mapping[str, Any], *, command: str = "etn fit") -> Path:
    """The run folder where none is named: runs/ and the name of the training data."""
    from etn.data.formats import COMPRESSIONS
    from etn.errors import SettingsError

    train = given.get("train")
    first = train if isinstance(train, str) else train[0] if train else None
    if not isinstance(first, str):
        raise SettingsError(
            f"train: expected training data, such as {command} train.xyz or {command} etn:Mo, got "
            "none"
        )
    if first.startswith("etn:"):
        return Path("runs", first.removeprefix("etn:").split("/")[0])
    path = Path(first)
    return Path("runs", Path(path.stem if path.suffix in COMPRESSIONS else path.name).stem)


def modified(path: Path) -> int | None:
    """When a file was written last; None if there is none."""
    return path.stat().st_mtime_ns if path.exists() else None


def print_result(result: RunResult) -> None:
    """Tell what a run ended with, and what to do next."""
    model = result.out / "model.etn"
    from etn.cli.display import duration

    if result.finished_before:
        typer.echo(f"The run in {result.out} is finished; nothing was changed.")
    else:
        assert result.report is not None
        typer.echo(f"{result.report.reason}\n\n{result.errors()}\n")
        for warning in result.report.warnings:
            typer.echo(f"warning: {warning}\n")
        names = sorted(path.name for path in result.out.iterdir() if path.is_file())
        total = sum(result.seconds.values())
        typer.echo(f"{duration(total)} in all. Written to {result.out}: {', '.join(names)}")
    typer.echo("Next:")
    typer.echo(f"  etn info {model}")
    typer.echo(f"  etn evaluate {model} other.xyz")
    typer.echo(f'  python: atoms.calc = etn.load("{model}").calculator()')
