"""Reading extended XYZ through ASE, with the checks that ASE leaves out.

ASE parses the frames. What it would pass over in silence is looked for first: a blank line that
ends the reading early, columns that the comment line does not name, and a key that stands twice.
"""

from __future__ import annotations

import bz2
import contextlib
import difflib
import gzip
import io
import lzma
import re
import shutil
import tempfile
import zlib
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from etn.data.on_disk import scratch_folder
from etn.data.stress import full_stress, voigt_stress
from etn.errors import DataError, SettingsError

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Sequence

    from ase import Atoms

__all__ = ["as_slice", "open_file", "read_extxyz", "selected_frames"]

_QUOTED = r'"(?:\\.|[^"\\])*"|\'(?:\\.|[^\'\\])*\'|\{[^}]*\}|\[[^\]]*\]'
_PAIR = re.compile(rf"([^\s=\"'{{\[]+)\s*=\s*({_QUOTED}|\S*)|{_QUOTED}")
_NUMBER = r"[^\s,=\"'{}\[\]]+"
_SIX_NUMBERS = re.compile(
    rf"(?<!\S)(stress|virial)=[\"'{{\[]\s*({_NUMBER}(?:[\s,]+{_NUMBER}){{5}})\s*[\"'}}\]]"
)
_STRUCTURE_KEYS = ("Lattice", "Properties", "pbc", "config_type", "config_weight")
_DEFAULT_PROPERTIES = "species:S:1:pos:R:3"


def read_extxyz(
    path: str | os.PathLike[str],
    *,
    index: str | int | slice = ":",
    keys: Sequence[str] = (),
    charge: str | None = None,
    order: Sequence[int] = range(6),
    title: str | None = None,
) -> Iterator[tuple[int, Atoms]]:
    """Yield the index and the ASE structure of each selected frame.

    Parameters
    ----------
    path : path-like
        An extended XYZ file in UTF-8, plain or compressed (``.gz``, ``.bz2``, ``.xz``).
    index : str, int or slice
        Which frames: ``":"``, ``"::10"``, ``"-100:"``, ``5``.
    keys : sequence of str
        Keys that may stand only once in a frame: those of the labels.
    charge : str, optional
        A key that may stand only once in a comment line; a column of this name is of the atoms.
    order : sequence of int
        Where xx, yy, zz, yz, xz, xy stand among the six numbers of a stress or virial.
    title : str, optional
        What to call the file in messages; its name by default.

    Raises
    ------
    DataError
        If the file is missing, empty, truncated or malformed, or a key stands twice in a frame.
        The message names the file, the frame (from 0) and the line (from 1).
    SettingsError
        If `index` is malformed.

    Examples
    --------
    >>> from etn.data.embedded import embedded_path
    >>> frames = read_extxyz(embedded_path("Mo/test"), index="::10")
    >>> [(i, len(atoms)) for i, atoms in frames]
    [(0, 53), (10, 54), (20, 54)]
    """
    import ase.io

    path = Path(path)
    title = title or path.name
    wanted = as_slice(index)
    with open_file(path) as file, io.TextIOWrapper(file, encoding="utf-8-sig") as stream:
        try:
            lines = _scan(stream, title, keys, charge)
        except UnicodeDecodeError as error:
            file.seek(0)
            raise _not_utf8(file.read(), title) from error
        selected = selected_frames(wanted, len(lines), title, index)
        stream.seek(0)
        images = ase.io.iread(
            stream,
            # Resolved: ASE counts a negative start from the end of what it has scanned so far.
            index=slice(selected.start, selected.stop, selected.step),
            format="extxyz",
            parallel=False,
            properties_parser=lambda line: _parse_comment(line, "stress" in keys, order),
        )
        for frame in selected:
            try:
                atoms = next(images)
            except Exception as error:  # whatever the parser trips over is the frame's fault
                reason = f"unknown species {error}" if isinstance(error, KeyError) else error
                raise DataError(
                    f"{title}:{frame}: the frame that starts at line {lines[frame]} cannot be "
                    f"read: {reason}"
                ) from error
            yield frame, atoms


