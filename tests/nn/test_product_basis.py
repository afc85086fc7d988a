"""Weighted products: the polynomials of etn.product, none twice, turned as they should be."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from etn.errors import IrrepsError
from etn.nn.product_basis import WeightedProducts
from etn.o3 import Irreps, irreps_d
from etn.product import SymmetricProduct, change_layout
from etn.product.symmetric_powers import symmetric_multiplicities

IRREPS, OUT = Irreps("3x0e+3x1o+3x2e"), Irreps("3x0e+3x1o")


@pytest.mark.parametrize("reduced", [True, False])
@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_the_last_degree_is_that_of_the_symmetric_product(order, reduced, rng):
    products = WeightedProducts(IRREPS, OUT, order, 2, reduced=reduced)
    other = SymmetricProduct(IRREPS, order, OUT, reduced=reduced)
    A = torch.as_tensor(rng.normal(size=(5, IRREPS.dim)))
    element = torch.tensor([0, 1, 1, 0, 1])
    with torch.no_grad():
        for table in products.weights[:-1]:
            table.zero_()
    last = products.weights[-1][element].detach()
    weights = last.flatten(1) / np.sqrt(products.counts[-1])
    torch.testing.assert_close(products(A, element), other(A, weights), rtol=1e-12, atol=1e-12)


def test_every_degree_has_as_many_polynomials_as_there_are():
    products = WeightedProducts(IRREPS, OUT, 4, 1)
    for order, count in enumerate(products.counts, start=1):
        known = symmetric_multiplicities(Irreps("0e+1o+2e"), order)
        assert count == sum(known.get(term.ir, 0) for term in OUT)


def test_they_turn_with_the_features(rng, orthogonal):
    irreps, out = Irreps("2x0e+2x1o+2x1e"), Irreps("2x0e+2x0o+2x1o")
    products = WeightedProducts(irreps, out, 3, 1)
    A, element = (
        torch.as_tensor(rng.normal(size=(4, irreps.dim))),
        torch.zeros(4, dtype=torch.int64),
    )

    def turned(x, legs):
        flat = change_layout(x, legs, "ir_mul", "mul_ir")
        flat = flat @ torch.as_tensor(irreps_d(legs, orthogonal)).T
        return change_layout(flat, legs, "mul_ir", "ir_mul")

    found = products(turned(A, irreps), element)
    torch.testing.assert_close(found, turned(products(A, element), out), rtol=1e-11, atol=1e-11)


def test_what_no_product_reaches(rng):
    products = WeightedProducts(Irreps("2x0e+2x1o"), Irreps("2x0e+2x0o"), 2, 1)
    found = products(torch.as_tensor(rng.normal(size=(3, 8))), torch.zeros(3, dtype=torch.int64))
    assert found[:, 2:].abs().max() == 0
    with pytest.raises(IrrepsError, match="no product of up to 2 factors"):
        WeightedProducts(Irreps("2x0e"), Irreps("2x1o"), 2, 1)
