"""Options as values: what a model of settings is, its messages, and its YAML form."""

from __future__ import annotations

import difflib
import os
import textwrap
from collections.abc import Collection, Iterable, Mapping
from typing import Any, ClassVar, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from etn.errors import SettingsError
from etn.run.parsing import read_yaml
from etn.run.sizes import SIZES

__all__ = ["SIZED", "Options", "option", "overlay"]

_WIDTH = 96
_MOST_MESSAGES = 20  # about one choice of settings
_LONGEST_MESSAGE = 500
# What a size decides; fields with these names take their value from it unless they are given.
SIZED = tuple(SIZES["medium"].values())


def option(default: Any, description: str, *, unit: str = "", form: str = "", **limits: Any) -> Any:
    """A field with its unit and, for the command line, the form of its value."""
    return Field(
        default, description=description, json_schema_extra={"unit": unit, "form": form}, **limits
    )


class Options(BaseModel):
    """Named values with ranges; immutable, and strict about names.

    A `size` among them gives the values of the settings in :attr:`SIZES` that are not given.

    Raises
    ------
    SettingsError
        If a name is unknown or a value out of range; the message names all of them.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    SIZES: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        name: size.values() for name, size in SIZES.items()
    }
    """What each size stands for."""

    def __init__(self, **given: Any) -> None:
        fields = type(self).model_fields
        named = str(given.get("size", fields["size"].default if "size" in fields else ""))
        sized = type(self).SIZES.get(named, {})
        try:
            super().__init__(**{**sized, **given})
        except ValidationError as error:
            known = type(self).model_fields
            raise SettingsError(f"settings: {'; '.join(_explain(error, known))}") from None
        # What a size says is no choice of the user, which a resumed run would have to match.
        self.model_fields_set.difference_update(sized.keys() - given.keys())

    def dump(self) -> str:
        """Return all settings as commented YAML, which :meth:`load` reads.

        Examples
        --------
        >>> from etn.run.settings import FitSettings
        >>> print(FitSettings(train="etn:Mo").dump()[:144])
        # Training data: extended XYZ or other files of ASE, or an embedded set.
        train: ['etn:Mo/train']
        <BLANKLINE>
        # Data to test on after the fit; never fitted.
        """
        parts = []
        plain = self.model_dump(mode="json")
        for key, field in type(self).model_fields.items():
            extra = field.json_schema_extra
            unit = extra["unit"] if isinstance(extra, dict) else ""
            text = f"{field.description} [{unit}]" if unit else str(field.description)
            # As the one item of a list: YAML then writes any value on one line, quoted as needed.
            line = yaml.safe_dump(
                [plain[key]], default_flow_style=True, allow_unicode=True, width=10**6
            )
            comment = textwrap.indent(textwrap.fill(text, _WIDTH), "# ")
            parts.append(f"{comment}\n{key}: {line.strip()[1:-1]}\n")
        return "\n".join(parts)

    @classmethod
    def load(cls, path: str | os.PathLike[str], **changes: Any) -> Self:
        """Read a YAML file of settings.

        Parameters
        ----------
        path : path-like
        **changes
            Settings that replace those of the file, see :func:`overlay`.

        Raises
        ------
        SettingsError
            If the file is missing or no YAML, or a setting is unknown or out of range.
        """
        return cls(**overlay(read_yaml(path), changes))


def overlay(
    stored: Mapping[str, Any], changes: Mapping[str, Any], sized: Collection[str] = SIZED
) -> dict[str, Any]:
    """Stored settings with changes on top; a new size replaces the numbers of the stored one.

    Examples
    --------
    >>> overlay({"train": "a.xyz", "size": "auto", "l_max": 4}, {"size": "small"})
    {'train': 'a.xyz', 'size': 'small'}
    """
    kept = {
        key: value for key, value in stored.items() if key not in sized or "size" not in changes
    }
    return {**kept, **changes}


def _explain(error: ValidationError, known: Iterable[str]) -> list[str]:
    """Say of each invalid setting what was expected and what came."""
    messages: list[str] = []
    for item in error.errors():
        key = str(item["loc"][0]) if item["loc"] else ""
        if len(messages) == _MOST_MESSAGES:
            return [*messages, f"and {error.error_count() - _MOST_MESSAGES} more"]
        if item["type"] == "extra_forbidden":
            near = difflib.get_close_matches(key, known, n=1, cutoff=0.4)
            hint = f' (did you mean "{near[0]}"?)' if near else ""
            messages.append(f'unknown key "{_short(key)}"{hint}')
        elif item["type"] == "missing":
            messages.append(f"{key}: expected a value, got none")
        else:
            text = item["msg"].removeprefix("Value error, ")
            if text.startswith("Input should be "):
                text = f"expected {_article(text.removeprefix('Input should be '))}"
                # What follows the comma says again what came; in a list of values it is the list.
                text = text if item["type"] == "literal_error" else text.partition(",")[0]
                text = f"{text}, got {item['input']!r}"
            messages.append(_short(f"{key}: {text}" if key else text))
    return messages


def _short(text: str) -> str:
    """The text, or its beginning: what came may be a list of thousands."""
    return text if len(text) <= _LONGEST_MESSAGE else f"{text[:_LONGEST_MESSAGE]}..."


def _article(text: str) -> str:
    return f"a value {text}" if text.startswith(("greater", "less")) else text
