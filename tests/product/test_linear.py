"""Linear maps against dense matrices, e3nn, and the laws of symmetry."""

from __future__ import annotations

import numpy as np
import pytest

from etn.errors import CoreError, IrrepsError, SettingsError
from etn.o3 import Irreps, irreps_d
from etn.product.layout import change_layout
from etn.product.linear import SharedLinear

SHARED = ("3x0e+3x1o+3x1e+3x2e", "2x1e+2x0e+2x2e")
PER_IRREP = ("3x0e+2x1o+1x0e+2x2e", "2x1o+4x0e+3x2e+2x0e")
CASES = [
    pytest.param(legs, weights, layout, id=f"{weights}-{layout}")
    for legs, weights in ((SHARED, "shared"), (PER_IRREP, "per_irrep"))
    for layout in ("ir_mul", "mul_ir")
]


def dense(layer: SharedLinear, w: np.ndarray) -> np.ndarray:
    """The matrix of a layer in the layout mul_ir, block by block as W^T (x) 1."""
    matrix = np.zeros((layer.irreps_out.dim, layer.irreps_in.dim))
    place = 0
    for i, columns in zip(layer.irreps_in, layer.irreps_in.slices(), strict=True):
        for k, rows in zip(layer.irreps_out, layer.irreps_out.slices(), strict=True):
            if i.ir != k.ir:
                continue
            if layer.weights == "shared":
                block = w.reshape(i.mul, k.mul)
            else:
                block = w[place : place + i.mul * k.mul].reshape(i.mul, k.mul)
                place += i.mul * k.mul
            fan_in = sum(term.mul for term in layer.irreps_in if term.ir == k.ir)
            matrix[rows, columns] = np.kron(block.T, np.eye(k.ir.dim)) / np.sqrt(fan_in)
    return matrix


def scalars(irreps: Irreps) -> np.ndarray:
    """Where in the layout mul_ir the biases go."""
    parts = [s for t, s in zip(irreps, irreps.slices(), strict=True) if str(t.ir) == "0e"]
    return np.concatenate([np.arange(part.start, part.stop) for part in parts])


def numbers(rng, layer, lead=(5,)):
    sizes = (layer.irreps_in.dim, layer.weight_numel, layer.bias_numel)
    return rng.normal(size=(*lead, sizes[0])), rng.normal(size=sizes[1]), rng.normal(size=sizes[2])


def moved(layer, x, leg, target):
    return change_layout(x, leg, layer.layout, target)


@pytest.mark.parametrize(("legs", "weights", "layout"), CASES)
def test_equals_the_dense_matrix(legs, weights, layout, rng):
    layer = SharedLinear(*legs, weights=weights, layout=layout)
    x, w, b = numbers(rng, layer, (2, 5))
    wanted = moved(layer, x, layer.irreps_in, "mul_ir") @ dense(layer, w).T
    found = moved(layer, layer(x, w), layer.irreps_out, "mul_ir")
    np.testing.assert_allclose(found, wanted, atol=1e-13)
    wanted[..., scalars(layer.irreps_out)] += b
    found = moved(layer, layer(x, w, b), layer.irreps_out, "mul_ir")
    np.testing.assert_allclose(found, wanted, atol=1e-13)


@pytest.mark.parametrize(("legs", "weights", "layout"), CASES)
def test_equivariance(legs, weights, layout, rng, orthogonal):
    layer = SharedLinear(*legs, weights=weights, layout=layout)
    x, w, b = numbers(rng, layer)

    def turned(features, leg):
        flat = moved(layer, features, leg, "mul_ir") @ irreps_d(leg, orthogonal).T
        return change_layout(flat, leg, "mul_ir", layout)

    one = layer(turned(x, layer.irreps_in), w, b)
    two = turned(layer(x, w, b), layer.irreps_out)
    np.testing.assert_allclose(one, two, atol=1e-12)


def test_outputs_have_unit_variance(rng):
    layer = SharedLinear(*PER_IRREP, weights="per_irrep", bias=False)
    x = rng.normal(size=(4000, layer.irreps_in.dim))
    z = layer(x, rng.normal(size=(4000, layer.weight_numel)))
    np.testing.assert_allclose(z.var(axis=0), 1.0, atol=0.15)


@pytest.mark.parametrize("weights", ["shared", "per_irrep"])
@pytest.mark.parametrize("layout", ["ir_mul", "mul_ir"])
def test_weights_and_biases_for_every_entry_of_a_batch(weights, layout, rng):
    layer = SharedLinear(*SHARED, weights=weights, layout=layout)
    x = rng.normal(size=(5, layer.irreps_in.dim))
    w, b = rng.normal(size=(5, layer.weight_numel)), rng.normal(size=(5, layer.bias_numel))
    wanted = [layer(*row) for row in zip(x, w, b, strict=True)]
    np.testing.assert_allclose(layer(x, w, b), wanted, atol=1e-13)
    # A batch of the biases alone, and no batch at all.
    wanted = [layer(x[0], w[0], row) for row in b]
    np.testing.assert_allclose(layer(x[0], w[0], b), wanted, atol=1e-13)
    assert layer(x[:0], w[0], b[0]).shape == (0, layer.irreps_out.dim)


