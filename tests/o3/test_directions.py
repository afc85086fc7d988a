from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from etn.errors import DataError, IrrepsError
from etn.o3.directions import (
    ZeroPolicy,
    as_vectors,
    check_name,
    directions,
    in_compiled_code,
    over_length,
)

SCALES = {
    np.float64: [5e-324, 1e-320, 1e-310, 1e-170, 1e-150, 1.0, 1e160, 5e307],
    np.float32: [1e-45, 1e-40, 3e-23, 1.0, 1e20, 1e38],
}


@pytest.mark.parametrize("dtype", SCALES)
def test_axes_and_diagonals_have_the_same_direction_at_any_length(dtype: Any) -> None:
    for scale in SCALES[dtype]:
        r = np.array([[scale, 0, 0], [0, -scale, scale], [scale, scale, -scale]], dtype=dtype)
        expected = np.sign(r) / np.sqrt(np.abs(np.sign(r)).sum(1, keepdims=True))
        known = directions(r, "error", "r")
        assert known.unit.dtype == dtype
        np.testing.assert_allclose(known.unit, expected, rtol=2 * np.finfo(dtype).eps)
        np.testing.assert_array_equal(known.size[:, 0], dtype(scale))


def test_powers_of_two_do_not_change_a_direction(rng: np.random.Generator) -> None:
    r = rng.normal(size=(50, 3))
    expected = directions(r, "error", "r").unit
    for power in (-900, 900):
        found = directions(np.ldexp(r, power), "error", "r").unit
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("bad", [[0.0, 0.0, 0.0], [np.nan, 0.0, 1.0], [-np.inf, 0.0, 1.0]])
def test_what_has_no_direction_follows_the_policy(bad: list[float]) -> None:
    r = np.array([[0.0, 3.0, 4.0], bad])
    with pytest.raises(DataError, match=r"r: 1 of 2 vectors have no direction; .* number 1 "):
        directions(r, "error", "r")
    for zero, unit, size in (("zero", 0.0, np.inf), ("nan", np.nan, np.nan)):
        known = directions(r, zero, "r")
        np.testing.assert_array_equal(known.unit, [[0.0, 0.6, 0.8], [unit] * 3])
        np.testing.assert_array_equal(known.size, [[4.0], [size]])


def test_zero_alone_may_pass_where_no_direction_is_needed() -> None:
    directions(np.zeros((2, 3)), "error", "r", infinite_only=True)
    with pytest.raises(DataError, match="1 of 2 vectors"):
        directions(np.array([[0.0, 0, 0], [np.nan, 0, 0]]), "error", "r", infinite_only=True)


def test_gradients_over_tiny_lengths_are_right_or_refused() -> None:
    known = directions(np.array([[0.0, 0.0, 1e-300]]), "error", "r")
    values = np.array([[[2.0], [0.0], [-1.0]]])
    np.testing.assert_allclose(over_length(values, known, "r")[0, :, 0], [2e300, 0, -1e300])
    known = directions(np.array([[0.0, 0.0, 1e-310]]), "error", "r")
    with pytest.raises(
        DataError, match=r"r: the gradient by a vector of length 1.0e-310 is beyond"
    ):
        over_length(values, known, "r")


def test_shapes_and_names_are_checked() -> None:
    with pytest.raises(DataError, match=r"r: expected shape \(..., 3\), got \(4, 2\)"):
        as_vectors(np.ones((4, 2)), "r")
    check_name("nan", ZeroPolicy, "zero")
    for bad in ("ignore", None, np.ones(3)):
        with pytest.raises(IrrepsError, match="zero: expected one of error, zero, nan, got"):
            check_name(bad, ZeroPolicy, "zero")


def test_derivatives_of_directions_in_torch() -> None:
    torch = pytest.importorskip("torch")
    r = torch.tensor([[0.3, -1.1, 0.6], [2.0, 0.0, 0.0]], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda v: directions(v, "error", "r").unit, r)
    assert torch.autograd.gradgradcheck(lambda v: directions(v, "error", "r").unit, r)
    assert not in_compiled_code(r)
    tiny = torch.tensor([0.0, 0.0, 1e-200], dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(directions(tiny, "error", "r").unit[0], tiny)
    np.testing.assert_allclose(slope, [1e200, 0, 0])


def test_compiled_code_gives_nan_where_nothing_can_be_raised() -> None:
    torch = pytest.importorskip("torch")
    compiled = torch.compile(
        lambda v: directions(v, "error", "r").unit, fullgraph=True, backend="eager"
    )
    found = compiled(torch.tensor([[0.0, 0.0, 0.0], [0.0, 3.0, 4.0]]))
    np.testing.assert_allclose(found, [[np.nan] * 3, [0.0, 0.6, 0.8]], rtol=1e-6)
