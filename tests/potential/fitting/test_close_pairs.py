"""Rows of dimers, and that no two atoms of a fitted potential attract each other below the data."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atom
from ase.build import bulk, molecule
from ase.calculators.emt import EMT
from ase.data import atomic_numbers
from ase.optimize import FIRE

from etn.data import Dataset, Frame, Weights
from etn.potential import Baseline, Basis, PolynomialPotential, fit
from etn.potential.fitting.close_pairs import (
    PUSH,
    WEIGHT,
    attractions,
    close_pairs,
    dimers,
)
from etn.potential.fitting.rows import Rows
from etn.sweep import Schedule


def test_dimers_stand_at_and_below_the_closest_distance():
    data = Dataset.read("etn:NbMoTaW/train", index="::40")
    basis = Basis.for_dataset(data, r_max=4.0, n_max=3, l_max=1)
    found = dimers(basis)
    names = {frame.name for frame in found}
    met = np.isfinite(basis.inner.closest)
    assert len(names) == np.triu(met).sum()
    for frame in found:
        i, j = (basis.elements.index(symbol) for symbol in frame.symbols)
        r = np.linalg.norm(frame.positions[1] - frame.positions[0])
        assert 0.8 < r / basis.inner.closest[i, j] <= 1.0
        assert not frame.pbc.any()
    assert dimers(Basis(("Mo",))) == []


def test_rows_ask_for_a_push_and_are_no_data(mo):
    basis = Basis.for_dataset(mo, r_max=4.0, n_max=3, l_max=1)
    group = close_pairs(dimers(basis))
    n = len(dimers(basis))
    np.testing.assert_array_equal(
        group.targets.reshape(n, 2, 3), np.tile([[0, 0, -PUSH], [0, 0, PUSH]], (n, 1, 1))
    )
    np.testing.assert_array_equal(group.weights, WEIGHT)
    rows = Rows(mo, basis, Baseline.fit(mo), Weights())
    batches = list(rows.batches())
    assert len(batches) == len(rows.groups) + 1
    assert len(rows) == sum(len(batch.targets) for batch in batches[:-1])
    np.testing.assert_array_equal(batches[-1].targets, group.targets)
    silent = close_pairs(dimers(basis), energy=True)
    np.testing.assert_array_equal(silent.weights[:n], 0.0)


def forces_of_dimers(model, symbols, distances):
    z = [atomic_numbers[symbol] for symbol in symbols]
    frames = [Frame(z, [[0, 0, 0], [0, 0, r]], np.zeros((3, 3)), [False] * 3) for r in distances]
    return np.array([p.forces[1, 2] for p in model.predict(frames)])


@pytest.fixture(scope="module")
def molybdenum():
    train = Dataset.read("etn:Mo/train", index="::4")
    basis = Basis.for_dataset(train, r_max=4.5, n_max=5, l_max=2)
    model = PolynomialPotential(basis, max_bond=(3, 2, 1), baseline=Baseline.fit(train))
    return fit(model, train, schedule=Schedule(max_sweeps=1), uncertainty=False).model


def test_two_atoms_repel_from_a_third_of_an_angstrom_to_the_data(molybdenum):
    (closest,) = molybdenum.basis.inner.closest[0]
    forces = forces_of_dimers(molybdenum, ("Mo", "Mo"), np.linspace(0.3, closest, 300))
    assert (forces > 0).all()


def test_what_attracts_below_the_data_is_named(molybdenum):
    assert attractions(molybdenum) == []
    # The same chain upside down pulls where it pushed; the repulsion of the nuclei begins lower.
    upside_down = molybdenum.with_chain(-3.0 * molybdenum.chain)
    (text,) = attractions(upside_down)
    closest = molybdenum.basis.inner.closest[0, 0]
    forces = forces_of_dimers(upside_down, ("Mo", "Mo"), closest * np.linspace(0.3, 0.99, 70))
    pulled = (closest * np.linspace(0.3, 0.99, 70))[forces < -0.5]
    assert text.startswith(
        f"Mo-Mo: two atoms alone attract each other at {pulled[0]:.2f} to {pulled[-1]:.2f} Å"
    )
    assert f"({closest:.2f} Å)" in text
    assert attractions(PolynomialPotential(Basis(("Mo",)))) == []


def test_every_pair_of_elements_repels_also_those_that_never_met():
    pure = [f for f in Dataset.read("etn:NbMoTaW/train") if len(set(f.symbols)) == 1]
    train = Dataset([f for s in ("Nb", "W") for f in [g for g in pure if s in g.symbols][::10]])
    basis = Basis.for_dataset(train, r_max=4.5, n_max=5, l_max=2)
    model = PolynomialPotential(basis, max_bond=(3, 2, 1), baseline=Baseline.fit(train))
    model = fit(model, train, schedule=Schedule(max_sweeps=1), uncertainty=False).model
    closest = np.minimum(model.basis.inner.closest, 4.4)
    assert np.isinf(model.basis.inner.closest[0, 1])
    for i, j in ((0, 0), (0, 1), (1, 1)):
        symbols = model.elements[i], model.elements[j]
        forces = forces_of_dimers(model, symbols, np.linspace(0.3, closest[i, j], 200))
        assert (forces > 0).all(), symbols


@pytest.mark.parametrize("distance", [0.5, 1.2, 1.8])
def test_a_misplaced_atom_does_not_fuse_with_another(molybdenum, distance):
    atoms = bulk("Mo", a=3.16, cubic=True) * (2, 2, 2)
    atoms.append(Atom("Mo", atoms.positions[0] + distance * np.ones(3) / np.sqrt(3)))
    atoms.calc = molybdenum.calculator(gamma_warn=None)
    before = atoms.get_potential_energy()
    FIRE(atoms, logfile=None, maxstep=0.1).run(fmax=0.3, steps=60)
    apart = atoms.get_all_distances(mic=True)[np.triu_indices(len(atoms), 1)].min()
    assert apart > 0.9 * molybdenum.basis.inner.closest[0, 0]
    perfect = len(atoms) * molybdenum.predict([Frame(*_crystal())])[0].energies[0]
    assert perfect < atoms.get_potential_energy() < before


def _crystal():
    atoms = bulk("Mo", a=3.16, cubic=True)
    return atoms.numbers, atoms.positions, atoms.cell.array, atoms.pbc


@pytest.mark.parametrize("share", [1.0, 0.6, 0.4])
def test_a_squeezed_packing_holds_no_well(molybdenum, share, rng):
    """Energies per atom stay near or above those of the crystal, whatever the density."""
    n, edge = 24, (24 * 15.6 * share) ** (1 / 3)
    positions = rng.random((n, 3)) * edge
    for _ in range(300):  # spread the atoms
        apart = positions[:, None] - positions
        apart -= edge * np.round(apart / edge)
        r = np.linalg.norm(apart, axis=2) + 1e3 * np.eye(n)
        near = np.maximum((1.4 * edge**3 / n) ** (1 / 3) - r, 0.0)
        positions += 0.1 * np.sum((near / r)[:, :, None] * apart, axis=1)
    (found,) = molybdenum.predict([Frame([42] * n, positions, edge * np.eye(3), [True] * 3)])
    crystal = molybdenum.predict([Frame(*_crystal())])[0].energies[0]
    assert found.energies.min() > crystal - 3.0


def test_molecules_are_fitted_as_well_as_without_rows_of_dimers(monkeypatch, rng):
    """Dimers of a molecule's atoms push by tens of eV/Å or pull; neither may hold the fit."""
    start, frames = molecule("CH3CH2OH"), []
    for _ in range(60):
        atoms = start.copy()
        atoms.positions += 0.06 * rng.normal(size=(9, 3))
        atoms.calc = EMT()
        atoms.get_forces()
        frames.append(atoms)
    data = Dataset.from_atoms(frames)
    train, test = data[:40], data[40:]
    basis = Basis.for_dataset(train, r_max=4.0, n_max=5, l_max=2)
    model = PolynomialPotential(basis, max_bond=(4, 3, 2), baseline=Baseline.fit(train))

    def error():
        report = fit(model, train, schedule=Schedule(max_sweeps=2), uncertainty=False)
        return report.model.evaluate(test).forces.mae

    with_rows = error()
    monkeypatch.setattr("etn.potential.fitting.close_pairs.WEIGHT", 0.0)
    # Here, with few and clean data, they cost a third; what held the fit cost it all.
    assert with_rows < 1.6 * error()
