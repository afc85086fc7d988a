"""What happens between two sweeps: measures, robust scales, the ridge; and where a fit stood."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from etn.data.robust import Huber
from etn.potential import Frame
from etn.potential.fitting.labelled import LabelledRows
from etn.potential.fitting.objective import Objective
from etn.potential.fitting.supervision import Supervision
from etn.potential.fitting.targets import RowGroup


class Energies(LabelledRows):
    """Ten frames of one atom each, with an energy; the network holds their errors."""

    def __init__(self, robust=None, share=slice(None)):
        frame = Frame([42], np.zeros((1, 3)), np.zeros((3, 3)), [False] * 3)
        frames = [replace(frame, name=str(k)) for k in range(10)]
        none = np.empty(0, dtype=int)
        super().__init__([RowGroup(frames, none, True, False, np.zeros(10), np.ones(10))], robust)
        self.share = share

    def errors(self, network):
        return [np.resize(network[self.share], 10)]


class Local:
    """A local problem whose evidence is known beforehand."""

    def __init__(self, *ridges):
        self.ridge, self.left, self.seen = 1e-3, list(ridges), []

    def evidence(self, chain, n_rows):
        self.seen.append((chain, n_rows))
        ridge = self.left.pop(0)
        return None if ridge is None else SimpleNamespace(ridge=ridge)


def supervision(rows, checks=None, *, ridge=0.5, robust=None):
    objective = Objective.of(None, robust=robust, ridge=ridge, missing="error")
    return Supervision(objective, rows, checks, n_rows=77)


ERRORS = np.array([1.0, -2.0, 3.0, -4.0])


def test_errors_of_training_and_validation_data_have_their_names():
    watch = supervision(Energies(share=slice(2)), Energies(share=slice(2, 4)))
    assert watch.measure(ERRORS) == {
        "train E": pytest.approx(1500.0),
        "valid loss": pytest.approx(5 * 25.0),
        "valid E": pytest.approx(3500.0),
    }
    assert supervision(Energies()).measure(ERRORS) == {"train E": pytest.approx(2300.0)}


def test_robust_weights_follow_the_network_but_held_out_labels_keep_their_scale():
    rows, checks = Energies(Huber()), Energies(Huber())
    watch = supervision(rows, checks, robust="huber")
    first = watch.measure(ERRORS)
    scale = np.median(np.abs(np.resize(ERRORS, 10))) * 1.4826
    assert first["scale E"] == pytest.approx(scale, rel=1e-4)
    assert checks.robust.scales == rows.robust.scales
    second = watch.measure(ERRORS / 4)
    assert second["scale E"] == pytest.approx(scale / 4, rel=1e-4)
    assert checks.robust.scales["energy"] == pytest.approx(scale, rel=1e-4)
    # One energy far out is weighed down, by the scale of all of them.
    far = ERRORS / 4 + 100.0 * (np.arange(4) == 1)
    assert watch.measure(far)["outliers E"] == 3
    np.testing.assert_array_equal(rows.row_weights[0] < 1, np.resize(np.arange(4) == 1, 10))


def test_the_evidence_chooses_the_ridge_of_the_next_sweep():
    watch, problem = supervision(Energies(), ridge="evidence"), Local(0.25, None)
    assert watch.choose_ridge(problem, "chain") == {"ridge": 0.25}
    assert watch.ridge == problem.ridge == 0.25
    # Where it is not known, the ridge stays.
    assert watch.choose_ridge(problem, "longer") == {"ridge": 0.25}
    assert problem.seen == [("chain", 77), ("longer", 77)]
    number = supervision(Energies())
    assert number.choose_ridge(problem, "chain") == {}
    assert (number.ridge, problem.ridge) == (0.5, 0.25)


def records(*measures):
    return [SimpleNamespace(measures=m) for m in measures]


def test_an_interrupted_fit_goes_on_with_its_scales_weights_and_ridge():
    """As if all sweeps had been measured here."""
    networks = [ERRORS, ERRORS / 2 + 3.0 * (np.arange(4) == 1)]
    whole = [Energies(Huber()), Energies(Huber())]
    watch = supervision(*whole, robust="huber", ridge="evidence")
    problem = Local(0.25, 0.125)
    seen = [watch.measure(n) | watch.choose_ridge(problem, n) for n in networks]
    again = [Energies(Huber()), Energies(Huber())]
    other = supervision(*again, robust="huber", ridge="evidence")
    # Sweeps over other chains of a cycle are not measured.
    other.restore(records(seen[0], {}, seen[1], {}), networks[-1])
    assert other.ridge == watch.ridge == 0.125
    for one, two in zip(whole, again, strict=True):
        assert two.robust.scales == one.robust.scales
    np.testing.assert_array_equal(again[0].row_weights[0], whole[0].row_weights[0])
    assert again[0].offset == whole[0].offset


def test_a_fit_without_measures_or_robust_weights_is_restored_too():
    rows = Energies(Huber())
    supervision(rows, robust="huber").restore(records({}), ERRORS)
    assert rows.robust.scales == {}
    plain = supervision(Energies())
    plain.restore(records({"train E": 1.0}), ERRORS)
    assert plain.ridge == 0.5


class Watched(Energies):
    """Notes what is asked of the rows that are no data; the network is an error of forces."""

    def __init__(self):
        super().__init__()
        self.asked = []

    def errors(self, network):
        return [np.zeros(10)]

    def measure(self, network, errors=None):
        return {"loss": 0.0, **({} if network is None else {"F": network})}

    def retarget(self, network, error=None):
        self.asked.append((network, error))


def test_bounds_are_taken_anew_after_each_sweep_and_where_a_fit_goes_on():
    rows, again = Watched(), Watched()
    watch = supervision(rows)
    for error in (0.2, 0.01, None):
        watch.measure(error)
    assert rows.asked == [(0.2, 0.2), (0.01, 0.01), (None, None)]
    supervision(again).restore([SimpleNamespace(measures={"train F": 0.01})], 0.01)
    assert again.asked == rows.asked[1:2]
