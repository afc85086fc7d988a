"""Products as torch modules: compiled, exported, transformed, moved and cast."""

from __future__ import annotations

import copy
import itertools
import shutil

import numpy as np
import pytest

from etn.errors import CoreError, IrrepsError
from etn.product import TensorProduct

torch = pytest.importorskip("torch")

# torch scripts some of its own functions when it first differentiates forward.
pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated")

LEG = "2x0e+2x1o"
PRODUCTS = {
    "dense": {"irreps_in2": LEG, "mode": "uuu", "scheme": "dense"},
    "cp": {"irreps_in2": LEG, "mode": "uuu", "scheme": "cp", "coefficients": "free"},
    "cp one channel": {"irreps_in2": "0e+1o", "scheme": "cp", "coefficients": "free"},
    "y_first": {"irreps_in2": "0e+1o", "scheme": "y_first", "weights": "per_l"},
    "paths": {"irreps_in2": "0e+1o", "weights": "per_path"},
    "elementwise": {"irreps_in2": LEG, "irreps_out": LEG, "mode": "uuu", "weights": "per_path"},
    "paths one by one": {
        "irreps_in2": LEG,
        "irreps_out": LEG,
        "mode": "uvw",
        "weights": "per_path",
        "layout": "mul_ir",
    },
}
CPU = pytest.param("cpu", id="cpu")
CUDA = pytest.param("cuda", marks=pytest.mark.gpu, id="cuda")


@pytest.fixture(params=list(PRODUCTS))
def product(request):
    return TensorProduct(LEG, **PRODUCTS[request.param])


def uuu(**options):
    return TensorProduct(LEG, **PRODUCTS["dense"], **options)


def operands(product, batch=5, dtype=torch.float64, device="cpu"):
    generator = torch.Generator().manual_seed(5)
    sizes = (product.irreps_in1.dim, product.irreps_in2.dim, product.weight_numel)
    return [
        torch.randn(batch, n, generator=generator, dtype=torch.float64).to(dtype).to(device)
        for n in sizes
    ]


def close(found, wanted, atol=1e-12):
    torch.testing.assert_close(found, wanted, rtol=0, atol=atol)


def force_loss(module, x, y, w):
    """Something whose gradient needs second derivatives of the product."""
    x, w = x.detach().requires_grad_(), w.detach().requires_grad_()
    (force,) = torch.autograd.grad(torch.tanh(module(x, y, w)).sum(), x, create_graph=True)
    return torch.autograd.grad(force.square().sum(), [x, w])


@pytest.mark.parametrize("device", [CPU, CUDA])
def test_module_gives_what_numpy_gives(product, device):
    module = product.module(dtype=torch.float64, device=device)
    arrays = operands(product, device=device)
    wanted = product(*(a.cpu().numpy() for a in arrays))
    found = module(*arrays)
    assert found.device.type == device
    np.testing.assert_allclose(found.cpu().numpy(), wanted, atol=1e-12)


def test_gradients_of_the_module(product):
    module = product.module(dtype=torch.float64)
    arrays = [a.requires_grad_() for a in operands(product, 1)]
    assert torch.autograd.gradcheck(module, arrays)
    assert torch.autograd.gradgradcheck(module, arrays, fast_mode=True)


def test_weights_of_its_own():
    product = uuu()
    module = product.module(own_weights=True, dtype=torch.float64, seed=4)
    x, y, w = operands(product)
    close(module(x, y), product(x, y, module.weight))
    close(module(x, y, w), product(x, y, w))
    module(x, y).sum().backward()
    assert module.weight.grad.abs().min() > 0
    again = product.module(own_weights=True, seed=4).weight
    close(again.double(), module.weight.detach(), atol=1e-6)


def test_two_modules_in_a_row_are_trained():
    """The way a layer uses it: the loss goes down, on forces too."""
    product = uuu()
    torch.manual_seed(0)
    layers = [product.module(own_weights=True, dtype=torch.float64, seed=k) for k in range(2)]
    x, y, _ = operands(product, 16)
    wanted = operands(product, 16)[1].flip(0)
    weights = [layer.weight for layer in layers]
    optimizer = torch.optim.Adam(weights, lr=0.02)
    losses = []
    for _ in range(20):
        r = x.clone().requires_grad_()
        z = layers[1](layers[0](r, y), y)
        (force,) = torch.autograd.grad(z.tanh().sum(), r, create_graph=True)
        loss = (force - wanted).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0]
    assert all(one > two for one, two in itertools.pairwise(losses))


