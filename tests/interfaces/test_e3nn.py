"""Products of e3nn computed by etn: the same values and gradients, or a reason why not."""

from __future__ import annotations

import copy
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from etn.errors import SettingsError
from etn.product.tensor_product import TensorProduct

torch = pytest.importorskip("torch")
o3 = pytest.importorskip("e3nn.o3")

from etn.interfaces.e3nn import (  # noqa: E402
    E3nnProduct,
    from_e3nn,
    replace_tensor_products,
)


@pytest.fixture(autouse=True)
def float64() -> Iterator[None]:
    # e3nn makes its constants in the default dtype.
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


@pytest.fixture(autouse=True)
def seed() -> Iterator[None]:
    # e3nn draws its weights from the global generator.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        yield


# Operands and output with multiplicities that differ as far as the mode lets them, two paths to
# one output, one instruction twice, an output that nothing leads to, and an empty term.
LEGS = {
    "uvw": ("3x0e+2x1o+1x2e", "2x1o+4x0e", "5x1o+0x2o+2x0e+1x2e+1x3o"),
    "uvu": ("4x0e+0x1e+3x1o", "2x1o+1x0e+3x2e", "3x0e+4x1o+3x1o+3x2o+1x5o"),
    "uvv": ("2x1o+1x0e+3x2e", "4x0e+3x1o", "3x0e+4x1o+3x1o+3x2o"),
    "uuw": ("3x0e+3x1o+2x2e", "3x1o+2x2e", "4x0e+2x1o+1x2e"),
    "uuu": ("3x0e+3x1o+2x2e", "3x1o+2x2e", "3x1o+3x0e+3x1e+2x2e+2x4e"),
}
INSTRUCTIONS = {
    "uvw": [(0, 0, 0), (1, 1, 0), (1, 0, 3), (1, 0, 2), (0, 1, 2), (2, 0, 0), (2, 0, 0)],
    "uvu": [(2, 0, 0), (0, 0, 1), (2, 1, 2), (2, 2, 2), (2, 2, 3), (2, 2, 2)],
    "uvv": [(0, 1, 0), (0, 0, 1), (1, 1, 2), (2, 1, 2), (2, 1, 3), (2, 1, 2)],
    "uuw": [(0, 0, 1), (1, 0, 0), (2, 1, 0), (1, 0, 2), (2, 1, 2), (2, 1, 2)],
    "uuu": [(0, 0, 0), (1, 0, 1), (1, 0, 2), (2, 1, 3), (2, 1, 4), (1, 0, 1)],
}


def product(mode: str, weighted: bool = True, **options: Any) -> Any:
    """An e3nn product of a mode, its paths of different fixed weights."""
    legs = LEGS[mode]
    if mode == "uuw" and not weighted:
        legs = (*legs[:2], "1x0e+1x1o+1x2e")  # e3nn has no other
    instructions = [(*ins, mode, weighted, 1.0 + n) for n, ins in enumerate(INSTRUCTIONS[mode])]
    return o3.TensorProduct(*legs, instructions, **options)


def operands(tp: Any, lead: tuple[int, ...] = (6,)) -> list[Any]:
    """Operands, and weights if the product needs them from outside."""
    arrays = [torch.randn(*lead, leg.dim) for leg in (tp.irreps_in1, tp.irreps_in2)]
    if tp.weight_numel and not tp.internal_weights:
        arrays.append(torch.randn(*(() if tp.shared_weights else lead), tp.weight_numel))
    return [a.requires_grad_() for a in arrays]


def values_and_gradients(function: Any, arrays: list[Any], more: tuple[Any, ...] = ()) -> list[Any]:
    z = function(*arrays)
    seed = torch.sin(torch.arange(z.numel(), dtype=z.dtype)).reshape(z.shape)
    return [z, *torch.autograd.grad(z, [*arrays, *more], seed)]


def assert_same(ours: Any, theirs: Any, arrays: list[Any], tol: float = 1e-12) -> None:
    for one, other in zip(
        values_and_gradients(ours, arrays), values_and_gradients(theirs, arrays), strict=True
    ):
        assert one.shape == other.shape
        assert float(other.detach().abs().max()) > 0.1
        difference = (one - other).detach().abs().max()
        assert float(difference) <= tol * float(other.detach().abs().max())


MODES = [(mode, weighted) for mode in LEGS for weighted in (True, False)]
MODES.remove(("uvw", False))  # e3nn has none


@pytest.mark.parametrize(("mode", "weighted"), MODES)
def test_every_mode(mode: str, weighted: bool) -> None:
    theirs = product(mode, weighted, internal_weights=False, shared_weights=False)
    ours = from_e3nn(theirs)
    assert isinstance(ours, TensorProduct)
    assert ours.mode == mode
    assert ours.weights == ("per_path" if weighted else "none")
    assert ours.weight_numel == theirs.weight_numel
    arrays = operands(theirs)
    assert_same(ours, theirs, arrays)
    # The same for NumPy.
    numpy = [a.detach().numpy() for a in arrays]
    torch.testing.assert_close(
        torch.from_numpy(ours(*numpy)), theirs(*arrays).detach(), rtol=0, atol=1e-11
    )