def test_shared_weights_are_few_and_do_not_grow_with_the_degree():
    for l_max in range(4):
        leg = "+".join(f"8x{l}{'eo'[l % 2]}" for l in range(l_max + 1))
        layer = SharedLinear(leg, leg)
        assert (layer.weight_numel, layer.bias_numel) == (64, 8)


def test_only_true_scalars_have_a_bias():
    assert SharedLinear("2x0o+2x1o", "2x0o+2x1o").bias_numel == 0
    assert SharedLinear("2x0e", "2x0e", bias=False).bias_numel == 0


@pytest.mark.parametrize(
    ("legs", "options", "error", "message"),
    [
        (("2x0e+3x1o", "2x0e"), {}, IrrepsError, "one number of channels"),
        (("2x0e+2x0e", "2x0e"), {}, IrrepsError, "every irrep once"),
        (("2x0e", "2x0e"), {"weights": "per_l"}, SettingsError, "weights: expected one of"),
        (("2x0e", "2x0e"), {"layout": "ir"}, SettingsError, "layout: expected"),
    ],
)
def test_what_is_refused(legs, options, error, message):
    with pytest.raises(error, match=message):
        SharedLinear(*legs, **options)


def test_arrays_that_are_refused(rng):
    layer = SharedLinear("2x0e", "2x0e")
    x, w, b = numbers(rng, layer)
    with pytest.raises(IrrepsError, match=r"features: expected a last axis of 2"):
        layer(x[:, :1], w)
    with pytest.raises(IrrepsError, match=r"weights: expected a last axis of 4"):
        layer(x, w[:3])
    with pytest.raises(IrrepsError, match="leading axes"):
        layer(x, np.tile(w, (4, 1)))
    with pytest.raises(CoreError, match="arrays of one kind"):
        layer(x, w.astype("float32"), b)


@pytest.mark.parametrize(("legs", "weights", "layout"), CASES)
def test_torch_gives_what_numpy_gives(legs, weights, layout, rng):
    torch = pytest.importorskip("torch")
    layer = SharedLinear(*legs, weights=weights, layout=layout)
    given = numbers(rng, layer)
    tensors = [torch.tensor(a, requires_grad=True) for a in given]
    np.testing.assert_allclose(layer(*tensors).detach(), layer(*given), atol=1e-13)
    assert torch.autograd.gradcheck(layer, tensors, fast_mode=True)
    assert torch.autograd.gradgradcheck(layer, tensors, fast_mode=True)


@pytest.mark.parametrize(("legs", "weights", "layout"), CASES)
def test_module(legs, weights, layout, rng):
    torch = pytest.importorskip("torch")
    layer = SharedLinear(*legs, weights=weights, layout=layout)
    module = layer.module(dtype=torch.float64, seed=3)
    assert set(module.state_dict()) == {"weight", "bias"}
    with torch.no_grad():
        module.bias.normal_(generator=torch.Generator().manual_seed(0))
    x = torch.tensor(rng.normal(size=(6, layer.irreps_in.dim)))
    wanted = layer(x, module.weight, module.bias)
    torch.testing.assert_close(module(x), wanted, rtol=0, atol=1e-13)
    half = module.bfloat16()(x.bfloat16())
    assert half.dtype == torch.bfloat16
    torch.testing.assert_close(half.double(), wanted, rtol=0, atol=0.1)


@pytest.mark.parametrize(("legs", "weights", "layout"), [CASES[0], CASES[3]])
def test_compiled_module(legs, weights, layout, rng):
    torch = pytest.importorskip("torch")
    torch._dynamo.reset()
    module = SharedLinear(*legs, weights=weights, layout=layout).module(dtype=torch.float64)
    compiled = torch.compile(module, fullgraph=True, backend="aot_eager", dynamic=True)
    x = torch.tensor(rng.normal(size=(6, module.linear.irreps_in.dim)))
    torch.testing.assert_close(compiled(x), module(x), rtol=0, atol=1e-12)


def test_module_follows_autocast_as_a_linear_layer_does(rng):
    torch = pytest.importorskip("torch")
    module = SharedLinear(*SHARED).module()
    x = torch.tensor(rng.normal(size=(6, module.linear.irreps_in.dim)), dtype=torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        z = module(x)
    assert z.dtype == torch.bfloat16
    torch.testing.assert_close(z.float(), module(x), rtol=0, atol=0.1)


@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
def test_one_matrix_for_each_irrep_is_the_linear_layer_of_e3nn(rng):
    torch = pytest.importorskip("torch")
    o3 = pytest.importorskip("e3nn.o3")
    theirs = o3.Linear(*PER_IRREP, biases=True).to(torch.float64)
    layer = SharedLinear(*PER_IRREP, weights="per_irrep", layout="mul_ir")
    assert (layer.weight_numel, layer.bias_numel) == (theirs.weight_numel, theirs.bias_numel)
    x, w, b = (torch.tensor(a) for a in numbers(rng, layer))
    torch.testing.assert_close(layer(x, w, b), theirs(x, w, b), rtol=0, atol=1e-12)