# Compilers


@pytest.mark.parametrize("name", ["dense", "cp", "y_first", "paths"])
def test_compiled_is_eager(name):
    torch._dynamo.reset()
    product = TensorProduct(LEG, **PRODUCTS[name])
    module = product.module(dtype=torch.float64)
    compiled = torch.compile(module, fullgraph=True, backend="aot_eager", dynamic=True)
    for batch in (5, 3):
        arrays = operands(product, batch)
        close(compiled(*arrays), module(*arrays))
        leaves = [a.requires_grad_() for a in arrays]
        found = torch.autograd.grad(compiled(*leaves).square().sum(), leaves)
        wanted = torch.autograd.grad(module(*leaves).square().sum(), leaves)
        for one, two in zip(found, wanted, strict=True):
            close(one, two)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="no C++ compiler")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_compiled_by_inductor_is_eager(product):
    torch._dynamo.reset()
    module = product.module(dtype=torch.float64)
    compiled = torch.compile(module, fullgraph=True, dynamic=True)
    for batch in (5, 3):
        arrays = [a.requires_grad_() for a in operands(product, batch)]
        close(compiled(*arrays), module(*arrays))
        found = torch.autograd.grad(compiled(*arrays).square().sum(), arrays)
        wanted = torch.autograd.grad(module(*arrays).square().sum(), arrays)
        for one, two in zip(found, wanted, strict=True):
            close(one, two)


@pytest.mark.parametrize("name", ["dense", "y_first"])
def test_compiled_forces_are_trained(name):
    """Forces by torch.func.grad inside the graph: autograd of a compiled graph goes but once."""
    torch._dynamo.reset()
    product = TensorProduct(LEG, **PRODUCTS[name])
    module = product.module(dtype=torch.float64)

    def forces(x, y, w):
        return torch.func.grad(lambda x: torch.tanh(module(x, y, w)).sum())(x)

    x, y, w = operands(product)
    x, w = x.requires_grad_(), w.requires_grad_()
    compiled = torch.compile(forces, fullgraph=True, backend="aot_eager")
    found = torch.autograd.grad(compiled(x, y, w).square().sum(), [x, w])
    for one, two in zip(found, force_loss(product, x, y, w), strict=True):
        close(one, two)


@pytest.mark.parametrize("name", PRODUCTS)
def test_exported_with_a_batch_of_any_size(name):
    product = TensorProduct(LEG, **PRODUCTS[name])
    module = product.module(dtype=torch.float64)
    batch = torch.export.Dim("batch")
    shapes = ({0: batch}, {0: batch}, {0: batch})
    program = torch.export.export(module, tuple(operands(product)), dynamic_shapes=shapes)
    for size in (2, 7):
        arrays = operands(product, size)
        close(program.module()(*arrays), module(*arrays))


@pytest.mark.parametrize("strict", [False, True])
def test_exported_with_weights_of_its_own(product, strict, tmp_path):
    """A batch of any size, also the number of weights, and through a file."""
    module = product.module(own_weights=True, dtype=torch.float64)
    shapes = ({0: torch.export.Dim("batch")},) * 2
    arrays = tuple(operands(product)[:2])
    program = torch.export.export(module, arrays, dynamic_shapes=shapes, strict=strict)
    torch.export.save(program, tmp_path / "product.pt2")
    loaded = torch.export.load(tmp_path / "product.pt2").module()
    for size in (2, 7, product.weight_numel):
        x, y, _ = operands(product, size)
        close(loaded(x, y), product(x, y, module.weight))


def test_what_couples_nothing_is_exported_as_zeros():
    module = TensorProduct(LEG, "", LEG).module()
    shapes = ({0: torch.export.Dim("batch")},) * 2
    arrays = (torch.ones(5, 8), torch.ones(5, 0))
    program = torch.export.export(module, arrays, dynamic_shapes=shapes)
    close(program.module()(torch.ones(3, 8), torch.ones(3, 0)), torch.zeros(3, 8), atol=0)


@pytest.mark.parametrize("name", PRODUCTS)
def test_compiled_with_weights_of_its_own(name):
    torch._dynamo.reset()
    product = TensorProduct(LEG, **PRODUCTS[name])
    module = product.module(own_weights=True, dtype=torch.float64)
    compiled = torch.compile(module, fullgraph=True, backend="aot_eager", dynamic=True)
    for batch in (5, 3, 1, 0):
        x, y, _ = operands(product, batch)
        close(compiled(x, y), product(x, y, module.weight))


