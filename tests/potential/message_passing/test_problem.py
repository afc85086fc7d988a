"""The local problem of one chain: updates are optima, planted cores are found."""

from __future__ import annotations

import numpy as np
import pytest

from etn.errors import CoreError
from etn.potential.fitting.memory import MemoryPlan
from etn.potential.message_passing import rows as rows_module
from etn.potential.message_passing.problem import LayerProblem
from etn.potential.message_passing.rows import LayerRows


@pytest.mark.parametrize("name", ["readout", "value", "query", "key"])
def test_an_update_is_the_optimum(rng, name, setting):
    model, _, rows = setting(rng)
    ridge = 1e-2
    chain = model.layers.chains()[name].canonicalize(1)
    problem = LayerProblem(rows, model.layers, name, ridge=ridge)
    solution = problem.solve(chain)
    best = chain.replace(1, solution.core)
    assert problem.loss(best) == pytest.approx(solution.loss, rel=1e-8)
    assert solution.loss < 0.999 * problem.loss(chain)
    # The loss, from predictions alone, rises whichever entry moves.
    a = solution.core.to_vector()
    size = 1e-2 * np.abs(a).max()
    lowest = problem.loss(best)
    for entry in rng.choice(len(a), size=min(12, len(a)), replace=False):
        for sign in (-1, 1):
            moved = a.copy()
            moved[entry] += sign * size
            other = best.replace(1, solution.core.from_vector(moved))
            assert problem.loss(other) > lowest


def test_a_planted_core_of_the_first_layer_is_found(rng, make_frames, labelled, setting, weights):
    model, _, _ = setting(rng)
    frames = make_frames(rng, [41, 42]) + make_frames(rng, [42, 41])
    data = labelled(frames, model)
    rows = LayerRows(data, model.basis, model.messages, model.coupling, model.baseline, weights)
    chain = model.layers.value.canonicalize(1)
    start = chain.replace(1, chain[1].from_vector(rng.normal(size=chain[1].n_parameters)))
    layers = model.layers.replace("value", start)
    problem = LayerProblem(rows, layers, "value", ridge=0.0)
    assert problem.loss(start) > 1.0
    assert problem.solve(start).loss < 1e-12 * problem.loss(start)


def test_what_is_built_anew_gives_the_same_solution(rng, monkeypatch, setting, weights):
    model, data, rows = setting(rng)
    chain = model.layers.value.canonicalize(0)
    one = LayerProblem(rows, model.layers, "value", ridge=1e-2).solve(chain)
    monkeypatch.setattr(rows_module, "FRAMES_AT_ONCE", 1)
    again = LayerRows(
        data,
        model.basis,
        model.messages,
        model.coupling,
        model.baseline,
        weights,
        memory=MemoryPlan(kept=0.0),
    )
    problem = LayerProblem(again, model.layers, "value", ridge=1e-2)
    two, three = problem.solve(chain), problem.solve(chain)
    assert two.loss == pytest.approx(one.loss, rel=1e-10)
    assert three.loss == two.loss


def test_a_chain_without_a_center_is_refused(rng, setting):
    model, _, rows = setting(rng)
    problem = LayerProblem(rows, model.layers, "value", ridge=0.0)
    with pytest.raises(CoreError, match="canonical"):
        problem.solve(model.layers.value)
