"""What a file says is held against types and shapes before it is believed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from etn.errors import CoreError, ModelFileError
from etn.stored import build, conform, numbers, unpacking


@pytest.mark.parametrize(
    ("value", "kind", "expected"),
    [
        (3, int, 3),
        (3, float, 3.0),
        (None, int | None, None),
        ([1, 2], tuple[int, ...], (1, 2)),
        ([["0e"], []], list[list[str]], [["0e"], []]),
        ({"Mo": -4}, Mapping[str, float], {"Mo": -4.0}),
        ({"a": [True]}, dict[str, tuple[bool, ...]], {"a": (True,)}),
        ("5x0e", int | str, "5x0e"),
        ([object], Any, [object]),
    ],
)
def test_values_of_the_type_pass(value, kind, expected):
    found = conform(value, kind, "x")
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (True, int),
        (1.0, int),
        ("3", int),
        (2**31, int),
        (float("nan"), float),
        (float("inf"), float),
        (10**400, float),
        (True, float),
        (None, float),
        (1, bool),
        (1, str),
        ("abc", tuple[str, ...]),
        ([1, "2"], tuple[int, ...]),
        ({"Mo": None}, Mapping[str, float]),
        ([], dict[str, Any]),
        ([], int | None),
    ],
)
def test_values_of_another_type_are_refused_with_their_name(value, kind):
    with pytest.raises(ModelFileError, match=r"^basis\.x(\[1\]|\.Mo)?: expected .*, got "):
        conform(value, kind, "basis.x")


def test_what_came_is_told_in_short():
    with pytest.raises(ModelFileError) as caught:
        conform(["x" * 10**6], int, "center")
    assert len(str(caught.value)) < 200


@dataclass
class Size:
    n_max: int
    r_max: float = 5.0
    made: int = field(init=False, default=0)


def test_a_dataclass_is_built_of_known_values_only():
    assert build(Size, {"n_max": 2, "r_max": 4}, "basis") == Size(2, 4.0)
    for wrong, text in [
        ({"n_max": 2, "l_max": 1}, "basis: no Size has l_max"),
        ({"n_max": 2, "made": 1}, "basis: no Size has made"),
        ([1], "basis: expected dict"),
        ({"n_max": "2"}, r"basis\.n_max: expected int, got '2'"),
    ]:
        with pytest.raises(ModelFileError, match=text):
            build(Size, wrong, "basis")


@pytest.mark.parametrize(
    "array", [np.array([1.0, np.nan]), np.array([1, 2]), np.ones(3), np.ones((2, 1)), None]
)
def test_arrays_are_finite_numbers_of_their_shape(array):
    arrays = {} if array is None else {"a": array}
    with pytest.raises(ModelFileError, match=r"^array a: expected "):
        numbers(arrays, "a", (2,))
    good = np.ones(2, np.float32)
    assert numbers({"a": good}, "a", (2,)) is good
    assert numbers({"a": good}, "a") is good


@pytest.mark.parametrize(
    "error",
    [KeyError("legs"), TypeError("x"), RecursionError(), MemoryError(), CoreError("x"),
     ZeroDivisionError("x"), np.linalg.LinAlgError("x"), ModelFileError("block missing")],
)  # fmt: skip
def test_what_goes_wrong_is_an_error_of_the_file(error):
    whole = r"^a\.etn: the file is whole, but .* no chain "
    with pytest.raises(ModelFileError, match=whole) as caught, unpacking("a.etn", "chain"):
        raise error
    assert caught.value.__cause__ is error


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError("disk"), AssertionError("a bug")])
def test_what_is_no_matter_of_the_file_passes(error):
    with pytest.raises(type(error)), unpacking("a.etn", "chain"):
        raise error


def test_an_error_that_names_the_file_is_told_once():
    with pytest.raises(ModelFileError, match=r"^a\.etn: cut off$"), unpacking("a.etn", "chain"):
        raise ModelFileError("a.etn: cut off")
