"""What is an error of memory, and how many frames are found to fit."""

from __future__ import annotations

import pytest
import torch

from etn.nn.out_of_memory import if_it_fits, is_out_of_memory, largest_that_fits


def test_errors_of_memory_are_known_whoever_raises_them():
    said = "[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 8"
    for error in (MemoryError(), torch.OutOfMemoryError("CUDA out of memory"), RuntimeError(said)):
        assert is_out_of_memory(error)
    with pytest.raises(RuntimeError) as real:
        torch.empty(1 << 62, dtype=torch.uint8)
    assert is_out_of_memory(real.value)
    for error in (RuntimeError("shapes"), ValueError("out of memory")):
        assert not is_out_of_memory(error)


@pytest.mark.parametrize(("room", "found"), [(100, 40), (39, 20), (1, 1), (0, 0)])
def test_the_size_that_fits_is_found_by_halving(room, found):
    def step(n):
        if n > room:
            raise MemoryError
        return n

    assert largest_that_fits(step, 40) == found


def test_a_step_gives_what_it_finds_or_nothing_without_memory():
    assert if_it_fits(lambda: 3) == 3

    def step():
        raise torch.OutOfMemoryError("CUDA out of memory")

    assert if_it_fits(step) is None


def test_other_errors_are_not_hidden():
    def step(n):
        raise RuntimeError("a shape")

    with pytest.raises(RuntimeError, match="a shape"):
        largest_that_fits(step, 4)
