"""What multiplies the residuals of a fit, and how many rows that leaves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from etn.data.dataset import Dataset
from etn.data.frame import Frame
from etn.data.missing import LABEL_NAMES, key_hint, lacks
from etn.data.on_disk import Chosen
from etn.errors import DataError, SettingsError
from etn.surface import option


@dataclass(frozen=True)
class Weights:
    """What multiplies the residuals of a fit.

    loss = sum_frames [ (w_E dE)^2 / N + sum (w_F dF)^2 + sum (w_S d(sigma V) / N)^2 ]

    with N the number of atoms.  Errors of atoms that are independent add up to sqrt(N) of one, so
    an energy divided by sqrt(N) says as much of a large frame as of a small one.  The terms of a
    frame are multiplied by its own weight and that of its kind: one of weight 2 counts as two.

    Parameters
    ----------
    energy, forces, stress : float
        Positive; zero leaves a label out.  ``stress=None`` uses the default where a frame
        has a stress; a number demands one of every frame.
    kinds : mapping of str to float, optional
        How many times frames of a ``config_type`` count, 1 for those not named.

    Raises
    ------
    SettingsError
        If a weight is negative or all are zero.

    Examples
    --------
    >>> frame = Dataset.read("etn:Mo/train", index=0)[0]
    >>> frame.config_type, Weights(kinds={"Vacancy": 2.0}).count(frame)
    ('Vacancy', 2.0)
    """

    energy: float = 30.0
    forces: float = 1.0
    stress: float | None = None
    kinds: Mapping[str, float] | None = None

    DEFAULT_STRESS = 1.0

    def __post_init__(self) -> None:
        for label in ("energy", "forces", "stress"):
            value = getattr(self, label)
            if value is not None and not 0 <= value < np.inf:
                raise SettingsError(
                    f"weights: {label} must be a finite number, zero or more, got {value}"
                )
        if not (self.energy or self.forces or self.stress):
            raise SettingsError("weights: all are zero, so there is nothing to fit")
        for kind, value in (self.kinds or {}).items():
            if not 0 <= value < np.inf:
                raise SettingsError(
                    f'weights: that of kind "{kind}" must be a finite number, zero or more, '
                    f"got {value}"
                )

    def count(self, frame: Frame) -> float:
        """How many times a frame counts: its weight times that of its kind."""
        return frame.weight * (self.kinds or {}).get(frame.config_type, 1.0)

    def check_kinds(self, *datasets: Dataset) -> None:
        """Check that there are frames of each kind with a weight of its own.

        Raises
        ------
        SettingsError
            With the kinds that there are.
        """
        found = Counter(frame.config_type for dataset in datasets for frame in dataset)
        unknown = [kind for kind in self.kinds or {} if kind not in found]
        if unknown:
            there = ", ".join(f'"{kind}" ({n} frames)' for kind, n in found.items())
            raise SettingsError(
                f'weights: no frame has the config_type "{unknown[0]}", expected one of {there}'
            )

    @classmethod
    def of(cls, weights: Weights | Mapping[str, Any] | None) -> Weights:
        """Weights from a mapping of label to number; what is missing has its default."""
        if isinstance(weights, Weights):
            return weights
        given = dict(weights or {})
        unknown = sorted(given.keys() - {"energy", "forces", "stress", "kinds"})
        if unknown:
            raise SettingsError(
                f"weights: expected energy, forces, stress and kinds, got {', '.join(unknown)}"
            )
        return cls(**given)

    def require(self, dataset: Dataset, *, what: str) -> None:
        """Check that every label with a weight is there, but for those left out in reading.

        A stress is asked of frames that are periodic in all three directions alone.

        Raises
        ------
        DataError
            With the frames that lack one.
        """
        keys = dataset.label_keys
        faults, some = [], False
        if self.stress and "stress" not in keys.used():
            faults.append(
                f"the stress is left out ({option('stress_key', None)}), but "
                f"{option('stress_weight', self.stress)} demands one of every frame"
            )
        for label in keys.used():  # what was left out in reading is not fitted
            if not getattr(self, label):
                continue
            places = [k for k, f in enumerate(dataset) if lacks(f, label) and self.count(f)]
            missing = Chosen(dataset, places)
            if not missing:
                continue
            if len(missing) == len(dataset):
                what_lacks = f"none of the {len(dataset)} frames has {LABEL_NAMES[label]} ("
            else:
                names = ", ".join(frame.name for frame in missing[:3])
                names += ", ..." if len(missing) > 3 else ""
                what_lacks = f"{len(missing)} of {len(dataset)} frames have no {label} ({names}; "
                some = True
            faults.append(
                f"{what_lacks}{keys.describe(label)}), {key_hint(missing, label, keys)}; to fit "
                f"without, set {option(f'{label}_weight', 0)}"
            )
        if faults:
            remedy = "remove these frames, or " if some else ""
            raise DataError(
                f"{what}: {'. '.join(faults)}. Or {remedy}allow that labels are missing with "
                f"{option('missing', 'skip')}"
            )


def count_rows(dataset: Dataset, weights: Weights) -> int:
    """Data rows of a fit: labels with a weight, each component of forces and stress one row.

    Examples
    --------
    >>> from etn.potential import Dataset, Weights
    >>> count_rows(Dataset.read("etn:Mo/train"), Weights())
    31619
    """
    rows = 0
    for frame in dataset:
        if not weights.count(frame):
            continue
        rows += frame.energy is not None and weights.energy > 0
        rows += 3 * frame.n_atoms * (frame.forces is not None and weights.forces > 0)
        rows += 6 * (frame.stress is not None and weights.stress != 0)
    return rows
