"""Errors of predictions against the labels of a data set."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from etn.backend import FloatArray
from etn.data.labels import LABELS
from etn.data.stress import GPA
from etn.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from etn.data.dataset import Dataset
    from etn.data.frame import Frame

__all__ = ["ErrorStatistics", "GroupErrors", "Metrics", "Prediction", "compute_metrics"]

# Columns of the printed table: label, factor from the unit of the attribute, unit shown, digits.
_COLUMNS = (
    ("energy", 1000.0, "meV/atom", 2),
    ("forces", 1.0, "eV/Å", 4),
    ("stress", 1.0, "eV/Å³", 5),
)


@dataclass(frozen=True, eq=False)
class Prediction:
    """What a potential says about one frame of A atoms.

    Parameters
    ----------
    energy : float
        Total energy in eV.
    energies : (A,) float64
        Energy of each atom in eV; they sum to `energy`.
    forces : (A, 3) float64
        Forces in eV/Å.
    stress : (6,) float64, optional
        Stress in eV/Å³, tension positive, in the Voigt order xx, yy, zz, yz, xz, xy; None where
        the cell has no volume.
    stresses : (A, 6) float64, optional
        The part of each atom in the stress, eV/Å³; they sum to `stress`.

    Examples
    --------
    >>> Prediction(-1.0, np.array([-0.5, -0.5]), np.zeros((2, 3))).stress is None
    True
    """

    energy: float
    energies: FloatArray
    forces: FloatArray
    stress: FloatArray | None = None
    stresses: FloatArray | None = None


@dataclass(frozen=True)
class ErrorStatistics:
    """Statistics of the errors e_k = prediction − label, in the unit of the label.

    Examples
    --------
    >>> ErrorStatistics.of(np.array([3.0, -4.0]), ["a", "b"])
    ErrorStatistics(mae=3.5, rmse=3.5355339059327378, max=4.0, bias=-0.5, count=2, worst='b')
    """

    mae: float
    """Mean absolute error, (1/K) Σ_k |e_k|."""
    rmse: float
    """Root mean square error, sqrt((1/K) Σ_k e_k²)."""
    max: float
    """Largest absolute error."""
    bias: float
    """Mean error, (1/K) Σ_k e_k: positive where the prediction lies too high."""
    count: int
    """Number of errors K: frames for the energy, components for forces and stress."""
    worst: str
    """Name of the frame with the largest absolute error."""

    @classmethod
    def of(cls, errors: FloatArray, names: Sequence[str] | NDArray[np.str_]) -> ErrorStatistics:
        """Return the statistics of errors (K,) or (K, components); `names` has one name a row."""
        size = np.abs(errors)
        row = int(np.unravel_index(size.argmax(), size.shape)[0])
        return cls(
            mae=float(size.mean()),
            rmse=float(np.sqrt(np.mean(errors**2))),
            max=float(size.max()),
            bias=float(errors.mean()),
            count=errors.size,
            worst=str(names[row]),
        )


@dataclass(frozen=True)
class GroupErrors:
    """The errors of a group of frames; None for a label that none of them has."""

    n_frames: int
    energy: ErrorStatistics | None
    """Per atom, in eV/atom."""
    forces: ErrorStatistics | None
    """Of the components, in eV/Å."""
    stress: ErrorStatistics | None
    """Of the six Voigt components, in eV/Å³."""


@dataclass(frozen=True)
class Metrics(GroupErrors):
    """The errors on a data set; printing it gives a table.

    ``metrics.energy.mae`` (eV/atom), ``metrics.forces.rmse`` (eV/Å), ``metrics.stress.max``
    (eV/Å³); None where the data set has no such label.
    """

    n_atoms: int
    per_element: dict[str, ErrorStatistics]
    """Errors of the force components on each element, by atomic number."""
    per_config: dict[str, GroupErrors]
    """Errors of each ``config_type``, in order of appearance."""

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain dictionaries for JSON, with the units.

        Examples
        --------
        >>> from etn.data import Dataset
        >>> frames = Dataset.read("etn:Mo/test", index=":1")
        >>> zero = Prediction(frames[0].energy, np.zeros(53), np.zeros((53, 3)))
        >>> compute_metrics([zero], frames).to_dict()["units"]
        {'energy': 'eV/atom', 'forces': 'eV/Å', 'stress': 'eV/Å³'}
        """
        units = {"energy": "eV/atom", "forces": "eV/Å", "stress": "eV/Å³"}
        return {"units": units, **asdict(self)}

    def __str__(self) -> str:
        shown = [column for column in _COLUMNS if getattr(self, column[0]) is not None]
        head, units = ["", "frames"], ["", ""]
        for label, _, unit, _ in shown:
            head += [f"{label} MAE", "RMSE", "max"]
            units += [unit] * 3
        rows = [["all", str(self.n_frames), *_cells(self, shown)]]
        if len(self.per_config) > 1:
            rows += [
                [name or "(none)", str(group.n_frames), *_cells(group, shown)]
                for name, group in self.per_config.items()
            ]
        if len(self.per_element) > 1:
            for symbol, forces in self.per_element.items():
                group = GroupErrors(0, None, forces, None)
                rows.append([f"forces on {symbol}", "", *_cells(group, shown)])
        notes = [f"1 eV/Å³ = {GPA:.1f} GPa"] if self.stress is not None else []
        return "\n".join([*_align([head, units, *rows]), *notes])


