"""Values that are kept up to a limit: what is built when, and by which thread it is stored."""

from __future__ import annotations

import threading

import pytest

from etn.sweep.kept import Kept
from etn.sweep.threads import count_threads


class Builder:
    """Builds values of given sizes and counts."""

    def __init__(self, sizes):
        self.sizes, self.built = sizes, []

    def __call__(self, number):
        self.built.append(number)
        return bytes(self.sizes[number])


def held(kept, n):
    return [number for number in range(n) if kept.get(number) is not None]


@pytest.mark.parametrize("threads", [1, 3, None])
@pytest.mark.parametrize("limit", [0.0, 9.0, 10.0, 39.0, 60.0, 1e9])
def test_the_first_values_that_fit_are_kept(limit, threads):
    sizes = [10, 20, 5, 7, 30, 1, 1]
    kept = Kept(limit, len, threads=threads)
    build = Builder(sizes)
    kept.fill(range(7), build)
    total, expected = 0, []
    for number, size in enumerate(sizes):
        total += size
        if total > limit:
            break
        expected.append(number)
    assert held(kept, 7) == expected
    assert len(kept) == len(expected)
    # What follows the first that does not fit is not kept, even if it would fit: of it, at most
    # the rest of a group was built.
    assert len(build.built) <= len(expected) + count_threads()
    assert all(len(kept.get(number)) == sizes[number] for number in expected)


def test_what_is_there_is_not_built_again():
    kept, build = Kept(100.0, len, threads=1), Builder([10] * 20)
    kept.fill([3, 1], build)
    first = kept.get(1)
    kept.fill(range(6), build)
    assert build.built == [3, 1, 0, 2, 4, 5]
    assert kept.get(1) is first
    # A full store asks for nothing more.
    kept.fill(range(20), build)
    assert held(kept, 20) == list(range(10))
    done = len(build.built)
    kept.fill(range(20), build)
    assert len(build.built) == done


def test_memory_is_given_back():
    kept, build = Kept(25.0, len, threads=1), Builder([10] * 3)
    kept.fill(range(3), build)
    assert len(kept) == 2
    kept.clear()
    assert len(kept) == 0
    assert kept.get(0) is None
    kept.fill([2], build)
    assert held(kept, 3) == [2]


def test_threads_build_and_the_one_that_asked_stores(monkeypatch):
    for module in ("threads", "kept"):
        monkeypatch.setattr(f"etn.sweep.{module}.count_threads", lambda: 4)
    here, builders, sizers = threading.get_ident(), set(), set()
    barrier = threading.Barrier(4, timeout=10)

    def build(number):
        builders.add(threading.get_ident())
        barrier.wait()  # passes only if four threads build at once
        return number

    def nbytes(value):
        sizers.add(threading.get_ident())
        return 1.0

    kept = Kept(8.0, nbytes, threads=4)
    kept.fill(range(8), build)
    assert held(kept, 8) == list(range(8))
    assert here not in builders
    assert sizers == {here}


def test_an_error_of_a_builder_reaches_the_one_that_asked():
    def fail(number):
        raise ValueError(f"number {number}")

    kept = Kept(8.0, len, threads=1)
    with pytest.raises(ValueError, match="number 2"):
        kept.fill([2], fail)
    assert len(kept) == 0
