"""Structures from any file that ASE reads; extended XYZ with checks of its own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from etn.data.extxyz import as_slice, open_file, read_extxyz, selected_frames
from etn.errors import DataError

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Sequence

    from ase import Atoms

__all__ = ["COMPRESSIONS", "read_structures"]

COMPRESSIONS = (".gz", ".bz2", ".xz")
"""Endings of compressed files that are read as they are."""

_XYZ = (".xyz", ".extxyz")
_DATABASES = ("db", "json", "aselmdb")
_DUMPS = ("lammps-dump-text", "lammps-dump-binary")
_PEEK = 4096  # bytes that ASE and the test for extended XYZ look at


def read_structures(
    path: str | os.PathLike[str],
    *,
    index: str | int | slice = ":",
    keys: Sequence[str] = (),
    charge: str | None = None,
    order: Sequence[int] = range(6),
    title: str | None = None,
) -> Iterator[tuple[int, Atoms]]:
    """Yield the index and the ASE structure of each selected frame of a file of any format.

    A file whose name ends in ``.xyz`` or ``.extxyz``, compressed or not, or that starts with a
    number of atoms under a name that ASE does not know, is extended XYZ; the format of any other
    is found by ASE from its name and its first bytes. Rows of an ASE database have their keys and
    data in ``atoms.info``.

    Parameters
    ----------
    path, index, keys, charge, order, title
        As in :func:`etn.data.extxyz.read_extxyz`.

    Raises
    ------
    DataError
        If the file is missing, its format unknown, or it cannot be read; if a LAMMPS dump has no
        column ``element``, without which its types would be taken for hydrogen, helium and so on.
    SettingsError
        If `index` is malformed.

    Examples
    --------
    >>> import os, tempfile
    >>> from ase.build import bulk
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "POSCAR")
    ...     bulk("Cu").write(path, format="vasp")
    ...     list(read_structures(path))
    [(0, Atoms(symbols='Cu', pbc=True, cell=[...]))]
    """
    path = Path(path)
    title = title or path.name
    wanted = as_slice(index)
    name = _format(path, title)
    if name in ("xyz", "extxyz"):
        yield from read_extxyz(
            path, index=index, keys=keys, charge=charge, order=order, title=title
        )
        return
    if name in _DATABASES:
        yield from _rows(path, name, title, index)
        return
    images = _read(path, name, title)
    for frame in selected_frames(wanted, len(images), title, index):
        yield frame, images[frame]


def _format(path: Path, title: str) -> str:
    """The name that ASE has for the format of a file."""
    from ase.io.formats import UnknownFileTypeError, extension2format, filetype, ioformats

    plain = Path(path.stem if path.suffix in COMPRESSIONS else path.name)
    if plain.suffix.lower() in _XYZ or path.is_dir():
        return "extxyz"  # which says what is wrong with a folder
    if plain.suffix == ".aselmdb" and path.exists():  # which ASE reads, but does not tell by name
        return "aselmdb"
    with open_file(path) as file:
        start = file.read(_PEEK)
    first, _, rest = start.removeprefix(b"\xef\xbb\xbf").partition(b"\n")
    second = rest.partition(b"\n")[0]
    is_known = plain.suffix[1:] in extension2format
    if any(known.match_name(plain.name) for known in ioformats.values()):
        pass
    elif not start.strip():
        return "extxyz"  # which says that it is empty
    elif first.strip().isdigit() and (b"Properties=" in second or not is_known):
        return "extxyz"
    try:
        name = filetype(str(path))
    except UnknownFileTypeError:
        name = ""
    except Exception as error:  # a compressed file that is damaged, among others
        raise DataError(f"{title}: cannot be read ({error})") from error
    if name not in ioformats or not ioformats[name].can_read:
        raise DataError(
            f"{title}: cannot tell the format; expected extended XYZ, which starts with a number "
            "of atoms, or a file that ASE knows by its name or content (OUTCAR, vasprun.xml, "
            ".traj, .db, ...); correct the name, or read it in Python and pass the structures to "
            "Dataset.from_atoms"
        )
    return name


def _read(path: Path, name: str, title: str) -> list[Atoms]:
    """All structures of a file in one of the formats of ASE."""
    import ase.io

    try:
        images = ase.io.read(str(path), ":", format=name, parallel=False)
    except Exception as error:  # of whatever kind the parser of the format raises
        raise _unreadable(title, name, error) from error
    if not images:
        raise _empty(title, name)
    if name in _DUMPS:
        _check_dump(path, images, title)
    return images


def _rows(
    path: Path, name: str, title: str, index: str | int | slice
) -> Iterator[tuple[int, Atoms]]:
    """Selected rows of an ASE database, with what they hold beside the results of ASE.

    One is held at a time.
    """
    import ase.db

    number: int | None = None
    try:
        if name == "aselmdb":
            database = ase.db.connect(str(path), readonly=True, use_lock_file=False)
        else:
            database = ase.db.connect(str(path), serial=True, use_lock_file=False)
        with database:
            n_rows = database.count()
            if not n_rows:
                raise _empty(title, name)
            selected = selected_frames(as_slice(index), n_rows, title, index)
            rows = database.select()
            for number in range(n_rows):
                row = next(rows)
                if number in selected:
                    atoms = row.toatoms()
                    # What ASE derives of the atoms, as their charge, hides what the row says.
                    told = {key: vars(row)[key] for key in row.key_value_pairs}
                    atoms.info |= {**row.get("data", {}), **told}
                    yield number, atoms
    except DataError:
        raise
    except ModuleNotFoundError as error:
        raise DataError(
            f"{title}: files of this kind need the package ase-db-backends ({error}): "
            "pip install ase-db-backends"
        ) from error
    except Exception as error:  # of whatever kind the database raises
        raise _unreadable(title if number is None else f"{title}:{number}", name, error) from error


def _unreadable(title: str, name: str, error: Exception) -> DataError:
    reason = " ".join(str(error).split()) or type(error).__name__
    return DataError(
        f"{title}: ASE takes it for the format {name!r} and cannot read it: {reason[:200]}; is "
        "the file complete, and does its name fit its format?"
    )


def _empty(title: str, name: str) -> DataError:
    return DataError(f"{title}: there is no structure in it (format {name!r})")


def _check_dump(path: Path, images: Sequence[Atoms], title: str) -> None:
    """Refuse what ASE makes up: elements from the numbers of types, and an energy of zero."""
    columns = b""
    with open_file(path) as file:
        for line in file:
            if line.startswith(b"ITEM: ATOMS"):
                columns = line
                break
    if not {b"element", b"mass"} & set(columns.split()):
        raise DataError(
            f"{title}: a LAMMPS dump without a column of elements, whose types could be any; write "
            "it with dump_modify ... element, or give the structures their elements in Python and "
            "pass them to Dataset.from_atoms"
        )
    for atoms in images:
        results: dict[str, Any] = getattr(atoms.calc, "results", {})
        results.pop("energy", None)
