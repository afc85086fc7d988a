r"""Numbers of any size: powers of two that are taken out of arrays and kept beside them.

The cores of a network may have any scale, and their product soon leaves the range of floating
point, about 1e±308, where its square left it long before.  What does not depend on the scale is
computed from arrays of about the size one.  A power of two in or out changes no digit.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from numbers import Integral, Real
from typing import TypeVar

import numpy as np

from etn.backend import Array, is_torch, to_numpy
from etn.errors import CoreError

Key = TypeVar("Key")

# Within 2^±HARMLESS nothing needs to be taken out.
HARMLESS = 32


def exponent(arrays: Iterable[Array]) -> int:
    """The e of 2^(e-1) <= largest modulus < 2^e; zero where all are zero or one is not finite.

    Examples
    --------
    >>> import numpy as np
    >>> exponent([np.array([0.3, -5.0]), np.zeros(0)])
    3
    """
    largest = 0.0
    for array in arrays:
        if math.prod(array.shape):
            # The first of equals, or of what cannot be compared, comes out: nan stays.
            largest = max(float(to_numpy(abs(array).max())), largest)
    return math.frexp(largest)[1] if math.isfinite(largest) else 0


def excess(arrays: Iterable[Array]) -> int:
    """What to take out: :func:`exponent`, but zero where the size is harmless as it is."""
    found = exponent(arrays)
    return found if abs(found) > HARMLESS else 0


def times_power(array: Array, power: int) -> Array:
    """The array times 2^power.

    Examples
    --------
    >>> import numpy as np
    >>> times_power(np.array([1.5]), -2)
    array([0.375])
    """
    while power:
        # No single factor leaves the range; float32 has exponents to 127.
        part = max(-100, min(100, power))
        array = array * 2.0**part
        power -= part
    return array


def unscaled(matrices: Mapping[Key, Array]) -> tuple[dict[Key, Array], int]:
    """Arrays with their common size taken out, and its exponent: found = given / 2^exponent.

    Examples
    --------
    >>> import numpy as np
    >>> unscaled({"a": np.array([2.0**700])})
    ({'a': array([0.5])}, 701)
    """
    power = excess(matrices.values())
    if not power:
        return dict(matrices), 0
    return {key: times_power(array, -power) for key, array in matrices.items()}, power


def rescaled(matrices: Mapping[Key, Array], power: int, what: str) -> dict[Key, Array]:
    """The arrays times 2^power.

    Raises
    ------
    CoreError
        If the result leaves the range of floating point.
    """
    if not power:
        return dict(matrices)
    size = exponent(matrices.values())
    for array in matrices.values():
        check_range(size + power, _dtype(array), what, zero=_is_zero(matrices))
        break
    return {key: times_power(array, power) for key, array in matrices.items()}


def multiplied(arrays: Mapping[Key, Array], factor: float, what: str) -> dict[Key, Array]:
    """The arrays times a number.

    Raises
    ------
    CoreError
        If the factor is no finite number, or the product leaves the range of floating point.

    Examples
    --------
    >>> import numpy as np
    >>> multiplied({"a": np.ones(1)}, 1j, "a core")
    Traceback (most recent call last):
    etn.errors.CoreError: a core times a number: expected a real one, got 1j (complex)
    """
    number = as_number(factor, f"{what} times a number")
    for array in arrays.values():
        size, by = exponent(arrays.values()), math.frexp(number)[1]
        zero = number == 0 or _is_zero(arrays)
        check_range(size + by, _dtype(array), f"{what} times {number:g}", zero=zero)
        break
    # A tensor keeps its graph.
    return {
        key: (factor if is_torch(factor) and is_torch(array) else number) * array
        for key, array in arrays.items()
    }


def as_number(factor: object, what: str) -> float:
    """A real finite number of any type: of Python, of NumPy, or an array of one entry.

    Raises
    ------
    CoreError
        If it is none.
    """
    number: object = factor
    if is_torch(factor) or isinstance(factor, np.ndarray | np.generic):
        values = to_numpy(factor)
        number = values.item() if values.size == 1 else factor
    if not isinstance(number, Real):
        shown = f"{factor!r} ({type(factor).__name__})"
        raise CoreError(f"{what}: expected a real one, got {shown}")
    if not math.isfinite(number):
        raise CoreError(f"{what}: expected a finite one, got {float(number)}")
    return float(number)


def is_whole(value: object) -> bool:
    """Whether a value is a whole number, of Python or of NumPy.

    Examples
    --------
    >>> is_whole(np.int64(3)), is_whole(3.0), is_whole("3")
    (True, False, False)
    """
    return isinstance(value, Integral)


def check_range(power: int, dtype: str, what: str, *, zero: bool = False) -> None:
    """Refuse a number of the size 2^power that is none in this precision.

    Raises
    ------
    CoreError
        If it overflows, or vanishes though it is not zero.
    """
    low, high = (-147, 128) if dtype == "float32" else (-1072, 1024)
    if not zero and not low <= power <= high:
        raise CoreError(
            f"{what} is about 10^{power * math.log10(2):.0f}, beyond the range of {dtype}: "
            "log_norm() of a chain or a tree has no such limit, and normalize() goes on from there"
        )


def frobenius(arrays: Iterable[Array], weights: Iterable[float] | None = None) -> float:
    r"""Norm of several arrays, sqrt(sum of weight |array|^2), for entries of any size.

    Raises
    ------
    CoreError
        If the norm itself is beyond the range of floating point.

    Examples
    --------
    >>> import numpy as np
    >>> frobenius([np.array([3e200, 4e200])])
    5e+200
    """
    found = list(arrays)
    power = excess(found)
    total = 0.0
    for array, weight in zip(found, weights or [1.0] * len(found), strict=True):
        part = times_power(array, -power)
        total += weight * float(to_numpy((part * part).sum()))
    root = math.sqrt(total)
    try:
        return math.ldexp(root, power)
    except OverflowError:
        size = math.frexp(root)[1] + power
        check_range(max(size, 1025), "float64", "norm")
        raise


def _dtype(array: Array) -> str:
    return str(to_numpy(array).dtype)


def _is_zero(matrices: Mapping[Key, Array]) -> bool:
    return not any(bool((array != 0).any()) for array in matrices.values())
