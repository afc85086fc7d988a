"""Messages on a graph against a loop over its edges."""

from __future__ import annotations

import pytest

from etn.errors import CoreError, IrrepsError
from etn.product import TensorProduct

torch = pytest.importorskip("torch")

from etn.product.edge_product import edge_product  # noqa: E402

NODES = 4
SRC = torch.tensor([0, 1, 1, 3, 0])
DST = torch.tensor([1, 0, 2, 1, 1])  # no edge ends in node 3


@pytest.fixture(params=["y_first", "dense", "paths"])
def product(request):
    by_path = request.param == "paths"
    weights = "per_path" if by_path else "shared"
    return TensorProduct("2x0e+2x1o", "0e+1o", scheme=request.param, weights=weights)


def operands(product, dtype=torch.float64):
    generator = torch.Generator().manual_seed(2)
    shapes = ((NODES, product.irreps_in1.dim), (5, product.irreps_in2.dim))
    shapes = (*shapes, (5, product.weight_numel))
    return [torch.randn(s, generator=generator, dtype=dtype).requires_grad_() for s in shapes]


def test_sum_over_the_edges_of_each_node(product):
    x, y, w = operands(product)
    wanted = [torch.zeros(product.irreps_out.dim, dtype=torch.float64) for _ in range(NODES)]
    for edge, (one, two) in enumerate(zip(SRC.tolist(), DST.tolist(), strict=True)):
        wanted[two] = wanted[two] + product(x[one], y[edge], w[edge])
    found = edge_product(product, x, y, w, SRC, DST, NODES)
    torch.testing.assert_close(found, torch.stack(wanted), rtol=0, atol=1e-13)
    module = product.module(dtype=torch.float64)
    found = edge_product(module, x, y, w, SRC, DST, NODES)
    torch.testing.assert_close(found, torch.stack(wanted), rtol=0, atol=1e-13)
    assert not found[3].any()


def test_derivatives(product):
    def messages(*arrays):
        return edge_product(product, *arrays, SRC, DST, NODES)

    arrays = operands(product)
    assert torch.autograd.gradcheck(messages, arrays, fast_mode=True)
    assert torch.autograd.gradgradcheck(messages, arrays, fast_mode=True)


def test_one_set_of_weights_and_a_graph_without_edges(product):
    x, y, w = operands(product)
    one = edge_product(product, x, y, w[0], SRC, DST, NODES)
    all_equal = edge_product(product, x, y, w[:1].expand(5, -1), SRC, DST, NODES)
    torch.testing.assert_close(one, all_equal, rtol=0, atol=1e-13)
    none = edge_product(product, x, y[:0], w[:0], SRC[:0], DST[:0], NODES)
    assert none.shape == (NODES, product.irreps_out.dim)
    assert not none.any()


@pytest.mark.parametrize("wrong", [SRC[:3], SRC.int(), SRC[:, None]])
def test_edges_that_do_not_fit_are_refused(wrong, product):
    x, y, w = operands(product)
    with pytest.raises(IrrepsError, match=r"src: expected int64 of shape \(5,\)"):
        edge_product(product, x, y, w, wrong, DST, NODES)
    with pytest.raises(IrrepsError, match=r"dst: expected int64 of shape \(5,\)"):
        edge_product(product, x, y, w, SRC, wrong, NODES)


@pytest.mark.gpu
def test_on_a_gpu(product):
    arrays = operands(product)
    wanted = edge_product(product, *arrays, SRC, DST, NODES)
    found = edge_product(product, *(a.cuda() for a in arrays), SRC.cuda(), DST.cuda(), NODES)
    torch.testing.assert_close(found.cpu(), wanted, rtol=0, atol=1e-12)


def test_features_that_are_no_tensors_of_numbers_are_refused(product):
    x, y, w = operands(product)
    with pytest.raises(CoreError, match="x: expected a torch tensor, got ndarray"):
        edge_product(product, x.detach().numpy(), y, w, SRC, DST, NODES)
    with pytest.raises(CoreError, match="y: expected a tensor of floating-point numbers"):
        edge_product(product, x, y.long(), w, SRC, DST, NODES)
    with pytest.raises(IrrepsError, match="an axis of nodes and one of edges"):
        edge_product(product, x, y[0, 0], w, SRC, DST, NODES)
