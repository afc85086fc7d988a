"""Toy code: two-site DMRG for spin-1 chains, with cores that commute with all rotations.

For readers who know DMRG with plain matrix product states.  Four things are new.
1. States come in multiplets |l r m>, m = -l..l, r = 1..R_l.  A bond is {l: R_l}; it stands for
   sum (2l+1) R_l plain states, but the matrices only see the R_l.
2. A core joins a bond and a spin to the next bond,
       |l' r' m'> = sum a_ll'[r, r'] C^{l'm'}_{lm,1s} |l r m> |1 s>.
   Rotations fix the Clebsch-Gordan tensor C; DMRG finds the a_ll'.  C is an isometry (C times C,
   summed over the lower m and s, is the identity), so the core is one if the a_ll', stacked over
   l, have orthonormal columns.  We store that stack: core = {l': matrix}.
3. Operators come in multiplets O_q of degree k, q = -k..k.  By the Wigner-Eckart theorem
       O_q |l r m> = sum o_l'l[r', r] C^{l'm'}_{lm,kq} |l' r' m'>,
   and we store operator = {(l', l): matrix}.  A Hamiltonian has k = 0, a spin has k = 1.
4. Two halves with total spin 0 meet in one matrix for each spin j that a half can have,
       |Theta> = sum Theta_j[a, b] |j a m> |j b m>,  norm^2 = sum (2j+1) |Theta_j|^2.

All C are real, and none is ever computed: what remains of them are 6j and 9j symbols.  The right
half is the left half of the mirrored chain, so the same code builds both.  Primes are written l_.
"""

from __future__ import annotations

from collections import Counter
from functools import cache
from math import factorial, prod, sqrt
from typing import NamedTuple

import numpy as np

HEISENBERG = [J * (J + 1) / 2 - 2 for J in range(3)]  # S.S of two spins with total spin J
AKLT = [x + x**2 / 3 for x in HEISENBERG]
Sectors = dict[int, np.ndarray]
Operator = dict[tuple[int, int], np.ndarray]


# Symbols
def sixj(a: int, b: int, c: int, d: int, e: int, f: int) -> float:
    """{a b c; d e f} by Racah's formula; zero unless its four triads are triangles."""
    triads = [(a, b, c), (a, e, f), (d, b, f), (d, e, c)]
    if not all(abs(x - y) <= z <= x + y for x, y, z in triads):
        return 0.0
    norm = prod(prod(factorial(sum(t) - 2 * x) for x in t) / factorial(sum(t) + 1) for t in triads)
    low, high = [sum(t) for t in triads], [a + b + d + e, b + c + e + f, c + a + f + d]
    return sqrt(norm) * sum(
        (-1) ** n * factorial(n + 1) / prod(factorial(abs(n - x)) for x in low + high)
        for n in range(max(low), min(high) + 1)
    )


@cache
def ninej(a: int, b: int, c: int, d: int, e: int, f: int, g: int, h: int, i: int) -> float:
    """{a b c; d e f; g h i}, zero unless its rows and columns are triangles."""
    return sum(
        (2 * x + 1) * sixj(a, b, c, f, i, x) * sixj(d, e, f, b, x, h) * sixj(g, h, i, x, a, d)
        for x in range(abs(a - i), a + i + 1)
    )


# Operators
class Block(NamedTuple):
    """One end of the chain: its last core, and what the rest of the chain needs to know of it."""

    core: Sectors
    bond: dict[int, int]
    H: Operator  # all interactions inside
    T: list[Operator]  # of the last spin: t^0 = 1, t^1 ~ iS, t^2 ~ quadrupole, degrees 0, 1, 2


# A lone spin is one multiplet, so an operator is one number: t^k is the one with the number 1.
FIRST = Block({1: np.eye(1)}, {1: 1}, {(1, 1): np.zeros((1, 1))}, [{(1, 1): np.eye(1)}] * 3)


# Enlarge
def parents(bond: dict[int, int], j: int) -> list[int]:
    """All l of the bond that a spin takes to j: the order of the basis (l, spin) -> j."""
    return [l for l in sorted(bond) if abs(l - 1) <= j <= l + 1]


def enlarge(block: Block, c: np.ndarray) -> Block:
    """Add a spin, in the full basis (l, spin) -> j; sum c_k t^k.t^k couples it to the last one."""
    rows = {j: ls for j in range(max(block.bond) + 2) if (ls := parents(block.bond, j))}

    def couple(A: Operator, k1: int, k2: int, k: int) -> Operator:  # [A t^k2]^k, A of degree k1
        def entry(l_: int, l: int, j_: int, j: int) -> np.ndarray:  # six C reordered, hence a 9j
            scale = sqrt(3 * (2 * l_ + 1) * (2 * j + 1) * (2 * k + 1))
            matrix = A.get((l_, l), np.zeros((block.bond[l_], block.bond[l])))
            return scale * ninej(l, k1, l_, 1, k2, 1, j, k, j_) * matrix

        pairs = [(j_, j) for j_ in rows for j in rows if abs(j - k) <= j_ <= j + k]
        return {
            (j_, j): np.block([[entry(l_, l, j_, j) for l in rows[j]] for l_ in rows[j_]])
            for j_, j in pairs
        }

    H = couple(block.H, 0, 0, 0)
    T = [couple(block.T[0], 0, k, k) for k in range(3)]  # t^0 is the identity of the block
    for k in range(3):
        for sector, matrix in couple(block.T[k], k, k, 0).items():
            H[sector] += c[k] * sqrt(2 * k + 1) * matrix  # t.t = sqrt(2k+1) [t t]^0
    return Block({}, {j: len(H[j, j]) for j in rows}, H, T)  # no core: nothing is left out


