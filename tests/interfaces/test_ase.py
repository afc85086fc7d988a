"""The ASE calculator: its numbers are the derivatives of its energy, in any cell."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk, molecule
from ase.calculators.calculator import PropertyNotImplementedError, all_properties
from ase.calculators.fd import calculate_numerical_forces, calculate_numerical_stress
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import read, write
from ase.md.verlet import VelocityVerlet
from ase.optimize import BFGS

import etn
from etn.errors import (
    DataError,
    ExtrapolationError,
    ExtrapolationWarning,
    ModelFileError,
    SettingsError,
)
from etn.interfaces.ase import EtnCalculator
from etn.native import is_built
from etn.nn import ICTP, AtomicModel, NeuralPotential, TensorNet
from etn.potential import (
    Baseline,
    Basis,
    Dataset,
    Frame,
    PolynomialPotential,
    Potential,
    Response,
    fit,
)
from etn.sweep import Schedule

compiled = pytest.mark.skipif(not is_built(), reason="the compiled evaluator was not built")


@pytest.fixture(scope="module")
def alloy() -> PolynomialPotential:
    """A potential of two elements that nothing was fitted to."""
    model = PolynomialPotential(
        Basis(("Mo", "W"), r_max=4.3, n_max=3, l_max=2, scale=0.3),
        body_order=4,
        max_bond=2,
        baseline=Baseline({"Mo": -1.25, "W": 2.5}, zbl=True),
    )
    return model.with_chain(model.initial_chain(seed=1))


@pytest.fixture(scope="module")
def molybdenum() -> PolynomialPotential:
    train = Dataset.read("etn:Mo/train", index="::8")
    model = PolynomialPotential(
        Basis.for_dataset(train, r_max=4.0, n_max=4, l_max=1),
        body_order=3,
        max_bond=3,
        baseline=Baseline.fit(train, e0="lstsq"),
    )
    options = {"weights": {"energy": 14}, "ridge": 3e-3, "robust": None}
    return fit(model, train, schedule=Schedule(max_sweeps=1), **options).model


def crystal(pbc=True, repeat=(1, 1, 1)) -> Atoms:
    atoms = bulk("Mo", "bcc", a=3.2, cubic=True) * repeat
    atoms.symbols[0] = "W"
    shear = np.array([[0, 0.1, 0], [0.2, 0, 0], [0, 0.1, 0.3]])
    atoms.set_cell(atoms.cell.array + shear, scale_atoms=True)
    atoms.rattle(0.1, seed=3)
    atoms.pbc = pbc
    return atoms


STRUCTURES = {
    # Cells of 3.2 Å, smaller than r_max: an atom meets its own images.
    "periodic": crystal(),
    "larger cell": crystal(repeat=(2, 1, 1)),
    "slab": crystal((True, True, False)),
    "wire": crystal((False, False, True)),
    "isolated in a cell": crystal(False),
}


@pytest.mark.parametrize("name", STRUCTURES)
def test_forces_and_stress_are_finite_differences(alloy, name):
    atoms = STRUCTURES[name].copy()
    atoms.calc = EtnCalculator(alloy)
    forces, stress = atoms.get_forces(), atoms.get_stress()
    numerical = calculate_numerical_forces(atoms, eps=1e-4)
    np.testing.assert_allclose(forces, numerical, atol=1e-6 * abs(forces).max())
    numerical = calculate_numerical_stress(atoms, eps=1e-5)
    np.testing.assert_allclose(stress, numerical, atol=1e-6 * abs(stress).max())


@pytest.mark.parametrize("name", STRUCTURES)
def test_stresses_of_atoms_are_finite_differences_of_their_energies(alloy, name):
    """(1/V) dE_i / d epsilon; as ASE has it they sum to the stress."""
    atoms = STRUCTURES[name].copy()
    atoms.calc = EtnCalculator(alloy)
    stresses = atoms.get_stresses()
    assert stresses.shape == (len(atoms), 6)
    np.testing.assert_allclose(stresses.sum(axis=0), atoms.get_stress(), rtol=1e-10, atol=1e-14)
    step = 1e-5
    for row, (a, b) in enumerate([(0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)]):
        energies = []
        for sign in (1, -1):
            strain = np.eye(3)
            strain[a, b] += sign * step / 2
            strain[b, a] += sign * step / 2
            moved = atoms.copy()
            moved.set_cell(atoms.cell.array @ strain)
            moved.set_positions(atoms.positions @ strain)
            moved.calc = atoms.calc
            energies.append(moved.get_potential_energies())
        slope = (energies[0] - energies[1]) / (2 * step) / atoms.get_volume()
        np.testing.assert_allclose(stresses[:, row], slope, atol=1e-6 * abs(stresses).max())


def test_stresses_of_atoms_are_those_of_lennard_jones_in_ase():
    """The same potential in ASE: pairs whose energy and virial are shared by halves."""
    from ase.calculators.lj import LennardJones

    class Pairwise(Potential):
        elements, r_max = ("Mo", "W"), 4.0

        def _respond(self, pairs):
            r = pairs.distance
            c6 = (2.4 / r) ** 6
            # Half of 4 epsilon (c6^2 - c6) for each end of a pair, with epsilon 0.5 eV.
            energy, slope = c6**2 - c6, -6 * (2 * c6**2 - c6) / r
            energies = np.bincount(pairs.center, energy, pairs.n_samples)
            pull = (slope / r)[:, None] * pairs.vector
            forces = np.zeros((pairs.n_atoms, 3))
            np.add.at(forces, pairs.sample[pairs.center], pull)
            np.add.at(forces, pairs.neighbor, -pull)
            strain = np.zeros((pairs.n_frames, 3, 3))
            moment = pull[:, :, None] * pairs.vector[:, None, :]
            np.add.at(strain, pairs.sample_frame[pairs.center], moment)
            return Response(energies, forces, strain)

        def to_arrays(self):
            return {}, {}

        @classmethod
        def from_arrays(cls, header, arrays, baseline):
            return cls(baseline)

    # A tetrahedron and an atom at its center: all pairs are within r_max.
    corners = 1.2 * np.array([[0, 0, 0], [1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]])
    corners += 0.1 * np.random.default_rng(2).normal(size=corners.shape)
    atoms = Atoms("MoWMo3", corners, cell=[20] * 3, pbc=True)
    other = atoms.copy()
    atoms.calc = EtnCalculator(Pairwise(Baseline({"Mo": 0.0, "W": 0.0})))
    other.calc = LennardJones(sigma=2.4, epsilon=0.5, rc=10.0, ro=9.0, smooth=True)
    np.testing.assert_allclose(atoms.get_forces(), other.get_forces(), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(atoms.get_stress(), other.get_stress(), rtol=1e-9, atol=1e-14)
    np.testing.assert_allclose(atoms.get_stresses(), other.get_stresses(), rtol=1e-9, atol=1e-14)


@pytest.mark.parametrize("options", [{}, {"gamma_stop": 1e9}, {"gamma_warn": 1e9}])
def test_results_can_be_frozen(molybdenum, tmp_path, options):
    """ASE allows its own properties only in results."""
    atoms = strained()
    atoms.calc = EtnCalculator(molybdenum, **options)
    forces = atoms.get_forces()
    atoms.calc.get_gamma(atoms)
    assert set(atoms.calc.results) <= set(all_properties)
    frozen = atoms.copy()
    frozen.calc = SinglePointCalculator(frozen, **atoms.calc.results)
    np.testing.assert_array_equal(frozen.get_forces(), forces)
    np.testing.assert_array_equal(frozen.get_stresses(), atoms.get_stresses())
    assert atoms.calc.export_properties()["energy"] == atoms.get_potential_energy()
    for name in ("frozen.traj", "frozen.xyz", "frozen.json", "frozen.db"):
        write(tmp_path / name, atoms)
        np.testing.assert_allclose(read(tmp_path / name).get_forces(), forces, atol=1e-7)


def test_forces_without_a_cell(alloy):
    atoms = crystal(False)
    atoms.cell = None
    atoms.calc = EtnCalculator(alloy)
    numerical = calculate_numerical_forces(atoms, eps=1e-4)
    np.testing.assert_allclose(atoms.get_forces(), numerical, atol=1e-6 * abs(numerical).max())


def test_stress_needs_a_volume(alloy):
    atoms = crystal(False)
    atoms.cell = None
    atoms.calc = EtnCalculator(alloy)
    for _ in range(2):  # also when all else is known
        for get in (atoms.get_stress, atoms.get_stresses):
            with pytest.raises(
                PropertyNotImplementedError, match="cell of the structure has no volume"
            ):
                get()
        assert np.isfinite(atoms.get_potential_energy())


def test_energies_add_up(alloy):
    atoms = crystal(repeat=(2, 2, 1))
    atoms.calc = EtnCalculator(alloy)
    energy = atoms.get_potential_energy()
    assert atoms.get_potential_energy(force_consistent=True) == energy
    assert atoms.get_potential_energies().sum() == pytest.approx(energy, rel=1e-12)


def test_energy_is_extensive(alloy):
    one, many = crystal(), crystal() * (3, 2, 2)
    one.calc = many.calc = EtnCalculator(alloy)
    assert many.get_potential_energy() == pytest.approx(12 * one.get_potential_energy(), rel=1e-12)


@pytest.mark.parametrize("cell", [None, [50.0, 50.0, 50.0]])
def test_isolated_atom_has_the_energy_of_the_baseline(alloy, cell):
    atoms = Atoms("W", cell=cell, pbc=cell is not None)
    atoms.calc = EtnCalculator(alloy)
    assert atoms.get_potential_energy() == 2.5
    np.testing.assert_array_equal(atoms.get_forces(), 0)


def test_unknown_elements_are_named(alloy):
    atoms = molecule("H2O")
    atoms.calc = EtnCalculator(alloy)
    with pytest.raises(DataError, match="knows Mo, W, but the structure holds H, O"):
        atoms.get_potential_energy()


def test_coincident_atoms_are_named(alloy):
    atoms = Atoms("Mo2", np.zeros((2, 3)))
    atoms.calc = EtnCalculator(alloy)
    with pytest.raises(DataError, match="atoms 0 and 1 coincide"):
        atoms.get_potential_energy()


def test_only_changes_that_matter_are_calculated(alloy, monkeypatch):
    atoms = crystal()
    atoms.calc = EtnCalculator(alloy)
    calls = []
    predict = EtnCalculator._predict
    monkeypatch.setattr(EtnCalculator, "_predict", lambda *a: calls.append(1) or predict(*a))
    atoms.get_potential_energy(), atoms.get_forces(), atoms.get_stress()
    atoms.set_initial_magnetic_moments([1.0, 2.0])
    atoms.get_forces()
    assert len(calls) == 1
    atoms.positions[0, 0] += 0.01
    atoms.get_forces()
    assert len(calls) == 2


def test_charges_are_read_where_they_matter(alloy):
    charged = crystal()
    charged.calc = EtnCalculator(alloy)
    energy = charged.get_potential_energy()
    charged.info["charge"] = 1
    assert charged.calc.check_state(charged) == []
    assert charged.get_potential_energy() == energy  # a fit passes over it
    atoms = crystal()
    network = TensorNet(atoms.symbols.species(), r_max=4.0, channels=4, layers=1)
    model = NeuralPotential(AtomicModel(network))
    atoms.calc = EtnCalculator(model)
    neutral = atoms.get_potential_energy()
    atoms.info["charge"] = np.array([-1])
    assert atoms.calc.check_state(atoms) == ["charge"]
    (expected,) = model.predict([Frame.from_atoms(atoms.copy())])
    assert atoms.get_potential_energy() == expected.energy
    assert abs(expected.energy - neutral) > 1e-9
    assert atoms.calc.check_state(atoms) == []
    del atoms.info["charge"]
    assert atoms.get_potential_energy() == neutral


def test_charges_that_the_network_does_not_read_are_refused():
    atoms = crystal()
    network = ICTP(
        atoms.symbols.species(), r_max=4.0, channels=2, l_max=1, layers=1, n_max=3, hidden=4
    )
    atoms.calc = EtnCalculator(NeuralPotential(AtomicModel(network)))
    atoms.get_potential_energy()
    atoms.info["charge"] = 2
    with pytest.raises(DataError, match="frame atoms: a total charge of 2, which the network ictp"):
        atoms.get_forces()


def test_a_calculator_from_a_model_file(alloy, tmp_path):
    path = tmp_path / "alloy.etn"
    alloy.save(path)
    results = []
    for calc in (EtnCalculator(path), EtnCalculator(alloy), etn.load(str(path)).calculator()):
        atoms = crystal()
        atoms.calc = calc
        results.append((atoms.get_potential_energy(), *atoms.get_forces().ravel()))
    assert results[0] == results[1] == results[2]
    with pytest.raises(ModelFileError, match="no such file"):
        EtnCalculator(tmp_path / "none.etn")


@pytest.mark.parametrize("dtype", ["float64", pytest.param("float32", marks=compiled)])
def test_dynamics_conserve_the_energy(molybdenum, dtype):
    atoms = bulk("Mo", "bcc", a=3.16, cubic=True) * (2, 2, 2)
    atoms.calc = EtnCalculator(molybdenum, dtype=dtype)
    speed = np.sqrt(units.kB * 600 / atoms.get_masses()[0])
    velocities = np.random.default_rng(0).normal(scale=speed, size=(len(atoms), 3))
    atoms.set_velocities(velocities - velocities.mean(0))
    dynamics = VelocityVerlet(atoms, timestep=2 * units.fs)
    total, kinetic = [], []

    def note() -> None:
        kinetic.append(atoms.get_kinetic_energy() / len(atoms))
        total.append(atoms.get_potential_energy() / len(atoms) + kinetic[-1])

    dynamics.attach(note)
    dynamics.run(200)
    assert np.ptp(kinetic) > 0.02  # eV/atom: the atoms do move
    assert np.ptp(total) < 1e-3
    assert abs(np.mean(total[100:]) - np.mean(total[:100])) < 1e-4


@compiled
def test_single_precision_is_that_of_the_forces_and_of_copies(molybdenum, monkeypatch):
    atoms = bulk("Mo", "bcc", a=3.16, cubic=True) * (3, 3, 3)
    atoms.rattle(0.1, seed=0)
    single = EtnCalculator(molybdenum, dtype="float32", gamma_warn=None)
    found = {}
    for name, calc in {
        "double": EtnCalculator(molybdenum, gamma_warn=None),
        "single": single,
        "copy": pickle.loads(pickle.dumps(single)),  # noqa: S301
    }.items():
        atoms.calc = calc
        found[name] = atoms.get_potential_energy(), atoms.get_forces()
    np.testing.assert_array_equal(found["copy"][1], found["single"][1])
    assert found["single"][0] == pytest.approx(found["double"][0], abs=1e-5 * len(atoms))
    difference = abs(found["single"][1] - found["double"][1]).max()
    assert 1e-9 < difference < 1e-4
    with pytest.raises(SettingsError, match="dtype: expected float64 or float32, got 'float16'"):
        EtnCalculator(molybdenum, dtype="float16")
    monkeypatch.setenv("ETN_NATIVE", "0")
    with pytest.raises(SettingsError, match="dtype: expected float64, as this polynomial poten"):
        molybdenum.calculator(dtype="float32")


def test_relaxation_finds_the_perfect_crystal(molybdenum):
    atoms = bulk("Mo", "bcc", a=3.16, cubic=True) * (2, 2, 2)
    perfect = atoms.copy()
    perfect.calc = atoms.calc = EtnCalculator(molybdenum)
    atoms.rattle(0.02, seed=0)
    BFGS(atoms, logfile=None).run(fmax=1e-3, steps=100)
    assert atoms.get_potential_energy() == pytest.approx(perfect.get_potential_energy(), abs=1e-4)


def strained(squeeze=1.0) -> Atoms:
    """A crystal whose first atom is pushed towards its neighbour."""
    atoms = bulk("Mo", "bcc", a=3.16, cubic=True) * (2, 2, 2)
    atoms.positions[0] += (1 - squeeze) * atoms.positions[1]
    return atoms


def test_grades_are_those_of_the_model_and_cost_no_second_prediction(molybdenum, monkeypatch):
    atoms = strained(0.7)
    atoms.calc = EtnCalculator(molybdenum, gamma_warn=None)
    forces = atoms.get_forces()
    monkeypatch.setattr(PolynomialPotential, "predict", None)
    gamma = atoms.calc.get_gamma(atoms)
    frame = Frame(atoms.numbers, atoms.positions, atoms.cell.array, atoms.pbc)
    np.testing.assert_allclose(gamma, molybdenum.uncertainty.gamma([frame])[0], rtol=1e-9)
    np.testing.assert_array_equal(atoms.calc.get_gamma(), gamma)
    np.testing.assert_array_equal(atoms.get_forces(), forces)
    assert gamma.argmax() in (0, 1)


def test_grades_follow_the_structure(molybdenum):
    atoms = strained(0.7)
    atoms.calc = EtnCalculator(molybdenum, gamma_warn=None)
    far = atoms.calc.get_gamma(atoms).max()
    atoms.positions[0] = 0
    near = atoms.calc.get_gamma(atoms)
    assert near.max() < far
    assert "energy" not in atoms.calc.results
    atoms.get_potential_energy()
    np.testing.assert_array_equal(atoms.calc.get_gamma(), near)
    near += 1.0
    assert not np.array_equal(atoms.calc.get_gamma(), near)
    atoms.positions[0] = 0.3 * atoms.positions[1]
    atoms.get_potential_energy()
    assert atoms.calc.get_gamma().max() == pytest.approx(far)


def test_dynamics_stop_where_the_potential_extrapolates(molybdenum, tmp_path):
    path = tmp_path / "far.xyz"
    atoms = strained()
    options = {"gamma_warn": None, "gamma_stop": 5.0, "gamma_save": (5.0, path)}
    atoms.calc = EtnCalculator(molybdenum, **options)
    assert np.isfinite(atoms.get_potential_energy())
    assert atoms.calc.get_gamma().max() < 5
    assert not path.exists()
    stop = r"atom [01] \(Mo\) has .* above gamma_stop = 5:"
    for squeeze in (0.95, 0.9):
        atoms.positions[0] = (1 - squeeze) * atoms.positions[1]
        atoms.get_forces()
    assert not path.exists()
    atoms.positions[0] = 0.6 * atoms.positions[1]
    with pytest.raises(ExtrapolationError, match=stop):
        atoms.get_forces()
    saved = read(path, index=":")
    assert len(saved) == 1
    np.testing.assert_allclose(saved[0].positions, atoms.positions, atol=1e-7)
    assert saved[0].arrays["gamma"].max() > 5
    assert len(Dataset.read(path)) == 1


def test_every_structure_above_the_threshold_is_saved_once(molybdenum, tmp_path):
    path = tmp_path / "far.xyz"
    atoms = strained()
    atoms.calc = EtnCalculator(molybdenum, gamma_warn=None, gamma_save=(5.0, path))
    for squeeze in (1.0, 0.6, 1.0, 0.5):
        atoms.positions[0] = (1 - squeeze) * atoms.positions[1]
        atoms.get_forces(), atoms.get_stress(), atoms.calc.get_gamma(atoms)
    assert len(read(path, index=":")) == 2


def test_a_structure_that_leaves_the_data_is_told_of_once(molybdenum):
    atoms = strained()
    atoms.calc = EtnCalculator(molybdenum)
    atoms.get_forces()  # no warning, which would be an error
    atoms.positions[0] = 0.5 * atoms.positions[1]
    with pytest.warns(
        ExtrapolationWarning, match=r"atom [01] \(Mo\) has .* gamma_warn = 2:"
    ) as got:
        forces = atoms.get_forces()
    assert len(got) == 1
    assert np.isfinite(forces).all()
    atoms.positions[0] = 0.6 * atoms.positions[1]
    atoms.get_forces()
    # Copies are calculators of their own.
    for copied in (copy.copy(atoms.calc), copy.deepcopy(atoms.calc)):
        assert copied.gamma_warn == atoms.calc.gamma_warn == 2.0
        copied.reset()
        with pytest.warns(ExtrapolationWarning):
            copied.get_forces(atoms)
    atoms.calc = EtnCalculator(molybdenum, gamma_warn=None)
    atoms.get_forces()
    atoms.calc = EtnCalculator(molybdenum, gamma_warn=1e9)
    atoms.get_forces()
    # A run that is stopped ends with its reason alone.
    atoms.calc = EtnCalculator(molybdenum, gamma_stop=2.0)
    with pytest.raises(ExtrapolationError):
        atoms.get_forces()


def test_a_grade_that_is_no_number_is_beyond_all_thresholds(molybdenum, monkeypatch):
    nan = lambda self, frame: np.full(frame.n_atoms, np.nan)  # noqa: E731
    monkeypatch.setattr(EtnCalculator, "_look", nan)
    atoms = strained()
    atoms.calc = EtnCalculator(molybdenum)
    with pytest.warns(ExtrapolationWarning, match="grade nan"):
        atoms.get_forces()
    atoms.calc = EtnCalculator(molybdenum, gamma_stop=5.0)
    with pytest.raises(ExtrapolationError, match="grade nan"):
        atoms.get_forces()


def test_a_dimer_of_an_element_seen_in_crystals_only_is_told_of(molybdenum):
    atoms = Atoms("Mo2", [[0, 0, 0], [0, 0, 2.2]])
    atoms.calc = EtnCalculator(molybdenum)
    with pytest.warns(ExtrapolationWarning):
        atoms.get_potential_energy()
    atoms = Atoms("Mo")
    atoms.calc = EtnCalculator(molybdenum)
    atoms.get_potential_energy()


def test_grades_are_watched_for_the_time_of_few_steps(molybdenum, monkeypatch):
    """Anew where an atom, the cell or the elements have changed, and not otherwise."""
    looks = []
    look = EtnCalculator._look
    monkeypatch.setattr(EtnCalculator, "_look", lambda *args: looks.append(1) or look(*args))
    atoms = strained()
    atoms.calc = EtnCalculator(molybdenum, gamma_warn=1e9)
    for expected, change in (
        (1, lambda: None),
        (1, lambda: atoms.rattle(0.01, seed=1)),
        (1, lambda: atoms.rattle(0.01, seed=2)),
        (2, lambda: atoms.translate([0.11, 0, 0])),
        (2, lambda: atoms.set_cell(atoms.cell.array + 0.05)),
        (3, lambda: atoms.set_cell(atoms.cell.array + 0.06)),
        (4, lambda: atoms.append("Mo") or atoms.positions.__setitem__(-1, [1.5, 1.5, 0.1])),
    ):
        change()
        atoms.get_forces(), atoms.get_stress()
        assert len(looks) == expected


def test_grades_need_an_uncertainty(alloy):
    for options in ({"gamma_stop": 5.0}, {"gamma_save": (5.0, "far.xyz")}):
        with pytest.raises(SettingsError, match="with_uncertainty"):
            EtnCalculator(alloy, **options)
    atoms = crystal()
    atoms.calc = EtnCalculator(alloy)
    atoms.get_forces()  # nothing to watch
    with pytest.raises(SettingsError, match="with_uncertainty"):
        atoms.calc.get_gamma(atoms)


@pytest.mark.parametrize("threshold", [0.0, -1.0, float("nan")])
def test_thresholds_are_positive(molybdenum, threshold):
    with pytest.raises(SettingsError, match="gamma_stop: expected a threshold above zero"):
        EtnCalculator(molybdenum, gamma_stop=threshold)
    with pytest.raises(SettingsError, match="gamma_warn: expected a threshold above zero"):
        EtnCalculator(molybdenum, gamma_warn=threshold)
    with pytest.raises(SettingsError, match="gamma_save: expected a threshold and a file"):
        EtnCalculator(molybdenum, gamma_save=5.0)
