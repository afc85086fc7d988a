"""The process of another interpreter that takes turns; see foreign.py."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn


class Foreign:
    """Contestants of another interpreter.

    Parameters
    ----------
    kind : str
        Which of foreign.py.
    python : str
    structure : Path
    r_max : float
    environment : mapping of str to str

    Raises
    ------
    RuntimeError
        If the process ends, then and later; the message is its last line.
    """

    def __init__(
        self, kind: str, python: str, structure: Path, r_max: float, environment: Mapping[str, str]
    ) -> None:
        self.log = structure.with_name(f"{kind}.log")
        script = str(Path(__file__).parent / "foreign.py")
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [python, script, kind, str(structure), str(r_max)], text=True, env=environment,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log,
            )  # fmt: skip
        self.notes: dict[str, str] = json.loads(self._answer())

    def seconds(self, name: str) -> float:
        """Of one evaluation, as measured there."""
        assert self.process.stdin is not None
        try:
            print(name, file=self.process.stdin, flush=True)
        except BrokenPipeError:
            self._fail()
        return float(self._answer())

    def close(self) -> None:
        """End the process."""
        self.process.communicate()

    def _answer(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            self._fail()
        return line

    def _fail(self) -> NoReturn:
        said = self.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        raise RuntimeError(f"exit code {self.process.wait()}: {said[-1] if said else 'no word'}")
