"""A short run of every target of the fuzzer, always on the same bytes.

Seeds, and seeds with a few bytes changed, cut out, or put in from another seed.  What a run of
minutes has found (``fuzz.py``) stands as a test beside the module that was mended.
"""

from __future__ import annotations

import importlib.util
import random
import resource
import sys
import time
from pathlib import Path

import pytest


def _load():
    spec = importlib.util.spec_from_file_location("targets", Path(__file__).parent / "targets.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["targets"] = module
    spec.loader.exec_module(module)
    return module


targets = _load()
CASES = {"command": 60, "bytes": 200, "content": 150}
MANY = 1000  # of the targets that take less than a millisecond


def changed(data: bytes, other: bytes, rng: random.Random) -> bytes:
    """The bytes with one to four changes."""
    found = bytearray(data)
    for _ in range(rng.randrange(1, 5)):
        at, end = rng.randrange(len(found) + 1), rng.randrange(len(found) + 1)
        act = rng.randrange(4)
        if act == 0 and found:
            found[at % len(found)] = rng.randrange(256)
        elif act == 1:
            del found[at : at + rng.randrange(8)]
        elif act == 2:
            found[at:at] = other[end : end + rng.randrange(1, 16)]
        else:
            found[at:at] = rng.choice(PIECES)
    return bytes(found)


PIECES = [
    b"\0", b"\n", b" ", b"-", b"=", b"+", b"0", b"9" * 20, b"1e999", b"nan", b"\xff", b"\xc3\x85",
    b"[", b"{", b"*a", b"&a ", b"!!int ", b": ", b"->", b"0e", b"x", b'"', b"'", b"#", b"\t", b"\r",
]  # fmt: skip


@pytest.mark.parametrize("name", targets.TARGETS)
def test_only_errors_of_etn_whatever_comes(name):
    target, rng = targets.TARGETS[name], random.Random(7)
    seeds = target.seeds()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    accepted = [target.check(seed) for seed in seeds]
    assert any(accepted) or name in ("command", "content")
    for _ in range(CASES.get(name, MANY)):
        data = changed(rng.choice(seeds), rng.choice(seeds), rng)[: target.max_length]
        start = time.monotonic()
        try:
            target.check(data)
        except Exception as error:
            raise AssertionError(f"{name}: {data!r}") from error
        assert time.monotonic() - start < targets.SECONDS, data
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert after - before < 1000 * targets.MEGABYTES
