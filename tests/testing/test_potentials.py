"""The laws of potentials: kept by a potential, and each broken by one that is wrong."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from etn.network import Chain
from etn.potential import Baseline, Basis, Frame, PolynomialPotential
from etn.testing import PotentialLaws


class Altered:
    """A potential with other predictions."""

    def __init__(self, potential, change):
        self._potential, self._change = potential, change

    def __getattr__(self, name):
        return getattr(self._potential, name)

    def predict(self, frames):
        found = self._potential.predict(frames)
        return [self._change(p, f, frames) for p, f in zip(found, frames, strict=True)]


def alike(prediction, frame, frames):
    return prediction


class Laws(PotentialLaws):
    seeds = (0,)

    def __init__(self, change=alike):
        self.change = change

    def make_potential(self, rng):
        basis = Basis(("Cu",), r_max=3.5, n_max=2, l_max=1, r_min=1.2)
        chain = Chain.random([basis.leg] * 2, start=basis.start, max_bond=2, seed=rng)
        model = PolynomialPotential(
            basis, body_order=3, max_bond=2, baseline=Baseline({"Cu": -1.5}), chain=chain
        )
        return Altered(model, self.change)

    def make_frames(self, rng):
        positions = np.array([[0, 0, 0], [1.9, 0.2, 0], [0.3, 2.0, 0.4], [1.6, 1.8, 1.7]])
        cell = np.array([[4.0, 0.3, 0], [0.2, 4.2, 0.1], [0.4, 0, 4.4]])
        return [
            Frame([29] * 4, positions + 0.1 * rng.normal(size=(4, 3)), cell * on, [bool(on)] * 3)
            for on in (0, 1)
        ]


def with_energies(p, energies):
    return replace(p, energies=energies, energy=float(energies.sum()))


def wrong_forces(p, frame, frames):
    return replace(p, forces=1.001 * p.forces)


def wrong_stress(p, frame, frames):
    return p if p.stress is None else replace(p, stress=p.stress * [1, 1, 1, 1, 1, 1.001])


def axial(p, frame, frames):
    """Energies that rise with the x component of the forces."""
    return with_energies(p, p.energies + 1e-6 * p.forces[:, 0])


def handed(p, frame, frames):
    """A pseudoscalar: rotations leave it alone, reflections turn its sign."""
    x = frame.positions[1:4] - frame.positions[0] if frame.n_atoms >= 4 else np.zeros((3, 3))
    x = x if not frame.pbc.any() else np.zeros((3, 3))
    return with_energies(p, p.energies + 1e-3 * np.linalg.det(x))


def ordered(p, frame, frames):
    return with_energies(p, p.energies + 1e-6 * np.arange(frame.n_atoms))


def placed(p, frame, frames):
    return with_energies(p, p.energies + 1e-6 * np.sum(frame.positions))


def unwrapped(p, frame, frames):
    """An energy of the mean distance to the first atom, whichever image it is."""
    apart = np.linalg.norm(frame.positions - frame.positions[0], axis=1).mean()
    return with_energies(p, p.energies + 1e-6 * apart)


def not_extensive(p, frame, frames):
    return with_energies(p, p.energies + 1e-6 * frame.n_atoms)


def jumping(p, frame, frames):
    """Neighbours within 3.5 Å count one by one."""
    apart = np.linalg.norm(frame.positions[:, None] - frame.positions, axis=2)
    return with_energies(p, p.energies + 1e-3 * (apart < 3.5).sum(axis=1))


def crowded(p, frame, frames):
    """Something of the frames that are predicted together."""
    return with_energies(p, p.energies + 1e-6 * sum(f.n_atoms for f in frames))


def never_isolated(p, frame, frames):
    return with_energies(p, p.energies + 1e-6)


def lost_energy(p, frame, frames):
    return replace(p, energy=p.energy + 1e-6)


def pushed(p, frame, frames):
    return replace(p, forces=p.forces + 1e-6)


def rounded(p, frame, frames):
    """The last bit of the energy."""
    return replace(p, energy=float(np.nextafter(p.energy, np.inf)))


BREAKS = {
    "test_rotations_turn_forces_and_stress": axial,
    "test_reflections_and_inversion_turn_forces_and_stress": handed,
    "test_permutations_permute": ordered,
    "test_translations_change_nothing": placed,
    "test_wrapped_is_unwrapped": unwrapped,
    "test_a_supercell_is_its_cells": not_extensive,
    "test_forces_are_finite_differences": wrong_forces,
    "test_stress_is_finite_differences": wrong_stress,
    "test_smooth_where_an_atom_leaves_the_neighbourhood": jumping,
    "test_far_fragments_do_not_feel_each_other": not_extensive,
    "test_frames_of_a_batch_do_not_leak": crowded,
    "test_an_isolated_atom_has_its_own_energy": never_isolated,
    "test_energies_sum_to_the_energy": lost_energy,
    "test_forces_and_torques_sum_to_zero": pushed,
    "test_saved_and_loaded_predictions_are_the_same": rounded,
}


def test_every_law_has_a_break(laws):
    assert laws(PotentialLaws) == BREAKS.keys()


@pytest.mark.parametrize("law", BREAKS)
def test_a_right_potential_keeps_the_law_and_a_wrong_one_does_not(law):
    getattr(Laws(), law)()
    with pytest.raises(AssertionError):
        getattr(Laws(BREAKS[law]), law)()


def test_a_handed_potential_keeps_the_law_of_proper_rotations():
    Laws(handed).test_rotations_turn_forces_and_stress()
