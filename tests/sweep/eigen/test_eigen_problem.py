"""The eigenvalue problem of a sweep: local energies against dense ones, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest

from etn.backend import to_numpy
from etn.errors import CoreError
from etn.network import Chain, Operator, heisenberg, operator_leg
from etn.sweep import EigenProblem, Schedule
from etn.sweep.eigen.eigen_problem import check_states
from etn.tensor import matricize


@pytest.mark.parametrize("center", [0, 2, 5])
def test_the_mean_energy_of_the_center_is_that_of_the_state(center):
    operator = heisenberg(6)
    state = Chain.random(operator.sites, max_bond=2, seed=3).canonicalize(center)
    hamiltonian, others = EigenProblem(operator, state, orthogonal_to=[state]).at_center(state)
    vector = hamiltonian.to_vector(matricize(state[center], 2))
    vector = vector / np.linalg.norm(vector)
    dense = to_numpy(state.to_dense()).ravel()
    mean = dense @ operator.to_dense() @ dense / (dense @ dense)
    assert vector @ hamiltonian(vector) == pytest.approx(mean, rel=1e-12)
    np.testing.assert_allclose(hamiltonian.to_vector(others[0]), vector, atol=1e-12)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_schedules_have_its_defaults(dtype):
    operator = heisenberg(4).to(dtype=dtype)
    problem = EigenProblem(operator, Chain.random(operator.sites).to(dtype=dtype))
    whole = Schedule(max_bond=7).for_problem(problem)
    assert whole.at(0).sites == 2
    assert whole.sweeps(0) == 30
    assert whole.rel_tol == (1e-11 if dtype == "float64" else np.finfo(dtype).eps)
    assert Schedule(noise=[1e-2, 0]).for_problem(problem).at(0).sites == 1
    assert Schedule(sites=1, tol=0.0).for_problem(problem).at(0).truncation.rel_tol == 0.0


@pytest.mark.parametrize("scale", [1e-250, 1.0, 1e250])
@pytest.mark.parametrize("skew", [1e-3, 1e-6])
def test_symmetry_is_checked_at_every_scale(scale, skew):
    operator = scale * heisenberg(5)
    state = Chain.random(operator.sites)
    EigenProblem(operator, state)
    legs = [operator_leg("1x1e")] * 5
    other = Operator(Chain.random(legs, max_bond=1, seed=6).normalize(), operator.sites)
    with pytest.raises(CoreError, match="needs a symmetric operator"):
        EigenProblem(operator + scale * skew * 100 * other, state)


def test_states_of_any_norm_are_states():
    chain = Chain.random(["1x1e"] * 3)
    large = Chain([core.scale(1e200) for core in chain])
    assert check_states((chain, large), "states") == [chain, large]
