"""The course of a training for TensorBoard."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from typing import Any

from etn.errors import SettingsError
from etn.nn.progress import Epoch

__all__ = ["Board"]


class Board:
    """A callback that writes every epoch where TensorBoard finds it.

    Parameters
    ----------
    folder : path-like
        Made with the first epoch; ``tensorboard --logdir`` takes it or one above.

    Raises
    ------
    SettingsError
        If the package tensorboard is missing.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise SettingsError(
                "tensorboard: the package is missing; pip install tensorboard"
            ) from None
        self._make, self._folder = SummaryWriter, os.fspath(folder)
        self._writer: Any = None

    def __call__(self, epoch: Epoch, progress: Callable[[], object]) -> None:
        """Write the numbers of an epoch; the first one drops what was there of later ones."""
        if self._writer is None:
            self._writer = self._make(self._folder, purge_step=epoch.number)
        for name, value in (
            ("loss/training", epoch.loss),
            ("loss/validation", epoch.valid),
            ("rmse/energy (eV per atom)", epoch.energy),
            ("rmse/forces (eV per Å)", epoch.forces),
            ("learning rate", epoch.rate),
        ):
            if value is not None and not math.isnan(value):
                self._writer.add_scalar(name, value, epoch.number)
        self._writer.flush()
