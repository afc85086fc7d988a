"""What a model file says, checked before it is believed.

The checksum of a file finds damage, not intent: a file from elsewhere may be whole and say
anything.  So values of a header are held against the types that they stand for, arrays against
their shapes, and whatever goes wrong while an object is made of them is told as an error of the
file.
"""

from __future__ import annotations

import math
import os
import types
import typing
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from etn.errors import EtnError, ModelFileError

__all__ = ["build", "conform", "numbers", "unpacking"]

T = TypeVar("T")

_LARGEST = 2**31 - 1  # of a whole number; seeds and counts are no larger
# What goes wrong if an object is made of a header and arrays that do not fit it.
_MISFITS = (
    EtnError, ArithmeticError, AttributeError, LookupError, MemoryError, RecursionError, TypeError,
    ValueError,
)  # fmt: skip


@contextmanager
def unpacking(path: str | os.PathLike[str], what: str) -> Iterator[None]:
    """Tell whatever goes wrong in the block as an error of the file.

    Parameters
    ----------
    path : path-like
    what : str
        What the file says that it holds, for the message.

    Raises
    ------
    ModelFileError

    Examples
    --------
    >>> with unpacking("a.etn", "chain"):
    ...     {}["legs"]
    Traceback (most recent call last):
    etn.errors.ModelFileError: a.etn: the file is whole, but what it holds is no chain that etn can
    have written (KeyError: 'legs'); take the file from where it was made
    """
    try:
        yield
    except _MISFITS as error:
        if isinstance(error, ModelFileError) and str(error).startswith(f"{path}: "):
            raise
        name = "" if isinstance(error, EtnError) else f"{type(error).__name__}: "
        raise ModelFileError(
            f"{path}: the file is whole, but what it holds is no {what} that etn can have written "
            f"({name}{str(error)[:300]}); take the file from where it was made"
        ) from error


def conform(value: Any, kind: Any, name: str) -> Any:
    """The value, if it is of the type; lists become the tuples that JSON cannot say.

    Numbers are finite, whole numbers at most 2^31 - 1 in size, and truth values are no numbers.

    Parameters
    ----------
    value
        As it stands in the header.
    kind
        A type, with what a list or mapping holds: ``int``, ``float | None``, ``tuple[str, ...]``,
        ``Mapping[str, float]``.
    name : str
        What the value is, for the message.

    Raises
    ------
    ModelFileError
        If it is of another type.

    Examples
    --------
    >>> conform([1, 2.5], tuple[float, ...], "energies")
    (1.0, 2.5)
    >>> conform(True, int, "center")
    Traceback (most recent call last):
    etn.errors.ModelFileError: center: expected int, got True
    """
    if kind is Any:
        return value
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        for one in inner:
            try:
                return conform(value, one, name)
            except ModelFileError:
                continue
    elif origin in (tuple, list) and isinstance(value, list):
        found = [conform(item, inner[0], f"{name}[{n}]") for n, item in enumerate(value)]
        return tuple(found) if origin is tuple else found
    elif origin in (dict, Mapping) and isinstance(value, dict):
        return {key: conform(item, inner[1], f"{name}.{key}") for key, item in value.items()}
    elif kind is float and _is_number(value):
        return float(value)
    elif kind is int and isinstance(value, int) and not isinstance(value, bool):
        if abs(value) <= _LARGEST:
            return value
    elif origin is None and kind not in (int, float) and isinstance(value, kind):
        return value
    label = kind.__name__ if isinstance(kind, type) and not inner else str(kind)
    raise ModelFileError(f"{name}: expected {label}, got {repr(value)[:80]}")


def _is_number(value: Any) -> bool:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def build(cls: type[T], values: Any, name: str) -> T:
    """A dataclass of the values in a header, each checked against the type of its field.

    Raises
    ------
    ModelFileError
        If the values are no mapping, one has another type, or there is no such field.
    EtnError
        If the class itself refuses them.

    Examples
    --------
    >>> from dataclasses import dataclass
    >>> @dataclass
    ... class Size:
    ...     n_max: int
    ...     r_max: float = 5.0
    >>> build(Size, {"n_max": 3}, "basis")
    Size(n_max=3, r_max=5.0)
    >>> build(Size, {"n_max": "3"}, "basis")
    Traceback (most recent call last):
    etn.errors.ModelFileError: basis.n_max: expected int, got '3'
    """
    values = conform(values, dict[str, Any], name)
    hints = typing.get_type_hints(cls)
    known = {field.name for field in fields(cls) if field.init}  # type: ignore[arg-type]
    if values.keys() - known:
        raise ModelFileError(f"{name}: no {cls.__name__} has {', '.join(values.keys() - known)}")
    return cls(
        **{key: conform(value, hints[key], f"{name}.{key}") for key, value in values.items()}
    )


def numbers(
    arrays: Mapping[str, NDArray[Any]], name: str, shape: tuple[int, ...] | None = None
) -> NDArray[Any]:
    """An array of finite floating-point numbers, if need be of one shape.

    Raises
    ------
    ModelFileError
        If there is no such array, or it is another one.

    Examples
    --------
    >>> numbers({"spread": np.eye(2)}, "spread", (3, 3))
    Traceback (most recent call last):
    etn.errors.ModelFileError: array spread: expected finite numbers of shape (3, 3), got float64 of
    shape (2, 2)
    """
    array = arrays.get(name)
    if array is None:
        raise ModelFileError(f"array {name}: expected it in the file, it is missing")
    fits = shape is None or array.shape == shape
    if not (fits and array.dtype.kind == "f" and np.isfinite(array).all()):
        wanted = "" if shape is None else f" of shape {shape}"
        raise ModelFileError(
            f"array {name}: expected finite numbers{wanted}, got {array.dtype} of shape "
            f"{array.shape}"
        )
    return array
