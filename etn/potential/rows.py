"""From a data set to batches of design rows with targets and weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from etn.errors import DataError, SettingsError
from etn.network import Chain
from etn.potential.baseline import Baseline
from etn.potential.basis import Basis
from etn.potential.dataset import Dataset
from etn.potential.expansion import Expansion, voigt
from etn.potential.frame import Frame
from etn.potential.pairs import Pairs
from etn.potential.predict import respond, vacuum_energies
from etn.sweep import Batch, share

Array = NDArray[np.float64]

# Frames are joined until a batch has this many atoms, so that matrix products are large.
ATOMS_PER_BATCH = 48
# Bounds of the direction arrays of one batch and of all features kept between sweeps, bytes.
MAX_DIRECTIONS = 96e6
MAX_KEPT = 1e9


@dataclass(frozen=True)
class Weights:
    """What multiplies the residuals of a fit.

    loss = sum_frames [ (w_E dE / N)^2 + sum (w_F dF)^2 + sum (w_S d(sigma V) / N)^2 ]

    with N the number of atoms: all residuals are in eV/atom or eV/Å.

    Parameters
    ----------
    energy, forces, stress : float
        Positive; zero leaves a label out.  ``stress=None`` uses the default where a frame
        has a stress; a number demands one of every frame.

    Raises
    ------
    SettingsError
        If a weight is negative or all are zero.
    """

    energy: float = 100.0
    forces: float = 1.0
    stress: float | None = None

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

    @classmethod
    def of(cls, weights: Weights | Mapping[str, float] | None) -> Weights:
        """Weights from a mapping of label to number; what is missing has its default."""
        if isinstance(weights, cls):
            return weights
        given = dict(weights or {})  # type: ignore[arg-type]
        unknown = sorted(given.keys() - {"energy", "forces", "stress"})
        if unknown:
            raise SettingsError(
                f"weights: expected energy, forces and stress, got {', '.join(unknown)}"
            )
        return cls(**given)

    def require(self, dataset: Dataset, *, what: str) -> None:
        """Check that every label with a weight is there.

        Raises
        ------
        DataError
            With the frames that lack one.
        """
        for label in ("energy", "forces", "stress"):
            if not getattr(self, label):
                continue
            missing = [frame.name for frame in dataset if getattr(frame, label) is None]
            if missing:
                names = ", ".join(missing[:3]) + (", ..." if len(missing) > 3 else "")
                raise DataError(
                    f"{what}: {len(missing)} of {len(dataset)} frames have no {label} "
                    f"({names}), but its weight is {getattr(self, label):g}: give the key under "
                    f"which the file has it, remove these frames, set the weight of {label} to "
                    '0, or allow frames without it with missing="skip"'
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
        rows += frame.energy is not None and weights.energy > 0
        rows += 3 * frame.n_atoms * (frame.forces is not None and weights.forces > 0)
        has_stress = frame.stress is not None and frame.volume > 0
        rows += 6 * (has_stress and weights.stress != 0)
    return rows


@dataclass
class _Group:
    """Frames whose rows are built together, or a part of one large frame."""

    frames: Sequence[Frame]
    pairs: Pairs
    force_atoms: NDArray[np.int64]
    energy: bool
    stress: bool
    targets: Array
    weights: Array
    expansion: Expansion | None = None


class Rows:
    """Design rows of a data set, streamed in batches.

    Frames of similar size are joined to batches; the force rows of a large frame are cut into
    parts, each with the atoms that feel them.  Features are kept between sweeps as long as
    they fit in :data:`MAX_KEPT` bytes, else computed anew.

    Parameters
    ----------
    dataset : Dataset
    basis : Basis
    baseline : Baseline
    weights : Weights
        Frames without a label have no row for it.
    """

    def __init__(
        self, dataset: Dataset, basis: Basis, baseline: Baseline, weights: Weights
    ) -> None:
        self.dataset, self.basis, self.baseline, self.weights = dataset, basis, baseline, weights
        self._kept = 0.0
        self._groups = [
            group
            for frames in join_frames(sorted(dataset, key=lambda frame: frame.n_atoms), basis)
            for group in self._split(frames)
        ]

    def _split(self, frames: Sequence[Frame]) -> Iterator[_Group]:
        basis = self.basis
        pairs = Pairs.find(frames, basis.elements, basis.r_max)
        base_energies, base_forces, base_strain = self.baseline.evaluate(
            pairs, basis.elements, basis.r_max
        )
        base = np.bincount(pairs.frame, base_energies, pairs.n_frames)
        n = np.array([frame.n_atoms for frame in frames])
        w = self.weights
        labels = np.array([np.nan if f.energy is None else f.energy for f in frames])
        energies: Array = labels - base
        has_energy = np.isfinite(energies)
        energy_weights = np.where(has_energy, w.energy / n, 0.0)
        energies = np.where(has_energy, energies, 0.0)
        w_stress = w.DEFAULT_STRESS if w.stress is None else w.stress
        has_stress = np.array([f.stress is not None and f.volume > 0 for f in frames]) & (
            w_stress > 0
        )
        strain = np.zeros((len(frames), 6))
        for k, frame in enumerate(frames):
            if has_stress[k] and frame.stress is not None:
                strain[k] = frame.stress * frame.volume - voigt(base_strain[k])
        strain_weights = np.repeat(np.where(has_stress, w_stress / n, 0.0), 6)
        forces = np.concatenate(
            [np.zeros((f.n_atoms, 3)) if f.forces is None else f.forces for f in frames]
        )
        known = np.repeat([f.forces is not None and w.forces > 0 for f in frames], n)
        movable = np.flatnonzero(known)
        residual = forces - base_forces
        use_energy, use_stress = bool(energy_weights.any()), bool(has_stress.any())

        def group(part: Pairs, atoms: NDArray[np.int64], energy: bool, stress: bool) -> _Group:
            targets: list[Array] = [energies] if energy else []
            weights: list[Array] = [energy_weights] if energy else []
            targets.append(residual[atoms].ravel())
            weights.append(np.full(3 * len(atoms), w.forces))
            if stress:
                targets.append(strain.ravel())
                weights.append(strain_weights)
            return _Group(
                frames,
                part,
                atoms,
                energy,
                stress,
                np.concatenate(targets),
                np.concatenate(weights),
            )

        if len(movable) <= most_atoms(pairs, self.basis):
            if len(movable) or use_energy or use_stress:
                yield group(pairs, movable, use_energy, use_stress)
            return
        if use_energy or use_stress:
            yield group(pairs, movable[:0], use_energy, use_stress)
        for atoms, felt in force_parts(pairs, movable, frames, self.basis):
            yield group(felt, atoms, False, False)

    def _expand(self, group: _Group) -> Expansion:
        if group.expansion is not None:
            return group.expansion
        expansion = self.basis.expand(group.pairs)
        size = expansion.nbytes
        if self._kept + size <= MAX_KEPT:
            self._kept += size
            group.expansion = expansion
        return expansion

    def __len__(self) -> int:
        return sum(len(group.targets) for group in self._groups)

    def batches(self) -> Iterator[Batch]:
        """All batches, built anew at each call."""
        for build in self.builders():
            yield build()

    def builders(self) -> list[Callable[[], Batch]]:
        """One function for each batch that builds it."""
        return [partial(self._build, group) for group in self._groups]

    def _build(self, group: _Group) -> Batch:
        samples = self._expand(group).samples(
            energy=group.energy, force_atoms=group.force_atoms, strain=group.stress
        )
        return Batch(samples, group.targets, group.weights)

    def measure(self, chain: Chain) -> dict[str, float]:
        """Mean absolute errors of energy (meV/atom) and forces (eV/Å), and the weighted loss.

        Computed from the rows' own targets, so labels without weight do not count.
        """
        parts = [
            error
            for share_of in share(partial(self._errors, chain), self._groups)
            for error in share_of
        ]
        measures = {"loss": sum(loss for loss, _, _ in parts)}
        for name, scale, values in (
            ("E", 1e3, [energy for _, energy, _ in parts]),
            ("F", 1.0, [force for _, _, force in parts]),
        ):
            stacked = np.concatenate([*values, np.empty(0)])
            if len(stacked):
                measures[name] = scale * float(np.abs(stacked).mean())
        return measures

    def _errors(self, chain: Chain, groups: Iterator[_Group]) -> list[tuple[float, Array, Array]]:
        """Loss, energy errors per atom and force errors of each group."""
        found = []
        vacuum = vacuum_energies(chain, self.basis)
        for group in groups:
            response = respond(chain, self._expand(group), vacuum)
            pairs, n_forces = group.pairs, 3 * len(group.force_atoms)
            at = pairs.n_frames if group.energy else 0
            values: list[Array] = []
            if group.energy:
                values.append(
                    np.bincount(pairs.sample_frame, response.energies, pairs.n_frames).astype(float)
                )
            values.append(response.forces[group.force_atoms].ravel())
            if group.stress:
                values.append(voigt(response.strain).ravel())
            errors = np.concatenate(values) - group.targets
            n = np.bincount(pairs.frame, minlength=pairs.n_frames)[:at]
            loss = float(np.sum((group.weights * errors) ** 2))
            energy = (errors[:at] / n)[group.weights[:at] > 0]
            found.append((loss, energy, errors[at : at + n_forces]))
        return found


def join_frames(frames: Sequence[Frame], basis: Basis) -> Iterator[list[Frame]]:
    """Join frames to batches of some tens of atoms, within the memory of a batch."""
    batch: list[Frame] = []
    atoms = 0
    for frame in frames:
        total = atoms + frame.n_atoms
        too_large = 24.0 * basis.leg.dim * total**2 > MAX_DIRECTIONS
        if batch and (atoms >= ATOMS_PER_BATCH or too_large):
            yield batch
            batch, atoms = [], 0
        batch.append(frame)
        atoms += frame.n_atoms
    if batch:
        yield batch


def most_atoms(pairs: Pairs, basis: Basis) -> int:
    """Atoms whose forces fit in the memory of a batch together."""
    return max(1, int(MAX_DIRECTIONS / (24.0 * basis.leg.dim * pairs.n_samples)))


def force_parts(
    pairs: Pairs, atoms: NDArray[np.int64], frames: Sequence[Frame], basis: Basis
) -> Iterator[tuple[NDArray[np.int64], Pairs]]:
    """Atoms whose forces fit in memory together, with the pairs of the centers that feel them."""
    most = most_atoms(pairs, basis)
    if len(atoms) <= most:
        yield atoms, pairs
        return
    positions = np.concatenate([frame.positions for frame in frames])
    for part in neighbourhoods(atoms, positions, min(most, ATOMS_PER_BATCH)):
        near = np.zeros(pairs.n_atoms, dtype=bool)
        near[part] = True
        felt = near[pairs.sample]
        felt[pairs.center[near[pairs.neighbor]]] = True
        yield part, pairs.select(np.flatnonzero(felt))


def neighbourhoods(
    atoms: NDArray[np.int64], positions: Array, size: int
) -> Iterator[NDArray[np.int64]]:
    """Halve a set of atoms along its longest side until the parts have at most this size."""
    if len(atoms) <= size:
        yield np.sort(atoms)
        return
    here = positions[atoms]
    axis = int(np.argmax(np.ptp(here, axis=0)))
    order = atoms[np.argsort(here[:, axis], kind="stable")]
    half = len(order) // 2
    yield from neighbourhoods(order[:half], positions, size)
    yield from neighbourhoods(order[half:], positions, size)
