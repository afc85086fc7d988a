from __future__ import annotations

import json
from dataclasses import replace

from etn.network import Chain
from etn.sweep import Report, SweepRecord


def records():
    return (
        SweepRecord(2, 1, 3.5, (4.0, 3.5), 1e3, "cholesky", 0.5, 10, "2x0e", {"train E": 4.0}),
        SweepRecord(3, 1, 2.5, (3.0, 2.5), 2e9, "qr", 1.5, 20, "2x0e", {"valid loss": 0.25}),
    )


def test_record_round_trip_through_json():
    for record in records():
        assert SweepRecord.from_dict(json.loads(json.dumps(record.to_dict()))) == record


def test_a_record_is_a_line_of_a_log():
    one, two = records()
    assert str(one) == ("2 sites, sweep 1: loss 3.5, train E 4, bond 2x0e, cholesky, 0.5 s")
    assert str(two).startswith("3 sites, sweep 1: loss 2.5, valid loss 0.25, bond 2x0e, qr")


def test_in_a_log_a_cycle_says_which_chain_was_swept():
    last = replace(records()[0], chain="value", cycle=3, solver="")
    assert str(last) == "cycle 3, value: loss 3.5, train E 4, bond 2x0e, 0.5 s"


def test_report_prints_a_table():
    chain = Chain.random(["2x0e+1x1o"] * 3, max_bond=2, seed=1)
    report = Report(records(), chain, True, "settled: so")
    head, rule, one, two, reason = str(report).splitlines()
    names = ["sites", "sweep", "loss", "train E", "valid loss", "bond", "condition", "solver"]
    assert head.split() == [*" ".join(names).split(), "time/s"]
    assert set(rule) == {"─", " "}
    assert one.split() == ["2", "1", "3.5", "4", "–", "2x0e", "1.0e+03", "cholesky", "0.5"]
    assert two.split()[-3:] == ["2.0e+09", "qr", "1.5"]
    assert reason == "settled: so"
    assert len({len(line) for line in (head, rule, one, two)}) == 1


def test_report_to_dict_is_jsonable():
    chain = Chain.random(["2x0e+1x1o"] * 3, max_bond=2, seed=1)
    data = json.loads(json.dumps(Report(records(), chain, False, "why").to_dict()))
    assert data["seconds"] == 2.0
    assert data["bonds"] == [str(bond) for bond in chain.bonds]
    assert data["converged"] is False
    assert len(data["records"]) == 2
