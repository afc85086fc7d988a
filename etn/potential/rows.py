"""From a data set to batches of design rows with targets and weights."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etn.errors import DataError, SettingsError
from etn.network import Chain
from etn.potential.baseline import Baseline
from etn.potential.basis import Basis
from etn.potential.dataset import Dataset
from etn.potential.expansion import Expansion, voigt
from etn.potential.frame import Frame
from etn.potential.memory import ATOMS_PER_BATCH, PAIR, MemoryPlan
from etn.potential.pairs import Pairs
from etn.potential.predict import respond, vacuum_energies
from etn.potential.robust import Doubt, Huber
from etn.sweep import Batch, share

Array = NDArray[np.float64]


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
        """Check that every label with a weight is there.

        Raises
        ------
        DataError
            With the frames that lack one.
        """
        for label in ("energy", "forces", "stress"):
            if not getattr(self, label):
                continue
            missing = [
                frame.name
                for frame in dataset
                if getattr(frame, label) is None and self.count(frame)
            ]
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
        if not weights.count(frame):
            continue
        rows += frame.energy is not None and weights.energy > 0
        rows += 3 * frame.n_atoms * (frame.forces is not None and weights.forces > 0)
        has_stress = frame.stress is not None and frame.volume > 0
        rows += 6 * (has_stress and weights.stress != 0)
    return rows


@dataclass
class _Group:
    """Frames whose rows are built together, or a part of one large frame."""

    frames: Sequence[Frame]
    # Atoms whose energies the rows depend on; None for all.
    centers: NDArray[np.int64] | None
    force_atoms: NDArray[np.int64]
    energy: bool
    stress: bool
    targets: Array
    weights: Array
    pairs: Pairs | None = None
    expansion: Expansion | None = None
    # What multiplies the weights of a robust fit.
    factors: Array | None = None

    @property
    def row_weights(self) -> Array:
        """The square root of what multiplies the squared residual of each row."""
        return self.weights if self.factors is None else self.weights * self.factors

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

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Atoms in each frame."""
        return np.array([frame.n_atoms for frame in self.frames])


