"""The couplings that the evaluator is compiled with."""

from __future__ import annotations

import re
from itertools import combinations_with_replacement

import numpy as np
import pytest

from etn.native import generate
from etn.o3 import wigner_3j


def tensors():
    """The tensors in the header by their degrees."""
    found = {}
    for triple, entries in re.findall(
        r"#define ETN_COUPLING_(\d_\d_\d)\(F\) \\\n((?:  F\(.*\) \\\n)+)", generate.header()
    ):
        degrees = tuple(map(int, triple.split("_")))
        tensor = np.zeros([2 * l + 1 for l in degrees])
        for i, j, k, w in re.findall(r"F\((\d+), (\d+), (\d+), (\S+)\)", entries):
            tensor[int(i), int(j), int(k)] = float(w)
        found[degrees] = tensor
    return found


def test_the_header_is_what_the_script_writes():
    assert generate.PATH.read_text(encoding="utf-8") == generate.header()


def test_there_is_a_tensor_of_norm_one_for_every_triple():
    found = tensors()
    assert set(found) == {
        (a, b, c)
        for a, b, c in combinations_with_replacement(range(generate.MAX_DEGREE + 1), 3)
        if c <= a + b
    }
    for tensor in found.values():
        np.testing.assert_allclose(np.linalg.norm(tensor), 1.0, rtol=1e-12)


@pytest.mark.parametrize("degrees", [(1, 1, 1), (1, 2, 3), (2, 2, 4), (3, 4, 6), (5, 6, 6)])
def test_they_are_the_3j_symbols_of_real_harmonics(degrees):
    expected = np.asarray(wigner_3j(*degrees))
    found = tensors()[degrees]
    sign = np.sign(np.vdot(expected, found))
    np.testing.assert_allclose(found, sign * expected, atol=1e-12)
