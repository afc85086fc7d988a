from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from etn.errors import ModelFileError, SettingsError
from etn.io import load, save
from etn.network import Chain
from etn.sweep import Checkpoint, EarlyStop, LeastSquares, Schedule, State, SweepRecord, grow
from etn.testing import random_batch


def record(loss, *, n_sites=2, sweep=1, **measures):
    named = {name.replace("_", " "): value for name, value in measures.items()}
    return SweepRecord(n_sites, sweep, loss, (loss,), 1e3, "cholesky", 0.1, 10, "2x0e", named)


def test_energies_below_zero_stop_as_well():
    stop = EarlyStop(rel_tol=1e-3)
    assert stop.verdict([record(-26.8), record(-26.9)]) == ""
    assert "fell by less" in stop.verdict([record(-26.8), record(-26.80001)])


def test_early_stop_watches_the_validation_loss():
    stop = EarlyStop(rel_tol=0.1)
    assert stop.verdict([record(9, valid_loss=5.0)]) == ""
    assert stop.verdict([record(9, valid_loss=5.0), record(8, valid_loss=4.0)]) == ""
    reason = stop.verdict([record(9, valid_loss=5.0), record(1, valid_loss=4.9)])
    assert reason == "valid loss fell by less than 0.1 in 1 sweep(s)"


def test_early_stop_falls_back_to_the_training_loss():
    reason = EarlyStop(rel_tol=0.1).verdict([record(9.0), record(8.9)])
    assert reason.startswith("loss fell")


def test_early_stop_is_patient():
    stop = EarlyStop(rel_tol=0.0, patience=2)
    values = [5.0, 6.0, 4.0, 4.5, 4.2]
    records = [record(1.0, valid_loss=value) for value in values]
    assert [bool(stop.verdict(records[: n + 1])) for n in range(5)] == [False] * 4 + [True]


def test_early_stop_starts_afresh_at_each_length():
    records = [record(1.0), record(1.0), record(1.0, n_sites=3)]
    stop = EarlyStop()
    assert stop.verdict(records[:2])
    assert stop.verdict(records) == ""


def test_early_stop_needs_patience():
    with pytest.raises(SettingsError, match="patience: expected at least 1, got 0"):
        EarlyStop(patience=0)


def test_checkpoint_round_trip(tmp_path):
    chain = Chain.random(["2x0e+1x1o"] * 3, start="2x0e", max_bond=2, seed=1).canonicalize(1)
    best = Chain.random(["2x0e+1x1o"] * 2, start="2x0e", max_bond=2, seed=2)
    records = (record(3.0, valid_loss=1 / 3), record(2.0, n_sites=3))
    path = tmp_path / "state.etn"
    Checkpoint(path, note={"seed": 7, "text": "Å"}).on_sweep(State(chain, records, best))
    state = State.load(path)
    assert state.records == records
    assert dict(state.note) == {"seed": 7, "text": "Å"}
    for one, two in ((state.chain, chain), (state.best, best)):
        assert one.center == two.center
        for a, b in zip(one, two, strict=True):
            assert a.legs == b.legs
            np.testing.assert_array_equal(a.to_vector(), b.to_vector())


def test_a_singular_problem_can_be_stored(tmp_path):
    # Parameters of an element without samples: the Gram matrix is not positive definite.
    chain = Chain.random(["2x0e+1x1o"] * 2, start="2x0e", max_bond=2, seed=1)
    batch = random_batch(chain, seed=1)
    (start,) = batch.samples.start.values()
    start[0], start[1] = 1.0, 0.0
    path = tmp_path / "state.etn"
    report = grow(
        chain,
        LeastSquares(lambda: [batch]),
        n_sites=2,
        schedule=Schedule(max_sweeps=1),
        callbacks=[Checkpoint(path)],
    )
    (record,) = State.load(path).records
    assert record.solver == "qr"
    assert record.condition > 1e15
    json.dumps(report.to_dict(), allow_nan=False)


def test_a_checkpoint_that_is_missing_is_an_error(tmp_path):
    with pytest.raises(ModelFileError):
        State.load(tmp_path / "none.etn")


def test_a_kept_checkpoint_of_version_0_1_0_goes_on():
    """Written before a state could hold several chains."""
    path = Path(__file__).parent / "files" / "checkpoint.etn"
    assert load(path).format_version == 1
    state = State.load(path)
    assert [(r.n_sites, r.sweep, r.chain, r.cycle) for r in state.records] == [
        (2, 1, "", 0),
        (3, 1, "", 0),
    ]
    assert state.note == {"data": "x"}
    assert state.others == state.best_others == {}
    for chain in (state.chain, state.best):
        assert len(chain) == 3
        assert chain.orthogonality_error() < 1e-12


def test_kept_checkpoints_of_the_first_commit_and_of_two_layers_go_on():
    files = Path(__file__).parent / "files"
    assert {load(path).format_version for path in files.iterdir()} == {1}
    first = State.load(files / "first.etn")
    assert [(r.n_sites, r.sweep, r.discarded) for r in first.records] == [(2, 1, 0.0)]
    assert first.chain.discarded_weight == 0.0
    layers = State.load(files / "layers.etn")
    assert sorted(layers.others) == sorted(layers.best_others) == ["one_layer", "value"]
    assert {r.chain for r in layers.records} == {"", "readout", "value"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda h: h["records"].append({}), "records|TypeError"),
        (lambda h: h["records"].append(dict.fromkeys(h["records"][0], "x")), "records"),
        (lambda h: h.update(records=3), "records: expected list"),
        (lambda h: h.update(note=[]), "note: expected dict"),
        (lambda h: h.pop("best"), "KeyError: 'best'"),
        (lambda h: h.update(others={"value": None}), "TypeError"),
        (lambda h: h["chain"].update(legs=[["9x0e"] * 3]), "array|missing"),
    ],
)
def test_a_whole_checkpoint_that_says_what_cannot_be_is_refused(change, message, tmp_path):
    stored = load(Path(__file__).parent / "files" / "checkpoint.etn")
    change(stored.header)
    save(tmp_path / "a.etn", kind="checkpoint", header=stored.header, arrays=stored.arrays)
    with pytest.raises(ModelFileError, match=rf"the file is whole, .* no checkpoint .*({message})"):
        State.load(tmp_path / "a.etn")


def test_a_state_with_several_chains_survives_its_file(tmp_path):
    chains = [Chain.random(["1x0e+1x1o"] * 2, max_bond=2, seed=k).canonicalize(0) for k in range(4)]
    state = State(chains[0], (), chains[1], {}, {"value": chains[2]}, {"value": chains[3]})
    state.save(tmp_path / "a.etn", note={})
    again = State.load(tmp_path / "a.etn")
    found = [again.chain, again.best, again.others["value"], again.best_others["value"]]
    for one, two in zip(chains, found, strict=True):
        np.testing.assert_array_equal(one.to_dense(), two.to_dense())


def test_cycles_through_several_chains_are_one_stage():
    """Whichever chain they end with, and apart from the chain that they start from."""
    before = [record(5.0, n_sites=n, valid_loss=5.0) for n in (2, 3)]
    cycles = [
        replace(record(4.0, n_sites=n, valid_loss=v), chain=chain, cycle=cycle)
        for cycle, (chain, n, v) in enumerate(
            (("readout", 3, 1.0), ("value", 2, 0.5), ("query", 1, 0.6), ("query", 1, 0.7))
        )
    ]
    stop = EarlyStop(patience=2)
    assert stop.verdict([*before, *cycles[:3]]) == ""
    assert "valid loss fell" in stop.verdict([*before, *cycles])
