"""Derivatives of products: every mode, weights and scheme against finite differences."""

from __future__ import annotations

import numpy as np
import pytest

from etn.product import CPTensor, TensorProduct, fused_cg
from etn.product.decomposed_product import DecomposedProduct

torch = pytest.importorskip("torch")

# torch scripts some of its own functions when it first differentiates forward.
pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated")

# Operands of both kinds of channels, by mode; few channels, because numerical Jacobians are slow.
LEGS = {
    "uvw": ("1x0e+1x1o", "2x1o", "2x0e+2x1o"),
    "uvu": ("2x0e+2x1o", "2x1o", "2x0e+2x1o"),
    "uvv": ("1x0e+1x1o", "2x1o", "2x0e+2x1o"),
    "uuw": ("2x0e+2x1o", "2x1o", "1x0e+1x1o"),
    "uuu": ("2x0e+2x1o", "2x1o", "2x0e+2x1o"),
}
ONE_CHANNEL = {"uvw": ("2x0e+2x1o", "1o", "1x0e+1x1o"), "uvu": ("2x0e+2x1o", "1o", "2x0e+2x1o")}


def random_cp() -> CPTensor:
    """Factors at random: derivatives are those of the form, good or bad."""
    rng = np.random.default_rng(7)
    target = fused_cg(1, parity="even")
    return CPTensor(target, tuple(rng.normal(size=(dim, 3)) for dim in target.shape))


def cases():
    for mode, legs in LEGS.items():
        for weights in ("shared", "per_l", "none"):
            yield pytest.param(mode, weights, "dense", legs, id=f"{mode}-{weights}-dense")
            yield pytest.param(mode, weights, "cp", legs, id=f"{mode}-{weights}-cp")
        yield pytest.param(mode, "per_path", "paths", legs, id=f"{mode}-per_path-paths")
    for mode, legs in ONE_CHANNEL.items():
        for weights, scheme in (("shared", "y_first"), ("per_l", "y_first"), ("none", "y_first")):
            yield pytest.param(mode, weights, scheme, legs, id=f"{mode}-{weights}-{scheme}")
        yield pytest.param(mode, "shared", "cp", legs, id=f"{mode}-one channel-cp")
        yield pytest.param(mode, "shared", "dense", legs, id=f"{mode}-one channel-dense")
        yield pytest.param(mode, "per_path", "paths", legs, id=f"{mode}-one channel-paths")


def make(mode, weights, scheme, legs, layout="ir_mul"):
    if scheme == "cp":
        return DecomposedProduct(*legs, cp=random_cp(), mode=mode, weights=weights, layout=layout)
    return TensorProduct(*legs, mode=mode, weights=weights, scheme=scheme, layout=layout)


def operands(tp, batch, seed=0, shared_weights=False):
    generator = torch.Generator().manual_seed(seed)
    shapes = [(batch, tp.irreps_in1.dim), (batch, tp.irreps_in2.dim)]
    if tp.weight_numel:
        shapes.append((tp.weight_numel,) if shared_weights else (batch, tp.weight_numel))
    return [
        torch.randn(s, generator=generator, dtype=torch.float64).requires_grad_() for s in shapes
    ]


@pytest.mark.parametrize(("mode", "weights", "scheme", "legs"), list(cases()))
def test_first_and_second_derivatives(mode, weights, scheme, legs):
    tp = make(mode, weights, scheme, legs)
    arrays = operands(tp, 1)
    assert torch.autograd.gradcheck(tp, arrays, check_forward_ad=True)
    assert torch.autograd.gradgradcheck(tp, arrays)


@pytest.mark.parametrize("scheme", ["dense", "cp"])
def test_derivatives_with_channels_last_in_components(scheme):
    tp = make("uuu", "shared", scheme, LEGS["uuu"], layout="mul_ir")
    arrays = operands(tp, 2)
    assert torch.autograd.gradcheck(tp, arrays)
    assert torch.autograd.gradgradcheck(tp, arrays, fast_mode=True)


@pytest.mark.parametrize("scheme", ["dense", "cp", "y_first", "paths"])
def test_weights_of_one_axis_and_broadcast_batches(scheme):
    legs = ONE_CHANNEL["uvu"]
    tp = make("uvu", "per_path" if scheme == "paths" else "shared", scheme, legs)
    x, y, w = operands(tp, 3, shared_weights=True)
    # Leading axes (3, 1) and (2,), and one set of weights for all six.
    y = y.detach()[:2].requires_grad_()
    arrays = [x.detach()[:, None].requires_grad_(), y, w]
    assert tp(*arrays).shape == (3, 2, tp.irreps_out.dim)
    assert torch.autograd.gradcheck(tp, arrays)
    assert torch.autograd.gradgradcheck(tp, arrays, fast_mode=True)