@pytest.mark.parametrize("mode", LEGS)
@pytest.mark.parametrize("irrep_normalization", ["component", "norm", "none"])
@pytest.mark.parametrize("path_normalization", ["element", "path", "none"])
def test_every_normalization(mode: str, irrep_normalization: str, path_normalization: str) -> None:
    variances = [[0.5 + 0.3 * n for n in range(len(o3.Irreps(leg)))] for leg in LEGS[mode]]
    theirs = product(
        mode,
        irrep_normalization=irrep_normalization,
        path_normalization=path_normalization,
        in1_var=variances[0],
        in2_var=variances[1],
        out_var=variances[2],
        shared_weights=False,
    )
    with torch.no_grad():
        x, y, w = operands(theirs, (3,))
        torch.testing.assert_close(
            from_e3nn(theirs)(x, y, w), theirs(x, y, w), rtol=1e-12, atol=1e-11
        )


def test_component_coefficients_are_the_defaults_of_e3nn() -> None:
    legs = "3x0e+2x1o", "2x0e+1x1o", "2x0e+4x1o+1x1e"
    ours = from_e3nn(o3.FullyConnectedTensorProduct(*legs))
    same = TensorProduct(*legs, mode="uvw", weights="per_path", coefficients="component")
    named = dict(zip(same.paths, same.coefficients, strict=True))
    assert dict(zip(ours.paths, ours.coefficients, strict=True)) == pytest.approx(named)


@pytest.mark.parametrize(
    "options",
    [
        {"shared_weights": False},
        {"shared_weights": True, "internal_weights": False},
        {"shared_weights": True, "internal_weights": True},
    ],
    ids=["unshared", "shared", "internal"],
)
@pytest.mark.parametrize("lead", [(5,), (2, 3), ()], ids=str)
def test_module_takes_what_e3nn_takes(options: dict[str, bool], lead: tuple[int, ...]) -> None:
    theirs = product("uvu", **options)
    if not lead and not theirs.shared_weights:
        lead = (1,)
    ours = E3nnProduct(theirs)
    arrays = operands(theirs, lead)
    assert_same(ours, theirs, arrays)
    # One second operand for all rows, weights as a list, and no rows at all.
    x, y = arrays[0], arrays[1].detach().reshape(-1, arrays[1].shape[-1])[0]
    torch.testing.assert_close(
        ours(x, y, *arrays[2:]), theirs(x, y, *arrays[2:]), rtol=1e-12, atol=1e-12
    )
    if len(lead) == 1:  # e3nn flattens other batch axes of a list
        views = list(theirs.weight_views(*arrays[2:]))
        x, y = arrays[:2]
        torch.testing.assert_close(
            ours(x, y, weight=views), theirs(x, y, weight=views), rtol=1e-12, atol=1e-12
        )
    empty = [a[:0] if a.ndim > 1 else a for a in arrays]
    if lead:
        assert ours(*empty).shape == theirs(*empty).shape


def test_module_keeps_what_models_read() -> None:
    theirs = o3.FullyConnectedTensorProduct("3x0e+2x1o+1x2e", "1x0e+1x1o", "2x0e+3x1o+2x3o+1x5e")
    ours = E3nnProduct(theirs.eval())
    for name in (
        "irreps_in1",
        "irreps_in2",
        "irreps_out",
        "instructions",
        "weight_numel",
        "shared_weights",
        "internal_weights",
        "training",
    ):
        assert getattr(ours, name) == getattr(theirs, name), name
    assert ours.weight is theirs.weight
    torch.testing.assert_close(ours.output_mask, theirs.output_mask)
    assert 0 in ours.output_mask


def test_gradients_of_internal_weights() -> None:
    theirs = product("uvw")
    ours = E3nnProduct(theirs)
    arrays = operands(theirs)
    one = values_and_gradients(ours, arrays, (ours.weight,))
    for a, b in zip(one, values_and_gradients(theirs, arrays, (theirs.weight,)), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-11)


@pytest.mark.parametrize("options", [{}, {"shared_weights": False}], ids=["internal", "external"])
def test_checkpoints_of_e3nn_load(options: dict[str, bool]) -> None:
    theirs, other = product("uvu", **options), product("uvu", **options)
    assert any("w3j" in key for key in theirs.state_dict())
    ours = E3nnProduct(other)
    holder = torch.nn.ModuleDict({"tp": ours})
    holder.load_state_dict(torch.nn.ModuleDict({"tp": theirs}).state_dict())
    arrays = operands(theirs)
    assert_same(ours, theirs, arrays)
    again = product("uvu", **options)
    again.load_state_dict(ours.state_dict(), strict=False)
    assert_same(again, theirs, arrays)
    wrong = {"tp.weights": torch.zeros(3)}
    with pytest.raises(RuntimeError, match="Unexpected"):
        holder.load_state_dict(holder.state_dict() | wrong)


