"""The toy code: short, of NumPy alone, and right."""

from __future__ import annotations

import ast
import importlib.util
import runpy
import sys
from collections.abc import Sequence
from functools import cache
from itertools import combinations, pairwise
from math import sqrt
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse
from scipy.sparse.linalg import eigsh

from etn.o3 import clebsch_gordan

SCRIPT = Path(__file__).parents[1] / "examples" / "toy_dmrg.py"
SPEC = importlib.util.spec_from_file_location("toy_dmrg", SCRIPT)
assert SPEC is not None
assert SPEC.loader is not None
toy = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(toy)

# Energies E_J of two spins with total spin 0, 1, 2; the last belong to no special model.
MODELS = {"Heisenberg": toy.HEISENBERG, "AKLT": toy.AKLT, "generic": [0.3, -1.1, 0.4]}


@cache
def spin_product(n_sites: int, i: int, j: int) -> sparse.csr_array:
    """S_i.S_j in the product basis of (y, z, x) on each site, where S_a = -i epsilon_a."""
    epsilon = np.zeros((3, 3, 3))
    epsilon[[0, 1, 2], [1, 2, 0], [2, 0, 1]] = 1
    epsilon[[0, 1, 2], [2, 0, 1], [1, 2, 0]] = -1
    total = sparse.csr_array((3**n_sites, 3**n_sites))
    for matrix in epsilon:
        factors = [np.eye(1), *(matrix if site in (i, j) else np.eye(3) for site in range(n_sites))]
        product = sparse.csr_array(factors[0])
        for factor in factors[1:]:
            product = sparse.kron(product, factor, format="csr")
        total = total - product
    return total


def hamiltonian(n_sites: int, energies: Sequence[float]) -> sparse.csr_array:
    """sum_i h(S_i.S_i+1), with the polynomial h that takes -2, -1, 1 to the energies."""
    c0, c1, c2 = np.linalg.solve(np.vander([-2.0, -1.0, 1.0], increasing=True), energies)
    total = sparse.csr_array((3**n_sites, 3**n_sites))
    for i in range(n_sites - 1):
        x = spin_product(n_sites, i, i + 1)
        total = total + c0 * sparse.eye_array(3**n_sites) + c1 * x + c2 * (x @ x)
    return total


@cache
def exact_energy(n_sites: int, model: str) -> float:
    """Lowest energy of total spin 0: a multiple of S.S lifts all others."""
    penalty = 2.0 * n_sites * sparse.eye_array(3**n_sites)
    for i, j in combinations(range(n_sites), 2):
        penalty = penalty + 2 * spin_product(n_sites, i, j)
    total = hamiltonian(n_sites, MODELS[model]) + 10 * penalty
    start = np.random.default_rng(1).normal(size=3**n_sites)
    return eigsh(total, k=1, which="SA", v0=start)[0].item()


def dense_state(blocks: list, center: dict[int, np.ndarray]) -> np.ndarray:
    """Contract the chain with the Clebsch-Gordan tensors of the library."""
    # From a trivial bond on; {l: array (..., R_l, 2l+1)} with one leading axis for each site.
    states = {0: np.ones((1, 1))}
    for core in [*(block.core for block in blocks), {1: center[1].T}]:
        grown = {}
        for j, matrix in core.items():
            parents = [l for l in sorted(states) if abs(l - 1) <= j <= l + 1]
            rows = np.split(matrix, np.cumsum([states[l].shape[-2] for l in parents])[:-1])
            grown[j] = sum(
                np.einsum("...rm,rt,msn->...stn", states[l], a, clebsch_gordan(l, 1, j))
                for l, a in zip(parents, rows, strict=True)
            )
        states = grown
    return states[1][..., 0, :]  # the last spin meets its equal


def test_is_short_and_needs_only_numpy():
    source = SCRIPT.read_text(encoding="utf-8")
    assert len(source.splitlines()) <= 200
    modules = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            modules |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            modules.add(str(node.module).split(".")[0])
    assert "numpy" in modules
    assert modules - {"numpy"} <= sys.stdlib_module_names


@pytest.mark.parametrize(
    "js", [(1, 1, 1, 1, 1, 1), (1, 2, 3, 2, 1, 2), (0, 2, 2, 3, 4, 4), (5, 6, 7, 4, 3, 5), (8,) * 6]
)
def test_6j_is_that_of_sympy(js):
    from sympy.physics.wigner import wigner_6j

    expected = float(wigner_6j(*js))
    assert expected != 0
    assert toy.sixj(*js) == pytest.approx(expected, rel=1e-11, abs=0)


@pytest.mark.parametrize(
    "js",
    [
        (1, 1, 1, 1, 1, 2, 2, 2, 1),
        (2, 1, 3, 1, 2, 1, 3, 1, 4),
        (2, 1, 2, 1, 1, 1, 3, 0, 3),
        (3, 0, 3, 1, 2, 1, 4, 2, 4),
        (4, 2, 5, 1, 2, 1, 5, 3, 6),
    ],
)
def test_9j_is_that_of_sympy(js):
    from sympy.physics.wigner import wigner_9j

    expected = float(wigner_9j(*js))
    assert expected != 0
    assert toy.ninej(*js) == pytest.approx(expected, rel=1e-11, abs=0)