@pytest.mark.parametrize("scheme", ["dense", "cp", "y_first", "paths"])
@pytest.mark.parametrize("mode", ["uvw", "uvu"])
def test_forward_and_backward_of_an_empty_batch(mode, scheme):
    weights = "per_path" if scheme == "paths" else "shared"
    arrays = operands(tp := make(mode, weights, scheme, ONE_CHANNEL[mode]), 0)
    z = tp(*arrays)
    assert z.shape == (0, tp.irreps_out.dim)
    gradients = torch.autograd.grad(z.sum(), arrays, create_graph=True)
    assert [tuple(g.shape) for g in gradients] == [tuple(a.shape) for a in arrays]


@pytest.mark.parametrize("mode", list(LEGS))
@pytest.mark.parametrize("scheme", ["dense", "cp", "paths"])
def test_an_empty_batch_of_many_channels(mode, scheme):
    tp = make(mode, "per_path" if scheme == "paths" else "shared", scheme, LEGS[mode])
    arrays = operands(tp, 0)
    z = tp(*arrays)
    assert z.shape == (0, tp.irreps_out.dim)
    assert all(g.shape[0] == 0 for g in torch.autograd.grad(z.sum(), arrays))


@pytest.mark.parametrize("scheme", ["dense", "cp", "y_first", "paths"])
def test_arrays_that_are_not_contiguous(scheme):
    tp = make("uvu", "per_path" if scheme == "paths" else "shared", scheme, ONE_CHANNEL["uvu"])
    arrays = operands(tp, 4)
    # The same numbers, entries of the batch fastest and every other one left out.
    strided = [
        torch.stack([a.detach().T, a.detach().T], dim=-1)[..., 0].T.requires_grad_() for a in arrays
    ]
    assert not any(a.is_contiguous() for a in strided)
    torch.testing.assert_close(tp(*strided), tp(*arrays), rtol=0, atol=1e-13)
    assert torch.autograd.gradcheck(tp, strided, fast_mode=True)


@pytest.mark.parametrize("scheme", ["dense", "cp", "y_first", "paths"])
def test_loss_on_forces(scheme):
    """E = sum f(tp(x(r), y(r), w)), F = -dE/dr, and the gradient of |F|^2 with respect to w."""
    tp = make("uvu", "per_path" if scheme == "paths" else "shared", scheme, ONE_CHANNEL["uvu"])
    generator = torch.Generator().manual_seed(1)
    r = torch.randn(3, 3, generator=generator, dtype=torch.float64)
    mix = torch.randn(3, tp.irreps_in1.dim, generator=generator, dtype=torch.float64)
    w = torch.randn(tp.weight_numel, generator=generator, dtype=torch.float64)

    def loss(r, w):
        if not r.requires_grad:
            r = r.requires_grad_()
        energy = torch.tanh(tp(torch.sin(r @ mix), r / (1 + r.norm(dim=1, keepdim=True)), w)).sum()
        (forces,) = torch.autograd.grad(-energy, r, create_graph=True)
        return forces.square().sum()

    # Finite differences see forces only: what they check is the second derivative.
    assert torch.autograd.gradcheck(lambda w: loss(r, w), [w.requires_grad_()])
    assert torch.autograd.gradcheck(lambda r: loss(r, w.detach()), [r.clone().requires_grad_()])


@pytest.mark.parametrize("scheme", ["dense", "cp"])
def test_both_gradients_at_once_are_those_taken_one_by_one(scheme):
    tp = make("uuu", "shared", scheme, LEGS["uuu"])
    x, y, w = operands(tp, 5)
    z = tp(x, y, w)
    g = torch.cos(torch.arange(z.numel(), dtype=torch.float64)).reshape(z.shape)
    together = torch.autograd.grad(z, [x, y], g, retain_graph=True)
    alone = [torch.autograd.grad(z, [a], g, retain_graph=True)[0] for a in (x, y)]
    graph = torch.autograd.grad(z, [x, y], g, create_graph=True)
    for one, two, three in zip(together, alone, graph, strict=True):
        torch.testing.assert_close(one, two, rtol=0, atol=1e-13)
        torch.testing.assert_close(one, three, rtol=0, atol=1e-13)


def test_the_large_intermediates_are_not_kept():
    tp = make("uuu", "shared", "dense", ("8x0e+8x1o+8x2e",) * 3)
    x, y, w = operands(tp, 16)
    kept: list[int] = []

    def pack(tensor):
        kept.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        tp(x, y, w)
    outer = 16 * 81 * 8  # numbers of the outer product of the operands
    assert max(kept) < outer / 4