def couplings(energies: list[float]) -> np.ndarray:
    """The c_k that give two spins with total spin J = 0, 1, 2 these energies."""
    levels = [[enlarge(FIRST, unit).H[J, J].item() for unit in np.eye(3)] for J in range(3)]
    return np.linalg.solve(levels, energies)


def project(block: Block, core: Sectors) -> Block:
    """Keep of an enlarged block the states that a core makes."""
    H, *T = (
        {(i, j): core[i].T @ A[i, j] @ core[j] for i, j in A if {i, j} <= core.keys()}
        for A in (block.H, *block.T)
    )
    return Block(core, {j: matrix.shape[1] for j, matrix in core.items()}, H, T)


# Update
def ground_state(left: Block, right: Block, c: np.ndarray, x: Sectors) -> tuple[float, Sectors]:
    """Lowest state of H_left + H_right + sum c_k T^k.T^k, by a few Lanczos steps from x."""
    H = [(1, left.H, right.T[0]), (1, left.T[0], right.H), *zip(c, left.T, right.T, strict=True)]

    def apply(x: Sectors) -> Sectors:
        y = {j: np.zeros_like(matrix) for j, matrix in x.items()}
        for weight, A, B in H:  # A.B = sum_q A_q B_q: again C times C is the identity
            for i, j in A.keys() & B.keys():
                y[i] += weight * A[i, j] @ x[j] @ B[i, j].T
        return y

    def dot(x: Sectors, y: Sectors) -> float:
        return sum((2 * j + 1) * np.vdot(x[j], y[j]) for j in x)

    x = {j: x.get(j, np.zeros((n, right.bond[j]))) for j, n in left.bond.items() if j in right.bond}
    basis, images = [], []
    for _ in range(12):
        for q in basis * 2:  # Gram-Schmidt, twice against rounding
            overlap = dot(q, x)
            x = {j: x[j] - overlap * q[j] for j in x}
        if (norm := sqrt(dot(x, x))) < 1e-10:
            break
        basis.append({j: x[j] / norm for j in x})
        images.append(x := apply(basis[-1]))
    energies, vectors = np.linalg.eigh([[dot(q, y) for y in images] for q in basis])
    return energies[0], {j: np.tensordot(vectors[:, 0], [q[j] for q in basis], 1) for j in x}


def split(theta: Sectors, max_multiplets: int) -> tuple[Sectors, Sectors]:
    """Theta = core times center, for the multiplets of largest weight sqrt(2j+1) s."""
    svd = {j: np.linalg.svd(matrix, full_matrices=False) for j, matrix in theta.items()}
    ranked = sorted(((sqrt(2 * j + 1) * s, j) for j in svd for s in svd[j].S), reverse=True)
    kept = Counter(j for weight, j in ranked[:max_multiplets] if weight > 1e-10)
    core = {j: svd[j].U[:, :n] for j, n in kept.items()}
    return core, {j: core[j].T @ theta[j] for j in core}


# Sweep
def move(center: Sectors, bond: dict[int, int]) -> Sectors:
    """|j> |(l, spin) j> as |(j, spin) l> |l>: both are one 3j symbol, up to norm and sign."""
    moved = {}
    for j in sorted(center):
        ls = parents(bond, j)
        pieces = np.split(center[j], np.cumsum([bond[l] for l in ls])[:-1], axis=1)
        for l, piece in zip(ls, pieces, strict=True):
            factor = (-1) ** (j + 1 + l) * sqrt((2 * j + 1) / (2 * l + 1))
            moved.setdefault(l, []).append(factor * piece)
    return {l: np.vstack(pieces) for l, pieces in moved.items()}


def dmrg(n_sites: int, energies: list, max_multiplets: int, n_sweeps: int = 4, seed: int = 0):
    """Energy after each update (n_sites > 3); blocks with the cores of all sites but 2; center."""
    c, rng = couplings(energies), np.random.default_rng(seed)
    near, far, history = [FIRST], [FIRST], []
    while len(far) < n_sites - 2:  # start from a random chain of small spins
        block = enlarge(far[-1], c)
        random = {j: rng.normal(size=(block.bond[j], 2)) for j in block.bond if j <= 1}
        far.append(project(block, split(random, max_multiplets)[0]))
    center = {1: rng.normal(size=(1, enlarge(far[-1], c).bond[1]))}
    for _ in range(2 * n_sweeps):
        while len(far) > 1:
            last = far.pop()
            guess = {l: matrix @ last.core[l].T for l, matrix in move(center, last.bond).items()}
            left, right = enlarge(near[-1], c), enlarge(far[-1], c)
            energy, theta = ground_state(left, right, c, guess)
            core, center = split(theta, max_multiplets)
            near.append(project(left, core))
            history.append(energy)
        center = {l: matrix.T for l, matrix in move(center, FIRST.bond).items()}
        near, far = far, near  # and back, in the mirror
    return history, far, center


if __name__ == "__main__":
    cases = [("AKLT", AKLT, n, 2, -2 * (n - 1) / 3) for n in (8, 16)]
    exact = {4: -2 - sqrt(7), 6: -7.37027496942461, 10: -12.89456013221094}
    cases += [("Heisenberg", HEISENBERG, n, 50, energy) for n, energy in exact.items()]
    print("chain       sites        energy   error  middle bond")
    for name, energies, n, max_multiplets, target in cases:
        history, blocks, _ = dmrg(n, energies, max_multiplets)
        bond = " ".join(f"{size}x{l}" for l, size in sorted(blocks[n // 2 - 1].bond.items()))
        print(f"{name:10}  {n:5}  {history[-1]:12.8f}  {history[-1] - target:6.0e}  {bond}")
