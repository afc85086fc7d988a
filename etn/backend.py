"""NumPy or torch: the only module that tells one from the other.

Reduced blocks may be NumPy arrays or torch tensors.  Which of them is decided by the arrays
handed in; nothing is converted on the way and nothing global is set.  Code that handles blocks
takes its functions from :func:`namespace`, under the names of the Python array API standard, and
makes new arrays through the :class:`Kind` of those it was given.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etn.errors import CoreError

Array = Any
"""A NumPy array or a torch tensor of float32 or float64."""

FloatArray = NDArray[np.float64]
"""A NumPy array of float64, where no other library comes in."""

DTYPES = ("float32", "float64")


@dataclass(frozen=True)
class Kind:
    """What arrays are made of: library, precision and device.

    Parameters
    ----------
    backend : {"numpy", "torch"}
    dtype : {"float64", "float32"}
    device : str
        "cpu", or a device of torch; "cuda" is the one that torch works on.

    Raises
    ------
    CoreError
        If there is no such backend or dtype, no such device here, or NumPy is asked to leave the
        CPU.

    Examples
    --------
    >>> Kind().zeros((2,))
    array([0., 0.])
    >>> Kind(dtype="float32").array([1, 2]).dtype
    dtype('float32')
    """

    backend: str = "numpy"
    dtype: str = "float64"
    device: str = "cpu"

    def __post_init__(self) -> None:
        if self.backend not in ("numpy", "torch"):
            raise CoreError(f"backend: expected numpy or torch, got {self.backend!r}")
        if self.dtype not in DTYPES:
            raise CoreError(f"dtype: expected float32 or float64, got {self.dtype}")
        if self.backend == "numpy" and self.device != "cpu":
            raise CoreError(f'device: NumPy works on the cpu, got {self.device!r}; use "torch"')
        if self.device != "cpu":
            # Tensors sent to "cuda" say "cuda:0": one device must have one name.
            named = _known_name if ":" in self.device else _full_name
            object.__setattr__(self, "device", named(self.device))

    @property
    def xp(self) -> Any:
        """The functions of this library under their array-API names."""
        return np if self.backend == "numpy" else _torch_namespace()

    @property
    def eps(self) -> float:
        """Distance from 1 to the next number."""
        return float(np.finfo(self.dtype).eps)

    @property
    def itemsize(self) -> int:
        """Bytes of an entry."""
        return np.dtype(self.dtype).itemsize

    def array(self, values: Any) -> Array:
        """Array of this kind with the given values; no copy where none is needed."""
        if self.backend == "numpy":
            return np.asarray(to_numpy(values), dtype=self.dtype)
        torch = _torch_namespace()
        if not isinstance(values, torch.Tensor):
            # torch shares memory with the array and refuses to promise not to write to it.
            values = torch.asarray(np.array(values, dtype=self.dtype))
        return values.to(device=self.device, dtype=getattr(torch, self.dtype))

    def constant(self, values: NDArray[np.float64]) -> Array:
        """Array of this kind from a read-only table, converted once."""
        if self == _DEFAULT:
            return values
        key = (id(values), self)
        if key not in _constants:
            # The table is kept as well, so that its id stays its own.
            _constants[key] = (values, self.lasting(values))
        return _constants[key][1]

    def lasting(self, values: NDArray[np.float64]) -> Array:
        """Array to keep: autograd accepts it later, also if it is made in inference mode."""
        if self.backend == "numpy":
            return self.array(values)
        with _torch_namespace().inference_mode(False):
            return self.array(values)

    def c_order(self, array: Array) -> Array:
        """The values with the last axis fastest; the array itself where they stand so.

        Axes of length one get the step of a new array too: libraries of linear algebra choose
        their way by the steps, and another way rounds otherwise.

        Examples
        --------
        >>> Kind().c_order(np.zeros((2, 3)).T).strides
        (16, 8)
        """
        shape = tuple(array.shape)
        if self.backend == "numpy":
            found, unit = array.strides, array.itemsize
        else:
            found, unit = array.stride(), 1
        if found == _steps(shape, unit) or 0 in shape:
            return array
        return array.reshape(-1).reshape(shape)

    def zeros(self, shape: Sequence[int]) -> Array:
        """Array of zeros."""
        return self._make("zeros", tuple(shape))

    def ones(self, shape: Sequence[int]) -> Array:
        """Array of ones."""
        return self._make("ones", tuple(shape))

    def eye(self, n: int) -> Array:
        """Identity matrix."""
        return self._make("eye", n)

    def _make(self, name: str, shape: Any) -> Array:
        if self.backend == "numpy":
            return getattr(np, name)(shape, dtype=self.dtype)
        torch = _torch_namespace()
        return getattr(torch, name)(shape, dtype=getattr(torch, self.dtype), device=self.device)

    def __str__(self) -> str:
        return f"{self.backend} {self.dtype} on {self.device}"


@lru_cache(maxsize=4096)
def _steps(shape: tuple[int, ...], unit: int) -> tuple[int, ...]:
    """Steps of a new array of this shape, from one entry to the next along every axis.

    Not of an array without entries, for which libraries differ.
    """
    steps = []
    for length in reversed(shape):
        steps.append(unit)
        unit *= length
    return tuple(reversed(steps))


_DEFAULT = Kind()
_constants: dict[tuple[int, Kind], tuple[NDArray[np.float64], Array]] = {}


@cache
def _torch_namespace() -> Any:
    try:
        from array_api_compat import torch
    except ImportError as error:
        raise CoreError(
            'this needs torch, which is not installed: pip install "etn[torch]"'
        ) from error
    return torch


def _full_name(device: str) -> str:
    """Name that torch gives a device it can use, with its number."""
    try:
        return str(_torch_namespace().empty(0, device=device).device)
    except (RuntimeError, AssertionError) as error:
        raise CoreError(
            f"device: expected one that torch can use here, got {device!r} ({_first_line(error)})"
        ) from error


# A name with a number stays the same; "cuda" is the device that torch works on just then.
_known_name = cache(_full_name)


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]


def is_torch(value: object) -> bool:
    """Whether a value is a torch tensor; does not load torch."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)


