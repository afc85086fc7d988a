"""torch-sim: the numbers of the ASE calculator, its own checks, and dynamics."""

from __future__ import annotations

import numpy as np
import pytest
import torch

ts = pytest.importorskip("torch_sim")

from ase.build import bulk  # noqa: E402

from etn.errors import DataError  # noqa: E402
from etn.interfaces.torch_sim import TorchSimModel  # noqa: E402
from etn.nn import AtomicModel, NeuralPotential, TensorNet  # noqa: E402
from etn.potential import Baseline, Basis, PolynomialPotential  # noqa: E402

ELEMENTS = ("Fe", "Mo", "Si")


@pytest.fixture(params=["polynomial", "tensornet"])
def potential(request):
    baseline = Baseline(dict.fromkeys(ELEMENTS, -4.0), zbl=True)
    if request.param == "tensornet":
        return NeuralPotential(AtomicModel(TensorNet(ELEMENTS, 4.0, channels=4)), baseline)
    basis = Basis(ELEMENTS, r_max=4.0, n_max=3, l_max=2)
    empty = PolynomialPotential(basis, max_bond=2, baseline=baseline)
    return empty.with_chain(empty.initial_chain(seed=0))


def structures():
    rng = np.random.default_rng(0)
    out = [bulk("Mo", cubic=True) * (2, 1, 1), bulk("Si"), bulk("Fe", cubic=True)]
    for atoms in out:
        atoms.set_cell(atoms.cell.array @ (np.eye(3) + 0.03 * rng.normal(size=(3, 3))), True)
        atoms.rattle(0.1, seed=1)
    return out


def test_it_says_what_the_calculator_says(potential):
    model = TorchSimModel(potential)
    found = model(ts.io.atoms_to_state(structures(), "cpu", torch.float64))
    at = 0
    for k, atoms in enumerate(structures()):
        atoms.calc = potential.calculator(gamma_warn=None)
        n = len(atoms)
        np.testing.assert_allclose(found["energy"][k], atoms.get_potential_energy(), rtol=1e-12)
        np.testing.assert_allclose(found["forces"][at : at + n], atoms.get_forces(), atol=1e-12)
        np.testing.assert_allclose(found["stress"][k], atoms.get_stress(voigt=False), atol=1e-13)
        at += n


def test_it_holds_the_checks_of_torch_sim(potential):
    from torch_sim.models.interface import validate_model_outputs

    validate_model_outputs(TorchSimModel(potential), torch.device("cpu"), torch.float64)


def test_model_files_and_unknown_elements(potential, tmp_path):
    potential.save(tmp_path / "a.etn")
    model = TorchSimModel(tmp_path / "a.etn", dtype=torch.float32)
    state = ts.io.atoms_to_state([bulk("Si")], "cpu", torch.float32)
    assert model(state)["forces"].dtype == torch.float32
    with pytest.raises(DataError, match="system 0: element Cu is unknown"):
        model(ts.io.atoms_to_state([bulk("Cu")], "cpu", torch.float32))


def test_dynamics_conserve_the_energy(potential):
    states = ts.io.atoms_to_state([bulk("Mo", cubic=True) * (2, 2, 2)] * 2, "cpu", torch.float64)
    energies = []
    dt, kT = torch.tensor(1e-3), torch.tensor(0.02)
    init, step = ts.nve(model=TorchSimModel(potential), dt=dt, kT=kT)
    state = init(states, seed=0)
    for _ in range(20):
        state = step(state)
        kinetic = ts.calc_kinetic_energy(
            masses=state.masses, momenta=state.momenta, system_idx=state.system_idx
        )
        energies.append((state.energy + kinetic).numpy())
    assert np.ptp(energies, axis=0).max() < 1e-3 * len(bulk("Mo", cubic=True) * (2, 2, 2))