def compute_metrics(predictions: Sequence[Prediction], dataset: Dataset) -> Metrics:
    """Compare predictions with the labels of a data set.

    A label that a frame lacks is left out, and so is the stress of a frame whose prediction has
    none; ``count`` tells how many errors there are.

    Parameters
    ----------
    predictions : sequence of Prediction
        One for each frame, in order.
    dataset : Dataset
        The frames with their labels.

    Raises
    ------
    DataError
        If there are more or fewer predictions than frames, one has another number of atoms than
        its frame, or one is not finite.

    Examples
    --------
    >>> from etn.data import Dataset
    >>> dataset = Dataset.read("etn:Mo/test")
    >>> zero = [Prediction(f.energy, np.zeros(f.n_atoms), 0 * f.forces) for f in dataset]
    >>> metrics = compute_metrics(zero, dataset)
    >>> round(metrics.forces.mae, 3), round(metrics.forces.rmse, 3), metrics.stress
    (0.95, 1.568, None)
    >>> print(metrics)
               frames  energy MAE      RMSE       max  forces MAE    RMSE      max
                         meV/atom  meV/atom  meV/atom        eV/Å    eV/Å     eV/Å
    all            23        0.00      0.00      0.00      0.9496  1.5684  11.3924
    Vacancy         3        0.00      0.00      0.00      1.3301  1.7771   7.8259
    AIMD-NVT       12        0.00      0.00      0.00      1.3640  1.9314  11.3924
    Surface         2        0.00      0.00      0.00      0.0134  0.0180   0.0609
    Elastic         6        0.00      0.00      0.00      0.1018  0.1311   0.6057
    """
    if len(predictions) != len(dataset):
        raise DataError(
            f"expected one prediction a frame, came {len(predictions)} for {len(dataset)} frames"
        )
    from ase.data import chemical_symbols

    everything = _Group()
    per_config: dict[str, _Group] = defaultdict(_Group)
    per_element: dict[int, _Sums] = defaultdict(_Sums)
    for index, (prediction, frame) in enumerate(zip(predictions, dataset, strict=True)):
        _check(prediction, frame, index)
        errors = _errors(prediction, frame)
        name = frame.name or str(index)
        for group in (everything, per_config[frame.config_type]):
            group.add(errors, name)
        if "forces" in errors:
            for number in np.unique(frame.numbers):
                per_element[int(number)].add(errors["forces"][frame.numbers == number], name)
    return Metrics(
        **vars(everything.errors()),
        n_atoms=dataset.n_atoms,
        per_element={
            chemical_symbols[number]: per_element[number].statistics()
            for number in sorted(per_element)
        },
        per_config={name: group.errors() for name, group in per_config.items()},
    )


def _errors(prediction: Prediction, frame: Frame) -> dict[str, FloatArray]:
    """Errors of a frame by label, those it has."""
    found: dict[str, FloatArray] = {}
    if frame.energy is not None:
        found["energy"] = np.array([(prediction.energy - frame.energy) / frame.n_atoms])
    if frame.forces is not None:
        found["forces"] = prediction.forces - frame.forces
    if frame.stress is not None and prediction.stress is not None:
        found["stress"] = prediction.stress - frame.stress
    return found


@dataclass
class _Sums:
    """Sums over errors, which need not be held."""

    count: int = 0
    absolute: float = 0.0
    squares: float = 0.0
    plain: float = 0.0
    max: float = -1.0
    worst: str = ""

    def add(self, errors: FloatArray, name: str) -> None:
        size = np.abs(errors)
        self.count += errors.size
        self.absolute += float(size.sum())
        self.squares += float(np.sum(errors**2))
        self.plain += float(errors.sum())
        if (largest := float(size.max())) > self.max:
            self.max, self.worst = largest, name

    def statistics(self) -> ErrorStatistics:
        n = self.count
        rmse = float(np.sqrt(self.squares / n))
        return ErrorStatistics(self.absolute / n, rmse, self.max, self.plain / n, n, self.worst)


class _Group:
    """Sums over the errors of a group of frames."""

    def __init__(self) -> None:
        self.n_frames = 0
        self.labels: dict[str, _Sums] = defaultdict(_Sums)

    def add(self, errors: dict[str, FloatArray], name: str) -> None:
        self.n_frames += 1
        for label, values in errors.items():
            self.labels[label].add(values, name)

    def errors(self) -> GroupErrors:
        known = {label: sums.statistics() for label, sums in self.labels.items()}
        return GroupErrors(self.n_frames, *(known.get(label) for label in LABELS))


def _check(prediction: Prediction, frame: Frame, index: int) -> None:
    name = frame.name or f"frame {index}"
    for field, shape in (("forces", (frame.n_atoms, 3)), ("stress", (6,))):
        value = getattr(prediction, field)
        if value is not None and np.shape(value) != shape:
            raise DataError(
                f"{name}: expected predicted {field} of shape {shape}, came {np.shape(value)}; are "
                "the predictions in the order of the frames?"
            )
    for field in LABELS:
        value = getattr(prediction, field)
        if value is not None and not np.all(np.isfinite(value)):
            raise DataError(
                f"{name}: the predicted {field} is not finite; does the frame have coincident "
                "atoms, or lie far outside what the potential was fitted to?"
            )


def _cells(group: GroupErrors, shown: Sequence[tuple[str, float, str, int]]) -> list[str]:
    cells = []
    for label, factor, _, digits in shown:
        errors = getattr(group, label)
        values = (errors.mae, errors.rmse, errors.max) if errors is not None else (None,) * 3
        cells += ["-" if v is None else f"{factor * v:.{digits}f}" for v in values]
    return cells


def _align(rows: list[list[str]]) -> list[str]:
    """Pad the first column to the right, the others to the left."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    widths[0] = max(widths[0], 9)
    return [
        "  ".join(
            [row[0].ljust(widths[0])]
            + [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        ).rstrip()
        for row in rows
    ]
