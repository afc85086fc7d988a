"""Products of whole models replaced: the same values and gradients, or a reason why not."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from e3nn import o3

from etn.errors import SettingsError
from etn.interfaces.e3nn import (
    E3nnProduct,
    from_e3nn,
    replace_tensor_products,
)
from etn.product.tensor_product import TensorProduct


def test_elementwise_product_by_a_decomposition(operands: Any, assert_same: Any) -> None:
    leg = "4x0e+4x1o"
    free = TensorProduct(leg, leg, leg, mode="uuu", weights="none", coefficients="free")
    instructions = [
        (*path.ins, path.out, "uuu", False, alpha**2)
        for path, alpha in zip(free.fused.paths, free.coefficients, strict=True)
    ]
    plain = {"irrep_normalization": "none", "path_normalization": "none"}
    tp = o3.TensorProduct(leg, leg, leg, instructions, **plain)
    assert_same(from_e3nn(tp, scheme="cp"), tp, operands(tp))
    report = replace_tensor_products(torch.nn.ModuleDict({"tp": tp}), scheme="cp")
    assert report.swaps[0].scheme == "cp"


class Network(torch.nn.Module):
    """Two convolutions of e3nn with a gate in between: uvu, uvw and uuu."""

    def __init__(self) -> None:
        super().__init__()
        from e3nn.nn import Gate
        from e3nn.nn.models.v2106.points_convolution import Convolution

        silu, tanh = torch.nn.functional.silu, torch.tanh
        self.gate = Gate("3x0e+2x0o", [silu, tanh], "3x0e", [torch.sigmoid], "2x1o+1x2e")
        edge, attr = o3.Irreps.spherical_harmonics(2), "2x0e"
        options = {"fc_neurons": [3, 8], "num_neighbors": 3.0}
        self.first = Convolution("3x0e+2x1o", attr, edge, self.gate.irreps_in, **options)
        self.second = Convolution(self.gate.irreps_out, attr, edge, "1x0e+1x1o", **options)
        self.edge = edge
        with torch.no_grad():
            for layer in (self.first, self.second):
                layer.alpha.weight.normal_()  # zero at first

    def forward(self, x: Any, attr: Any, edges: Any, vectors: Any) -> Any:
        harmonics = o3.spherical_harmonics(self.edge, vectors, True, "component")
        lengths = vectors.norm(dim=1, keepdim=True) ** torch.arange(3)
        x = self.gate(self.first(x, attr, *edges, harmonics, lengths))
        return self.second(x, attr, *edges, harmonics, lengths)


@pytest.fixture(scope="module")
def built() -> Any:
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(8)
        network = Network()
    torch.set_default_dtype(before)
    return network


@pytest.fixture
def network(built: Any) -> Any:
    return copy.deepcopy(built)


def graph() -> tuple[Any, ...]:
    edges = torch.randint(6, (2, 17))
    return o3.Irreps("3x0e+2x1o").randn(6, -1), torch.randn(6, 2), edges, torch.randn(17, 3)


def test_network_computes_the_same(network: Any) -> None:
    inputs = graph()
    original = copy.deepcopy(network)
    parameters = dict(network.named_parameters())
    report = replace_tensor_products(network)
    products = ("sc", "lin1", "tp", "lin2", "alpha")
    names = [f"{layer}.{tp}" for layer in ("first", "second") for tp in products]
    assert sorted(swap.name for swap in report.swaps) == sorted(["gate.mul", *names])
    assert report.refusals == ()
    assert all(swap.difference < 1e-12 for swap in report.swaps)
    assert not any(isinstance(m, o3.TensorProduct) for m in network.modules())
    # Optimizers made before go on.
    after = dict(network.named_parameters())
    assert after.keys() == parameters.keys()
    assert all(after[name] is parameters[name] for name in after)

    theirs, ours = original(*inputs), network(*inputs)
    torch.testing.assert_close(
        ours, theirs, rtol=0, atol=1e-12 * float(theirs.detach().abs().max())
    )
    for model, z in ((original, theirs), (network, ours)):
        z.square().sum().backward()
        assert all(float(p.grad.abs().max()) > 0 for p in model.parameters())
    for name, p in original.named_parameters():
        torch.testing.assert_close(after[name].grad, p.grad, rtol=1e-11, atol=1e-12)
    # What was trained before, and copies.
    network.load_state_dict(original.state_dict())
    # Sums over edges may be taken in another order by other threads.
    torch.testing.assert_close(
        copy.deepcopy(network)(*inputs), ours, rtol=0, atol=1e-12 * float(ours.detach().abs().max())
    )


def test_network_stays_equivariant(network: Any) -> None:
    x, attr, edges, vectors = graph()
    replace_tensor_products(network)
    R = -o3.rand_matrix()
    D, D_out = (o3.Irreps(leg).D_from_matrix(R) for leg in ("3x0e+2x1o", "1x0e+1x1o"))
    turned = network(x @ D.T, attr, edges, vectors @ R.T)
    torch.testing.assert_close(turned, network(x, attr, edges, vectors) @ D_out.T)
    assert float((turned - network(x, attr, edges, vectors)).detach().abs().max()) > 1e-3


def test_network_without_edges(network: Any) -> None:
    x, attr, edges, vectors = graph()
    original = network(x, attr, edges[:, :0], vectors[:0])
    replace_tensor_products(network)
    torch.testing.assert_close(network(x, attr, edges[:, :0], vectors[:0]), original)


class Own(o3.FullyConnectedTensorProduct):  # type: ignore[misc, name-defined]
    def forward(self, x: Any, y: Any, weight: Any = None) -> Any:
        return 2 * super().forward(x, y, weight)


def test_report_says_what_was_kept_and_why(product: Any) -> None:
    legs = "2x0e+2x1o", "2x0e+2x1o", "2x0e+2x1o"
    plain = o3.FullyConnectedTensorProduct(*legs)
    hooked = o3.FullyConnectedTensorProduct(*legs)
    hooked.register_forward_hook(lambda *_: None)
    parametrized = o3.FullyConnectedTensorProduct(*legs)
    torch.nn.utils.parametrize.register_parametrization(parametrized, "weight", torch.nn.Tanh())
    torch.set_default_dtype(torch.float32)
    rounded = product("uvw").double()
    torch.set_default_dtype(torch.float64)
    model = torch.nn.ModuleDict(
        {
            "own": Own(*legs),
            "square": o3.TensorSquare("1x0e+1x1o"),
            "right": o3.FullyConnectedTensorProduct(*legs, compile_right=True),
            "hooked": hooked,
            "parametrized": parametrized,
            "full": o3.FullTensorProduct(*legs[:2]),
            "rounded": rounded,
            "float16": o3.FullyConnectedTensorProduct(*legs).half(),
            "linear": o3.Linear(*legs[:2]),
            "list": torch.nn.ModuleList([plain, plain]),
        }
    )
    before = dict(model.items())
    report = replace_tensor_products(model)
    reasons = {refusal.name: refusal.reason for refusal in report.refusals}
    for name, expected in {
        "own": "Own has a forward function of its own",
        "square": "TensorSquare has a forward",
        "right": "compile_right",
        "hooked": "hooks",
        "parametrized": "parametrized",
        "full": "uvuv): etn has no such mode",
        "rounded": "allowed is 1.0e-12",
        "float16": "expected float32 or float64, got torch.float16",
    }.items():
        assert expected in reasons.pop(name)
        assert model[name] is before[name]
    assert reasons == {}
    # A module in two places stays one.
    assert [swap.name for swap in report.swaps] == ["list.0", "list.1"]
    assert model["list"][0] is model["list"][1]
    assert isinstance(model["list"][0], E3nnProduct)
    text = str(report)
    assert text.startswith("2 of 10 tensor products replaced\n  list.0: scheme paths, difference ")
    assert "\n  right: kept, it was made with compile_right=True" in text
    # An error is allowed only where it is asked for.
    again = replace_tensor_products(model, 1e-6)
    assert [swap.name for swap in again.swaps] == ["rounded"]
    assert 1e-12 < again.swaps[0].difference < 1e-6


def test_settings_of_a_replacement(product: Any) -> None:
    model = torch.nn.ModuleDict({"tp": product("uvu")})
    for tol in (-1e-3, 1.0, float("nan")):
        with pytest.raises(SettingsError, match="tol: expected"):
            replace_tensor_products(model, tol)
    with pytest.raises(SettingsError, match="scheme: expected one of"):
        replace_tensor_products(model, scheme="path")
    with pytest.raises(SettingsError, match="E3nnProduct"):
        replace_tensor_products(product("uvu"))
    kept = replace_tensor_products(model, scheme="y_first")
    assert "scheme y_first" in kept.refusals[0].reason
    assert isinstance(model["tp"], o3.TensorProduct)


def test_check_finds_another_function(monkeypatch: pytest.MonkeyPatch, product: Any) -> None:
    # Were a convention of e3nn to change, nothing would be swapped.
    plain = E3nnProduct.forward
    monkeypatch.setattr(E3nnProduct, "forward", lambda *a: plain(*a) * (1 + 1e-9))
    model = torch.nn.ModuleDict({"tp": product("uvw")})
    with torch.no_grad():
        model["tp"].weight.zero_()  # weights of zero must not hide it
    report = replace_tensor_products(model)
    assert "outputs differ by 1.0e-09 of the largest" in report.refusals[0].reason
    assert report.swaps == ()
