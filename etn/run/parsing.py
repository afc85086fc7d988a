"""From what a user writes, in YAML or on a command line, to the values of settings.

The functions ``to_...`` raise ValueError with what was expected and what came; the settings add
the name.
"""

from __future__ import annotations

import os
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import yaml

from etn.data.atomic_energies import is_mode
from etn.errors import EtnError, SettingsError
from etn.o3 import Irreps

MAX_BYTES = 1_000_000  # of a settings file; one of a run has a tenth of a percent of that


def to_optional(value: Any) -> Any:
    """Read "none" as no value, which a command line cannot say otherwise."""
    return None if isinstance(value, str) and value.lower() in ("none", "null", "") else value


def to_file(value: Any) -> Any:
    """One path, or "none"."""
    return os.fspath(value) if isinstance(value, os.PathLike) else to_optional(value)


def to_paths(value: Any) -> tuple[str, ...] | None:
    """Read a path or a list of them."""
    if (value := to_optional(value)) is None:
        return None
    one = isinstance(value, str | os.PathLike)
    if not one and not (
        isinstance(value, list | tuple) and all(isinstance(v, str | os.PathLike) for v in value)
    ):
        raise ValueError(f"expected a path, or a list of paths, got {value!r}")
    paths = tuple(os.fspath(v) for v in ([value] if one else value))
    if not paths or not all(paths) or any("\0" in path for path in paths):
        raise ValueError(f"expected at least one path, none of them empty, got {value!r}")
    return paths


def to_train(value: Any) -> tuple[str, ...]:
    """Read at least one path."""
    paths = to_paths(value)
    if paths is None:
        raise ValueError("expected at least one path, got none")
    return paths


def to_valid(value: Any) -> float | str | None:
    """Read a fraction or a path."""
    value = to_optional(value)
    if value is None or isinstance(value, os.PathLike):
        return None if value is None else os.fspath(value)
    number = _number(value)
    if number is None and isinstance(value, str) and "\0" not in value:
        return value
    if number is None or isinstance(value, bool) or not 0 <= number < 1:
        raise ValueError(
            f"expected a fraction between 0 and 1, the path of a data set, or none, got {value!r}"
        )
    return number or None


def _counts(value: Any) -> int | tuple[int, ...] | None:
    """Read 5, "5", [5, 4] and "5,4"; None for anything else."""
    if isinstance(value, str):
        parts = value.replace(" ", "").split(",")
        if not all(part.isdecimal() for part in parts):
            return None
        value = [int(part) for part in parts] if len(parts) > 1 else int(parts[0])
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    if isinstance(value, list | tuple) and value and all(type(v) is int for v in value):
        return tuple(value)
    return None


def to_max_sweeps(value: Any) -> int | tuple[int, ...]:
    """Read positive numbers of sweeps."""
    counts = _counts(value)
    if counts is None or min(counts if isinstance(counts, tuple) else (counts,)) < 1:
        raise ValueError(
            "expected a positive whole number, or one for each length of the chain "
            f"(such as 3,2), got {value!r}"
        )
    return counts


def to_max_channels(value: Any) -> int | tuple[int, ...] | None:
    """Read positive numbers of channels, or none for all."""
    if (value := to_optional(value)) is None:
        return None
    counts = _counts(value)
    if counts is None or min(counts if isinstance(counts, tuple) else (counts,)) < 1:
        raise ValueError(
            "expected a positive whole number, one for each l = 1, 2, ... (such as 16,12), or "
            f"none, got {value!r}"
        )
    return counts


def to_max_bond(value: Any) -> int | tuple[int, ...] | str:
    """Read multiplicities of a bond."""
    counts = _counts(value)
    if counts is not None:
        each = counts if isinstance(counts, tuple) else (counts,)
        if each[0] >= 1 and min(each) >= 0:
            return counts
    elif isinstance(value, str | Irreps):
        try:
            if Irreps(value).count("0e"):
                return str(Irreps(value))
        except EtnError:
            pass
    raise ValueError(
        "expected a positive whole number, one number for each l = 0, 1, ... starting with a "
        f"positive one (such as 5,4,3), or irreps with scalars (such as 5x0e+4x1o), got {value!r}"
    )


def to_count(value: Any) -> Any:
    """Read a whole number from text; other values stay as they are."""
    return int(value) if isinstance(value, str) and value.strip().isdecimal() else value


def to_irreps(value: Any) -> str:
    """Read irreps."""
    try:
        if isinstance(value, str | Irreps) and Irreps(value).dim:
            return str(Irreps(value))
    except EtnError:
        pass
    raise ValueError(f"expected irreps (such as 2x0e+1x1o), got {value!r}")


def to_optional_irreps(value: Any) -> str | None:
    """Read irreps, or none."""
    return None if to_optional(value) is None else to_irreps(value)