def test_float32() -> None:
    torch.set_default_dtype(torch.float32)
    theirs = product("uvu")
    ours = E3nnProduct(theirs)
    assert ours(*operands(theirs)).dtype == torch.float32
    assert_same(ours, theirs, operands(theirs), 1e-5)
    report = replace_tensor_products(torch.nn.ModuleDict({"tp": theirs}))
    assert 1e-9 < report.swaps[0].difference < 1e-5


@pytest.mark.parametrize(
    ("theirs", "mode"),
    [
        (lambda: o3.ElementwiseTensorProduct("5x1o+3x1e", "4x1e+4x2o"), "uuu"),
        (lambda: o3.FullTensorProduct("3x0e+2x1o", "1x0e+1x1o+1x2e"), "uvu"),
        (lambda: o3.FullTensorProduct("1x0e+1x1o", "3x0e+2x1o"), "uvv"),
        (lambda: o3.FullTensorProduct("0e+1o", "0e+1o"), "uvu"),
        (lambda: o3.FullTensorProduct("0e+1o", "0e+2x1o"), "uvv"),
        (lambda: o3.TensorProduct("2x1o", "2x1o", "0e", [(0, 0, 0, "uuw", False)]), "uuw"),
    ],
)
def test_products_without_weights(theirs: Any, mode: str) -> None:
    tp = theirs()
    ours = from_e3nn(tp)
    assert ours.mode == mode
    assert str(ours.irreps_out) == str(tp.irreps_out)
    for name in ours.schemes:
        assert_same(from_e3nn(tp, scheme=name), tp, operands(tp))


def test_elementwise_product_by_a_decomposition() -> None:
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


# Products that etn does not have


def test_instructions_that_are_refused() -> None:
    legs = "2x0e+2x1o", "2x0e+2x1o"
    cases = [
        ([(0, 0, 0, "uvuv", False)], r"instruction 0 \(2x0e x 2x0e -> 4x0e, uvuv\).*no such mode"),
        ([(1, 1, 1, "u<vw", True)], r"instruction 0 \(2x1o x 2x1o -> 2x0e, u<vw\).*no such mode"),
        ([(1, 1, 2, "uvu<v", False)], r"instruction 0 .*uvu<v\).*no such mode"),
        (
            [(0, 0, 1, "uvu", True), (1, 1, 1, "uuu", True)],
            r"instruction 1 \(2x1o x 2x1o -> 2x0e, uuu\): those before it have mode uvu",
        ),
        (
            [(0, 0, 1, "uuu", True), (1, 1, 1, "uuu", False)],
            "instruction 1 .*: it has no weights, unlike",
        ),
        ([], "no instruction"),
    ]
    for instructions, message in cases:
        with pytest.raises(SettingsError, match=message):
            from_e3nn(o3.TensorProduct(*legs, "4x0e+2x0e+1x0e", instructions))


def test_what_is_no_product() -> None:
    with pytest.raises(SettingsError, match=r"expected an e3nn.o3.TensorProduct, got Linear"):
        from_e3nn(o3.Linear("0e", "0e"))
    with pytest.raises(SettingsError, match="scheme cp"):
        from_e3nn(product("uvw"), scheme="cp")


def test_without_e3nn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "e3nn", None)
    for function in (from_e3nn, replace_tensor_products):
        with pytest.raises(SettingsError, match="pip install e3nn"):
            function(torch.nn.Linear(2, 2))


def test_module_checks_weights() -> None:
    external = E3nnProduct(product("uvu", shared_weights=False))
    internal = E3nnProduct(product("uvu"))
    x, y, w = operands(external)
    with pytest.raises(SettingsError, match="no internal weights, got None"):
        external(x, y)
    with pytest.raises(SettingsError, match="batch axis, for unshared"):
        external(x, y, w[0])
    with pytest.raises(SettingsError, match="one axis, for shared"):
        internal(x, y, w)


# Whole models


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
    torch.testing.assert_close(copy.deepcopy(network)(*inputs), ours, rtol=0, atol=0)


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


def test_report_says_what_was_kept_and_why() -> None:
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


def test_settings_of_a_replacement() -> None:
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


def test_check_finds_another_function(monkeypatch: pytest.MonkeyPatch) -> None:
    # Were a convention of e3nn to change, nothing would be swapped.
    plain = E3nnProduct.forward
    monkeypatch.setattr(E3nnProduct, "forward", lambda *a: plain(*a) * (1 + 1e-9))
    model = torch.nn.ModuleDict({"tp": product("uvw")})
    with torch.no_grad():
        model["tp"].weight.zero_()  # weights of zero must not hide it
    report = replace_tensor_products(model)
    assert "outputs differ by 1.0e-09 of the largest" in report.refusals[0].reason
    assert report.swaps == ()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_swapped_products_are_exported() -> None:
    tp = product("uvu", shared_weights=False)
    exported = torch.export.export(E3nnProduct(tp), tuple(a.detach() for a in operands(tp)))
    arrays = operands(tp)
    torch.testing.assert_close(exported.module()(*arrays), tp(*arrays), rtol=1e-12, atol=1e-12)