@pytest.mark.parametrize("name", ["dense", "cp"])
def test_a_compiled_graph_has_no_blocks(name, monkeypatch):
    """However large the batch: blocks in Python would be unrolled, and their number fixed."""
    monkeypatch.setattr("etn.product.kernels.BLOCK_BYTES", 1)
    product = TensorProduct(LEG, **PRODUCTS[name])
    module = product.module(dtype=torch.float64)
    batch = torch.export.Dim("batch")
    shapes = ({0: batch}, {0: batch}, {0: batch})
    program = torch.export.export(module, tuple(operands(product)), dynamic_shapes=shapes)
    graphs = [m.graph for m in program.graph_module.modules() if hasattr(m, "graph")]
    called = [str(n.target) for graph in graphs for n in graph.nodes if n.op == "call_function"]
    products = [name for name in called if "matmul" in name]
    assert len(products) == {"dense": 1, "cp": 3}[name]
    assert not any("cat" in name for name in called)


# Transforms


def test_vmap(product):
    module = product.module(dtype=torch.float64)
    arrays = operands(product)
    close(torch.func.vmap(module)(*arrays), module(*arrays))
    # One operand for all: the other two are mapped.
    x, y, w = arrays
    found = torch.func.vmap(module, in_dims=(0, None, 0))(x, y[0], w)
    close(found, module(x, y[0], w))


def test_jacobians(product):
    module = product.module(dtype=torch.float64)
    x, y, w = operands(product, 3)
    reverse = torch.func.vmap(torch.func.jacrev(module, argnums=(0, 1)))(x, y, w)
    forward = torch.func.vmap(torch.func.jacfwd(module, argnums=(0, 1)))(x, y, w)
    for one, two, operand in zip(reverse, forward, (x, y), strict=True):
        close(one, two)
        # Linear in each operand: the Jacobian times the operand is the product.
        close((one @ operand[:, :, None])[..., 0], module(x, y, w))


def test_hessian(product):
    module = product.module(dtype=torch.float64)
    x, y, w = (a[0] for a in operands(product, 1))
    hessian = torch.func.hessian(lambda a: module(a, y, w).square().sum())(x)
    jacobian = torch.func.jacrev(module)(x, y, w)
    close(hessian, 2 * jacobian.T @ jacobian)


# Precision, devices and state


@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16])
def test_autocast_leaves_the_precision_of_the_buffers(product, half):
    module = product.module()
    arrays = operands(product, dtype=torch.float32)
    with torch.autocast("cpu", dtype=half):
        found = module(*arrays)
        scaled = module(*(a.to(half) for a in arrays))
    # Rounding in float32 only, which may differ with the place of the arrays in memory.
    close(found, module(*arrays), atol=1e-5)
    # Rounded where it is handed in and where it is handed back, and nowhere between: to the
    # nearest half of what float32 gives.
    assert scaled.dtype == half
    wanted = module(*(a.to(half).float() for a in arrays))
    nearest = 0.5 * torch.finfo(half).eps * wanted.abs() + 1e-5
    assert ((scaled.float() - wanted).abs() <= nearest).all()


def test_operands_in_half_precision_have_gradients():
    product = uuu()
    module = product.module(own_weights=True)
    x, y, _ = (a.requires_grad_() for a in operands(product, dtype=torch.bfloat16))
    module(x, y).float().square().sum().backward()
    assert (x.grad.dtype, module.weight.grad.dtype) == (torch.bfloat16, torch.float32)


def test_mixed_operands_give_the_wider_precision():
    product = uuu()
    x, y, w = operands(product, dtype=torch.float32)
    assert product.module()(x.bfloat16(), y, w).dtype == torch.float32
    assert product.module(dtype=torch.float64)(x, y, w).dtype == torch.float32


def test_operands_above_the_precision_of_the_buffers_are_refused():
    product = uuu()
    with pytest.raises(CoreError, match=r"the module, torch.float32, or less, got torch.float64"):
        product.module()(*operands(product))


def test_a_buffer_in_half_precision_is_refused():
    with pytest.raises(CoreError, match="dtype: expected float32 or float64"):
        uuu().module(dtype=torch.bfloat16)


