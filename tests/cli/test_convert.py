"""The command ``etn convert``: several formats into one file."""

from __future__ import annotations

import ase.io
import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT

from etn.potential import Dataset


@pytest.fixture
def trajectory(tmp_path):
    """Six frames with labels as a binary file of ASE."""
    frames = []
    for seed in range(6):
        atoms = bulk("Cu", cubic=True)
        atoms.rattle(0.1, seed=seed)
        atoms.calc = EMT()
        atoms.get_stress()
        frames.append(atoms)
    ase.io.write(tmp_path / "md.traj", frames)
    return tmp_path / "md.traj", frames


def test_several_formats_become_one_file(trajectory, tmp_path, invoke):
    path, frames = trajectory
    ase.io.write(tmp_path / "POSCAR", frames[0])
    out = tmp_path / "all.xyz"
    result = invoke("convert", path, tmp_path / "POSCAR", "--out", out)
    assert result.exit_code == 0
    assert "energy         6 of 7 frames, 1 without" in result.stdout
    assert result.stdout.endswith(f"7 frames written to {out}\n")
    images = ase.io.read(out, ":")
    for one, other in zip(images, frames, strict=False):
        np.testing.assert_allclose(one.positions, other.positions, atol=1e-7)
        assert one.get_potential_energy() == pytest.approx(other.get_potential_energy())
        np.testing.assert_allclose(one.get_forces(), other.get_forces(), atol=1e-7)
        np.testing.assert_allclose(one.get_stress(), other.get_stress(), atol=1e-9)
    assert images[6].calc is None


def test_keys_and_frames_are_chosen(trajectory, tmp_path, invoke):
    path, _ = trajectory
    out = tmp_path / "some.xyz"
    options = ("--index", "::2", "--energy-key", "free_energy", "--stress-key", "none")
    assert invoke("convert", path, "--out", out, *options).exit_code == 0
    assert Dataset.read(out).labels == {"energy": 3, "forces": 3, "stress": 0}


# Bad input: see tests/cli/conftest.py.


def over_its_data(folder):
    return ["convert", folder / "test.xyz", "--out", folder / "test.xyz"], "one of the data files"


def to_unknown_format(folder):
    return ["convert", folder / "test.xyz", "--out", folder / "a.traj"], ".xyz or .extxyz"


def unknown_format(folder):
    (folder / "a.foo").write_bytes(b"\x00\x01" * 99)
    return ["convert", folder / "a.foo", "--out", folder / "a.xyz"], "a.foo: cannot tell the format"


@pytest.mark.parametrize(
    "prepare", [over_its_data, to_unknown_format, unknown_format], ids=lambda f: f.__name__
)
def test_bad_input_gets_a_clear_error_and_touches_nothing(prepare, refused):
    refused(prepare)


def test_charges_are_written_under_their_own_key(tmp_path, invoke):
    atoms = bulk("Cu", cubic=True)
    atoms.info |= {"Q": 2, "charge": -1, "energy": -3.0}
    ase.io.write(tmp_path / "a.xyz", atoms)
    for options, charge in (([], -1), (["--charge-key", "Q"], 2), (["--charge-key", "none"], 0)):
        result = invoke("convert", tmp_path / "a.xyz", "--out", tmp_path / "b.xyz", *options)
        assert result.exit_code == 0
        assert ase.io.read(tmp_path / "b.xyz").info.get("charge", 0) == charge