def kind_of(*arrays: Array) -> Kind:
    """Kind that all the arrays share.

    Raises
    ------
    CoreError
        If there is no array, or they differ in library, precision or device.

    Examples
    --------
    >>> str(kind_of(np.zeros(2), np.ones(3)))
    'numpy float64 on cpu'
    >>> kind_of(np.zeros(2), np.ones(3, dtype=np.float32))
    Traceback (most recent call last):
    etn.errors.CoreError: expected arrays of one kind, got numpy float64 on cpu and numpy float32 on
    cpu; convert with .to(backend=, dtype=, device=)
    """
    if not arrays:
        raise CoreError("expected at least one array, got none")
    kind = _kind(arrays[0])
    for other in arrays[1:]:
        found = _kind(other)
        if found != kind:
            raise CoreError(
                f"expected arrays of one kind, got {kind} and {found}; "
                "convert with .to(backend=, dtype=, device=)"
            )
    return kind


def _kind(array: Array) -> Kind:
    if isinstance(array, np.ndarray):
        if array.dtype == np.float64:
            return _DEFAULT
        return Kind(dtype=_precision(array.dtype.name))
    if is_torch(array):
        return Kind("torch", _precision(_dtype_name(array)), str(array.device))
    raise _no_array(array)


def _no_array(value: object) -> CoreError:
    return CoreError(f"expected a NumPy array or a torch tensor, got {type(value).__name__}")


def _dtype_name(array: Array) -> str:
    return str(array.dtype).removeprefix("torch.")


def _precision(dtype: str) -> str:
    """The name of a dtype that arrays of numbers may have."""
    if dtype not in DTYPES:
        raise CoreError(
            f"dtype: expected float32 or float64, got {dtype}; convert the array with "
            ".astype(float), the tensor with .double() or .float()"
        )
    return dtype


def namespace(*arrays: Array) -> Any:
    """Functions that work on these arrays, under their array-API names.

    Returns
    -------
    module
        ``numpy``, or ``array_api_compat.torch``.

    Raises
    ------
    CoreError
        If the arrays are of different kinds.
    """
    return kind_of(*arrays).xp


def like(constant: Any, array: Array) -> Array:
    """The constant as an array of the kind of another array."""
    values = constant if isinstance(constant, np.ndarray) else np.asarray(constant, dtype=float)
    kind = _kind(array)
    return kind.array(values) if values.flags.writeable else kind.constant(values)