@pytest.mark.parametrize("dtype", [torch.int64, torch.uint8, torch.bool, torch.complex64])
def test_operands_that_would_be_cut_are_refused(product, dtype):
    """Not computed in the dtype of the operands: 1.93 would come back as 1."""
    module = product.module(dtype=torch.float64)
    arrays = operands(product)
    for place, name in enumerate(("first operand", "second operand", "weights")):
        wrong = [a.to(dtype) if n == place else a for n, a in enumerate(arrays)]
        with pytest.raises(CoreError, match=f"{name}: expected a tensor of floating-point"):
            module(*wrong)
    with pytest.raises(CoreError, match="first operand: expected a tensor of floating-point"):
        module(*(a.to(dtype) for a in arrays))


def test_wrong_shapes_are_refused():
    product = uuu()
    x, y, w = operands(product)
    module = product.module(dtype=torch.float64)
    with pytest.raises(IrrepsError, match="second operand: expected a last axis of 8"):
        module(x, y[:, :-1], w)
    with pytest.raises(IrrepsError, match="leading axes"):
        module(x[:4], y, w)


def test_double_reads_the_constants_anew(product):
    """Not float32 numbers in float64: the module is then as exact as one made in float64."""
    module = product.module().half().double()
    arrays = operands(product)
    close(module(*arrays), product(*arrays))


def test_half_keeps_buffers_in_single_precision(product):
    module = product.module(own_weights=True).half()
    assert {buffer.dtype for buffer in module.buffers()} == {torch.float32}
    assert {weight.dtype for weight in module.parameters()} == {torch.float16}
    arrays = operands(product, dtype=torch.float32)
    # Halves would be off by 1e-3; bits may differ with the place of the buffers in memory.
    close(module(*arrays), product.module()(*arrays), atol=1e-5)


def test_a_module_made_without_memory_is_filled_when_it_gets_some():
    product = uuu()
    module = product.module(dtype=torch.float64, device="cpu").to("meta")
    module = module.to_empty(device="cpu")
    arrays = operands(product)
    close(module(*arrays), product(*arrays))


@pytest.mark.gpu
def test_moving_to_a_gpu_and_back(product):
    module = product.module(dtype=torch.float64)
    arrays = operands(product)
    wanted = module(*arrays)
    scheme = module.scheme
    moved = module.to("cuda")
    assert {buffer.device.type for buffer in moved.buffers()} == {"cuda"}
    close(moved(*(a.cuda() for a in arrays)).cpu(), wanted)
    for one, two in zip(
        force_loss(moved, *(a.cuda() for a in arrays)), force_loss(product, *arrays), strict=True
    ):
        close(one.cpu(), two)
    close(module.to("cpu")(*arrays), wanted)
    assert module.scheme == scheme


def test_the_state_is_the_weights_and_nothing_else(product):
    module = product.module(own_weights=True)
    assert set(module.state_dict()) == {"weight"}
    assert product.module().state_dict() == {}
    other = product.module(own_weights=True, seed=9)
    other.load_state_dict(module.state_dict())
    arrays = operands(product, dtype=torch.float32)
    close(other.weight.detach(), module.weight.detach(), atol=0)
    close(other(*arrays[:2]), module(*arrays[:2]), atol=1e-5)


def test_copies_are_independent(product):
    module = product.module(own_weights=True)
    other = copy.deepcopy(module)
    arrays = operands(product, dtype=torch.float32)
    close(other.weight.detach(), module.weight.detach(), atol=0)
    close(other(*arrays), module(*arrays), atol=1e-5)
    with torch.no_grad():
        other.weight.zero_()
    assert module.weight.abs().min() > 0
    close(other.double()(*operands(product)), product(*operands(product)))


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
def test_without_gradients(product, context):
    module = product.module(own_weights=True, dtype=torch.float64)
    x, y, _ = operands(product)
    with context():
        found = module(x, y)
    assert not found.requires_grad
    close(found, product(x, y, module.weight).detach())
    # What was first computed there does not stand in the way of gradients later.
    assert module(x, y).requires_grad


def test_the_scheme_is_settled_when_the_module_is_made():
    product = TensorProduct(LEG, LEG, mode="uuu", coefficients="free")
    module = product.module()
    assert module.scheme in product.schemes
    assert module.scheme in repr(module)
    scheme = module.scheme
    assert module.double().scheme == scheme
