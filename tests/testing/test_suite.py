"""What all suites share: tolerances, seeds, and a check of all laws that stops at a broken one."""

from __future__ import annotations

import numpy as np
import pytest

from etn.testing import Laws
from etn.testing.suite import as_double, on_both, orthogonals


class Two(Laws):
    seeds = (3, 4)

    def __init__(self):
        self.done = []

    def test_first(self):
        self.done.append("first")

    def test_second(self):
        self.done.append("second")

    def no_law(self):
        self.done.append("none")


def test_all_laws_are_checked():
    suite = Two()
    suite.check()
    assert suite.done == ["first", "second"]
    draws = [rng.normal() for rng in suite.generators()]
    assert draws == [np.random.default_rng(seed).normal() for seed in (3, 4)]


def test_a_broken_law_is_reported():
    class Broken(Two):
        def test_second(self):
            self.close(1.0, 2.0)

    with pytest.raises(AssertionError, match=r"deviation 1.000e\+00 above 1e-12 of 2.000e\+00"):
        Broken().check()


@pytest.mark.parametrize(
    ("got", "options", "message"),
    [
        ([1.0, 2.0 + 3e-12], {}, "deviation 3"),
        ([1.0, 2.0, 3.0], {}, r"expected shape \(2,\), got \(3,\)"),
        ([1.0, np.nan], {}, "deviation nan: expected finite numbers"),
        ([1.0, np.inf], {}, "deviation inf: expected finite numbers"),
        ([1.0, 2.0 + 1e-12], {"scale": 0.5}, "deviation 1"),
        ([1.0, 2.1], {"tolerance": 0.04}, "deviation 1"),
    ],
)
def test_what_is_not_close_is_said(got, options, message):
    with pytest.raises(AssertionError, match=message):
        Laws().close(got, [1.0, 2.0], **options)


def test_what_is_close():
    suite = Laws()
    suite.close([1.0, 2.0 + 1.9e-12], [1.0, 2.0])
    suite.close([1.0, 2.1], [1.0, 2.0], scale=3.0, tolerance=0.04)
    suite.close(0.0, 0.0)
    suite.close(np.empty((0, 3)), np.empty((0, 3)))
    suite.dtype = "float32"
    assert suite.allowed == 1e-4
    suite.close([1.0, 2.0001], [1.0, 2.0])


def test_both_kinds_of_rotations_are_tried(rng):
    found = list(orthogonals(rng))
    assert [round(float(np.linalg.det(R))) for R in found] == [1, -1, -1]
    for R in found:
        np.testing.assert_allclose(R @ R.T, np.eye(3), atol=1e-12)
    np.testing.assert_array_equal(found[2], -np.eye(3))


def test_laws_compute_in_double_precision():
    from etn.tensor import Core

    assert as_double(np.ones(2, dtype=np.float32)).dtype == np.float64
    assert all(core.kind.dtype == "float64" for core in on_both(Core.random(["1o", "1o"], seed=0)))
