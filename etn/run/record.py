"""The files of a run: what a folder holds, and the state of a run that is on its way."""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from etn import io
from etn.errors import RunFolderError
from etn.io import write_atomic
from etn.run.options import Options

__all__ = [
    "BOARD",
    "CHECKPOINT",
    "CONVERGENCE",
    "EPOCHS",
    "ERRORS",
    "MODEL",
    "OUTPUTS",
    "PARITY",
    "REPLACED",
    "REPORT",
    "SETTINGS",
    "Record",
]

MODEL, SETTINGS, REPORT, ERRORS = "model.etn", "settings.yaml", "report.json", "errors.txt"
PARITY, CONVERGENCE, CHECKPOINT = "parity.png", "convergence.png", "checkpoint.etn"
BOARD = "tensorboard"  # a folder
EPOCHS = "epochs.csv"  # of a training, a line for each epoch as it ends
OUTPUTS = (MODEL, SETTINGS, REPORT, ERRORS, PARITY, CONVERGENCE)
REPLACED = "replaced-run"
# Half-written files of a process that was killed, by the name that io.atomic_path gives them.
_HALF = re.compile(rf"\.[0-9a-f]{{8}}-({'|'.join(map(re.escape, (*OUTPUTS, CHECKPOINT)))})")


@dataclass
class Record:
    """A run on its way: its folder, set up with the first result, and its last state.

    Parameters
    ----------
    out : Path
        The run folder.
    settings : Options
    fingerprint : str
        Of the data.
    resume : bool
        Whether the run in the folder is continued.
    """

    out: Path
    settings: Options
    fingerprint: str
    resume: bool
    _is_open: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        self._is_open = self.resume

    @property
    def path(self) -> Path:
        """Where the last state is kept."""
        return self.out / CHECKPOINT

    @property
    def note(self) -> dict[str, Any]:
        """What is kept beside it."""
        return {"data": self.fingerprint}

    @property
    def has_state(self) -> bool:
        """Whether there is a state to continue from."""
        return self.resume and self.path.exists()

    def verify(self) -> None:
        """Check that the state to continue from is of these data.

        Raises
        ------
        RunFolderError
            If it is not.
        ModelFileError
            If it cannot be read.
        """
        if not self.has_state:
            return
        note = io.load(self.path).header.get("note")
        if not isinstance(note, dict) or note.get("data") != self.fingerprint:
            raise RunFolderError(
                f"{self.out}: the training or validation data have changed since this run was "
                "started, so it cannot be continued; restore them, or start another run"
            )

    def open(self) -> None:
        """Set up the folder, once there is a first result and all input has proved good."""
        if self._is_open:
            return
        self._is_open = True
        self.out.mkdir(parents=True, exist_ok=True)
        # What an earlier run left must not be taken for a result of this one.
        if (self.out / MODEL).exists() and (self.out / REPORT).exists():
            (self.out / REPLACED).mkdir(exist_ok=True)
            for name in OUTPUTS:
                if (self.out / name).exists():
                    (self.out / name).replace(self.out / REPLACED / name)
        for name in (CHECKPOINT, EPOCHS, *OUTPUTS):
            (self.out / name).unlink(missing_ok=True)
        write_atomic(self.out / SETTINGS, self.settings.dump())

    def close(self) -> None:
        """Remove what a finished run has no more use for: its state, the run it replaced."""
        self.path.unlink(missing_ok=True)
        for path in self.out.iterdir():
            if _HALF.fullmatch(path.name):
                path.unlink(missing_ok=True)
        if (self.out / REPLACED).is_dir():
            for name in OUTPUTS:
                (self.out / REPLACED / name).unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # it holds something else
                (self.out / REPLACED).rmdir()
