"""Versioned model files and safe writing.

A model file is a safetensors container: the arrays, and one metadata entry with a JSON record of
what the file is (``kind``), which format wrote it, a free ``header`` and a checksum over all of
it. There is no pickle, so opening a file from elsewhere runs no code. There is one metadata entry
because safetensors keeps several in no fixed order; with one, equal content gives equal bytes.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from etn.errors import ModelFileError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

__all__ = [
    "FORMAT_VERSION",
    "StoredModel",
    "atomic_path",
    "load",
    "save",
    "to_bytes",
    "write_atomic",
]

FORMAT_VERSION = 2
"""The format that :func:`save` writes; :func:`load` reads this one and all older ones."""

_ENTRY = "etn"  # the one metadata entry, and the value of "format" inside it
# Lists of lists take some thirty times their text in memory: half a GB.
_MAX_HEADER_BYTES = 16_000_000
_DTYPES = frozenset(
    ["bool"]
    + [f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)]
    + [f"float{bits}" for bits in (16, 32, 64)]
)


class StoredModel(NamedTuple):
    """What a model file holds."""

    kind: str
    """What the file is, for example ``"potential"``."""
    header: dict[str, Any]
    """Everything that is not an array."""
    arrays: dict[str, NDArray[Any]]
    """The arrays by name, writable and in C order."""
    format_version: int
    """The format of the file as it was found."""


def save(
    path: str | os.PathLike[str],
    *,
    kind: str,
    header: Mapping[str, Any],
    arrays: Mapping[str, NDArray[Any]],
) -> None:
    """Write a model file; the old file at `path` stays until the new one is complete.

    Parameters
    ----------
    path : path-like
        Where to write; the folder must exist.
    kind : str
        What the file is; :func:`load` can insist on it.
    header : mapping
        Anything JSON can hold (string keys, finite numbers). Floats come back bit for bit, tuples
        come back as lists.
    arrays : mapping of str to array
        Arrays of booleans, integers or floats up to 64 bits, in any memory order. They come back
        bit for bit, in C order and native byte order.

    Raises
    ------
    ModelFileError
        If the header is not JSON-able or an array has another dtype.
    OSError
        If the file cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save(f"{folder}/a.etn", kind="demo", header={"l_max": 3}, arrays={"w": np.eye(2)})
    ...     stored = load(f"{folder}/a.etn", kind="demo")
    >>> stored.header, stored.arrays["w"].tolist(), stored.format_version
    ({'l_max': 3}, [[1.0, 0.0], [0.0, 1.0]], 2)
    """
    write_atomic(path, to_bytes(kind=kind, header=header, arrays=arrays, name=str(path)))


def to_bytes(
    *,
    kind: str,
    header: Mapping[str, Any],
    arrays: Mapping[str, NDArray[Any]],
    name: str = "a model file",
) -> bytes:
    """The content of a model file; `name` is what errors call it, see :func:`save`."""
    import safetensors.numpy

    from etn import __version__

    record: dict[str, Any] = {
        "format": _ENTRY,
        "format_version": FORMAT_VERSION,
        "kind": kind,
        "etn_version": __version__,
        "header": dict(header),
    }
    plain = {key: _storable(key, array) for key, array in arrays.items()}
    try:
        record["checksum"] = _checksum(record, plain)
        text = _canonical(record)
    except (TypeError, ValueError, RecursionError) as error:
        raise ModelFileError(
            f"{name}: the header must hold JSON values with finite numbers only ({error}); "
            "convert arrays to lists or pass them in `arrays`"
        ) from error
    content = safetensors.numpy.save(plain, metadata={_ENTRY: text})
    length = int.from_bytes(content[:8], "little")
    if length > _MAX_HEADER_BYTES:
        raise ModelFileError(
            f"{name}: expected a header of at most {_MAX_HEADER_BYTES} bytes, got {length}; keep "
            "numbers in arrays and long notes elsewhere"
        )
    return content


def load(path: str | os.PathLike[str], *, kind: str | None = None) -> StoredModel:
    """Read a model file and check that it is whole.

    Parameters
    ----------
    path : path-like
        A file written by :func:`save`.
    kind : str, optional
        What the file must be; any kind when omitted.

    Raises
    ------
    ModelFileError
        If the file is missing, empty, truncated, damaged, not a model file, written by a newer
        format, or of another kind.

    Examples
    --------
    >>> load("no-such-file.etn")
    Traceback (most recent call last):
    etn.errors.ModelFileError: no-such-file.etn: there is no such file; check the path
    """
    path = Path(path)
    record, arrays = _read_container(path)
    found = record.get("format_version")
    if record.get("format") != _ENTRY or not isinstance(found, int) or found < 1:
        raise _not_a_model(path, "its metadata is not that of an etn model")
    # Before the checksum: a newer format may compute it in another way.
    if found > FORMAT_VERSION:
        writer = "".join(filter(str.isprintable, str(record.get("etn_version"))))[:20]
        raise ModelFileError(
            f"{path}: written by format {found} (etn {writer}), "
            f"this etn reads up to {FORMAT_VERSION}: upgrade etn (pip install --upgrade etn)"
        )
    claimed = record.pop("checksum", None)
    try:
        intact = claimed == _checksum(record, arrays)
    except (ValueError, ModelFileError):  # a NaN or a dtype, which save() never writes
        intact = False
    stored_kind, header = record.get("kind"), record.get("header")
    if not (intact and isinstance(stored_kind, str) and isinstance(header, dict)):
        raise _damaged(path, "the checksum does not fit the content")
    if kind is not None and stored_kind != kind:
        raise ModelFileError(
            f"{path}: expected a file of kind {kind!r}, this one is of kind {stored_kind!r}; "
            "pass another file"
        )
    return StoredModel(stored_kind, header, arrays, found)


@contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary filename that becomes `path` when the block ends well.

    The temporary file lies in the same folder and keeps the whole name, suffix included, so that
    writers which choose a format by the suffix work. If the block raises, it is removed and the
    old file at `path` stays as it was. A link at `path` stays a link; its target is replaced.

    Raises
    ------
    OSError
        If the folder is missing or cannot be written, or the disk is full; the error names a file.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with atomic_path(f"{folder}/parity.png") as temporary:
    ...         _ = temporary.write_bytes(b"picture")
    ...     sorted(file.name for file in Path(folder).iterdir()), temporary.suffix
    (['parity.png'], '.png')
    """
    target = Path(os.path.realpath(path))
    temporary = target.with_name(f".{secrets.token_hex(4)}-{target.name}")
    try:
        # Mode 0o666 less the umask, as for any new file; O_EXCL because the name must be ours.
        os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        if target.exists():
            temporary.chmod(target.stat().st_mode & 0o777)
        yield temporary
        _flush(temporary)
        temporary.replace(target)
        if os.name == "posix":  # the new name itself must reach the disk; Windows has no such call
            _flush(target.parent)
    except OSError as error:
        # A full disk does not say where, and nobody knows the temporary file.
        if error.errno is not None and str(error.filename) in ("None", str(temporary)):
            place = target if target.parent.exists() else target.parent
            raise OSError(error.errno, os.strerror(error.errno), str(place)) from error
        raise
    finally:
        with suppress(NotADirectoryError):
            temporary.unlink(missing_ok=True)


