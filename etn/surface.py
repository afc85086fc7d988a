"""How messages name an option: in the language of the surface that the user works with.

The same message may reach someone who typed ``etn fit --energy-key E`` or who wrote
``Dataset.read(path, energy="E")``; what helps the one is no use to the other.  Settings have one
name each, that of :class:`etn.run.settings.FitSettings`, and :func:`option` spells it.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Literal

__all__ = ["Surface", "name_of", "option", "options", "speaking"]

Surface = Literal["python", "settings", "command"]

_SURFACE: ContextVar[Surface | None] = ContextVar("surface", default=None)
# Where an argument of a Python function is not called as the setting is.
_PYTHON = {
    "energy_key": "energy",
    "forces_key": "forces",
    "stress_key": "stress",
    "virial_key": "virial",
    "charge_key": "charge",
}
_WEIGHTS = {f"{label}_weight": label for label in ("energy", "forces", "stress")}


@contextmanager
def speaking(surface: Surface) -> Iterator[None]:
    """Name options in the language of `surface` within; the outermost one wins.

    A command that calls the functions of Python still speaks to who typed it.

    Examples
    --------
    >>> with speaking("command"), speaking("settings"):
    ...     option("energy_key", "REF_energy")
    '--energy-key REF_energy'
    """
    token = _SURFACE.set(_SURFACE.get() or surface)
    try:
        yield
    finally:
        _SURFACE.reset(token)


def option(setting: str, value: object) -> str:
    """How to give a setting this value.

    Examples
    --------
    >>> option("energy_key", "REF_energy"), option("stress_key", None), option("forces_weight", 0)
    ('energy="REF_energy"', 'stress=None', 'weights={"forces": 0}')
    >>> with speaking("settings"):
    ...     option("energy_key", "REF_energy")
    'energy_key="REF_energy"'
    >>> with speaking("command"):
    ...     print(option("stress_key", None), option("energy_key", "E 0"), option("zbl", True))
    --stress-key none --energy-key 'E 0' --zbl
    """
    surface = _SURFACE.get()
    if surface == "command":
        flag = setting.replace("_", "-")
        if isinstance(value, bool):
            return f"--{flag}" if value else f"--no-{flag}"
        if isinstance(value, Mapping):
            value = ",".join(f"{key}={number}" for key, number in value.items())
        return f"--{flag} {'none' if value is None else shlex.quote(str(value))}"
    text = (
        json.dumps(value, ensure_ascii=False) if isinstance(value, str | Mapping) else repr(value)
    )
    if surface is None and setting in _WEIGHTS:
        return f'weights={{"{_WEIGHTS[setting]}": {text}}}'
    return f"{name_of(setting)}={text}"


def options(**values: object) -> str:
    """How to give several settings their values.

    Examples
    --------
    >>> options(virial_key="virial", stress_key=None)
    'virial="virial", stress=None'
    """
    given = [option(setting, value) for setting, value in values.items()]
    return (" " if _SURFACE.get() == "command" else ", ").join(given)


def name_of(setting: str) -> str:
    """What a setting is called.

    Examples
    --------
    >>> name_of("stress_unit"), name_of("energy_key")
    ('stress_unit', 'energy')
    >>> with speaking("command"):
    ...     name_of("stress_unit")
    '--stress-unit'
    """
    surface = _SURFACE.get()
    if surface == "command":
        return f"--{setting.replace('_', '-')}"
    return setting if surface == "settings" else _PYTHON.get(setting, setting)
