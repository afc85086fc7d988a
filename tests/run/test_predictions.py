"""Predictions as extended XYZ: clusters without a stress, potentials without error bars."""

from __future__ import annotations

import ase.io
import numpy as np
import pytest
from ase.build import molecule

from etn.data import Dataset
from etn.potential import Baseline, Basis, PolynomialPotential
from etn.run.predictions import write_predictions


def test_a_cluster_and_a_potential_without_bars(tmp_path):
    """The energies of a baseline alone are known by hand."""
    atoms = molecule("H2O")
    atoms.info["config_type"] = "gas"
    dataset = Dataset.from_atoms([atoms], name="water")
    model = PolynomialPotential(
        Basis(("H", "O"), l_max=1), baseline=Baseline({"H": -13.5, "O": -430.0})
    )
    path = tmp_path / "predictions.xyz"
    write_predictions(path, model, dataset, model.predict(dataset))
    (found,) = ase.io.read(path, ":")
    assert found.get_potential_energy() == -457.0
    np.testing.assert_array_equal(found.get_potential_energies(), [-430.0, -13.5, -13.5])
    np.testing.assert_array_equal(found.get_forces(), np.zeros((3, 3)))
    assert found.info == {"config_type": "gas", "frame": "water:0"}
    assert set(found.arrays) == {"numbers", "positions"}
    assert "stress" not in found.calc.results
    assert Dataset.read(path).labels == {"energy": 1, "forces": 1, "stress": 0}


def test_charges_are_kept(tmp_path):
    atoms = molecule("H2O")
    atoms.info["charge"] = -1
    dataset = Dataset.from_atoms([atoms])
    model = PolynomialPotential(Basis(("H", "O"), l_max=1))
    write_predictions(tmp_path / "a.xyz", model, dataset, model.predict(dataset))
    assert Dataset.read(tmp_path / "a.xyz")[0].charge == -1


def test_the_file_appears_when_it_is_complete(tmp_path):
    dataset = Dataset.from_atoms([molecule("H2O")])
    model = PolynomialPotential(Basis(("H", "O"), l_max=1))
    with pytest.raises(ValueError, match="zip"):
        write_predictions(tmp_path / "a.xyz", model, dataset, [])
    assert list(tmp_path.iterdir()) == []
