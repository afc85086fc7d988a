"""Records of runs: a folder that is set up late, and what may be continued."""

from __future__ import annotations

import pytest

from etn import io
from etn.errors import ModelFileError, RunFolderError
from etn.run.record import CHECKPOINT, MODEL, OUTPUTS, REPLACED, REPORT, SETTINGS, Record
from etn.run.settings import FitSettings

SOME = FitSettings(train="etn:Mo")


def test_a_folder_is_set_up_with_the_first_result(tmp_path):
    record = Record(tmp_path / "run", SOME, "abc", resume=False)
    assert not record.out.exists()
    record.open()
    assert (record.out / SETTINGS).read_text() == SOME.dump()
    (record.out / SETTINGS).write_text("touched")
    record.open()
    assert (record.out / SETTINGS).read_text() == "touched"


def test_a_finished_run_waits_until_the_new_one_is_finished(tmp_path):
    for name in OUTPUTS:
        (tmp_path / name).write_text("old")
    (tmp_path / "mine.txt").write_text("mine")
    record = Record(tmp_path, SOME, "abc", resume=False)
    record.open()
    assert sorted(p.name for p in (tmp_path / REPLACED).iterdir()) == sorted(OUTPUTS)
    assert not (tmp_path / MODEL).exists()
    (tmp_path / ".0123abcd-report.json").write_text("half")
    record.close()
    assert not (tmp_path / REPLACED).exists()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["mine.txt", SETTINGS]


def test_only_the_same_data_are_continued(tmp_path):
    io.save(tmp_path / CHECKPOINT, kind="checkpoint", header={"note": {"data": "abc"}}, arrays={})
    assert not Record(tmp_path, SOME, "abc", resume=False).has_state
    record = Record(tmp_path, SOME, "abc", resume=True)
    assert record.has_state
    record.verify()
    record.open()  # nothing: the folder is as the run left it
    assert not (tmp_path / SETTINGS).exists()
    assert not (tmp_path / REPORT).exists()
    with pytest.raises(RunFolderError, match="data have changed since this run was started"):
        Record(tmp_path, SOME, "other", resume=True).verify()
    (tmp_path / CHECKPOINT).write_bytes(b"no such thing")
    with pytest.raises(ModelFileError):
        record.verify()
