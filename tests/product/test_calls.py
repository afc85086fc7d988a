"""Calls of a product: what fits, and what the messages say."""

from __future__ import annotations

import numpy as np
import pytest

from etn.errors import CoreError, IrrepsError
from etn.product import TensorProduct


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
