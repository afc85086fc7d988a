"""Paragraphs of README.md and docs/*.md that hold measured numbers, for pages.py."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping
from typing import Any

Result = dict[str, Any]

# Atoms of the molecules, whose errors are published for all atoms together.
ATOMS = {"3BPA": 27, "ethanol": 9, "aspirin": 21}


def paragraph(text: str) -> str:
    """Lines of the width of the pages."""
    return textwrap.fill(
        " ".join(text.split()), 112, break_long_words=False, break_on_hyphens=False
    )


def notes(measured: Mapping[str, Result]) -> str:
    """What else is to be said of the published sets."""
    bpa = measured["fit-3BPA"]["errors"]["test"]
    energy, forces = 1e3 * ATOMS["3BPA"] * bpa["energy"]["rmse"], bpa["forces"]["rmse"]
    ethanol, aspirin = (
        1e3 * ATOMS[name] * measured[f"fit-{name}"]["errors"]["test"]["energy"]["mae"]
        for name in ("ethanol", "aspirin")
    )
    shared = any(fit.get("shared_cores") for fit in measured.values())
    b = "(b) Other jobs shared the two cores, so these times are upper bounds." if shared else ""
    return paragraph(f"""
        (a) With so many data rows `--size auto` takes `small`. {b} GAP and MTP: Zuo et al. 2020;
        MACE: Batatia et al. 2022; per molecule 0.4 and 2.2 meV where ours are {ethanol:.1f} and
        {aspirin:.1f} meV. As *root mean square* the errors for 3BPA are {energy:.1f} meV per
        molecule and {forces:.3f} eV/Å; those of NequIP are 3.3 meV and 0.011 eV/Å (Musaelian et
        al. 2023).""")


def dynamics(nve: Result, lammps: Result, update: Result) -> str:
    """Conservation of energy, and one update beside its bound."""
    sizes, times = update["sizes"], update["times_the_bound"]
    rows = f"{sizes['rows']:,}".replace(",", " ")
    cores = {1: "one core", 2: "two cores"}.get(update["threads"], f"{update['threads']} cores")
    return paragraph(f"""
        In ASE, {nve["atoms"]} atoms of copper at {nve["mean_temperature_K"]:.0f} K with steps of
        {nve["step_fs"]:g} fs drift by {abs(nve["drift_meV_per_atom"]):.1g} meV/atom over
        {nve["steps"]} steps, and {lammps["atoms"]} atoms in LAMMPS by
        {abs(lammps["drift_meV_per_atom"]):.1g} meV/atom over {lammps["steps"]} steps, at
        {1e6 * lammps["seconds_per_step"] / lammps["atoms"]:.1f} µs an atom and step on one core
        (`benchmarks/nve.py`). One exact update of the inner core on Mo
        ({sizes["unknowns"]} unknowns, {rows} rows) takes {update["seconds"]["update"]:.1f} s on
        {cores}, {times["update"]:.1f} times the bound set by its flops and the DGEMM and DSYRK
        rates of the same run (`benchmarks/core_update.py`).""")


def spin_chain(result: Result) -> str:
    """DMRG of etn and of TeNPy."""
    small, large, tenpy = (
        result["runs"][name]
        for name in ("etn, 48 multiplets", "etn, 84 multiplets", "TeNPy, 100 states")
    )
    above = [f"{run['error']:.0e}".replace("e-0", "e-") for run in (small, large, tenpy)]
    return paragraph(f"""
        The ground state of the open spin-1 Heisenberg chain with {result["sites"]} sites takes
        {small["cpu_s"]:.1f} s of CPU time on one core with 48 multiplets on a bond ({above[0]}
        above the lowest energy known) and {large["cpu_s"]:.1f} s with 84 ({above[1]}); TeNPy with
        U(1) symmetry and 100 states takes {tenpy["cpu_s"]:.1f} s in the same run ({above[2]};
        `benchmarks/spin_chain.py`).""")


def factors(result: Result) -> str:
    """What the schemes of tensor products gain."""
    by_mode: dict[str, dict[int, dict[str, float]]] = {}
    for each in result["rows"]:
        by_mode.setdefault(each["mode"], {})[each["l_max"]] = each["microseconds"]
    one, many, s = by_mode["uvu"], by_mode["uuu"], result["settings"]
    times = listed(f"{one[l]['y_first'] / 1000:#.2g}" for l in sorted(one))
    slower = listed(
        f"{one[l]['e3nn (weights per path)'] / one[l]['y_first']:.0f}" for l in sorted(one)
    )
    high = [l for l in sorted(many) if l >= 3]
    faster = listed(f"{many[l]['einsum, dense'] / many[l]['cp exact']:.1f}" for l in high)
    return paragraph(f"""
        Tensor products in torch, one thread, {s["dtype"]}, {s["channels"]} channels, batch
        {s["batch"]}, in turns in one process (`benchmarks/products.py`). With one channel in the
        second operand and weights shared by all paths, the exact scheme takes {times} ms for L =
        {min(one)} to {max(one)}; e3nn, which has weights for every path, takes {slower} times as
        long. With {s["channels"]} channels on both sides an exact CP form is {faster} times as
        fast as `torch.einsum` with the dense tensor for L = {min(high)} to {max(high)}.""")


def listed(items: Iterable[str]) -> str:
    """Several as in a sentence."""
    *first, last = items
    return f"{', '.join(first)} and {last}"


def gain(usual: Result, heavy: Result) -> str:
    """What messages take off the errors, and how that depends on the weight of energies."""

    def errors(result: Result, kind: str) -> list[float]:
        return [fit["errors"]["test"][kind]["mae"] for fit in result["fits"]]

    def less(values: list[float], at: int) -> str:
        share = round(100 * (1 - values[at] / values[0]))
        return f"{share} %" if share > 0 else f"nothing ({-share} % more)"

    energy, forces = errors(usual, "energy_mev"), errors(usual, "forces_mev_per_angstrom")
    other = errors(heavy, "forces_mev_per_angstrom")
    return paragraph(f"""
        At the same radius and nearly the same number of parameters the second layer takes
        {less(forces, 1)} off the error of the forces, with attention {less(forces, 2)}, and
        {less(energy, 2)} off that of the energy. The gain depends on the weights: with
        {heavy["weights"]["energy"]:.0f} for energies, which one short-sighted layer can only
        follow at the cost of the forces, the test errors of the forces are
        {listed(f"{error:.1f}" for error in other)} meV/Å in the order of the table: messages
        without attention gain {less(other, 1)}, with attention {less(other, 2)}.""")
