"""From a data set to batches of design rows with targets and weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from etn.data.dataset import Dataset
from etn.data.frame import Frame
from etn.data.labels import voigt
from etn.errors import SettingsError
from etn.network import Chain
from etn.potential.baseline import Baseline
from etn.potential.features.basis import Basis
from etn.potential.features.batching import force_parts, join_frames, most_atoms
from etn.potential.features.expansion import Expansion
from etn.potential.features.pairs import Pairs
from etn.potential.fitting.memory import PAIR, MemoryPlan
from etn.potential.fitting.robust import Doubt, Huber
from etn.potential.fitting.weights import Weights
from etn.potential.response import respond, vacuum_energies
from etn.sweep import Batch, share

Array = NDArray[np.float64]


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
                sorted(dataset, key=lambda frame: frame.n_atoms), basis, self.memory.batch
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

        if len(movable) <= most_atoms(pairs, self.basis, self.memory.batch):
            if len(movable) or use_energy or use_stress:
                yield group(pairs, movable, use_energy, use_stress)
            return
        if use_energy or use_stress:
            yield group(pairs, movable[:0], use_energy, use_stress)
        for atoms, felt in force_parts(pairs, movable, frames, self.basis, self.memory.batch):
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
