"""One fit from files to a run folder.

A run folder holds ``model.etn``, ``settings.yaml`` (every value resolved), ``report.json``,
``errors.txt``, ``parity.png`` and ``convergence.png``; while the fit is on its way,
``checkpoint.etn`` has the last complete sweep.  A finished run that is replaced waits in the folder
``replaced-run`` until the new one is finished as well.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from etn.data.force_cap import capped_metrics
from etn.data.metrics import Metrics, Prediction
from etn.errors import RunFolderError, SettingsError
from etn.io import atomic_path, write_atomic
from etn.machine import peak_memory
from etn.potential.base import Potential, load
from etn.run.data_settings import DataSettings
from etn.run.kinds import load_settings
from etn.run.plan import Plan
from etn.run.provenance import jsonable, machine, versions
from etn.run.record import (
    CHECKPOINT,
    CONVERGENCE,
    ERRORS,
    MODEL,
    OUTPUTS,
    PARITY,
    REPORT,
    SETTINGS,
    Record,
)
from etn.surface import name_of, option

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["RunResult", "run_fit"]


@dataclass(frozen=True)
class RunResult:
    """What a run ended with.

    Attributes
    ----------
    out : Path
        The run folder.
    model : Potential
    report : FitReport, TrainingReport or None
        None if the run had been finished before.
    metrics : dict of str to Metrics
        Errors on "train", "valid" and "test", as far as there are such data; where ``max_force``
        divides one, also on its frames within, as "train, forces up to 30 eV/Å".
    seconds : dict of str to float
        Wall time of the parts of the run.
    """

    out: Path
    model: Potential
    report: Any = None
    metrics: Mapping[str, Metrics] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)

    @property
    def finished_before(self) -> bool:
        """Whether there was nothing left to do."""
        return self.report is None

    def errors(self) -> str:
        """Error tables of all data sets."""
        return "\n\n".join(f"{name}\n{metrics}" for name, metrics in self.metrics.items())


def run_fit(
    settings: DataSettings | None,
    out: str | os.PathLike[str],
    *,
    resume: bool = False,
    force: bool = False,
    callbacks: Sequence[Any] = (),
    announce: Callable[[Plan], None] | None = None,
) -> RunResult:
    """Fit or train a potential as the settings say and write the run folder.

    Nothing is written until the data are read and checked and there is a first result. Ctrl-C
    leaves the last complete sweep or epoch in the folder, and ``resume=True`` continues from there
    to the result of the uninterrupted run.

    Parameters
    ----------
    settings : FitSettings, LayersSettings, TrainingSettings or None
        None when resuming: those of the folder. Settings given explicitly must agree with them.
    out : path-like
        The run folder; it is made if it does not exist.
    resume : bool
        Continue the run in the folder. A finished run is left as it is.
    force : bool
        Replace the run in the folder; files that are not of a run stay. A finished run is moved
        to the folder ``replaced-run`` and removed at the end: a fit that fails loses nothing.
    callbacks : sequence
        Those of the fit, :class:`etn.sweep.Callback`, or of the training.
    announce : callable, optional
        Called with the :class:`Plan` before the fit starts.

    Returns
    -------
    RunResult

    Raises
    ------
    RunFolderError
        If the folder holds a run and neither `resume` nor `force` is set, or holds no run to
        resume.
    SettingsError
        If a setting is out of range or differs from that of the run to resume.
    DataError
        If the data cannot be used.

    Examples
    --------
    >>> import tempfile
    >>> from etn.run.settings import FitSettings
    >>> settings = FitSettings(train="etn:Mo/test", r_max=4, n_max=3, l_max=1, max_bond=2,
    ...                        body_order=3, max_sweeps=1)
    >>> folder = tempfile.TemporaryDirectory()
    >>> result = run_fit(settings, folder.name)
    >>> sorted(path.name for path in result.out.iterdir())
    ['convergence.png', 'errors.txt', 'model.etn', 'parity.png', 'report.json', 'settings.yaml']
    >>> run_fit(None, folder.name, resume=True).finished_before
    True
    >>> folder.cleanup()
    """
    out = Path(out)
    settings = _open(out, settings, resume=resume, force=force)
    if resume and (out / REPORT).exists() and not (out / CHECKPOINT).exists():
        return RunResult(out, load(out / MODEL))
    clock = _Clock()
    plan = Plan.read(settings)
    settings = plan.settings  # with the numbers that the size leaves to the data
    record = Record(out, settings, plan.fingerprint(), resume)
    record.verify()
    if announce is not None:
        announce(plan)
    clock.lap("read")
    with settings.session() as writes:
        report = settings.run(
            plan.model, plan.train, valid=plan.valid, record=record, callbacks=callbacks
        )
    if not writes:
        return RunResult(out, report.model, report)
    clock.lap("fit")
    model = report.model
    evaluated = plan.evaluated
    predictions = {
        name: dataset.beside(model.predict_each(dataset)) for name, dataset in evaluated.items()
    }
    metrics: dict[str, Metrics] = {}
    for name, dataset in evaluated.items():
        metrics |= capped_metrics(name, predictions[name], dataset, settings.max_force)
    clock.lap("predict")
    result = RunResult(out, model, report, metrics, clock.seconds)
    _write(result, plan, predictions, clock)
    record.close()
    return result


class _Clock:
    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, name: str) -> None:
        now = time.perf_counter()
        self.seconds[name] = now - self._last
        self._last = now


def _open(out: Path, settings: DataSettings | None, *, resume: bool, force: bool) -> DataSettings:
    """Decide what may be done in the folder, and with which settings."""
    if resume and force:
        raise SettingsError("resume, force: expected at most one of them, got both")
    if out.exists() and not out.is_dir():
        raise RunFolderError(f"{out}: expected a folder for the run, this is a file")
    parent = next(path for path in (out, *out.absolute().parents) if path.exists())
    if not (parent.is_dir() and os.access(parent, os.W_OK | os.X_OK)):
        raise RunFolderError(f"{out}: {parent} cannot be written to; choose another folder")
    existing = [name for name in (CHECKPOINT, *OUTPUTS) if (out / name).exists()]
    if not resume:
        if settings is None:
            raise SettingsError("settings: expected the settings of a fit, got none")
        if existing and not force:
            raise RunFolderError(
                f"{out}: this folder already holds a run ({', '.join(existing)}); continue it with "
                f"{option('resume', True)}, replace it with {option('force', True)}, or choose "
                "another folder"
            )
        return settings.resolved()
    if SETTINGS not in existing:
        raise RunFolderError(
            f"{out}: there is no run to resume here (no {SETTINGS}); check the folder, or start a "
            f"run without {option('resume', True)}"
        )
    stored = load_settings(out / SETTINGS)
    if settings is not None:
        given = settings.resolved()
        for key in sorted(settings.model_fields_set):
            known = getattr(stored, key, None)
            if getattr(given, key) != known:
                raise SettingsError(
                    f"{key}: the run in {out} was started with {known!r}, got "
                    f"{getattr(given, key)!r}; leave {name_of(key)} out to resume, or start "
                    "another run"
                )
    return stored


def _write(
    result: RunResult,
    plan: Plan,
    predictions: Mapping[str, Sequence[Prediction]],
    clock: _Clock,
) -> None:
    """Write the results; the report comes last and marks the run as finished."""
    from etn.plot import parity

    out, report = result.out, result.report
    assert report is not None
    result.model.save(
        out / MODEL,
        note={
            "settings": plan.settings.model_dump(mode="json"),
            **report.facts,
            "errors": {name: _brief(metrics) for name, metrics in result.metrics.items()},
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "versions": versions(),
        },
    )
    write_atomic(out / ERRORS, result.errors() + "\n")
    results = {
        name: (dataset, predictions[name][: len(dataset)])
        for name, dataset in plan.datasets.items()
    }
    _save_figure(parity(results), out / PARITY)
    _save_figure(plan.settings.figure(report), out / CONVERGENCE)
    clock.lap("write")
    summary = json.dumps(jsonable(_summary(result, plan)), indent=1, ensure_ascii=False)
    write_atomic(out / REPORT, summary + "\n")


def _summary(result: RunResult, plan: Plan) -> dict[str, Any]:
    assert result.report is not None
    return {
        "settings": plan.settings.model_dump(mode="json"),
        "data": {
            name: {"source": data.source, "frames": len(data), "atoms": data.n_atoms}
            for name, data in plan.datasets.items()
        },
        "left_out": {name: [f.name for f in frames] for name, frames in plan.left_out.items()},
        "warnings": [*plan.warnings, *result.report.warnings],
        "model": repr(result.model),
        **result.report.facts,
        "fit": result.report.to_dict(),
        "metrics": {name: metrics.to_dict() for name, metrics in result.metrics.items()},
        "seconds": {**result.seconds, "total": sum(result.seconds.values())},
        "peak_memory_gb": peak_memory(),
        "machine": machine(),
        "versions": versions(),
    }


def _brief(metrics: Metrics) -> dict[str, float]:
    """Mean absolute errors of a data set."""
    found = {
        "energy MAE (eV/atom)": metrics.energy,
        "forces MAE (eV/Å)": metrics.forces,
        "stress MAE (eV/Å³)": metrics.stress,
    }
    return {name: errors.mae for name, errors in found.items() if errors is not None}


def _save_figure(figure: Figure, path: Path) -> None:
    with atomic_path(path) as temporary:
        figure.savefig(temporary)
