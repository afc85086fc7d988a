"""From labels to the targets and weights of rows: one rule for every kind of potential."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from etn.backend import FloatArray as Array
from etn.data.frame import Frame
from etn.data.stress import voigt
from etn.data.weights import Weights
from etn.potential.baseline import Baseline
from etn.potential.features.inner import Inner
from etn.potential.features.pairs import Pairs
from etn.potential.response import Response


class Domain(Protocol):
    """Where a potential is defined: a basis or a potential."""

    @property
    def elements(self) -> tuple[str, ...]:
        """Chemical symbols."""
        ...

    @property
    def r_max(self) -> float:
        """Å."""
        ...

    @property
    def inner(self) -> Inner | None:
        """Where the data end."""
        ...


@dataclass(frozen=True, eq=False)
class Targets:
    """What the network should answer for some frames, and how much that weighs.

    Targets are labels less the baseline.  The square of a weight multiplies the squared residual;
    it is zero, and the target too, where a frame lacks the label.

    Attributes
    ----------
    energy, energy_weights : (frames,), eV
    forces : (atoms, 3), eV/Å
    force_weights : (atoms,)
    strain : (frames, 6), eV
        Stress times volume, in Voigt order.
    strain_weights : (frames,)
    """

    energy: Array
    energy_weights: Array
    forces: Array
    force_weights: Array
    strain: Array
    strain_weights: Array

    @classmethod
    def of(
        cls,
        frames: Sequence[Frame],
        pairs: Pairs,
        baseline: Baseline,
        weights: Weights,
        domain: Domain,
    ) -> Targets:
        """Targets of frames with their pairs; see :class:`Weights` for the loss."""
        base_energies, base_forces, base_strain = baseline.evaluate(
            pairs, domain.elements, domain.r_max, domain.inner
        )
        n = np.array([frame.n_atoms for frame in frames])
        factors = np.sqrt([weights.count(frame) for frame in frames])
        labels = np.array([np.nan if f.energy is None else f.energy for f in frames])
        energy: Array = labels - np.bincount(pairs.frame, base_energies, pairs.n_frames)
        known = np.isfinite(energy)
        forces = np.concatenate(
            [np.zeros((f.n_atoms, 3)) if f.forces is None else f.forces for f in frames]
        )
        has_forces = np.repeat([f.forces is not None for f in frames], n)
        of_stress = weights.DEFAULT_STRESS if weights.stress is None else weights.stress
        strain, strain_weights = np.zeros((len(frames), 6)), np.zeros(len(frames))
        for k, frame in enumerate(frames):
            if frame.stress is not None and factors[k] * of_stress > 0:
                strain[k] = frame.stress * frame.volume - voigt(base_strain[k])
                strain_weights[k] = factors[k] * of_stress / n[k]
        return cls(
            np.where(known, energy, 0.0),
            np.where(known, factors * weights.energy / np.sqrt(n), 0.0),
            np.where(has_forces[:, None], forces - base_forces, 0.0),
            np.where(has_forces, np.repeat(factors * weights.forces, n), 0.0),
            strain,
            strain_weights,
        )

    def rows(self, atoms: NDArray[np.int64], *, energy: bool, stress: bool) -> tuple[Array, Array]:
        """Targets and weights of rows: energies if asked for, forces on atoms, strains."""
        targets = [self.energy] if energy else []
        weights = [self.energy_weights] if energy else []
        targets.append(self.forces[atoms].ravel())
        weights.append(np.repeat(self.force_weights[atoms], 3))
        if stress:
            targets.append(self.strain.ravel())
            weights.append(np.repeat(self.strain_weights, 6))
        return np.concatenate(targets), np.concatenate(weights)


@dataclass(frozen=True, eq=False)
class RowGroup:
    """Frames whose rows are built together, or a part of one large frame; a plain value.

    Attributes
    ----------
    frames : sequence of Frame
    force_atoms : (k,) int
        Atoms, counted through the frames, whose force components are rows.
    energy, stress : bool
        Whether the energies of all frames, and their strain derivatives, are rows.
    targets, weights : (rows,)
        Energies, then forces, then strains.
    centers : (samples,) int, optional
        Atoms whose energies the rows depend on; None for all.
    pairs : Pairs, optional
        Those of the centers, if they are kept.
    """

    frames: Sequence[Frame]
    force_atoms: NDArray[np.int64]
    energy: bool
    stress: bool
    targets: Array
    weights: Array
    centers: NDArray[np.int64] | None = None
    pairs: Pairs | None = None

    @property
    def wanted(self) -> dict[str, Any]:
        """Which rows there are, in the words of what builds them."""
        return {"energy": self.energy, "force_atoms": self.force_atoms, "strain": self.stress}

    def rows(self, response: Response, pairs: Pairs) -> Array:
        """Every row, from what the centers answer: (rows,)."""
        values: list[Array] = []
        if self.energy:
            sums = np.bincount(pairs.sample_frame, response.energies, pairs.n_frames)
            values.append(sums.astype(float))
        values.append(response.forces[self.force_atoms].ravel())
        if self.stress:
            values.append(voigt(response.strain).ravel())
        return np.concatenate(values)

    def labels(self, rows: Array) -> dict[str, Array]:
        """Entries of the rows (rows,) as one line for each label, those without weight as well."""
        n_frames, n_atoms = len(self.frames), len(self.force_atoms)
        shapes = {
            "energy": (n_frames * self.energy, 1),
            "forces": (n_atoms, 3),
            "stress": (n_frames * self.stress, 6),
        }
        found, at = {}, 0
        for label, (count, width) in shapes.items():
            found[label] = rows[at : at + count * width].reshape(count, width)
            at += count * width
        return found

    def norms(self, errors: Array) -> dict[str, Array]:
        """Residual of each label: energies and stress per atom, whole force vectors."""
        found = {label: np.linalg.norm(part, axis=1) for label, part in self.labels(errors).items()}
        for label in ("energy", "stress"):
            if len(found[label]):
                found[label] /= self.sizes
        return found

    def weighted(self, label: str) -> NDArray[np.bool_]:
        """Which labels have a weight."""
        return np.any(self.labels(self.weights)[label] > 0, axis=1)

    def place(self, label: str, index: int) -> tuple[Frame, int | None]:
        """The frame of a label, and for a force the atom in that frame."""
        if label != "forces":
            return self.frames[index], None
        ends = np.cumsum(self.sizes)
        atom = int(self.force_atoms[index])
        frame = int(np.searchsorted(ends, atom, side="right"))
        return self.frames[frame], atom - int(ends[frame] - self.sizes[frame])

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Atoms in each frame."""
        return np.array([frame.n_atoms for frame in self.frames])