def write_atomic(path: str | os.PathLike[str], data: bytes | str) -> None:
    """Write `data` (text as UTF-8) so that `path` never holds half a file.

    Raises
    ------
    OSError
        If the folder is missing or cannot be written; the old file stays as it was.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_atomic(f"{folder}/report.json", "{}")
    ...     Path(folder, "report.json").read_text()
    '{}'
    """
    with atomic_path(path) as temporary:
        temporary.write_bytes(data.encode() if isinstance(data, str) else data)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _storable(name: str, array: NDArray[Any]) -> NDArray[Any]:
    """Return `array` in C order and little-endian: safetensors would store others scrambled."""
    array = np.asarray(array)
    if array.dtype.name not in _DTYPES:
        raise ModelFileError(
            f"array {name!r} has dtype {array.dtype}; a model file stores booleans, integers and "
            "floats up to 64 bits. Split complex numbers into two real arrays, put text in the "
            "header"
        )
    return np.asarray(array, dtype=array.dtype.newbyteorder("<"), order="C")


def _checksum(record: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> str:
    """SHA-256 over the record and each array's name, dtype, shape and bytes, sorted by name."""
    digest = hashlib.sha256(_canonical(record).encode())
    for name, array in sorted(arrays.items()):
        digest.update(_canonical([name, array.dtype.name, list(array.shape)]).encode())
        digest.update(_storable(name, array).tobytes())
    return digest.hexdigest()


def _read_container(path: Path) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Return the JSON record and the arrays of a safetensors file."""
    from safetensors import SafetensorError, safe_open

    try:
        if path.is_fifo() or path.is_char_device():  # which may never end
            raise _not_a_model(path, "it is no file on a disk")
        with path.open("rb") as stream:
            size = os.fstat(stream.fileno()).st_size
            start = stream.read(9)
    except FileNotFoundError as error:
        raise ModelFileError(f"{path}: there is no such file; check the path") from error
    except OSError as error:
        raise ModelFileError(f"{path}: cannot be read ({error.strerror})") from error
    if size == 0:
        raise _damaged(path, "the file is empty")
    # A safetensors file starts with the length of its JSON header (8 bytes) and that header.
    length = int.from_bytes(start[:8], "little")
    if len(start) < 9 or length > _MAX_HEADER_BYTES or start[8:] != b"{":
        raise _not_a_model(path, "it is no safetensors file")
    if size < 8 + length:
        raise _damaged(path, f"the file is cut off after {size} bytes, inside its header")
    unreadable = (
        SafetensorError, OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError,
        MemoryError,
    )  # fmt: skip
    try:
        with safe_open(path, framework="numpy") as container:
            metadata = container.metadata() or {}
            if _ENTRY not in metadata:
                raise _not_a_model(path, "it is a safetensors file of another program")
            record = json.loads(metadata[_ENTRY], object_pairs_hook=_mapping)
            arrays = {name: container.get_tensor(name) for name in container.keys()}  # noqa: SIM118
    except ModelFileError:
        raise
    except unreadable as error:
        raise _damaged(path, f"the file is cut off or damaged: {error}") from error
    if not isinstance(record, dict):
        raise _not_a_model(path, "its metadata is not that of an etn model")
    return record, arrays


def _mapping(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A mapping of a header, in which no key may stand twice."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key of the header stands twice")
    return found


def _damaged(path: Path, why: str) -> ModelFileError:
    return ModelFileError(f"{path}: {why}; copy the file again or save the model anew")


def _not_a_model(path: Path, why: str) -> ModelFileError:
    return ModelFileError(f"{path}: expected a model file of etn, but {why}; check the path")
