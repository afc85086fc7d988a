"""The command ``etn select``."""

from __future__ import annotations

from typing import Annotated

import typer

from etn.cli.options import Debug

# Rows of the table that are printed; the file has all.
_SHOWN = 20


def select(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Model file (model.etn).")],
    pool: Annotated[
        list[str],
        typer.Argument(
            metavar="POOL",
            help="Structures to choose from, with labels or without: extended XYZ or other "
            "files of ASE, or an embedded set.",
        ),
    ],
    *,
    n: Annotated[int, typer.Option("--n", "-n", metavar="INT", help="How many frames to choose.")],
    out: Annotated[str, typer.Option(metavar="FILE", help="Write them here, as extended XYZ.")],
    debug: Debug = False,
) -> None:
    """Choose the structures from which a potential would learn most, to label them next."""
    from pathlib import Path

    import numpy as np

    from etn.errors import SettingsError
    from etn.potential import Dataset, load
    from etn.potential import select as choose

    if Path(out).suffix not in (".xyz", ".extxyz"):
        raise SettingsError(f"--out: expected a file that ends in .xyz or .extxyz, got {out}")
    if Path(out).resolve() in {Path(path).resolve() for path in pool}:
        raise SettingsError(f"--out: {out} is part of the pool; choose another file")
    potential = load(model)
    candidates = Dataset.read(pool)
    selection = choose(potential, candidates, n)
    chosen = candidates[selection.indices]
    chosen.write(out)
    lines = [f"{'frame':<32}  {'config_type':<16}  {'atoms':>5}  {'gamma':>9}  {'gain':>8}"]
    for frame, index, gain in zip(chosen, selection.indices, selection.gains, strict=True):
        gamma = selection.gamma[index]
        lines.append(
            f"{frame.name:<32}  {frame.config_type or '-':<16}  {frame.n_atoms:5d}  "
            f"{gamma:9.3g}  {gain:8.2f}"
        )
    if n > _SHOWN:
        lines[_SHOWN + 1 :] = [f"... and {n - _SHOWN} more"]
    typer.echo("\n".join(lines))
    rest = np.delete(selection.gamma, selection.indices)
    typer.echo(
        f"\n{n} of {len(candidates)} frames written to {out}; largest grade among the others: "
        f"{rest.max(initial=0.0):.3g}"
    )
