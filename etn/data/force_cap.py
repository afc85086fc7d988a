"""Frames with forces beyond a cap: which they are, and errors with and without them.

A frame is left out as a whole. Where one force is far beyond what the potential is for, the energy
and the stress of the frame are as well, and its other forces belong to the same violent structure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from etn.data.dataset import Dataset
from etn.data.frame import Frame
from etn.data.metrics import Metrics, Prediction, compute_metrics
from etn.data.on_disk import Chosen
from etn.errors import DataError
from etn.surface import option

__all__ = ["capped_metrics", "describe_left_out", "split_by_force", "within_force"]

_NAMED = 3  # frames that a message names


def largest_force(frame: Frame) -> float:
    """Length of the largest force of a frame, eV/Å; zero where it has none."""
    if frame.forces is None:
        return 0.0
    return float(np.linalg.norm(frame.forces, axis=1).max())


def within_force(dataset: Dataset, max_force: float) -> NDArray[np.bool_]:
    """Whether no force of a frame is longer than `max_force` (eV/Å), for every frame.

    A frame without forces is within.

    Examples
    --------
    >>> test = Dataset.read("etn:Mo/test")
    >>> within = within_force(test, 10.0)
    >>> len(test), len(test[within])
    (23, 20)
    """
    return np.array([largest_force(frame) <= max_force for frame in dataset])


def split_by_force(dataset: Dataset, max_force: float | None) -> tuple[Dataset, Dataset | None]:
    """The frames with no force longer than `max_force` (eV/Å), and the others if there are any.

    Raises
    ------
    DataError
        If no frame is within.
    """
    within = np.ones(len(dataset), bool) if max_force is None else within_force(dataset, max_force)
    if not within.any():
        least = min(map(largest_force, dataset))
        raise DataError(
            f"{dataset.source}: all {len(dataset)} frames have a force above "
            f"{option('max_force', max_force)} eV/Å (in each at least {least:.3g}); raise it, or "
            "check the unit of the forces"
        )
    return (dataset, None) if within.all() else (dataset[within], dataset[~within])


def describe_left_out(
    max_force: float, kept: Mapping[str, Dataset], left_out: Mapping[str, Dataset]
) -> str:
    """Say which frames of which data set a cap leaves out.

    Examples
    --------
    >>> kept, above = split_by_force(Dataset.read("etn:Mo/test"), 10.0)
    >>> print(describe_left_out(10.0, {"valid": kept}, {"valid": above}))
    3 of 23 frames of valid have forces above 10 eV/Å and are left out (etn:Mo/test:3 10.1 eV/Å,
    etn:Mo/test:4 12.8 eV/Å, etn:Mo/test:7 13 eV/Å)
    """
    texts = []
    for name, frames in left_out.items():
        named = [f"{frame.name} {largest_force(frame):.3g} eV/Å" for frame in frames[:_NAMED]]
        more = ["..."] if len(frames) > _NAMED else []
        total = len(frames) + len(kept[name])
        texts.append(
            f"{len(frames)} of {total} frames of {name} have forces above {max_force:g} eV/Å and "
            f"are left out ({', '.join([*named, *more])})"
        )
    return "; ".join(texts)


def capped_metrics(
    name: str, predictions: Sequence[Prediction], dataset: Dataset, max_force: float | None
) -> dict[str, Metrics]:
    """Errors on all frames of a data set and, if a cap divides them, on those within it.

    Examples
    --------
    >>> test = Dataset.read("etn:Mo/test")
    >>> zero = [Prediction(f.energy, np.zeros(f.n_atoms), 0 * f.forces) for f in test]
    >>> {name: m.n_frames for name, m in capped_metrics("test", zero, test, 10.0).items()}
    {'test': 23, 'test, forces up to 10 eV/Å': 20}
    """
    found = {name: compute_metrics(predictions, dataset)}
    if max_force is not None:
        within = within_force(dataset, max_force)
        if within.any() and not within.all():
            chosen = Chosen(predictions, np.flatnonzero(within))
            title = f"{name}, forces up to {max_force:g} eV/Å"
            found[title] = compute_metrics(chosen, dataset[within])
    return found