def as_slice(index: str | int | slice) -> slice:
    """Read which frames are wanted: ``":"``, ``"::10"``, ``"-100:"``, ``5``.

    Raises
    ------
    SettingsError
        If it is neither a number nor a slice with a positive step.

    Examples
    --------
    >>> as_slice("-100:"), as_slice(-1)
    (slice(-100, None, None), slice(-1, None, None))
    """
    try:
        if isinstance(index, str) and ":" in index:
            parts = [int(part) if part.strip() else None for part in index.split(":")]
            index = slice(*parts)
        if isinstance(index, slice):
            if index.step is not None and index.step < 1:
                raise ValueError("the step must be positive")
            return index
        first = int(index)
    except (TypeError, ValueError) as error:
        raise SettingsError(
            f"index: expected a frame number or a slice such as ':', '::10' or '-100:', "
            f"came {index!r} ({error})"
        ) from error
    return slice(first, first + 1 or None)


def selected_frames(wanted: slice, n_frames: int, title: str, index: str | int | slice) -> range:
    """The numbers of the wanted frames among all.

    Raises
    ------
    DataError
        If there is none.

    Examples
    --------
    >>> selected_frames(slice(-2, None), 10, "train.xyz", "-2:")
    range(8, 10)
    """
    selected = range(n_frames)[wanted]
    if not selected:
        raise DataError(
            f"{title}: index {index!r} selects none of {n_frames} frames; they count from 0"
        )
    return selected


def open_file(path: Path) -> IO[bytes]:
    """Open a file to read bytes from, compressed or not.

    Raises
    ------
    DataError
        If it is missing or cannot be read.
    """
    unpack: dict[str, Any] = {
        ".gz": gzip.open,
        ".bz2": bz2.open,
        ".xz": lzma.open,
    }
    try:
        if path.suffix in unpack:  # ASE seeks, which is slow inside a compressed stream
            with contextlib.ExitStack() as stack, unpack[path.suffix](path, "rb") as packed:
                plain = stack.enter_context(tempfile.TemporaryFile(dir=scratch_folder()))
                shutil.copyfileobj(packed, plain)
                plain.seek(0)
                stack.pop_all()
                return plain
        return path.open("rb")
    except FileNotFoundError as error:
        near = difflib.get_close_matches(path.name, _siblings(path), n=1)
        hint = f"did you mean {near[0]}?" if near else "check the path"
        raise DataError(f"{path}: there is no such file; {hint}") from error
    except (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError) as error:
        raise DataError(f"{path}: cannot be read ({error})") from error


