"""Laws of interatomic potentials."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etn.backend import FloatArray as Array
from etn.data.frame import Frame
from etn.data.metrics import Prediction
from etn.o3.rotation import random_rotation
from etn.testing.suite import Laws

VOIGT = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))


class PotentialLaws(Laws):
    """What holds for every interatomic potential.

    Subclass it in a test module, with a name that starts with Test, and provide
    :meth:`make_potential` and :meth:`make_frames`; a potential that is no
    :class:`etn.potential.Potential` may need :meth:`load`, :meth:`r_max` and
    :meth:`isolated_energy` as well.

    Attributes
    ----------
    tolerance : float
        Of symmetries, relative to the largest energy of an atom (without E0), force or stress.
    derivative_tolerance : float
        Of forces and stress against finite differences, relative to the largest of them.
    step : float
        Of the finite differences (fourth order), Å; of strains a tenth of it.
    """

    seeds = (0, 1)
    tolerance = 1e-10
    derivative_tolerance = 1e-6
    step = 1e-3

    def make_potential(self, rng: np.random.Generator) -> Any:
        """A potential with non-zero energies and forces."""
        raise NotImplementedError

    def make_frames(self, rng: np.random.Generator) -> list[Frame]:
        """Some small frames, periodic and not, with several atoms each."""
        raise NotImplementedError

    def load(self, path: Path) -> Any:
        """Read what ``potential.save(path)`` wrote."""
        import etn

        return etn.load(path)

    def r_max(self, potential: Any) -> float:
        """Radius of the neighbourhood of an atom, Å."""
        return float(potential.r_max)

    def isolated_energy(self, potential: Any, symbol: str) -> float:
        """Energy of an isolated atom, eV."""
        return float(potential.baseline.e0[symbol])

    def _cases(self) -> Iterator[tuple[Any, list[Frame], np.random.Generator]]:
        for rng in self.generators():
            potential = self.make_potential(rng)
            yield potential, self.make_frames(rng), rng

    def test_rotations_turn_forces_and_stress(self) -> None:
        """Proper rotations."""
        for potential, frames, rng in self._cases():
            self._turn(potential, frames, random_rotation(rng))

    def test_reflections_and_inversion_turn_forces_and_stress(self) -> None:
        """Improper rotations."""
        for potential, frames, rng in self._cases():
            self._turn(potential, frames, random_rotation(rng, reflect=True))
            self._turn(potential, frames, -np.eye(3))

    def _turn(self, potential: Any, frames: list[Frame], R: Array) -> None:
        turned = [replace(f, positions=f.positions @ R.T, cell=f.cell @ R.T) for f in frames]
        expected = []
        for one in potential.predict(frames):
            stress = None if one.stress is None else _to_voigt(R @ _matrix(one.stress) @ R.T)
            expected.append(Prediction(one.energy, one.energies, one.forces @ R.T, stress))
        self._same(potential.predict(turned), expected)

    def test_permutations_permute(self) -> None:
        """The order of the atoms does not matter."""
        for potential, frames, rng in self._cases():
            orders = [rng.permutation(f.n_atoms) for f in frames]
            permuted = [_take(f, order) for f, order in zip(frames, orders, strict=True)]
            expected = [
                replace(one, energies=one.energies[order], forces=one.forces[order])
                for one, order in zip(potential.predict(frames), orders, strict=True)
            ]
            self._same(potential.predict(permuted), expected)

    def test_translations_change_nothing(self) -> None:
        """All atoms move together."""
        for potential, frames, rng in self._cases():
            moved = [replace(f, positions=f.positions + rng.normal(size=3)) for f in frames]
            self._same(potential.predict(moved), potential.predict(frames))

    def test_wrapped_is_unwrapped(self) -> None:
        """Each atom moves by whole cell vectors in the periodic directions."""
        for potential, frames, rng in self._cases():
            moved = [
                replace(
                    f,
                    positions=f.positions
                    + (rng.integers(-2, 3, size=(f.n_atoms, 3)) * f.pbc) @ f.cell,
                )
                for f in frames
            ]
            self._same(potential.predict(moved), potential.predict(frames))

    def test_a_supercell_is_its_cells(self) -> None:
        """Two cells along each periodic direction in turn."""
        for potential, frames, _ in self._cases():
            for axis in range(3):
                cells = [f for f in frames if f.pbc[axis]]
                expected = [
                    Prediction(
                        2 * one.energy,
                        np.tile(one.energies, 2),
                        np.tile(one.forces, (2, 1)),
                        one.stress,
                    )
                    for one in potential.predict(cells)
                ]
                self._same(potential.predict([_double(f, axis) for f in cells]), expected)

    def test_forces_are_finite_differences(self) -> None:
        """F = -dE/dr, every component of every atom."""
        for potential, frames, _ in self._cases():
            predictions = potential.predict(frames)
            largest = max(float(np.abs(p.forces).max()) for p in predictions)
            for f, prediction in zip(frames, predictions, strict=True):
                axes = np.eye(3 * f.n_atoms).reshape(-1, f.n_atoms, 3)

                def move(axis: Array, t: float, f: Frame = f) -> Frame:
                    return replace(f, positions=f.positions + t * axis)

                slope = self._slopes(potential, axes, move, self.step)
                self.close(
                    prediction.forces.ravel(),
                    -slope,
                    scale=largest,
                    tolerance=self.derivative_tolerance,
                )

    def test_stress_is_finite_differences(self) -> None:
        """Stress = (1 / V) dE/d epsilon, where the cell has a volume."""
        for potential, frames, _ in self._cases():
            for f, prediction in zip(frames, potential.predict(frames), strict=True):
                assert (prediction.stress is None) == (f.volume == 0)
                if prediction.stress is None:
                    continue
                strains = np.zeros((6, 3, 3))
                for k, (a, b) in enumerate(VOIGT):
                    strains[k, a, b] += 0.5
                    strains[k, b, a] += 0.5

                def deform(strain: Array, t: float, f: Frame = f) -> Frame:
                    matrix = np.eye(3) + t * strain
                    return replace(f, positions=f.positions @ matrix, cell=f.cell @ matrix)

                slope = self._slopes(potential, strains, deform, self.step / 10)
                self.close(prediction.stress, slope / f.volume, tolerance=self.derivative_tolerance)

    def _slopes(
        self, potential: Any, axes: Array, move: Callable[[Array, float], Frame], step: float
    ) -> Array:
        """Derivatives of the energy along each axis, of fourth order in the step."""
        frames = [move(axis, t * step) for axis in axes for t in (-2, -1, 1, 2)]
        # The sum of atomic energies less E0: the difference of small numbers keeps its digits.
        energies = [
            float(np.sum(p.energies - self._e0(potential, f)))
            for f, p in zip(frames, potential.predict(frames), strict=True)
        ]
        e = np.reshape(energies, (-1, 4))
        return np.asarray((e[:, 0] - 8 * e[:, 1] + 8 * e[:, 2] - e[:, 3]) / (12 * step))

    def test_smooth_where_an_atom_leaves_the_neighbourhood(self) -> None:
        """Energy, force and derivative of the force are continuous at r_max."""
        for potential, frames, _ in self._cases():
            numbers = frames[0].numbers
            r_max = self.r_max(potential)
            near = 0.55 * r_max
            # The last atom leaves the neighbourhood of the first; the others are well inside.
            fixed = [[0, 0, 0], [0, near, 0], [0, 0, near], [-0.4 * r_max, 0.4 * r_max, 0]]

            five = np.resize(numbers, 5)

            def frame(x: float, fixed: Any = fixed, numbers: Any = five) -> Frame:
                return _cluster(numbers, np.array([*fixed, [x, 0, 0]]))

            inside, outside = potential.predict([frame(0.9 * r_max), frame(1.1 * r_max)])
            scale = np.abs(inside.forces).max() + np.abs(inside.energy - outside.energy)
            assert scale > 0
            jumps = []
            for h in (1e-3, 1e-4):
                x = r_max + h * np.array([-2, -1, 0, 1, 2])
                p = potential.predict([frame(position) for position in x])
                forces = np.array([prediction.forces for prediction in p])
                slopes = (forces[2] - forces[0]) / (2 * h), (forces[4] - forces[2]) / (2 * h)
                jumps.append(
                    (
                        abs(p[3].energy - p[1].energy),
                        np.abs(forces[3] - forces[1]).max(),
                        np.abs(slopes[1] - slopes[0]).max(),
                    )
                )
            # A jump would stay; what is continuous falls with the distance from r_max.
            for name, wide, narrow in zip(
                ("energy", "force", "derivative of the force"), *jumps, strict=True
            ):
                assert narrow <= 0.3 * wide + 1e-10 * scale, f"{name}: jump of {narrow:.1e}"

    def test_far_fragments_do_not_feel_each_other(self) -> None:
        """The energy of two fragments is the sum, forces stand side by side."""
        for potential, frames, _ in self._cases():
            pieces = [_isolate(f) for f in frames]
            got, expected = [], []
            for one, two in zip(pieces, pieces[1:] + pieces[:1], strict=True):
                gap = np.ptp(one.positions, axis=0).max() + np.ptp(two.positions, axis=0).max()
                shift = one.positions.mean(0) - two.positions.mean(0)
                shift[0] += 2 * gap + 3 * self.r_max(potential)
                both = replace(
                    one,
                    numbers=np.concatenate([one.numbers, two.numbers]),
                    positions=np.concatenate([one.positions, two.positions + shift]),
                )
                a, b, ab = potential.predict([one, two, both])
                got.append(ab)
                expected.append(
                    Prediction(
                        a.energy + b.energy,
                        np.concatenate([a.energies, b.energies]),
                        np.concatenate([a.forces, b.forces]),
                    )
                )
            self._same(got, expected)

    def test_frames_of_a_batch_do_not_leak(self) -> None:
        """Frames predicted together and one by one."""
        for potential, frames, _ in self._cases():
            alone = [potential.predict([f])[0] for f in frames]
            self._same(potential.predict(frames), alone)
            self._same(potential.predict(frames[::-1]), alone[::-1])

    def test_an_isolated_atom_has_its_own_energy(self) -> None:
        """E0 of its element, no force; in a cell or not."""
        for potential, frames, _ in self._cases():
            symbols = {s: z for f in frames for s, z in zip(f.symbols, f.numbers, strict=True)}
            wide = 3 * self.r_max(potential) * np.eye(3)
            periodic = np.ones(3, dtype=bool)
            for symbol, z in symbols.items():
                expected = self.isolated_energy(potential, symbol)
                alone = _cluster(np.array([z]), np.ones((1, 3)))
                boxed = replace(alone, cell=wide, pbc=periodic)
                for p in potential.predict([alone, boxed]):
                    self.close(p.energy, expected, scale=max(1.0, abs(expected)))
                    self.close(p.forces, np.zeros((1, 3)), scale=1.0)

    def test_energies_sum_to_the_energy(self) -> None:
        """E = sum of atomic energies."""
        for potential, frames, _ in self._cases():
            for p in potential.predict(frames):
                self.close(p.energies.sum(), p.energy, scale=np.abs(p.energies).sum())

    def test_forces_and_torques_sum_to_zero(self) -> None:
        """Forces always; torques where nothing is periodic."""
        for potential, frames, _ in self._cases():
            both = [*frames, *map(_isolate, frames)]
            predictions = potential.predict(both)
            largest = max(float(np.abs(p.forces).max()) for p in predictions)
            for f, p in zip(both, predictions, strict=True):
                scale = largest * f.n_atoms
                self.close(p.forces.sum(0), np.zeros(3), scale=scale)
                if not f.pbc.any():
                    arm = f.positions - f.positions.mean(0)
                    torque = np.cross(arm, p.forces).sum(0)
                    self.close(torque, np.zeros(3), scale=scale * float(np.ptp(f.positions)))

    def test_saved_and_loaded_predictions_are_the_same(self) -> None:
        """To the last bit."""
        for potential, frames, _ in self._cases():
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "potential.etn"
                potential.save(path)
                loaded = self.load(path)
            for one, two in zip(potential.predict(frames), loaded.predict(frames), strict=True):
                assert one.energy == two.energy
                np.testing.assert_array_equal(one.energies, two.energies)
                np.testing.assert_array_equal(one.forces, two.forces)
                if one.stress is not None:
                    np.testing.assert_array_equal(one.stress, two.stress)

    def _e0(self, potential: Any, frame: Frame) -> Array:
        return np.array([self.isolated_energy(potential, symbol) for symbol in frame.symbols])

    def _same(self, got: Sequence[Prediction], expected: Sequence[Prediction]) -> None:
        """Compare predictions on the scale of the largest atomic energy, force and stress."""
        energy = max(float(np.abs(p.energies).max()) for p in expected)
        force = max(float(np.abs(p.forces).max()) for p in expected)
        stresses = [np.abs(p.stress).max() for p in expected if p.stress is not None]
        stress = float(max(stresses, default=0.0))
        for one, two in zip(got, expected, strict=True):
            self.close(one.energies, two.energies, scale=energy)
            self.close(one.energy, two.energy, scale=energy * len(two.energies))
            self.close(one.forces, two.forces, scale=force)
            if two.stress is not None:
                assert one.stress is not None
                self.close(one.stress, two.stress, scale=stress)


def _matrix(stress: Array) -> Array:
    xx, yy, zz, yz, xz, xy = stress
    return np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])


def _to_voigt(matrix: Array) -> Array:
    return np.array([matrix[a, b] for a, b in VOIGT])


def _take(frame: Frame, order: NDArray[np.int64]) -> Frame:
    return replace(
        _unlabelled(frame), numbers=frame.numbers[order], positions=frame.positions[order]
    )


def _double(frame: Frame, axis: int) -> Frame:
    cell = frame.cell.copy()
    cell[axis] *= 2
    return replace(
        _unlabelled(frame),
        numbers=np.tile(frame.numbers, 2),
        positions=np.concatenate([frame.positions, frame.positions + frame.cell[axis]]),
        cell=cell,
    )


def _cluster(numbers: NDArray[np.int64], positions: Array) -> Frame:
    return Frame(numbers, positions, np.zeros((3, 3)), np.zeros(3, dtype=bool))


def _isolate(frame: Frame) -> Frame:
    return replace(_unlabelled(frame), cell=np.zeros((3, 3)), pbc=np.zeros(3, dtype=bool))


def _unlabelled(frame: Frame) -> Frame:
    return replace(frame, energy=None, forces=None, stress=None)
