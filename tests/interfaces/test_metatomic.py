"""metatomic: saved models have the numbers of the ASE calculator, and hold all of a potential."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, fcc111

# metatomic is written in TorchScript, which torch calls deprecated.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    metatomic_ase = pytest.importorskip("metatomic_ase")
    from metatensor.torch import Labels
    from metatomic.torch import ModelEvaluationOptions, ModelOutput, systems_to_torch

from etn.errors import SettingsError  # noqa: E402
from etn.interfaces.metatomic import to_metatomic  # noqa: E402
from etn.nn import ICTP, TDN, AtomicModel, NeuralPotential, TensorNet  # noqa: E402
from etn.potential import Baseline, Basis, PolynomialPotential  # noqa: E402

ELEMENTS = ("Fe", "Mo", "Si")
BASELINE = Baseline({"Fe": -4.0, "Mo": -10.0, "Si": 1.5}, zbl=True)


def chain():
    basis = Basis(ELEMENTS, r_max=3.6, n_max=3, l_max=2)
    empty = PolynomialPotential(basis, max_bond=2, baseline=BASELINE)
    return empty.with_chain(empty.initial_chain(seed=0))


def make(name):
    if name == "polynomial":
        return chain()
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(3)
        network = {
            "tdn": lambda: TDN(ELEMENTS, 3.4, channels=4, heads=2, layers=1, hidden=6),
            "ictp": lambda: ICTP(ELEMENTS, 3.4, channels=4, hidden=6),
        }.get(name, lambda: TensorNet(ELEMENTS, 3.4, channels=4, layers=1))()
        model = AtomicModel(network)
    below = chain() if name == "delta" else None
    return NeuralPotential(model, BASELINE, below=below)


def structures():
    """Periodic, in small and large cells, a slab, a cluster, and an atom alone."""
    rng = np.random.default_rng(0)
    out = [bulk("Mo", cubic=True) * (2, 1, 1), bulk("Si"), fcc111("Fe", (2, 2, 2), 3.6, vacuum=5)]
    for atoms in out:
        atoms.set_cell(atoms.cell.array @ (np.eye(3) + 0.03 * rng.normal(size=(3, 3))), True)
        atoms.rattle(0.1, seed=1)
    out[0].numbers[:2] = 14
    out[2].pbc = True, True, False
    cluster = Atoms("FeMoSi", [[0, 0, 0], [1.7, 0, 0.2], [0.1, 2.2, 0.5]])
    return [*out, cluster, Atoms("Mo", [[1.0, 2.0, 3.0]])]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tensornet", "ictp", "tdn", "polynomial", "delta"])
def test_a_saved_model_says_what_the_calculator_says(name, tmp_path):
    potential = make(name)
    to_metatomic(potential).save(tmp_path / "model.pt")
    calculator = metatomic_ase.MetatomicCalculator(
        tmp_path / "model.pt", check_consistency=True, device="cpu"
    )
    for atoms in structures():
        one, two = atoms.copy(), atoms.copy()
        one.calc, two.calc = potential.calculator(gamma_warn=None), calculator
        forces = one.get_forces()
        np.testing.assert_allclose(
            two.get_potential_energy(), one.get_potential_energy(), rtol=1e-10
        )
        size = np.abs(forces).max() + 1e-6
        np.testing.assert_allclose(two.get_forces(), forces, atol=1e-10 * size)
        if atoms.pbc.all():
            stress = one.get_stress()
            np.testing.assert_allclose(two.get_stress(), stress, atol=1e-10 * np.abs(stress).max())


@pytest.fixture(scope="module")
def exported():
    potential = make("tensornet")
    return potential, to_metatomic(potential)


def options(kind, selected=None):
    return ModelEvaluationOptions(
        length_unit="angstrom", selected_atoms=selected,
        outputs={"energy": ModelOutput(unit="eV", sample_kind=kind)},
    )  # fmt: skip


def with_neighbours(model, structures):
    from metatomic_ase._neighbors import AllNeighborsCalculator

    systems = systems_to_torch(structures, dtype=torch.float64)
    lists = model.requested_neighbor_lists()
    return AllNeighborsCalculator(lists, False, 0.0).compute(systems)


def test_several_systems_and_selected_atoms(exported):
    potential, model = exported
    some = [atoms for atoms in structures() if atoms.pbc.all() or not atoms.pbc.any()]
    expected = [a.copy() for a in some]
    for atoms in expected:
        atoms.calc = potential.calculator()
    systems = with_neighbours(model, some)
    total = model(systems, options("system"), check_consistency=True)["energy"].block().values
    np.testing.assert_allclose(
        total[:, 0].detach(), [a.get_potential_energy() for a in expected], rtol=1e-12
    )
    chosen = Labels(["system", "atom"], torch.tensor([[0, 1], [0, 3], [2, 2]], dtype=torch.int32))
    block = model(systems, options("atom", chosen), check_consistency=True)["energy"].block()
    energies = [a.get_potential_energies() for a in expected]
    np.testing.assert_allclose(
        block.values[:, 0].detach(), [energies[0][1], energies[0][3], energies[2][2]], rtol=1e-12
    )


def test_what_it_says_of_itself(exported):
    _, model = exported
    found = model.capabilities()
    assert found.atomic_types == [26, 42, 14]
    assert found.interaction_range == 6.8
    assert found.dtype == "float64"
    (neighbours,) = model.requested_neighbor_lists()
    assert (neighbours.cutoff, neighbours.full_list, neighbours.strict) == (3.4, False, True)


def test_unknown_elements_are_refused(exported):
    atoms = bulk("Cu")
    atoms.calc = metatomic_ase.MetatomicCalculator(exported[1], device="cpu")
    with pytest.raises(ValueError, match="does not support the atomic type '29'"):
        atoms.get_potential_energy()


def test_predicted_forces_are_refused():
    network = TDN(ELEMENTS, channels=4, heads=2, forces="direct")
    with pytest.raises(SettingsError, match="conservative forces"):
        to_metatomic(NeuralPotential(AtomicModel(network)))