def to_bond(value: Any) -> int | str:
    """Read one multiplicity for all l, or irreps with scalars."""
    try:
        found = to_max_bond(value)
    except ValueError:
        found = ()
    if isinstance(found, tuple):
        raise ValueError(
            f"expected a positive whole number, or irreps with scalars (such as 4x0e+3x1o), "
            f"got {value!r}"
        )
    return found


def to_e0(value: Any) -> str | dict[str, float]:
    """Read a mode, energies by symbol, or a path."""
    given = value
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, str) and value and "\0" not in value:
        if is_mode(value) or "=" not in value:
            return value
        parts = [part.partition("=") for part in value.split(",")]
        value = {symbol.strip(): energy for symbol, _, energy in parts}
    if isinstance(value, Mapping) and value:
        energies = {str(symbol): _number(energy) for symbol, energy in value.items()}
        if all(energy is not None and abs(energy) < 1e9 for energy in energies.values()):
            return {symbol: energy for symbol, energy in energies.items() if energy is not None}
    raise ValueError(
        'expected "auto", "isolated", "by-config NAME", "lstsq", "cohesive", energies in eV '
        "(such as Mo=-4.2,Nb=-2.6), or the "
        f"path of a data set with isolated atoms, got {given!r}"
    )


def to_kind_weights(value: Any) -> dict[str, float] | None:
    """Read weights by config_type, from a mapping or as Surface=2,Elastic=0.5."""
    return _weights(value, "config_type", "Surface=2,Elastic=0.5")


def to_label_weights(value: Any) -> dict[str, float] | None:
    """Read weights by label, from a mapping or as energy=300,forces=1."""
    return _weights(value, "label", "energy=300,forces=1", zero=False)


def _weights(value: Any, what: str, example: str, *, zero: bool = True) -> dict[str, float] | None:
    if (given := to_optional(value)) is None:
        return None
    if isinstance(given, str):
        parts = [part.rpartition("=") for part in given.split(",")]
        given = {name.strip(): weight for name, mark, weight in parts if mark}
        given = given if len(given) == len(parts) else None
    if isinstance(given, Mapping):
        weights = {str(name): _number(weight) for name, weight in given.items()}
        allowed = [w is not None and (w >= 0 if zero else w > 0) for w in weights.values()]
        if all(allowed):
            return {name: weight for name, weight in weights.items() if weight is not None}
    number = "a number, zero or more," if zero else "a number above zero"
    raise ValueError(f"expected {number} for each {what} (such as {example}), got {value!r}")


def _number(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if abs(number) < float("inf") else None


def to_ridge(value: Any) -> float | str:
    """Read a number, zero or more, or "evidence"."""
    if value == "evidence":
        return "evidence"
    number = None if isinstance(value, bool) else _number(value)
    if number is None or number < 0:
        raise ValueError(
            f'expected a number greater than or equal to 0, or "evidence", got {value!r}'
        )
    return number


def read_yaml(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read the mapping in a YAML file, not yet checked.

    Raises
    ------
    SettingsError
        If the file is missing, larger than a megabyte, or is not YAML with one value a key.
    """
    path = Path(path)
    try:
        with path.open("rb") as stream:
            text = stream.read(MAX_BYTES + 1)
        if len(text) > MAX_BYTES:
            raise SettingsError(
                f"{path}: expected settings of at most {MAX_BYTES} bytes, got more; check the path"
            )
        values = yaml.load(text.decode("utf-8-sig"), Loader=_Loader)
    except FileNotFoundError as error:
        raise SettingsError(f"{path}: there is no such settings file; check the path") from error
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read ({error.strerror})") from error
    except RecursionError as error:
        raise SettingsError(
            f"{path}: expected YAML, one `key: value` a line, got lists within lists too deep to "
            "read"
        ) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise SettingsError(f"{path}: expected YAML, one `key: value` a line; {reason}") from error
    if not isinstance(values, dict) or not all(isinstance(key, str) for key in values):
        raise SettingsError(
            f"{path}: expected YAML with one `key: value` a line, got other content"
        )
    return values


class _Loader(yaml.SafeLoader):
    """Refuses keys that stand twice, of which YAML would keep the last, and aliases.

    A few lines of aliases of aliases stand for more values than any memory holds.
    """

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()  # type: ignore[no-untyped-call]
            raise yaml.composer.ComposerError(
                None, None, f"write out what *{event.anchor} stands for", event.start_mark
            )
        return super().compose_node(parent, index)

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep=deep)
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            # Such as 2026-99-99, which looks like a date, and what a tag does not fit.
            kind = node.tag.rpartition(":")[2]
            raise yaml.constructor.ConstructorError(
                None, None, f'expected a value of the kind "{kind}"', node.start_mark
            ) from error

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for inner, _ in node.value:
            key = self.construct_object(inner, deep=True)
            if isinstance(key, Hashable):  # YAML itself refuses others
                if key in seen:
                    raise yaml.constructor.ConstructorError(
                        None, None, f'the key "{key}" stands twice', node.start_mark
                    )
                seen.add(key)
        return super().construct_mapping(node, deep)
