"""Ground and excited states against exact diagonalisation and published energies."""

from __future__ import annotations

import math
from functools import cache
from itertools import pairwise

import numpy as np
import pytest
import scipy.sparse

from etn.errors import CoreError, IrrepsError, SettingsError
from etn.network import (
    Chain,
    Operator,
    aklt,
    bilinear_biquadratic,
    heisenberg,
    operator_leg,
    pair_sum,
)
from etn.o3 import Irrep, Irreps
from etn.sweep import (
    Checkpoint,
    EigenProblem,
    Schedule,
    State,
    ground_state,
    grow,
    lowest_states,
    sweep,
)
from etn.tensor import Truncation, tensorize

# Open Heisenberg chains of spin 1: exact diagonalisation, for N = 20 DMRG with 300 states.
ENERGIES = {
    2: -2,
    3: -3,
    4: -2 - math.sqrt(7),
    6: -7.37027496942461,
    8: -10.12463722235888,
    10: -12.89456013221094,
}


def spin_matrices(spin):
    """S_x, S_y, S_z on the states m = spin .. -spin."""
    m = np.arange(spin, -spin - 1, -1)
    raising = np.diag(np.sqrt(spin * (spin + 1) - m[1:] * (m[1:] + 1)), 1)
    return [(raising + raising.T) / 2, (raising - raising.T) / 2j, np.diag(m)]


@cache
def exact_energies(n_sites, f=lambda x: x, spin=1):
    """{J: ascending energies} of an open chain of f(S · S'), by diagonalisation for each S_z.

    The multiplets of total spin J are what S_z = J has and S_z = J + 1 has not.
    """
    dim = 2 * spin + 1
    product = sum(np.kron(s, s) for s in spin_matrices(spin)).real
    values, vectors = np.linalg.eigh(product)
    pair = scipy.sparse.csr_array((vectors * f(values)) @ vectors.T)
    total = scipy.sparse.csr_array((dim**n_sites,) * 2)
    for i in range(n_sites - 1):
        rest = dim**i, dim ** (n_sites - 2 - i)
        before, after = (scipy.sparse.eye_array(n, format="csr") for n in rest)
        total = total + scipy.sparse.kron(scipy.sparse.kron(before, pair), after, format="csr")
    sz = np.zeros(1)
    for _ in range(n_sites):
        sz = np.add.outer(sz, np.arange(spin, -spin - 1, -1)).ravel()
    spectra = []
    for m in range(4):
        at = np.flatnonzero(sz == m)
        spectra.append(np.linalg.eigvalsh(total[at][:, at].toarray()))
    return {j: without(spectra[j], spectra[j + 1]) for j in range(3)}


def without(values, others):
    """A sorted list without those of another one; each of these takes away one."""
    left = list(values)
    for value in others:
        nearest = int(np.argmin(np.abs(np.array(left) - value)))
        assert abs(left[nearest] - value) < 1e-9
        del left[nearest]
    return np.array(left)


def test_exact_energies_are_those_of_two_spins():
    energies = exact_energies(2)
    assert [list(energies[j].round(12)) for j in range(3)] == [[-2], [-1], [1]]
    assert [len(exact_energies(4)[j]) for j in range(3)] == [3, 6, 6]


@pytest.mark.parametrize("n_sites", ENERGIES)
def test_energies_of_the_heisenberg_chain(n_sites):
    # At an odd number of sites the exact ground state has spin 1.
    target = "1e" if n_sites == 3 else "0e"
    report = ground_state(heisenberg(n_sites), target)
    assert report.energy == pytest.approx(ENERGIES[n_sites], abs=1e-10)
    assert report.converged
    assert report.chain.norm() == pytest.approx(1, abs=1e-9)
    assert heisenberg(n_sites).expectation(report.chain) == pytest.approx(report.energy, abs=1e-10)
    assert abs(heisenberg(n_sites).variance(report.chain)) < 1e-10


