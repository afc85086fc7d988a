"""Peers that need an interpreter of their own; evaluator.py starts this and takes turns with it.

    python benchmarks/workers/foreign.py pace structure.xyz 5.2
    python benchmarks/workers/foreign.py ace-jax structure.xyz 5.2

It first says what it has, {name: note}, in a line of JSON. Then each name that it reads is answered
with the seconds of one evaluation of the structure, measured here. It knows nothing of etn.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import ase.io
import numpy as np

# What is evaluated, and what is to be said of it.
Contestants = dict[str, tuple[Callable[[], Any], str]]


def main() -> None:
    # What the peers print may not stand between the answers.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    kind, structure, r_max = sys.argv[1:]
    found = PEERS[kind](ase.io.read(structure), float(r_max))
    print(json.dumps({name: note for name, (_, note) in found.items()}), file=answers)
    # The Julia runtime below ace-jax makes it another kind of file, which ends where nothing waits.
    os.set_blocking(0, True)
    for line in sys.stdin:
        run = found[line.strip()][0]
        start = time.perf_counter()
        run()
        print(time.perf_counter() - start, file=answers)


def pace(atoms: Any, r_max: float) -> Contestants:
    """PACE of 100 and of 500 functions for Mo with random coefficients, as pacemaker begins."""
    from pyace import ACEBBasisSet, PyACECalculator, create_multispecies_basis_config

    rng = np.random.default_rng(0)
    found: Contestants = {}
    for n in (100, 500):
        config = create_multispecies_basis_config(
            {
                "deltaSplineBins": 0.001,
                "elements": ["Mo"],
                "embeddings": {
                    "ALL": {
                        "npot": "FinnisSinclairShiftedScaled",
                        "fs_parameters": [1, 1, 1, 0.5],
                        "ndensity": 2,
                    }
                },
                "bonds": {
                    "ALL": {
                        "radbase": "SBessel",
                        "radparameters": [5.25],
                        "rcut": r_max,
                        "dcut": 0.01,
                        "NameOfCutoffFunction": "cos",
                    }
                },
                "functions": {
                    "number_of_functions_per_element": n,
                    "ALL": {
                        "nradmax_by_orders": [15, 6, 4, 3, 2, 2],
                        "lmax_by_orders": [0, 3, 3, 2, 2, 1],
                    },
                },
            }
        )
        for block in config.funcspecs_blocks:
            block.set_func_coeffs(1e-2 * rng.normal(size=len(block.get_func_coeffs())))
        potential = ACEBBasisSet(config).to_ACECTildeBasisSet()
        count = sum(len(block.funcspecs) for block in config.funcspecs_blocks)
        calculator = PyACECalculator(potential, recursive_evaluator=True, recursive=True)
        calculator.compute_projections = False
        lists = calculator.get_atomic_env(atoms)
        found[f"PACE {n}"] = (
            partial(compute, calculator, lists),
            f"python-ace, recursive, {count} functions, neighbours given",
        )
        moved = atoms.copy()
        moved.calc = calculator
        found[f"PACE {n} with ASE"] = (partial(step, moved), "with a search each step")
    return found


def compute(calculator: Any, lists: Any) -> None:
    """Energy and forces; the calculator lives on as long as this, `ace` holds bare pointers."""
    calculator.ace.compute(lists, compute_projections=False)


def ace_jax(atoms: Any, r_max: float) -> Contestants:
    """The C++ kernel of ace-jax that LAMMPS calls, with random coefficients."""
    import jax

    jax.config.update("jax_enable_x64", True)
    from ace_jax.basis.model import BasisSpec, build_basis
    from ace_jax.eval import ffi, fold_readout, lean

    spec = BasisSpec(order=3, max_degree=18, elements=("Mo",), rcut=r_max)
    model, meta = build_basis(spec).eval_pair()
    rng = np.random.default_rng(0)
    model = replace(
        model,
        WB=jax.numpy.asarray(1e-2 * rng.normal(size=model.WB.shape)),
        Wpair=jax.numpy.asarray(1e-2 * rng.normal(size=model.Wpair.shape)),
    )
    model = lean(fold_readout(model), radial_table=True)
    ffi.register(ffi.library())
    _, forces = ffi.lammps_fns(model, 1, [0], r_max)  # and energies, which it leaves out
    call = jax.jit(forces)
    arguments = with_ghosts(atoms, r_max)
    return {
        "ace-jax": (
            lambda: call(*arguments).block_until_ready(),
            f"C++ kernel, {meta['len_basis']} functions, neighbours given",
        )
    }


class Graph(NamedTuple):
    """Neighbours as the kernel of ace-jax reads them."""

    neighbors: Any
    num_neighbors: Any


def with_ghosts(atoms: Any, r_max: float) -> tuple[Any, Any, Graph]:
    """Positions with periodic images behind them, as LAMMPS has them; species and neighbours."""
    import jax.numpy as jnp
    from ase.neighborlist import neighbor_list

    n = len(atoms)
    first, second, shift = neighbor_list("ijS", atoms, r_max)
    images, place = np.unique(np.column_stack([second, shift]), axis=0, return_inverse=True)
    inside = ~images[:, 1:].any(axis=1)
    index = np.where(inside, images[:, 0], n + np.cumsum(~inside) - 1)
    ghosts = images[~inside]
    positions = [atoms.positions, atoms.positions[ghosts[:, 0]] + ghosts[:, 1:] @ atoms.cell.array]
    counts = np.bincount(first, minlength=n)
    matrix = np.full((counts.max(), n), -1, dtype=np.int32)
    matrix[np.arange(len(first)) - np.repeat(np.cumsum(counts) - counts, counts), first] = index[
        place.ravel()
    ]
    species = np.zeros(n + len(ghosts), dtype=np.int32)
    graph = Graph(jnp.asarray(matrix), jnp.asarray(counts, dtype=jnp.int32))
    return jnp.asarray(np.concatenate(positions)), jnp.asarray(species), graph


def step(atoms: Any) -> None:
    """Move all atoms a little, and ask for the forces."""
    atoms.positions += 1e-4
    atoms.get_forces()


PEERS = {"pace": pace, "ace-jax": ace_jax}

if __name__ == "__main__":
    main()
