"""Descent along the gradient."""

from etn.product.solve import (
    descend,
)


def test_descent_lowers_the_error_and_works_for_any_order(cp):
    assert descend(cp, n_steps=2000).relative_error < 0.7 * cp.relative_error