@pytest.mark.parametrize("n_sites", [4, 6, 8])
@pytest.mark.parametrize("j", [0, 1, 2])
def test_each_total_spin(n_sites, j):
    report = ground_state(heisenberg(n_sites), f"{j}e")
    assert report.energy == pytest.approx(exact_energies(n_sites)[j][0], abs=1e-10)


@pytest.mark.parametrize("j", [0, 1, 2])
def test_spin_two(j):
    report = ground_state(heisenberg(4, spin=2), f"{j}e")
    assert report.energy == pytest.approx(exact_energies(4, spin=2)[j][0], abs=1e-9)


def test_high_spins_need_irreps_that_no_site_carries():
    # All spins up: each bond has the energy 1; one magnon less is a wave of the open chain.
    assert ground_state(heisenberg(5), "5e").energy == pytest.approx(4, abs=1e-12)
    magnon = 4 - 2 * (1 - math.cos(math.pi * 4 / 5))
    assert ground_state(heisenberg(5), "4e").energy == pytest.approx(magnon, abs=1e-10)


def _biquadratic(x):
    return -(x**2)


def _critical(x):
    return x - x**2


def _trimerised(x):
    return 0.5 * x + x**2


def _ferromagnet(x):
    return -x


@pytest.mark.parametrize(
    ("f", "a", "b"),
    [
        (_biquadratic, 0, -1),
        (_critical, 1, -1),
        (_trimerised, 0.5, 1),
        (_ferromagnet, -1, 0),
    ],
)
@pytest.mark.parametrize("j", [0, 1])
def test_bilinear_biquadratic(f, a, b, j):
    report = ground_state(bilinear_biquadratic(6, bilinear=a, biquadratic=b), f"{j}e")
    assert report.energy == pytest.approx(exact_energies(6, f)[j][0], abs=1e-8)


def test_long_range_interactions():
    operator = pair_sum(6, [-2, -1, 1], distances=[1, 0.5], decays=[(-0.2, 0.6)])
    # Frustrated: the ground state is a triplet, the singlet follows.
    exact = np.linalg.eigvalsh(operator.to_dense())
    assert ground_state(operator, "1e").energy == pytest.approx(exact[0], abs=1e-10)
    assert ground_state(operator, "0e").energy == pytest.approx(exact[3], abs=1e-10)


def test_twenty_sites():
    report = ground_state(heisenberg(20))
    assert report.energy == pytest.approx(-26.839978650176, abs=1e-8)
    assert report.chain.entropy(9) == pytest.approx(1.4638331575, abs=1e-8)


def test_entropy_of_ten_sites():
    report = ground_state(heisenberg(10))
    assert report.chain.entropy(4) == pytest.approx(1.2891127980, abs=1e-9)


@pytest.mark.slow
def test_a_hundred_sites():
    schedule = Schedule(
        sites=2, max_multiplets=[8, 16, 32, 48], max_sweeps=6, rel_tol=1e-9, tol=1e-10
    )
    energy = ground_state(heisenberg(100), schedule=schedule).energy
    # The lowest energy known, and the one that ITensorMPS quotes.
    assert -138.940086167 - 1e-8 <= energy <= -138.940086 + 1e-8


