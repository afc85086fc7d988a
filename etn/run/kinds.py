"""Which settings a file holds: of a fit in one layer or two, or of the training of a network."""

from __future__ import annotations

import os
from typing import Any

from etn.run.data_settings import DataSettings
from etn.run.layered import settings_for
from etn.run.options import overlay
from etn.run.parsing import read_yaml

__all__ = ["load_settings"]


def load_settings(path: str | os.PathLike[str], **changes: Any) -> DataSettings:
    """Read a YAML file of settings of any kind; `changes` replace those of the file.

    A file that names a ``network`` is of a training.

    Raises
    ------
    SettingsError
        If the file is missing or no YAML, or a setting is unknown or out of range.
    """
    stored = read_yaml(path)
    if "network" in stored:
        from etn.run.networks import training_settings

        return training_settings(**overlay(stored, changes))
    return settings_for(**overlay(stored, changes))