def _not_utf8(data: bytes, title: str) -> DataError:
    """What to say of bytes that are no text in UTF-8."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" in data:
        return DataError(
            f"{title}: expected text in extended XYZ format and UTF-8, found other bytes: a binary "
            "file, or UTF-16; name a file of another format by the ending that ASE knows "
            "(.traj, .db), or save the text as UTF-8"
        )
    number, line = next(
        (number, line)
        for number, line in enumerate(data.split(b"\n"), start=1)
        if line.decode("utf-8", "ignore").encode() != line
    )
    wrong = next(word for word in line.split() if word.decode("utf-8", "ignore").encode() != word)
    return DataError(
        f"{title}: line {number} has {wrong[:60].decode('latin-1')!r}, which is not UTF-8 (is it "
        f"Latin-1?); save the file as UTF-8: iconv -f latin1 -t utf-8 {title}"
    )


def _siblings(path: Path) -> list[str]:
    return [file.name for file in path.parent.iterdir()] if path.parent.is_dir() else []


def _scan(
    stream: io.TextIOWrapper, name: str, keys: Sequence[str], charge: str | None
) -> list[int]:
    """Check the layout of the whole file and return the first line (from 1) of each frame."""
    starts: list[int] = []
    lines = enumerate(stream, start=1)
    for number, line in lines:
        if not line.strip():
            _only_blank_lines_after(lines, name, number)
            break
        starts.append(number)
        where = f"{name}:{len(starts) - 1}"
        try:
            n_atoms = int(line)
        except ValueError as error:
            raise DataError(
                f"{where}: expected a number of atoms in line {number}, came "
                f"{line.strip()[:60]!r}; is the file extended XYZ, and is the frame before it "
                "complete? Files of other formats need the names that they usually have (OUTCAR, "
                "vasprun.xml, .traj, ...)"
            ) from error
        if n_atoms < 1:
            raise DataError(f"{where}: line {number} announces {n_atoms} atoms; remove the frame")
        announced = f"starts at line {number} and announces {n_atoms} atoms"
        _, comment = next(lines, (0, None))
        if comment is None:
            raise _truncated(name, len(starts) - 1, announced, "before the comment line")
        columns = _check_comment(comment, where, number + 1, keys, charge)
        for atom in range(n_atoms):
            row_number, row = next(lines, (0, None))
            if row is None:
                raise _truncated(name, len(starts) - 1, announced, f"after {atom}")
            if (found := len(row.split())) != columns:
                raise DataError(
                    f"{where}: line {row_number} (atom {atom}) has {found} columns, expected "
                    f"{columns} as the comment line says (Properties); the frame {announced}: "
                    "is it truncated, or does Properties not name all columns?"
                )
    if not starts:
        raise DataError(f"{name}: the file is empty; expected at least one frame")
    return starts


def _truncated(name: str, frame: int, announced: str, end: str) -> DataError:
    return DataError(
        f"{name}: frame {frame} {announced}, but the file ends {end}; copy the file again or "
        "remove the last frame"
    )


def _only_blank_lines_after(lines: Iterator[tuple[int, str]], name: str, number: int) -> None:
    for later, line in lines:
        if line.strip():
            raise DataError(
                f"{name}: line {number} is blank but line {later} is not; a blank line ends an XYZ "
                "file, so the frames after it would be lost: remove it"
            )


def _check_comment(
    line: str, where: str, number: int, keys: Sequence[str], charge: str | None
) -> int:
    """Refuse keys that stand twice; return the number of columns of the frame."""
    pairs = [(match[1], match[2]) for match in _PAIR.finditer(line) if match[1]]
    properties = next((value for key, value in pairs if key == "Properties"), _DEFAULT_PROPERTIES)
    fields = properties.strip("\"'{}[]").split(":")
    try:
        columns = sum(int(count) for count in fields[2::3])
        if len(fields) % 3:
            raise ValueError("incomplete")
    except ValueError as error:
        raise DataError(
            f"{where}: line {number}: expected Properties=name:type:columns:..., "
            f"came {properties!r}"
        ) from error
    names = [key for key, _ in pairs] + [field for field in fields[::3] if field != charge]
    for key in (*keys, *_STRUCTURE_KEYS, charge):
        if names.count(key) > 1:
            values = [f"{key}={value}" for other, value in pairs if other == key]
            values += ["a column of Properties"] * (names.count(key) - len(values))
            raise DataError(
                f"{where}: two labels for one key: {key!r} stands {len(values)} times in line "
                f"{number} ({', '.join(values)}); keep one, or rename one and name the key to use"
            )
    return columns


def _parse_comment(line: str, check_stress: bool, order: Sequence[int]) -> dict[str, Any]:
    """Let ASE parse the comment line; keep of the stress what ASE would drop or refuse."""
    from ase.io.extxyz import key_val_str_to_dict

    # ASE insists on nine numbers under these two keys: widen six.
    wide = _SIX_NUMBERS.sub(lambda match: _widen(match, order), line)
    info: dict[str, Any] = key_val_str_to_dict(wide)
    if check_stress and "stress" in info:
        # ASE goes on with the upper triangle alone, so symmetry must be checked here.
        info["stress"] = full_stress(voigt_stress(info["stress"]))
    return info


def _widen(match: re.Match[str], order: Sequence[int]) -> str:
    numbers = re.findall(_NUMBER, match[2])
    xx, yy, zz, yz, xz, xy = (numbers[place] for place in order)
    return f'{match[1]}="{xx} {xy} {xz} {xy} {yy} {yz} {xz} {yz} {zz}"'
