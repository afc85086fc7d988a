"""Power cuts, kill -9, full disks and read-only folders: what was there stays, and a run goes on.

The fits run in children of one process that has loaded everything, with one thread: a resumed run
must end in the same bits.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from etn import io
from etn.errors import RunFolderError
from etn.run.folder import run_fit
from etn.run.record import OUTPUTS, REPLACED
from etn.run.settings import FitSettings

# Forks a child for every fit.  The child counts the operations on files below the run folder, each
# before and after it is done, and a write also in the middle; at one of them, or after a while, it
# is killed as by kill -9.
DRIVER = """
import json, os, pathlib, random, shutil, signal, sys, threading, time
from etn.cli import main
import etn.plot, etn.run.layered, matplotlib.backends.backend_agg, matplotlib.figure
root, arguments, kills = pathlib.Path(sys.argv[1]), sys.argv[2].split(), int(sys.argv[3])
count, at, folder, real_open = 0, 0, "", open

def tick(path):
    global count
    if str(path).startswith(folder):
        count += 1
        if count == at:
            os.kill(os.getpid(), signal.SIGKILL)

def wrap(owner, name):
    function = getattr(owner, name)
    def counted(first, *more, **options):
        tick(first)
        found = function(first, *more, **options)
        tick(first)
        return found
    setattr(owner, name, counted)

