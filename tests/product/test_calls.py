"""Calls of a product: what fits, and what the messages say."""

from __future__ import annotations

import numpy as np
import pytest

from etn.errors import CoreError, IrrepsError
from etn.product import TensorProduct
from etn.product.calls import broadcast_lead


def test_operands_that_do_not_fit() -> None:
    product = TensorProduct("2x0e+2x1o", "0e+1o")
    x, y, w = np.ones((3, 8)), np.ones((3, 4)), np.ones((3, 2))
    with pytest.raises(IrrepsError, match=r"first operand: expected a last axis of 8 .* \(3, 7\)"):
        product(x[:, :7], y, w)
    with pytest.raises(IrrepsError, match="second operand: expected a last axis of 4"):
        product(x, y[:, :3], w)
    with pytest.raises(IrrepsError, match="weights: expected a last axis of 2"):
        product(x, y, w[:, :1])
    with pytest.raises(IrrepsError, match="leading axes"):
        product(x, y[:2], w)
    with pytest.raises(CoreError, match="arrays of one kind"):
        product(x.astype(np.float32), y, w)


def test_numbers_that_are_not_finite_are_refused() -> None:
    product = TensorProduct("2x0e+2x1o", "0e+1o")
    x, y = np.ones((3, 8)), np.ones((3, 4))
    x[1, 2] = np.nan
    with pytest.raises(CoreError, match="first operand: expected finite numbers"):
        product(x, y)


def test_leading_axes_are_those_of_numpy() -> None:
    cases = [[(), ()], [(5, 1), (3,), ()], [(0,), (1,)], [(2, 1, 0), (1, 4, 1)], [(1,), (1, 1)]]
    for shapes in cases:
        assert broadcast_lead(shapes, "operands") == np.broadcast_shapes(*shapes)
    for shapes in ([(2,), (3,)], [(0,), (2,)], [(2, 3), (2,)]):
        with pytest.raises(IrrepsError, match="leading axes of operands do not fit"):
            broadcast_lead(shapes, "operands")


def test_weights_that_are_none_may_be_given_as_none() -> None:
    """A set of no weights has leading axes, and no other effect."""
    product = TensorProduct("2x0e+2x1o", "0e+1o", weights="none")
    x, y = np.ones((3, 8)), np.ones((3, 4))
    np.testing.assert_array_equal(product(x, y, np.ones((3, 0))), product(x, y))
    np.testing.assert_array_equal(product(x, y, np.ones(0)), product(x, y))
    assert product(x, y, np.ones((5, 1, 0))).shape == (5, 3, 8)


@pytest.mark.parametrize("weights", ["none", "per_path"])
def test_results_can_be_written_to(weights: str) -> None:
    """Not a view of numbers that several entries share, however few channels there are."""
    product = TensorProduct("1x0e", "1x0e", "1x0e", mode="uvw", weights=weights)  # type: ignore[arg-type]
    z = product(np.ones((2, 1)), np.ones((2, 1)))
    z[0] = 5.0
    np.testing.assert_array_equal(z, [[5.0], [1.0]])
