"""Energies judged by the forces before a fit: a wrong one has no say in a small set."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT

from etn.data.robust import Huber
from etn.potential import Baseline, Basis, Dataset, Frame, PolynomialPotential, Rows, Weights, fit
from etn.potential.fitting.trial import judge_labels
from etn.sweep import LeastSquares, Schedule

SHIFT = 5.0  # eV, of a whole frame


def crystals(n, seed):
    """Strained and rattled cells of 4 and 8 atoms of copper, labelled by EMT."""
    rng = np.random.default_rng(seed)
    frames = []
    for k in range(n):
        atoms = bulk("Cu", "fcc", a=3.6 * (1 + 0.028 * rng.normal()), cubic=True)
        atoms = atoms.repeat((1 + k % 2, 1, 1))
        atoms.set_cell(atoms.cell @ (np.eye(3) + 0.02 * rng.normal(size=(3, 3))), scale_atoms=True)
        atoms.positions += 0.1 * rng.normal(size=atoms.positions.shape)
        atoms.calc = EMT()
        labels = atoms.get_potential_energy(), atoms.get_forces(), atoms.get_stress()
        frames.append(Frame(atoms.numbers, atoms.positions, atoms.cell.array, atoms.pbc, *labels,
                            name=f"cu:{k}"))  # fmt: skip
    return Dataset(frames)


def changed(data, index, **labels):
    return Dataset([replace(f, **labels) if k == index else f for k, f in enumerate(data)])


def shifted(data, index, shift=SHIFT):
    return changed(data, index, energy=data[index].energy + shift)


def potential(data):
    basis = Basis.for_dataset(data, r_max=4.5, n_max=6, l_max=2)
    bonds = "3x0e+2x1o+1x2e"
    return PolynomialPotential(basis, body_order=4, max_bond=bonds, baseline=Baseline.fit(data))


def fitted(data, **options):
    options = {"schedule": Schedule(max_sweeps=[2, 1]), "uncertainty": False, **options}
    return fit(potential(data), data, **options)


@pytest.fixture(scope="module")
def train():
    return crystals(40, 0)


@pytest.fixture(scope="module")
def test_set():
    return crystals(20, 5)


@pytest.fixture(scope="module")
def clean(train, test_set):
    report = fitted(train)
    assert report.doubts == ()
    return report.model.evaluate(test_set)


@pytest.mark.parametrize(("index", "shift"), [(7, 5.0), (8, 5.0), (23, -5.0), (30, 50.0)])
def test_one_wrong_energy_of_40_changes_little_and_is_named(train, test_set, clean, index, shift):
    report = fitted(shifted(train, index, shift))
    errors = report.model.evaluate(test_set)
    assert errors.energy.mae < 1.3 * clean.energy.mae
    assert errors.forces.mae < 1.3 * clean.forces.mae
    (doubt,) = report.doubts
    assert (doubt.frame, doubt.label) == (f"cu:{index}", "energy")
    assert doubt.residual == pytest.approx(abs(shift) / train[index].n_atoms, rel=0.02)


def test_four_wrong_energies_of_40_are_named(train, test_set, clean):
    wrong, shifts = train, {3: 5.0, 14: -3.0, 25: 8.0, 36: 1.0}
    for index, shift in shifts.items():
        wrong = shifted(wrong, index, shift)
    report = fitted(wrong)
    assert {(d.frame, d.label) for d in report.doubts} == {(f"cu:{k}", "energy") for k in shifts}
    assert report.model.evaluate(test_set).forces.mae < 1.3 * clean.forces.mae


def test_one_wrong_force_or_stress_changes_little_and_is_named(train, test_set, clean):
    forces = train[3].forces.copy()
    forces[0, 0] += 5000.0
    for label, value in (("forces", forces), ("stress", 160.2 * train[3].stress)):
        report = fitted(changed(train, 3, **{label: value}))
        assert {(doubt.frame, doubt.label) for doubt in report.doubts} == {("cu:3", label)}
        assert report.model.evaluate(test_set).forces.mae < 1.3 * clean.forces.mae


def judged(data, weights=None):
    model = potential(data)
    rows = Rows(data, model.basis, model.baseline, weights or Weights(), Huber())
    start = model.initial_chain(seed=0)
    judge_labels(rows, LeastSquares(rows.builders, ridge=1e-3), start)
    return rows


def shares(rows):
    """What is left of the weight of each label."""
    found = {"energy": {}, "forces": [], "stress": []}
    for group, weights in zip(rows.groups, rows.row_weights, strict=True):
        given, left = group.labels(group.weights), group.labels(weights)
        for frame, one, two in zip(group.frames, given["energy"], left["energy"], strict=True):
            found["energy"][frame.name] = float(two[0] / one[0])
        for label in ("forces", "stress"):
            found[label].append(left[label] / given[label])
    return found


def test_the_wrong_energy_alone_is_weighed_down_before_the_fit(train):
    found = shares(judged(shifted(train, 7)))
    assert found["energy"].pop("cu:7") < 0.02
    assert min(found["energy"].values()) == 1.0
    # As ever with normal residuals: some by a little.
    assert np.mean(np.concatenate(found["forces"])) > 0.8


def test_a_force_far_off_does_not_hide_a_wrong_energy(train):
    forces = train[3].forces.copy()
    forces[0, 0] += 5000.0
    found = shares(judged(changed(shifted(train, 7), 3, forces=forces)))
    assert found["energy"]["cu:7"] < 0.05
    assert min(share for name, share in found["energy"].items() if name != "cu:7") > 0.5


def test_a_common_offset_of_all_energies_is_not_wrong(train):
    moved = Dataset(replace(f, energy=f.energy + 100.0 * f.n_atoms) for f in train)
    model, weights = potential(train), Weights()
    rows = Rows(moved, model.basis, model.baseline, weights, Huber())
    judge_labels(rows, LeastSquares(rows.builders, ridge=1e-3), model.initial_chain(seed=0))
    assert min(shares(rows)["energy"].values()) == 1.0


@pytest.mark.parametrize("weights", [Weights(forces=0.0), Weights(energy=0.0)])
def test_without_forces_or_energies_there_is_nothing_to_judge(train, weights):
    rows = judged(train[:6], weights)
    assert rows.robust.scales == {}
    for group, own in zip(rows.groups, rows.row_weights, strict=True):
        np.testing.assert_array_equal(own, group.weights)