def write_bytes(self, data):
    with real_open(self, "wb") as stream:
        stream.write(data[: len(data) // 2])
        stream.flush()
        tick(self)
        stream.write(data[len(data) // 2 :])

pathlib.Path.write_bytes = write_bytes
for name in ("open", "mkdir"):
    wrap(os, name)
for name in ("replace", "unlink"):
    wrap(pathlib.Path, name)

def fit(out, *more, kill_at=0, after=None):
    pid = os.fork()
    if pid == 0:
        global at, folder
        at, folder = kill_at, str(out)
        output = os.open(str(root / "output"), os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
        os.dup2(output, 1), os.dup2(output, 2)
        sys.argv = ["etn", "fit", *arguments, "--out", str(out), *more]
        try:
            main()
        except SystemExit as error:
            (root / "count").write_text(str(count))
            os._exit(error.code or 0)
        os._exit(99)
    timer = threading.Timer(after or 1e6, os.kill, (pid, signal.SIGKILL))
    timer.start()
    status = os.waitpid(pid, 0)[1]
    timer.cancel()
    return os.waitstatus_to_exitcode(status)

start = time.monotonic()
assert fit(root / "whole") == 0, (root / "output").read_text()
seconds, operations = time.monotonic() - start, int((root / "count").read_text())
rng, found = random.Random(1), []
for number in range(kills):
    if number % 2:
        kill = {"after": rng.uniform(0.1, 0.9) * seconds}
    else:
        kill = {"kill_at": rng.randrange(1, operations + 1)}
    out = root / str(number)
    code = fit(out, **kill)
    left = sorted(path.name for path in out.iterdir()) if out.exists() else []
    again = ["--resume"] if "settings.yaml" in left else []
    found.append({"kill": kill, "code": code, "left": left, "resumed": fit(out, *again)})
print(json.dumps(found))
"""

SMALL = "etn:Mo/test --r-max 4 --n-max 3 --l-max 1 --max-bond 2 --valid 0.2 --rel-tol 0 -q"
FITS = {
    "plain": "--body-order 4 --max-sweeps 2 --refine 2",
    "robust": "--body-order 3 --max-sweeps 3 --robust huber",
    "evidence": "--body-order 3 --max-sweeps 3 --ridge evidence",
    "two sites": "--body-order 4 --max-sweeps 2 --sites 2",
    "layers": "--body-order 3 --max-sweeps 1 --layers 2 --outputs 1x0e+1x1o --max-cycles 2",
}


def content(path: Path) -> object:
    """What a model file holds, bit for bit, but the date."""
    stored = io.load(path)
    stored.header["note"].pop("created")
    return stored.header, {name: array.tobytes() for name, array in stored.arrays.items()}


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.skipif(os.name != "posix", reason="forks")
@pytest.mark.parametrize("kind", FITS)
def test_a_killed_fit_resumes_to_the_same_bits(kind, tmp_path):
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    ran = subprocess.run(
        [sys.executable, "-c", DRIVER, str(tmp_path), f"{SMALL} {FITS[kind]}", "4"],
        capture_output=True,
        text=True,
        env={**os.environ, **threads},
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    found = json.loads(ran.stdout.splitlines()[-1])
    assert -9 in {one["code"] for one in found}
    whole = content(tmp_path / "whole" / "model.etn")
    for number, one in enumerate(found):
        assert one["code"] in (-9, 0), one
        assert one["resumed"] == (2 if one["code"] == 0 and not one["left"] else 0), one
        assert content(tmp_path / str(number) / "model.etn") == whole, one
        # Half-written files of the killed process are gone as well.
        assert sorted(os.listdir(tmp_path / str(number))) == sorted(OUTPUTS), one


@pytest.fixture(scope="module")
def settings(mo_data, small):
    few = {**small, "body_order": 3, "max_sweeps": 2}
    return FitSettings(train=mo_data / "train.xyz", **few)


@pytest.fixture(scope="module")
def before(settings, tmp_path_factory):
    """A finished run, not to be changed."""
    return run_fit(settings, tmp_path_factory.mktemp("before")).out


@pytest.fixture
def out(before, tmp_path):
    """A finished run that may be changed."""
    return Path(shutil.copytree(before, tmp_path / "run"))


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def full_disk(monkeypatch, after: int, suffix: str = "") -> None:
    """Every write to the disk fails, once so many have gone well."""
    flush, count = io._flush, 0

    def fail(path):
        nonlocal count
        if path.is_file() and path.name.endswith(suffix):
            count += 1
            if count > after:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        flush(path)

    monkeypatch.setattr(io, "_flush", fail)


@pytest.mark.parametrize("after", [0, 1, 2, 5])
def test_a_disk_that_fills_up_costs_no_earlier_run(after, settings, before, out, monkeypatch):
    """In settings, the first checkpoint, the second, and the results."""
    with monkeypatch.context() as patch:
        full_disk(patch, after)
        with pytest.raises(OSError, match=r"No space left on device: '.*/\w+\.\w+'"):
            run_fit(settings, out, force=True)
    assert files(out / REPLACED) == files(before)
    # With space the run goes on, or starts over; then the one before may go.
    resume = (out / "settings.yaml").exists()
    run_fit(settings, out, resume=resume, force=not resume)
    assert sorted(os.listdir(out)) == sorted(OUTPUTS)
    assert content(out / "model.etn") == content(before / "model.etn")


def test_the_run_before_outlives_several_that_fail(settings, before, out, monkeypatch):
    for after in (1, 2, 0):
        with monkeypatch.context() as patch:
            full_disk(patch, after)
            with pytest.raises(OSError, match="No space left"):
                run_fit(settings, out, force=True)
        assert files(out / REPLACED) == files(before)


def test_the_command_says_in_one_line_that_the_disk_is_full(mo_data, tmp_path, monkeypatch, invoke):
    full_disk(monkeypatch, 1)
    small = ["--r-max", 4, "--n-max", 3, "--l-max", 1, "--body-order", 3, "--max-sweeps", 2, "-q"]
    found = invoke("fit", mo_data / "train.xyz", "--out", tmp_path / "run", *small)
    assert found.exit_code == 2
    path = tmp_path / "run" / "checkpoint.etn"
    assert found.stderr == f"etn: [Errno 28] No space left on device: '{path}'\n"


def test_files_that_may_not_grow_are_told_with_their_name(tmp_path):
    """A limit of the operating system, in a process of its own."""
    path = tmp_path / "model.etn"
    io.save(path, kind="x", header={}, arrays={"a": np.zeros(10)})
    before = path.read_bytes()
    code = f"""
import resource, numpy as np
from etn import io
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
io.save({str(path)!r}, kind="x", header={{}}, arrays={{"a": np.zeros(10_000)}})
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert f"File too large: '{path}'" in ran.stderr.splitlines()[-1]
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["model.etn"]


def test_a_read_only_folder_is_left_alone(settings, before, out, monkeypatch):
    opened = os.open

    def refuse(path, flags, *more, **options):  # as the system does
        if str(path).startswith(str(out)) and flags & os.O_CREAT:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))
        return opened(path, flags, *more, **options)

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", refuse)
        patch.setattr(os, "access", lambda path, mode: not mode & os.W_OK)
        with pytest.raises(RunFolderError, match="cannot be written to; choose another folder"):
            run_fit(settings, out, force=True)
    # A mount that says nothing beforehand.
    with monkeypatch.context() as patch:
        patch.setattr(os, "open", refuse)
        patch.setattr(Path, "mkdir", lambda self, **options: refuse(self, os.O_CREAT))
        with pytest.raises(OSError, match="Read-only file system"):
            run_fit(settings, out, force=True)
    assert files(out) == files(before)


def test_only_files_of_a_run_are_cleared_away(settings, tmp_path):
    (tmp_path / REPLACED).mkdir()
    for name in ("notes.txt", ".0a1b2c3d-notes.txt", f"{REPLACED}/notes.txt"):
        (tmp_path / name).write_text("mine")
    (tmp_path / ".0a1b2c3d-model.etn").write_text("half")
    run_fit(settings, tmp_path)
    kept = [*OUTPUTS, "notes.txt", ".0a1b2c3d-notes.txt", REPLACED]
    assert sorted(os.listdir(tmp_path)) == sorted(kept)
    assert os.listdir(tmp_path / REPLACED) == ["notes.txt"]
