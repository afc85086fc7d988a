"""Several lowest states against exact diagonalization: none missed, degenerate ones named."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from etn.errors import CoreError, SettingsError
from etn.network import Chain, Operator, heisenberg, pair_sum
from etn.sweep import Schedule, ground_state, lowest_states
from etn.sweep.eigen import lowest

S = [-2.0, -1.0, 1.0]
CASES = {
    "heisenberg(5)": (heisenberg(5), 0),
    "ring of 4": (pair_sum(4, S, distances=[1, 0, 1]), 1),
    "ring of 5": (pair_sum(5, S, distances=[1, 0, 0, 1]), 0),
    "cluster of ITensors.jl#845": (pair_sum(4, S, distances=[1, 1.17, 1]), 1),
    "all pairs alike": (pair_sum(5, S, distances=[1] * 4), 0),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("seed", [0, 7])
@pytest.mark.parametrize("exact", [True, False], ids=["counted", "searched"])
def test_degenerate_states_are_all_found(name, seed, exact, monkeypatch, dense_energies):
    if not exact:
        monkeypatch.setattr(lowest, "MAX_EXACT", 0)
    operator, spin = CASES[name]
    wanted = dense_energies(operator, spin)[:6]
    states = lowest_states(operator, len(wanted), f"{spin}e", seed=seed)
    np.testing.assert_allclose([state.energy for state in states], wanted, atol=1e-9)
    assert all(state.converged for state in states)
    for number, state in enumerate(states):
        alike = tuple(np.flatnonzero(abs(wanted - wanted[number]) < 1e-7).tolist())
        assert state.degenerate == alike
        assert ("degenerate: states" in state.reason) == (len(alike) > 1)
        assert operator.variance(state.chain) < 1e-12
        for other in states[:number]:
            assert abs(float(state.chain.inner(other.chain))) < 1e-6 * (2 * spin + 1)


@pytest.mark.parametrize("exact", [True, False], ids=["counted", "searched"])
def test_a_list_that_ends_within_a_multiplet_says_so(exact, monkeypatch):
    if not exact:
        monkeypatch.setattr(lowest, "MAX_EXACT", 0)
    operator, spin = CASES["ring of 5"]
    states = lowest_states(operator, 2, f"{spin}e")
    assert [state.more for state in states] == [False, True]
    assert "degenerate: state 1 of this list and more have this energy" in states[1].reason
    assert [state.counted for state in states] == [exact] * 2
    quick = lowest_states(operator, 2, f"{spin}e", verify=False)
    assert [state.more for state in quick] == [None, None]


def test_a_state_that_turns_up_late_takes_its_place(monkeypatch, dense_energies):
    """The first two searches are led astray: they report higher states."""
    operator = heisenberg(6)
    wanted = dense_energies(operator, 0)
    real, calls = ground_state, []

    def astray(operator, total, *, orthogonal_to, **options):
        calls.append(1)
        if len(calls) == 1:
            lower = [state.chain for state in lowest_states_of_real(2)]
            return real(operator, total, orthogonal_to=lower, **options)
        return real(operator, total, orthogonal_to=orthogonal_to, **options)

    def lowest_states_of_real(n):
        found = []
        for seed in range(n):
            chains = [one.chain for one in found]
            found.append(real(operator, "0e", orthogonal_to=chains, seed=seed))
        return found

    monkeypatch.setattr(lowest, "ground_state", astray)
    for limit in (400, 0):
        monkeypatch.setattr(lowest, "MAX_EXACT", limit)
        calls.clear()
        states = lowest_states(operator, 2)
        np.testing.assert_allclose([state.energy for state in states], wanted[:2], atol=1e-9)
        assert all("found after states of higher energy" in state.reason for state in states)


def test_an_energy_that_is_not_in_the_spectrum_has_not_converged(monkeypatch):
    operator = heisenberg(6)
    real = ground_state

    def wrong(*args, **options):
        report = real(*args, **options)
        last = replace(report.records[-1], loss=report.records[-1].loss + 1e-4)
        return replace(report, records=(*report.records[:-1], last))

    monkeypatch.setattr(lowest, "ground_state", wrong)
    (state,) = lowest_states(operator, 1)
    assert not state.converged
    assert "but the exact energy of state 0 is -7.37027496" in state.reason


def test_one_state_found_twice_has_not_converged(monkeypatch):
    operator = heisenberg(10)
    monkeypatch.setattr(lowest, "MAX_EXACT", 0)
    first = ground_state(operator)
    monkeypatch.setattr(lowest, "ground_state", lambda *args, **options: first)
    _, second = lowest_states(operator, 2, verify=False)
    assert not second.converged
    assert "but its overlap with a state before it is 1" in second.reason


def test_all_states_of_a_sector_with_many_multiplets(dense_energies):
    operator = pair_sum(5, S, distances=[1] * 4)
    wanted = dense_energies(operator, 1)
    states = lowest_states(operator, len(wanted), "1e", seed=2)
    np.testing.assert_allclose([state.energy for state in states], wanted, atol=1e-9)
    assert states[0].degenerate == tuple(np.flatnonzero(abs(wanted - wanted[0]) < 1e-8).tolist())


def test_narrow_bonds_are_not_taken_for_missed_states(dense_energies):
    operator = heisenberg(8)
    states = lowest_states(operator, 2, schedule=Schedule(max_multiplets=8, max_sweeps=12))
    wanted = dense_energies(heisenberg(6), 0)  # another chain: only its order of magnitude
    assert states[0].energy < wanted[0]
    assert all(state.energy > -12 for state in states)


def test_torch_and_single_precision(dense_energies):
    operator = heisenberg(5)
    wanted = dense_energies(operator, 0)[:5]
    for kind in ({"backend": "torch"}, {"dtype": "float32"}):
        tol = 1e-4 if "dtype" in kind else 1e-9
        states = lowest_states(operator.to(**kind), 5)
        np.testing.assert_allclose([state.energy for state in states], wanted, atol=tol)


@pytest.mark.parametrize("n_states", [0, -1, 1.5, None, "2"])
def test_numbers_of_states_that_are_none(n_states):
    with pytest.raises(SettingsError, match="expected at least one state, got"):
        lowest_states(heisenberg(4), n_states)


def test_errors():
    operator = heisenberg(4)
    assert len(lowest_states(operator, np.int64(2))) == 2
    with pytest.raises(CoreError, match="has 3 states of total irrep 1x0e, of which 3 are"):
        lowest_states(operator, 4)
    with pytest.raises(SettingsError, match='lowest_states: expected one irrep such as "0e"'):
        lowest_states(operator, 1, "2x0e")
    with pytest.raises(CoreError, match="orthogonal_to: expected a list of chains"):
        lowest_states(operator, 1, orthogonal_to=Chain.random(operator.sites))
    with pytest.raises(CoreError, match="operator: expected an Operator"):
        lowest_states("H", 1)
    assert isinstance(sum([operator, operator]), Operator)


@pytest.mark.parametrize("name", CASES)
def test_one_seed_for_all_searches_finds_degenerate_states_in_their_order(name, dense_energies):
    operator, spin = CASES[name]
    wanted, found = dense_energies(operator, spin)[:6], []
    for _ in wanted:
        found.append(
            ground_state(operator, f"{spin}e", orthogonal_to=[one.chain for one in found], seed=0)
        )
    np.testing.assert_allclose([one.energy for one in found], wanted, atol=1e-9)
    assert all(one.converged for one in found)
