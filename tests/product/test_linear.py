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
IN_STEP = ("3x0e+3x1o+3x2e", "2x0e+2x1o+2x2e")
CASES = [
    pytest.param(legs, weights, layout, id=f"{weights}-{legs[0]}-{layout}")
    for legs, weights in ((SHARED, "shared"), (PER_IRREP, "per_irrep"), (IN_STEP, "per_irrep"))
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


def test_an_output_that_no_input_has_is_zero_or_its_bias(rng):
    for weights in ("shared", "per_irrep"):
        for layout in ("ir_mul", "mul_ir"):
            layer = SharedLinear("2x0e+2x1o", "3x2e+3x1o+3x0o", weights=weights, layout=layout)
            x, w, _ = numbers(rng, layer)
            z = layer(x, w)
            assert z.shape == (5, 27)
            assert not z[:, :15].any()
            assert not z[:, 24:].any()
            only = SharedLinear("2x1o", "3x1o", weights=weights, layout=layout)
            own = w if weights == "shared" else w[-only.weight_numel :]
            np.testing.assert_allclose(z[:, 15:24], only(x[:, 2:], own), atol=1e-14)
    # Nothing at all is reached: a map without weights, and with biases for what is invariant.
    layer = SharedLinear("2x1o", "3x0e+1x1e", weights="per_irrep")
    assert (layer.weight_numel, layer.bias_numel) == (0, 3)
    found = layer(np.ones((2, 6)), np.zeros(0), np.array([1.0, 2.0, 3.0]))
    np.testing.assert_array_equal(found, [[1, 2, 3, 0, 0, 0]] * 2)
    found[0] = 7.0  # an array of its own
    assert found[1, 0] == 1.0


@pytest.mark.parametrize("layout", ["ir_mul", "mul_ir"])
def test_terms_of_multiplicity_zero_are_as_if_left_out(layout, rng):
    cases = [
        ("shared", ("0x0e+3x0e+3x1o+0x2e", "2x1o+0x0o+2x0e+0x1o"), ("3x0e+3x1o", "2x1o+2x0e")),
        ("per_irrep", ("0x1o+2x1o+0x3e+1x0e", "2x1o+0x0e+3x0e"), ("2x1o+1x0e", "2x1o+3x0e")),
        ("per_irrep", ("0x1o", "2x1o"), ("", "2x1o")),
        ("shared", ("2x1o", "0x1o+0x0e"), ("2x1o", "")),
    ]
    for weights, given, plain in cases:
        one = SharedLinear(*given, weights=weights, layout=layout)
        two = SharedLinear(*plain, weights=weights, layout=layout)
        assert (one.weight_numel, one.bias_numel) == (two.weight_numel, two.bias_numel)
        x, w, b = numbers(rng, one)
        np.testing.assert_array_equal(one(x, w, b), two(x, w, b))
        assert one(x, w, b).shape == (5, one.irreps_out.dim)


E3NN_LEGS = ["5x0e", "1e+2e+4x1e+3x3o", "2x1o+0x3e", "1e+2e+3x3o+3x1e"]


@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
@pytest.mark.parametrize("irreps_in", E3NN_LEGS)
@pytest.mark.parametrize("irreps_out", E3NN_LEGS)
def test_any_two_legs_have_the_map_that_e3nn_has(irreps_in, irreps_out, rng):
    torch = pytest.importorskip("torch")
    o3 = pytest.importorskip("e3nn.o3")
    theirs = o3.Linear(irreps_in, irreps_out).to(torch.float64)
    layer = SharedLinear(irreps_in, irreps_out, weights="per_irrep", layout="mul_ir")
    assert layer.weight_numel == theirs.weight_numel
    x = torch.tensor(numbers(rng, layer)[0])
    found = layer(x, theirs.weight)
    torch.testing.assert_close(found, theirs(x), rtol=0, atol=1e-12)


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize(
    ("legs", "weights", "layout"), [*CASES, (("2x0e", "2x1o"), "shared", "ir_mul")]
)
def test_exported_with_a_batch_of_any_size(legs, weights, layout, strict, rng, tmp_path):
    torch = pytest.importorskip("torch")
    layer = SharedLinear(*legs, weights=weights, layout=layout)
    module = layer.module(dtype=torch.float64)
    x = torch.tensor(rng.normal(size=(7, layer.irreps_in.dim)))
    shapes = ({0: torch.export.Dim("batch")},)
    program = torch.export.export(module, (x,), dynamic_shapes=shapes, strict=strict)
    torch.export.save(program, tmp_path / "linear.pt2")
    loaded = torch.export.load(tmp_path / "linear.pt2").module()
    for size in (2, 5):
        torch.testing.assert_close(loaded(x[:size]), module(x[:size]), rtol=0, atol=1e-13)


def test_features_that_do_not_fit_the_weights_are_refused():
    torch = pytest.importorskip("torch")
    module = SharedLinear("2x0e", "2x0e").module()
    for dtype in (torch.int64, torch.bool):
        with pytest.raises(CoreError, match="features: expected a tensor of floating-point"):
            module(torch.ones(1, 2).to(dtype))
    for dtype in (torch.float64, torch.bfloat16):
        with pytest.raises(CoreError, match="features: expected the precision of the weights"):
            module(torch.ones(1, 2).to(dtype))
    with pytest.raises(CoreError, match="dtype: expected one of floating point"):
        SharedLinear("2x0e", "2x0e").module(dtype=torch.int64)