@pytest.mark.parametrize("n_sites", [8, 16, 64])
@pytest.mark.parametrize("max_bond", [None, "1x0e+1x1e"])
def test_aklt(n_sites, max_bond):
    exact = -2 * (n_sites - 1) / 3
    schedule = Schedule(sites=2, max_sweeps=30, rel_tol=1e-12, max_bond=max_bond, tol=1e-7)
    report = ground_state(aklt(n_sites), schedule=schedule)
    assert report.energy == pytest.approx(exact, abs=1e-10)
    assert aklt(n_sites).expectation(report.chain) == pytest.approx(exact, abs=1e-10)
    bonds = [str(bond) for bond in report.chain.bonds]
    assert bonds == ["1x1e", *["1x0e+1x1e"] * (n_sites - 3), "1x1e"]
    # Two spins 1/2 at the ends of each half: four equal weights, but for the finite chain.
    assert report.chain.entropy(n_sites // 2 - 1) == pytest.approx(2 * math.log(2), abs=0.02)


def test_the_edges_of_an_aklt_chain_are_spins_one_half():
    """Singlet and triplet are the ground states, the quintet lies above a gap."""
    exact = -2 * 15 / 3
    assert ground_state(aklt(16), "1e").energy == pytest.approx(exact, abs=1e-10)
    quintet = ground_state(aklt(8), "2e").energy
    assert quintet == pytest.approx(exact_energies(8, _aklt)[2][0], abs=1e-9)
    assert quintet > -2 * 7 / 3 + 0.3


def _aklt(x):
    return x + x**2 / 3


NARROW = "1x0e+1x1e"


@pytest.mark.parametrize(("n_sites", "max_multiplets"), [(8, 40), (20, 60)])
def test_noise_widens_the_bonds_of_one_site_sweeps(n_sites, max_multiplets):
    operator = heisenberg(n_sites)
    start = Chain.random(operator.sites, max_bond=NARROW, seed=0)
    schedule = Schedule(
        sites=1,
        max_sweeps=30,
        max_multiplets=max_multiplets,
        tol=1e-8,
        noise=[1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 0.0],
        rel_tol=1e-10,
    )
    report = ground_state(operator, start=start, schedule=schedule)
    exact = {8: ENERGIES[8], 20: -26.839978650176}[n_sites]
    assert report.energy == pytest.approx(exact, abs=1e-8)
    assert report.chain.bonds[n_sites // 2 - 1].num_irreps > 10


MIXED = ["1x0e+2x1o", "2x0e+1x1o", "1x0o+1x1e", "1x0e+1x1o"]


@pytest.mark.parametrize(("center", "direction"), [(0, 1), (1, 1), (2, -1), (3, -1)])
def test_enrichment_spans_what_the_operator_makes_of_the_state(center, direction):
    """Exact where the block behind the center is complete, as it is for one site at an end."""
    legs = [operator_leg(site) for site in MIXED]
    operator = Operator(Chain.random(legs, max_bond=1, seed=6), MIXED)
    operator = operator + operator.transpose()
    narrow, wide = "1x0e+1x0o+1x1e+1x1o", "9x0e+9x0o+9x1e+9x1o"
    widest = [narrow, "9x0e+9x1o", wide, narrow][center]
    state = Chain.random(MIXED, max_bond=widest, seed=7).canonicalize(center)
    problem = EigenProblem(operator, state)
    # A solve comes first in a sweep; it must not narrow what is proposed.
    problem.solve(state)
    extra = problem.enrichment(state, direction)

    leg = 2 if direction > 0 else 0
    proposed = tensorize(extra, state[center].legs, leg, state.kind).to_dense()
    moved = operator.apply(state).to_dense()[0, ..., 0]
    dims = [site.dim for site in state.sites]
    if direction > 0:
        behind = state[0].to_dense()[0] if center else np.eye(1)
        columns = np.tensordot(behind, proposed, axes=1).reshape(math.prod(dims[: center + 1]), -1)
        matrix = moved.reshape(len(columns), -1)
    else:
        behind = state[3].to_dense()[..., 0] if center == 2 else np.eye(1)
        columns = np.tensordot(proposed, behind, axes=1)
        columns = columns.reshape(-1, math.prod(dims[center:])).T
        matrix = moved.reshape(-1, len(columns)).T
    basis, sizes, _ = np.linalg.svd(columns, full_matrices=False)
    basis = basis[:, sizes > 1e-10 * sizes[0]]
    matrix = matrix / np.linalg.norm(matrix)
    np.testing.assert_allclose(basis @ (basis.T @ matrix), matrix, atol=1e-11)
    # More than the state has: its bond becomes wider.
    width = state[center].legs[leg].dim
    assert basis.shape[1] > width or basis.shape[1] == len(basis)


def test_without_noise_the_bonds_stay():
    operator = heisenberg(8)
    start = Chain.random(operator.sites, max_bond=NARROW, seed=0)
    schedule = Schedule(sites=1, max_sweeps=10, rel_tol=1e-9)
    report = ground_state(operator, start=start, schedule=schedule)
    assert report.chain.bonds == start.bonds
    energies = np.array([loss for record in report.records for loss in record.losses])
    assert (np.diff(energies) < 1e-12).all()
    assert ENERGIES[8] + 1e-3 < report.energy < -9.9


def test_one_site_sweeps_that_cannot_widen_their_bonds_have_not_converged():
    operator = heisenberg(8)
    for options in ({}, {"max_bond": 40}, {"max_multiplets": 12}):
        schedule = Schedule(sites=1, max_sweeps=20, rel_tol=1e-9, **options)
        report = ground_state(operator, schedule=schedule)
        assert report.energy > ENERGIES[8] + 1e-4
        assert not report.converged
        assert "one-site updates without noise keep the bonds of the start" in report.reason
    # Where the caps leave no better bond, where the bonds are complete, and where two-site sweeps
    # came before, there is nothing to say.
    wide = ground_state(operator)
    bonds = [max(wide.chain.bonds, key=lambda bond: bond.dim), None]
    for bond in bonds:
        schedule = Schedule(sites=1, max_sweeps=20, max_bond=bond)
        again = ground_state(operator, start=wide.chain, schedule=schedule)
        assert again.converged, again.reason
        assert again.energy == pytest.approx(ENERGIES[8], abs=1e-9)
    mixed = ground_state(operator, schedule=Schedule(sites=[2, 2, 1]))
    assert mixed.converged


@pytest.mark.parametrize("options", [{}, {"max_bond": 40}, {"max_sweeps": 20, "rel_tol": 1e-9}])
def test_what_a_schedule_leaves_out_is_what_eigenproblems_need(options):
    report = ground_state(heisenberg(10), schedule=Schedule(**options))
    assert report.converged
    assert report.energy == pytest.approx(ENERGIES[10], abs=1e-8)


def test_a_sweep_that_raises_the_energy_does_not_settle_it():
    from dataclasses import replace

    from etn.sweep.eigen.dmrg import _checked

    operator = heisenberg(6)
    problem = EigenProblem(operator, Chain.random(operator.sites))
    schedule = Schedule().for_problem(problem)
    report = ground_state(operator)
    assert _checked(report, problem, schedule) is report
    last = report.records[-1]
    worse = (*report.records, replace(last, sweep=last.sweep + 1, loss=last.loss + 1e-5))
    checked = _checked(replace(report, records=worse), problem, schedule)
    assert not checked.converged
    assert "but it raised the energy by 1.0e-05" in checked.reason


def test_one_site_sweeps_polish_what_two_site_sweeps_found():
    operator = heisenberg(10)
    schedule = Schedule(sites=[2, 2, 1], max_multiplets=12, max_sweeps=8, rel_tol=1e-12)
    report = ground_state(operator, schedule=schedule)
    energy = operator.expectation(report.chain)
    assert energy == pytest.approx(report.energy, abs=1e-11)
    assert all(bond.num_irreps <= 12 for bond in report.chain.bonds)
    two = ground_state(operator, schedule=Schedule(sites=2, max_multiplets=12, max_sweeps=8))
    assert energy < operator.expectation(two.chain) + 1e-12


@pytest.mark.parametrize("n_sites", [6, 8])
@pytest.mark.parametrize("j", [0, 1])
def test_excited_states(n_sites, j):
    operator = heisenberg(n_sites)
    reports = lowest_states(operator, 3, f"{j}e")
    found = [report.energy for report in reports]
    np.testing.assert_allclose(found, exact_energies(n_sites)[j][:3], atol=1e-8)
    for i, one in enumerate(reports):
        for two in reports[:i]:
            assert abs(float(one.chain.inner(two.chain))) < 1e-5


def test_all_states_of_a_small_space_are_found_and_no_more():
    # 1 + 1 + 1 couple to spin 1 in three ways, 4 spins to spin 0 in three.
    for n_sites, j in ((3, 1), (4, 0)):
        exact = exact_energies(n_sites)[j]
        found = [report.energy for report in lowest_states(heisenberg(n_sites), 3, f"{j}e")]
        np.testing.assert_allclose(found, exact, atol=1e-10)
        states = lowest_states(heisenberg(n_sites), 3, f"{j}e")
        match = "0 are orthogonal to the 3 given states; there is no further state"
        with pytest.raises(CoreError, match=match):
            ground_state(
                heisenberg(n_sites), f"{j}e", orthogonal_to=[state.chain for state in states]
            )
        with pytest.raises(CoreError, match=r"has 3 states of total irrep .*, 4 were asked for"):
            lowest_states(heisenberg(n_sites), 4, f"{j}e")


def test_lowest_states_takes_what_was_found_before():
    operator = heisenberg(6)
    first = ground_state(operator)
    (second,) = lowest_states(operator, 1, orthogonal_to=[first.chain], tol=1e-10, seed=3)
    assert second.energy == pytest.approx(exact_energies(6)[0][1], abs=1e-8)
    with pytest.raises(SettingsError, match="at least one state, got 0"):
        lowest_states(operator, 0)


@pytest.mark.parametrize("sites", [1, 2])
def test_every_step_is_an_upper_bound(sites):
    operator = heisenberg(8)
    state = Chain.random(operator.sites, max_bond=2, seed=1)
    noise = 0.01 if sites == 1 else 0.0
    schedule = Schedule(sites=sites, min_sweeps=4, max_sweeps=4, noise=noise)
    energies = [step.loss for step in sweep(state, EigenProblem(operator, state), schedule)]
    exact = exact_energies(8)[0][0]
    assert len(energies) == 4 * (14 if sites == 1 else 12)
    assert min(energies) >= exact - 1e-10
    assert energies[-1] == pytest.approx(exact, abs=1e-6)


def test_a_sweep_may_stop_and_go_on():
    operator = heisenberg(8)
    state = Chain.random(operator.sites, max_bond=2, seed=2)
    problem = EigenProblem(operator, state)
    schedule = Schedule(sites=2, max_sweeps=8, rel_tol=1e-12)
    for step in sweep(state, problem, schedule):
        if step.sweep == 1 and step.index == 3:
            break
    assert step.chain.center in (step.site, step.site + 1)
    assert step.chain.orthogonality_error() < 1e-12
    # The same problem goes on with what it remembers, a new one starts afresh.
    for other in (problem, EigenProblem(operator, state)):
        *_, last = sweep(step.chain, other, schedule)
        assert last.loss == pytest.approx(ENERGIES[8], abs=1e-10)


def test_a_problem_may_be_asked_about_any_chain():
    """What is remembered of one chain must not leak into another."""
    operator = heisenberg(6)
    problem = EigenProblem(operator, Chain.random(operator.sites))
    chains = [Chain.random(operator.sites, max_bond=2, seed=seed) for seed in range(3)]
    for center in (3, 1, 4):
        for chain in [*chains, *reversed(chains)]:
            at = chain.canonicalize(center)
            fresh = EigenProblem(operator, chain)
            assert problem.solve(at).loss == pytest.approx(fresh.solve(at).loss, abs=1e-12)
            one, two = problem.solve_pair(at, center), fresh.solve_pair(at, center)
            assert one.loss == pytest.approx(two.loss, abs=1e-12)


def test_a_run_goes_on_from_a_checkpoint(tmp_path):
    operator = heisenberg(8)
    start = Chain.random(operator.sites, max_bond=2, seed=4)

    def schedule(n):
        return Schedule(
            sites=[2, 2, 1], min_sweeps=n, max_sweeps=n, max_multiplets=[4, 8, 12], noise=1e-3
        )

    whole = grow(start, EigenProblem(operator, start), schedule=schedule(5))
    path = tmp_path / "state.safetensors"
    grow(
        start,
        EigenProblem(operator, start),
        schedule=schedule(2),
        callbacks=[Checkpoint(path)],
    )
    state = State.load(path)
    assert len(state.records) == 2
    resumed = grow(start, EigenProblem(operator, start), schedule=schedule(5), resume=state)
    assert [record.sweep for record in resumed.records] == [1, 2, 3, 4, 5]
    for one, two in zip(resumed.records, whole.records, strict=True):
        np.testing.assert_allclose(one.losses, two.losses, atol=1e-12)
        assert one.bond == two.bond
    assert (resumed.chain - whole.chain).norm() < 1e-8


def test_torch_is_numpy():
    operator = heisenberg(6)
    one = ground_state(operator)
    two = ground_state(operator.to("torch"))
    assert two.chain.kind.backend == "torch"
    assert two.energy == pytest.approx(one.energy, abs=1e-12)
    back = two.chain.to("numpy")
    assert abs(float(back.inner(one.chain))) == pytest.approx(1, abs=1e-10)
    states = lowest_states(operator.to("torch"), 2, "1e")
    exact = exact_energies(6)[1][:2]
    np.testing.assert_allclose([state.energy for state in states], exact, atol=1e-8)


@pytest.mark.parametrize("backend", ["numpy", "torch"])
def test_single_precision(backend):
    operator = heisenberg(8).to(backend, dtype="float32")
    report = ground_state(operator)
    assert report.chain.kind.dtype == "float32"
    assert report.energy == pytest.approx(ENERGIES[8], abs=2e-5)
    # Rounding is not taken for entanglement.
    full = ground_state(heisenberg(8)).chain.bonds[3].num_irreps
    assert report.chain.bonds[3].num_irreps < 0.7 * full
    start = Chain.random(operator.sites, max_bond=2).to(backend, dtype="float32")
    noisy = Schedule(sites=1, noise=[1e-2, 1e-2, 1e-3, 0], tol=1e-4, max_sweeps=10, rel_tol=1e-7)
    one_site = ground_state(operator, start=start, schedule=noisy)
    assert one_site.energy == pytest.approx(ENERGIES[8], abs=1e-4)


@pytest.mark.gpu
def test_on_a_gpu():
    report = ground_state(heisenberg(10).to("torch", device="cuda"))
    assert report.energy == pytest.approx(ENERGIES[10], abs=1e-10)
    assert report.chain.kind.device == "cuda:0"


def test_sites_of_several_irreps():
    """A random symmetric operator on sites with copies and both parities."""
    sites = ["1x0e+1x1o", "2x0e+1x1o", "1x0o+1x1e"]
    legs = [operator_leg(site) for site in sites]
    operator = Operator(Chain.random(legs, max_bond=3, seed=5), sites)
    dense = operator.to_dense()
    symmetric = from_dense((dense + dense.T) / 2, sites)
    assert symmetric.to_dense() == pytest.approx((dense + dense.T) / 2, abs=1e-12)
    exact = lowest_of_each_irrep(symmetric.to_dense(), sites)
    assert sorted(map(str, exact)) == ["0e", "0o", "1e", "1o", "2e", "2o", "3e"]
    for target, energy in exact.items():
        report = ground_state(symmetric, str(target))
        assert report.energy == pytest.approx(energy, abs=1e-9)


def lowest_of_each_irrep(matrix, sites):
    """{irrep: lowest eigenvalue}, read off the dimension and the parity of each eigenspace."""
    inversion = np.eye(1)
    for site in sites:
        signs = [ir.p for mul, ir in Irreps(site) for _ in range(mul * ir.dim)]
        inversion = np.kron(inversion, np.diag(signs))
    values, vectors = np.linalg.eigh(matrix)
    lowest = {}
    starts = [0, *(np.flatnonzero(np.diff(values) > 1e-8) + 1), len(values)]
    for first, last in pairwise(starts):
        space = vectors[:, first:last]
        parity = round(np.trace(space.T @ inversion @ space) / (last - first))
        lowest.setdefault(Irrep((last - first - 1) // 2, parity), values[first])
    return lowest


def from_dense(matrix, sites):
    """Operator of a dense scalar matrix."""
    from etn.network.operator import operator_basis

    dims = [operator_basis(site).legs[0].dim for site in sites]
    n = len(sites)
    tensor = matrix.reshape(*dims, *dims)
    for site in range(n):
        basis = operator_basis(sites[site]).to_dense()
        # Bra and ket of the first site that is left become one leg at the end.
        tensor = np.tensordot(tensor, basis, axes=([0, n - site], [0, 1]))
    dense = tensor[None, ..., None]
    legs = [operator_leg(site) for site in sites]
    chain = Chain.from_dense(dense, legs, truncation=Truncation(rel_tol=1e-13))
    return Operator(chain, sites)


def test_one_site_chain():
    operator = Operator.identity(["2x0e+1x1e"])
    assert ground_state(operator, "1e").energy == pytest.approx(1, abs=1e-14)
    assert ground_state(3 * operator).energy == pytest.approx(3, abs=1e-14)


def test_the_start_decides_the_end_and_the_seed_does_not():
    operator = heisenberg(6)
    energies = [ground_state(operator, seed=seed).energy for seed in range(3)]
    np.testing.assert_allclose(energies, ENERGIES[6], atol=1e-10)
    found = ground_state(operator)
    again = ground_state(operator, start=found.chain)
    assert len(again.records) <= 2
    assert again.records[0].losses[0] == pytest.approx(found.energy, abs=1e-11)


def test_errors():
    operator = heisenberg(4)
    for target in ("5e", "0o", "1o"):
        with pytest.raises(CoreError, match=f"4 sites of 1x1e.* cannot couple to 1x{target}"):
            ground_state(operator, target)
    for target in ("2x0e", "0e+1e", ""):
        with pytest.raises(SettingsError, match='expected one irrep such as "0e"'):
            ground_state(operator, target)
    start = Chain.random(operator.sites, out="1e")
    with pytest.raises(SettingsError, match="start has the total irrep 1x1e, the target is 1x0e"):
        ground_state(operator, start=start)
    with pytest.raises(IrrepsError, match="acts on 4 sites of 1x1e, the state has 5 sites"):
        ground_state(operator, start=Chain.random(["1x1e"] * 5))
    with pytest.raises(CoreError, match=r"the operator is of numpy float64.*convert with"):
        ground_state(operator, start=Chain.random(operator.sites).to(dtype="float32"))
    triplet = ground_state(operator, "1e").chain
    with pytest.raises(IrrepsError, match="out: the chains carry"):
        ground_state(operator, orthogonal_to=[triplet])
    legs = [operator_leg("1x1e")] * 4
    vector = Operator(Chain.random(legs, out="1e"), operator.sites)
    with pytest.raises(CoreError, match="whose ends are scalars 1x0e, got 1x0e and 1x1e"):
        ground_state(vector)
    skew = Operator(Chain.random(legs, max_bond=1, seed=6), operator.sites)
    with pytest.raises(
        CoreError, match="needs a symmetric operator, got one that differs from its"
    ):
        ground_state(operator + 1e-3 * skew)
    state = Chain.random(operator.sites)
    for given, message in (
        (state, r"orthogonal_to: expected a list of chains, got Chain.*write \[chain\]"),
        (7, "orthogonal_to: expected a list of chains, got 7"),
        ([ground_state(operator)], "entry 0 is Report.*of a report take .chain"),
        ([0.0 * state], "expected states with a norm, entry 0 is zero"),
    ):
        with pytest.raises(CoreError, match=message):
            ground_state(operator, orthogonal_to=given)
    with pytest.raises(CoreError, match="operator: expected an Operator, got Chain"):
        ground_state(state)
    with pytest.raises(CoreError, match="needs a canonical chain"):
        EigenProblem(operator, state).solve(state)
