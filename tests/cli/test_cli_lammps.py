"""The command ``etn lammps``."""

from __future__ import annotations

from pathlib import Path


def test_it_says_where_the_sources_are(invoke):
    done = invoke("lammps", "path")
    assert done.exit_code == 0
    assert (Path(done.output.strip()) / "pair_etn.cpp").is_file()


def test_what_is_missing_is_said(invoke, tmp_path):
    done = invoke("lammps", "build", "--source", str(tmp_path))
    assert done.exit_code == 2
    assert "expected pair.h and version.h of LAMMPS in" in done.output
    (tmp_path / "pair.h").write_text("")
    (tmp_path / "version.h").write_text('#define LAMMPS_VERSION "29 Aug 2024"')
    done = invoke("lammps", "build", "--source", str(tmp_path), "--compiler", "no-such-compiler")
    assert done.exit_code == 2
    assert "--compiler: expected no-such-compiler in the PATH" in done.output
