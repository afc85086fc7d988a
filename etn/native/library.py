"""The shared library of the evaluator, found and loaded through ctypes; see ``etn.h``."""

from __future__ import annotations

import ctypes
import logging
import os
import sys
from ctypes import POINTER, c_char_p, c_double, c_int, c_int64, c_void_p
from functools import cache
from pathlib import Path

from etn.errors import SettingsError
from etn.native.lists import Neighbors, Wanted

__all__ = ["is_built", "is_on", "library", "why_not"]

logger = logging.getLogger(__name__)

ABI_VERSION = 3
NAMES = ("libetn.so", "libetn.dylib", "etn.dll")

_SIGNATURES = {
    "etn_abi_version": (c_int, ()),
    "etn_error": (c_char_p, ()),
    "etn_open": (c_void_p, (c_char_p, c_int)),
    "etn_read": (c_void_p, (c_char_p, c_int64, c_int)),
    "etn_close": (None, (c_void_p,)),
    "etn_n_elements": (c_int, (c_void_p,)),
    "etn_operations": (c_double, (c_void_p, c_double)),
    "etn_target": (c_char_p, (c_void_p,)),
    "etn_evaluate": (
        c_int, (c_void_p, POINTER(Neighbors), c_int, c_void_p, c_void_p, c_void_p),
    ),
    "etn_has_grades": (c_int, (c_void_p,)),
    "etn_grades": (c_int, (c_void_p, POINTER(Neighbors), c_int, c_void_p)),
    "etn_columns": (c_int64, (c_void_p, c_int)),
    "etn_rows": (
        c_int, (c_void_p, POINTER(Neighbors), c_int, POINTER(Wanted), c_void_p, c_void_p),
    ),
    "etn_pull": (
        c_int, (c_void_p, POINTER(Neighbors), c_int, POINTER(Wanted), c_void_p, c_void_p),
    ),
}  # fmt: skip


def is_on() -> bool:
    """Whether potentials use their compiled evaluators: not with ``ETN_NATIVE=0``."""
    return os.environ.get("ETN_NATIVE", "1") != "0"


def is_built() -> bool:
    """Whether the library is there."""
    return not why_not()


@cache
def why_not() -> str:
    """Why there is no compiled evaluator; empty if there is one."""
    try:
        _load()
    except OSError as error:
        reason = f"{error}"
        logger.warning("potentials are evaluated by NumPy, ten times slower: %s", reason)
        return reason
    return ""


def library() -> ctypes.CDLL:
    """The library.

    Raises
    ------
    SettingsError
        If it was not built.
    """
    if reason := why_not():
        raise SettingsError(f"native: the compiled evaluator is not there ({reason})")
    return _load()


@cache
def _load() -> ctypes.CDLL:
    path = _find()
    if path is None:
        raise OSError(
            "etn was installed without a C++ compiler; install one, such as g++, and etn again"
        )
    found = ctypes.CDLL(str(path))
    for name, (result, arguments) in _SIGNATURES.items():
        function = getattr(found, name)
        function.restype, function.argtypes = result, arguments
    version = found.etn_abi_version()
    if version != ABI_VERSION:
        raise OSError(f"{path} is of version {version}, expected {ABI_VERSION}: install etn again")
    return found


def _find() -> Path | None:
    # An editable installation keeps what was built beside the other packages, not in the sources.
    folders = [Path(__file__).parent / "lib"]
    folders += [Path(entry) / "etn" / "native" / "lib" for entry in sys.path if entry]
    candidates = (folder / name for folder in folders for name in NAMES)
    return next((path for path in candidates if path.is_file()), None)