def arange_like(n: int, array: Array) -> Array:
    """The numbers 0, 1, ..., n-1 in the library, precision and device of another array.

    Made on the spot, for code that torch compiles: a table that is cached would be in the way.
    """
    if is_torch(array):
        return sys.modules["torch"].arange(n, dtype=array.dtype, device=array.device)
    return np.arange(n, dtype=array.dtype)


def library(array: Array) -> Any:
    """``numpy`` or ``torch`` itself, whichever the array is of; of any dtype.

    For code that torch compiles, where the array-API wrappers of :func:`namespace` are in the way,
    and that keeps to names that both have.

    Raises
    ------
    CoreError
        If it is neither.
    """
    if is_torch(array):
        return sys.modules["torch"]
    if isinstance(array, np.ndarray | np.generic):
        return np
    raise _no_array(array)


def as_block(values: Any, name: str = "values") -> Array:
    """Array of float32 or float64: such arrays stay as they are, all else goes to NumPy.

    This is the rule for whatever is *data*: integers and bools become float64, which holds them
    all up to 2^53; nothing is rounded or cut.  Operands of products are not promoted but have to
    be of one kind, see :func:`kind_of`, and of layers see :func:`check_operands`.

    Parameters
    ----------
    values : array, tensor, or nested sequence of numbers
    name : str
        What an error calls them.

    Raises
    ------
    CoreError
        If they are no numbers, complex, or of another precision.

    Examples
    --------
    >>> as_block([1, 2])
    array([1., 2.])
    >>> as_block([1j])
    Traceback (most recent call last):
    etn.errors.CoreError: values: expected float32 or float64, got complex128
    """
    if is_torch(values):
        whole = not (values.is_floating_point() or values.is_complex())
        array, dtype = (values.double(), "float64") if whole else (values, _dtype_name(values))
    else:
        array = _as_numpy(values, name)
        dtype = array.dtype.name
    if dtype not in DTYPES:
        raise CoreError(f"{name}: expected float32 or float64, got {dtype}")
    return array


def _as_numpy(values: Any, name: str) -> NDArray[Any]:
    """NumPy array of the values; whole numbers, and those of sympy, as float64."""
    try:
        if isinstance(values, np.ma.MaskedArray):
            raise TypeError("its mask would be lost")
        array = np.asarray(values)
        if array.dtype.kind == "O" and all(entry is not None for entry in array.flat):
            return array.astype(float)
    except (TypeError, ValueError, RuntimeError) as error:
        raise CoreError(
            f"{name}: expected an array of numbers, got {type(values).__name__} "
            f"({_first_line(error)})"
        ) from error
    return array.astype(float) if array.dtype.kind in "biu" else array


def check_operands(home: Array, **operands: Array | None) -> None:
    """Refuse operands that a torch module cannot compute with, by name.

    A module computes in the precision of its numbers and takes any floating-point tensors.  From
    integers and bools torch would make results of the same, cut to whole numbers.

    Parameters
    ----------
    home : tensor
        One of the module, for its device.
    operands : tensor or None

    Raises
    ------
    CoreError
        If one is no tensor, not of floating point, or on another device.
    """
    for name, operand in operands.items():
        if operand is None:
            continue
        if not is_torch(operand):
            raise CoreError(f"{name}: expected a torch tensor, got {type(operand).__name__}")
        if not operand.is_floating_point():
            raise CoreError(
                f"{name}: expected a tensor of floating-point numbers, got {operand.dtype}; "
                "convert it with .float() or .double()"
            )
        if operand.device != home.device:
            raise CoreError(
                f"{name}: expected a tensor on {home.device} as the module, got one on "
                f"{operand.device}; move one of them with .to(device)"
            )


def frozen(values: FloatArray) -> FloatArray:
    """A read-only copy in C order, so that :meth:`Kind.constant` can keep what it becomes.

    Examples
    --------
    >>> table = frozen(np.eye(2).T)
    >>> table.flags.writeable, table.flags.c_contiguous
    (False, True)
    """
    values = np.array(values, order="C")
    values.setflags(write=False)
    return values


def to_numpy(array: Any) -> NDArray[Any]:
    """The values as a NumPy array, detached from any graph and copied from any device."""
    return array.detach().cpu().numpy() if is_torch(array) else np.asarray(array)


def is_finite(array: Array) -> bool:
    """Whether all values are finite."""
    return bool(namespace(array).isfinite(array).all())