def test_symbols_vanish_unless_their_triples_are_triangles():
    assert toy.sixj(1, 1, 3, 1, 1, 1) == 0
    assert toy.sixj(1, 1, 1, 3, 1, 1) == 0
    assert toy.ninej(1, 1, 3, 1, 1, 1, 1, 1, 2) == 0
    assert toy.ninej(1, 1, 1, 1, 1, 1, 3, 1, 2) == 0


@pytest.mark.parametrize("model", MODELS)
def test_enlarged_blocks_have_the_whole_spectrum(model):
    c = toy.couplings(MODELS[model])
    block = toy.FIRST
    for n_sites in (2, 3, 4):
        grown = toy.enlarge(block, c)
        found = [np.repeat(np.linalg.eigvalsh(grown.H[j, j]), 2 * j + 1) for j in grown.bond]
        expected = np.linalg.eigvalsh(hamiltonian(n_sites, MODELS[model]).toarray())
        assert np.allclose(np.sort(np.concatenate(found)), expected, rtol=0, atol=1e-12)
        block = toy.project(grown, {j: np.eye(n) for j, n in grown.bond.items()})


@pytest.mark.parametrize("n_sites", [8, 16])
def test_aklt_with_one_multiplet_of_spin_0_and_1(n_sites):
    history, blocks, _ = toy.dmrg(n_sites, toy.AKLT, max_multiplets=2)
    assert history[-1] == pytest.approx(-2 * (n_sites - 1) / 3, rel=0, abs=1e-10)
    assert all(block.bond == {0: 1, 1: 1} for block in blocks[1:])


@pytest.mark.parametrize(
    ("n_sites", "energy"), [(4, -2 - sqrt(7)), (6, -7.37027496942461), (10, -12.89456013221094)]
)
def test_heisenberg(n_sites, energy):
    history, _, _ = toy.dmrg(n_sites, toy.HEISENBERG, max_multiplets=50)
    assert history[-1] == pytest.approx(energy, rel=0, abs=1e-10)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("n_sites", [4, 5, 6])
def test_energy_is_that_of_exact_diagonalization(model, n_sites):
    history, _, _ = toy.dmrg(n_sites, MODELS[model], max_multiplets=20)
    assert history[-1] == pytest.approx(exact_energy(n_sites, model), rel=0, abs=1e-10)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("n_sites", [5, 6])
def test_the_cores_are_the_state(model, n_sites):
    history, blocks, center = toy.dmrg(n_sites, MODELS[model], max_multiplets=20)
    state = dense_state(blocks, center)
    assert state.shape == (3,) * n_sites
    state = state.ravel()
    assert state @ state == pytest.approx(1, rel=0, abs=1e-12)
    image = hamiltonian(n_sites, MODELS[model]) @ state
    assert np.allclose(image, history[-1] * state, rtol=0, atol=1e-7)


@pytest.mark.parametrize("model", MODELS)
def test_truncation_is_variational(model):
    exact = exact_energy(6, model)
    errors = []
    for max_multiplets in (1, 2, 3, 5, 8):
        history, blocks, _ = toy.dmrg(6, MODELS[model], max_multiplets)
        assert all(sum(block.bond.values()) <= max_multiplets for block in blocks)
        assert min(history) >= exact - 1e-10
        errors.append(history[-1] - exact)
    assert errors[-1] < 1e-10
    if model == "Heisenberg":
        assert errors[1] > 1e-3  # two multiplets are not enough: the bound above is not idle


def test_without_truncation_no_update_raises_the_energy():
    history, _, _ = toy.dmrg(8, toy.HEISENBERG, max_multiplets=10**6, seed=3)
    assert history[0] > history[-1] + 1e-3
    assert all(after <= before + 1e-12 for before, after in pairwise(history))


def test_splitting_keeps_the_largest_weights():
    rng = np.random.default_rng(0)
    theta = {j: rng.normal(size=(4, 5)) / (2 * j + 1) for j in (0, 1, 2)}
    weights = [
        sqrt(2 * j + 1) * s
        for j, matrix in theta.items()
        for s in np.linalg.svd(matrix, compute_uv=False)
    ]
    core, center = toy.split(theta, max_multiplets=7)
    rest = {j: theta[j] - core[j] @ center[j] if j in core else theta[j] for j in theta}
    lost = sum((2 * j + 1) * np.sum(matrix**2) for j, matrix in rest.items())
    assert sum(matrix.shape[1] for matrix in core.values()) == 7
    assert lost == pytest.approx(np.sum(np.sort(weights)[:-7] ** 2), rel=1e-12)


def test_runs_as_a_script(capsys):
    runpy.run_path(str(SCRIPT), run_name="__main__")
    header, *lines = capsys.readouterr().out.splitlines()
    assert header.split()[:4] == ["chain", "sites", "energy", "error"]
    assert [line.split()[0] for line in lines] == 2 * ["AKLT"] + 3 * ["Heisenberg"]
    assert all(abs(float(line.split()[3])) < 1e-10 for line in lines)
