"""Tables of CP factors: what there is, and reading one."""

from __future__ import annotations

import hashlib
import json
import os
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

from etn import io
from etn.errors import ModelFileError, SettingsError
from etn.product.cp import CPTensor
from etn.product.fusion import fused_cg

__all__ = ["FILE_KIND", "MANIFEST", "Table", "available_tables", "check_file", "load_table"]

FILE_KIND = "cp-table"
MANIFEST = "manifest.json"
FACTORS = ("output", "first", "second")
REMEDY = "reinstall etn, or write the tables anew with python -m etn.product.tables.derive"


class Table(NamedTuple):
    """A line of the manifest.

    Attributes
    ----------
    kind : str
        ``"exact"``, ``"even"`` or ``"tdn"``.
    l_max : int
    cp_rank : int
    relative_error, violation, mean_error, sup_error : float
        As in :class:`~etn.product.certificate.Certificate`.
    smallest_coefficient, largest_coefficient : float
        Sizes of path coefficients.
    method : str
        How it was found.
    file : str
    sha256 : str
        Of the file.
    """

    kind: str
    l_max: int
    cp_rank: int
    relative_error: float
    violation: float
    mean_error: float
    sup_error: float
    smallest_coefficient: float
    largest_coefficient: float
    method: str
    file: str
    sha256: str


def available_tables(folder: str | os.PathLike[str] | None = None) -> tuple[Table, ...]:
    """Return what the manifest lists, by kind and l_max.

    Parameters
    ----------
    folder : path-like, optional
        Where tables were written by :func:`etn.product.tables.derive.write_tables`; those that
        ship with etn when omitted.

    Raises
    ------
    ModelFileError
        If the manifest is missing or damaged.

    Examples
    --------
    >>> [table.cp_rank for table in available_tables() if table.kind == "even"]
    [6, 18, 32, 58, 82, 122]
    """
    path = _folder(folder) / MANIFEST
    try:
        tables = [Table(**line) for line in json.loads(path.read_text(encoding="utf-8"))["tables"]]
    except FileNotFoundError as error:
        raise ModelFileError(f"{path}: there is no such file; {REMEDY}") from error
    except (ValueError, TypeError, KeyError) as error:
        raise ModelFileError(f"{path}: damaged ({error}); {REMEDY}") from error
    return tuple(sorted(tables))


def load_table(
    l_max: int, kind: str = "exact", *, folder: str | os.PathLike[str] | None = None
) -> CPTensor:
    """Return a decomposition of the fused tensor of all l up to l_max.

    Parameters
    ----------
    l_max : int
    kind : {"exact", "even", "tdn"}
        See :mod:`etn.product.tables`.
    folder : path-like, optional
        As in :func:`available_tables`.

    Returns
    -------
    CPTensor
        Balanced, largest terms first; cached, with read-only factors.  Its target carries the
        path coefficients.

    Raises
    ------
    SettingsError
        If there is no such table; the message lists those there are.
    ModelFileError
        If a file is missing, damaged, or differs from what the manifest says.

    Examples
    --------
    >>> load_table(3, kind="even")
    CPTensor(cp_rank 32, error ..., FusedTensor(1x0e+1x1o+1x2e+1x3o x ..., 23 paths))
    >>> load_table(3).certificate().is_exact
    True
    """
    tables = available_tables(folder)
    for table in tables:
        if (table.kind, table.l_max) == (kind, l_max):
            return _read(_folder(folder) / table.file, table.sha256)
    kinds = dict.fromkeys(table.kind for table in tables)
    there = "; ".join(
        f"{one} for l_max {', '.join(str(t.l_max) for t in tables if t.kind == one)}"
        for one in kinds
    )
    raise SettingsError(
        f"no table of kind {kind!r} for l_max {l_max!r}: there are {there or 'none'}; others come "
        "from etn.product.solve.decompose or etn.product.analytic.analytic_decomposition"
    )


def check_file(path: Path, sha256: str) -> None:
    """Compare a file with the SHA-256 of the manifest.

    Raises
    ------
    ModelFileError
        If they differ, or there is no such file.

    Examples
    --------
    >>> check_file(Path("exact-9.safetensors"), "0" * 64)
    Traceback (most recent call last):
    etn.errors.ModelFileError: exact-9.safetensors: there is no such file; reinstall etn, ...
    """
    try:
        found = hashlib.sha256(path.read_bytes()).hexdigest()
    except FileNotFoundError as error:
        raise ModelFileError(f"{path}: there is no such file; {REMEDY}") from error
    if found != sha256:
        raise ModelFileError(
            f"{path}: expected the SHA-256 {sha256} of the manifest, got {found}; {REMEDY}"
        )


@cache
def _read(path: Path, sha256: str) -> CPTensor:
    check_file(path, sha256)
    stored = io.load(path, kind=FILE_KIND)
    target = fused_cg(
        stored.header["l_max"],
        parity=stored.header["parity"],
        coefficients=stored.arrays["coefficients"],
    )
    factors = tuple(stored.arrays[name] for name in FACTORS)
    for factor in factors:
        factor.setflags(write=False)
    return CPTensor(target, factors, method=stored.header["method"])


def _folder(folder: str | os.PathLike[str] | None) -> Path:
    # The wheel is unpacked on installation, so the resources are files.
    return Path(str(files(__package__))) if folder is None else Path(folder)