class Rows:
    """Design rows of a data set, streamed in batches.

    Frames of similar size are joined to batches; the force rows of a large frame are cut into
    parts, each with the atoms that feel them.  Pairs and features are kept between sweeps as long
    as there is memory for them, else computed anew.

    Parameters
    ----------
    dataset : Dataset
    basis : Basis
    baseline : Baseline
    weights : Weights
        Frames without a label have no row for it.
    robust : Huber, optional
        For :meth:`reweigh`.
    memory : MemoryPlan, optional
    """

    def __init__(
        self,
        dataset: Dataset,
        basis: Basis,
        baseline: Baseline,
        weights: Weights,
        robust: Huber | None = None,
        memory: MemoryPlan | None = None,
    ) -> None:
        self.dataset, self.basis, self.baseline, self.weights = dataset, basis, baseline, weights
        self.robust = robust
        self.memory = MemoryPlan() if memory is None else memory
        # Huber's function less the weighted squares, at the residuals that gave the weights.
        self.offset = 0.0
        self._kept = 0.0
        self._groups = [
            group
            for frames in join_frames(
                sorted(dataset, key=lambda frame: frame.n_atoms), basis, self.memory
            )
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
        factors = np.sqrt([w.count(frame) for frame in frames])
        labels = np.array([np.nan if f.energy is None else f.energy for f in frames])
        energies: Array = labels - base
        has_energy = np.isfinite(energies)
        energy_weights = np.where(has_energy, factors * w.energy / np.sqrt(n), 0.0)
        energies = np.where(has_energy, energies, 0.0)
        w_stress = w.DEFAULT_STRESS if w.stress is None else w.stress
        has_stress = np.array([f.stress is not None and f.volume > 0 for f in frames]) & (
            factors * w_stress > 0
        )
        strain = np.zeros((len(frames), 6))
        for k, frame in enumerate(frames):
            if has_stress[k] and frame.stress is not None:
                strain[k] = frame.stress * frame.volume - voigt(base_strain[k])
        strain_weights = np.repeat(np.where(has_stress, factors * w_stress / n, 0.0), 6)
        forces = np.concatenate(
            [np.zeros((f.n_atoms, 3)) if f.forces is None else f.forces for f in frames]
        )
        force_weights = np.repeat(factors * w.forces, n)
        known = np.repeat([f.forces is not None for f in frames], n) & (force_weights > 0)
        movable = np.flatnonzero(known)
        residual = forces - base_forces
        use_energy, use_stress = bool(energy_weights.any()), bool(has_stress.any())

        def group(part: Pairs, atoms: NDArray[np.int64], energy: bool, stress: bool) -> _Group:
            targets: list[Array] = [energies] if energy else []
            weights: list[Array] = [energy_weights] if energy else []
            targets.append(residual[atoms].ravel())
            weights.append(np.repeat(force_weights[atoms], 3))
            if stress:
                targets.append(strain.ravel())
                weights.append(strain_weights)
            kept = PAIR * len(part.distance)
            fits = self._kept + kept <= self.memory.kept
            self._kept += kept if fits else 0.0
            return _Group(
                frames,
                None if part is pairs else part.sample,
                atoms,
                energy,
                stress,
                np.concatenate(targets),
                np.concatenate(weights),
                part if fits else None,
            )

        if len(movable) <= most_atoms(pairs, self.basis, self.memory):
            if len(movable) or use_energy or use_stress:
                yield group(pairs, movable, use_energy, use_stress)
            return
        if use_energy or use_stress:
            yield group(pairs, movable[:0], use_energy, use_stress)
        for atoms, felt in force_parts(pairs, movable, frames, self.basis, self.memory):
            yield group(felt, atoms, False, False)

    def _expand(self, group: _Group) -> Expansion:
        if group.expansion is not None:
            return group.expansion
        pairs = group.pairs
        if pairs is None:
            pairs = Pairs.find(group.frames, self.basis.elements, self.basis.r_max)
            pairs = pairs if group.centers is None else pairs.select(group.centers)
        expansion = self.basis.expand(pairs)
        size = expansion.nbytes
        if self._kept + size <= self.memory.kept:
            self._kept += size
            group.expansion = expansion
        return expansion

    def forget(self) -> None:
        """Give back the memory of kept features; they are computed anew when needed."""
        for group in self._groups:
            if group.expansion is not None:
                self._kept -= group.expansion.nbytes
                group.expansion = None

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
        return Batch(samples, group.targets, group.row_weights)

    def measure(self, chain: Chain) -> dict[str, float]:
        """Mean absolute errors of energy (meV/atom) and forces (eV/Å), and the weighted loss.

        Computed from the rows' own targets, so labels without weight do not count.  The loss is
        that of the plain weights, or of Huber's function at its present scales.
        """
        losses: list[float] = []
        errors: dict[str, list[Array]] = {"E": [], "F": []}
        for group, found in self._errors(chain):
            parts, weights = group.labels(found), group.labels(group.weights)
            if group.energy:
                known = weights["energy"][:, 0] > 0
                errors["E"].append((parts["energy"][:, 0] / group.sizes)[known])
            errors["F"].append(parts["forces"].ravel())
            losses.append(self._loss(group, found))
        measures = {"loss": sum(losses)}
        for name, scale in (("E", 1e3), ("F", 1.0)):
            stacked = np.concatenate([*errors[name], np.empty(0)])
            if len(stacked):
                measures[name] = scale * float(np.abs(stacked).mean())
        return measures

    def _loss(self, group: _Group, errors: Array) -> float:
        """Loss of the rows of a group."""
        if self.robust is None:
            return float(np.sum((group.weights * errors) ** 2))
        squares = group.labels((group.weights * errors) ** 2)
        total = 0.0
        for label, norms in group.norms(errors).items():
            # rho(r) / r^2 does not depend on the units that the weights turn r into.
            share = self.robust.loss(label, norms) / np.where(norms > 0, norms, 1.0) ** 2
            total += float(share @ squares[label].sum(axis=1))
        return total

    def reweigh(self, chain: Chain) -> dict[str, float]:
        """Weigh labels that lie far from a chain down, as Huber's function has it.

        Returns
        -------
        dict
            ``"outliers E"``, ``"outliers F"``, ``"outliers S"``: the energies, force vectors and
            stresses that were weighed down; ``"scale E"``, ...: the scales in eV/atom and eV/Å.

        Raises
        ------
        SettingsError
            If the rows have no robust function.
        """
        if self.robust is None:
            raise SettingsError("reweigh: expected rows with a robust function, got robust=None")
        found = self._errors(chain)
        norms = [(group, errors, group.norms(errors)) for group, errors in found]
        used = [
            {label: of_label[_weighted(group, label)] for label, of_label in of_group.items()}
            for group, _, of_group in norms
        ]
        self.robust.update(
            {label: np.concatenate([u[label] for u in used]) for label in used[0]} if used else {}
        )
        outliers = dict.fromkeys(self.robust.scales, 0)
        self.offset = 0.0
        for group, errors, of_group in norms:
            rows = {label: np.ones_like(part) for label, part in group.labels(errors).items()}
            for label, of_label in of_group.items():
                weights = self.robust.weights(label, of_label)
                rows[label] *= np.sqrt(weights)[:, None]
                if label in outliers:
                    outliers[label] += int(np.sum((weights < 1) & _weighted(group, label)))
            group.factors = np.concatenate([part.ravel() for part in rows.values()])
            self.offset += self._loss(group, errors) - float(
                np.sum((group.row_weights * errors) ** 2)
            )
        measures = {f"outliers {label[0].upper()}": float(n) for label, n in outliers.items()}
        return measures | self.robust.measures()

    def doubts(self, chain: Chain) -> list[Doubt]:
        """Labels that lie far beyond all others from a chain, the worst first."""
        if self.robust is None:
            return []
        found = [(group, group.norms(errors)) for group, errors in self._errors(chain)]
        doubts = []
        for label, scale in self.robust.scales.items():
            used = [of_group[label][_weighted(group, label)] for group, of_group in found]
            bound = self.robust.doubtful(label, np.concatenate(used))
            for group, of_group in found:
                norms = of_group[label]
                for index in np.flatnonzero((norms > bound) & _weighted(group, label)):
                    frame, atom = int(index), None
                    if label == "forces":
                        ends = np.cumsum(group.sizes)
                        atom = int(group.force_atoms[index])
                        frame = int(np.searchsorted(ends, atom, side="right"))
                        atom -= int(ends[frame] - group.sizes[frame])
                    norm = float(norms[index])
                    doubts.append(Doubt(group.frames[frame].name, label, atom, norm, norm / scale))
        return sorted(doubts, key=lambda doubt: -doubt.scales)

    def _errors(self, chain: Chain) -> list[tuple[_Group, Array]]:
        """Prediction minus target of every row, group by group."""
        work = partial(self._errors_of, chain, vacuum_energies(chain, self.basis))
        shares = share(work, self._groups, most=self.memory.threads)
        return [found for part in shares for found in part]

    def _errors_of(
        self, chain: Chain, vacuum: Array, groups: Iterator[_Group]
    ) -> list[tuple[_Group, Array]]:
        found = []
        for group in groups:
            expansion = self._expand(group)
            response, pairs = respond(chain, expansion, vacuum), expansion.pairs
            values: list[Array] = []
            if group.energy:
                values.append(
                    np.bincount(pairs.sample_frame, response.energies, pairs.n_frames).astype(float)
                )
            values.append(response.forces[group.force_atoms].ravel())
            if group.stress:
                values.append(voigt(response.strain).ravel())
            found.append((group, np.concatenate(values) - group.targets))
        return found


def _weighted(group: _Group, label: str) -> NDArray[np.bool_]:
    """Which labels have a weight."""
    return np.any(group.labels(group.weights)[label] > 0, axis=1)


def join_frames(
    frames: Sequence[Frame], basis: Basis, memory: MemoryPlan | None = None
) -> Iterator[list[Frame]]:
    """Join frames to batches of some tens of atoms, within the memory of a batch."""
    memory = MemoryPlan() if memory is None else memory
    batch: list[Frame] = []
    atoms = 0
    for frame in frames:
        total = atoms + frame.n_atoms
        too_large = 24.0 * basis.leg.dim * total**2 > memory.directions
        if memory.rows is not None:
            too_large |= 3 * total + 7 * (len(batch) + 1) > memory.rows
        if batch and (atoms >= ATOMS_PER_BATCH or too_large):
            yield batch
            batch, atoms = [], 0
        batch.append(frame)
        atoms += frame.n_atoms
    if batch:
        yield batch


def most_atoms(pairs: Pairs, basis: Basis, memory: MemoryPlan | None = None) -> int:
    """Atoms whose forces fit in the memory of a batch together."""
    memory = MemoryPlan() if memory is None else memory
    most = int(memory.directions / (24.0 * basis.leg.dim * pairs.n_samples))
    return max(1, most if memory.rows is None else min(most, memory.rows // 3))


def force_parts(
    pairs: Pairs,
    atoms: NDArray[np.int64],
    frames: Sequence[Frame],
    basis: Basis,
    memory: MemoryPlan | None = None,
) -> Iterator[tuple[NDArray[np.int64], Pairs]]:
    """Atoms whose forces fit in memory together, with the pairs of the centers that feel them."""
    most = most_atoms(pairs, basis, memory)
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
