"""The seam between NumPy and torch: kinds, constants, conversions, derivatives through torch."""

from __future__ import annotations

import subprocess
import sys
import warnings
from itertools import pairwise

import numpy as np
import pytest

from etn.backend import (
    Kind,
    arange_like,
    as_block,
    check_operands,
    is_finite,
    is_torch,
    kind_of,
    like,
    namespace,
    to_numpy,
)
from etn.errors import CoreError
from etn.network import Chain, evaluate, value_and_gradient
from etn.o3 import Irrep, cartesian
from etn.o3.cartesian import rank2
from etn.product import (
    CartesianProduct,
    SharedLinear,
    SphericalProduct,
    SymmetricProduct,
    TensorProduct,
    load_table,
)
from etn.tensor import Core, Truncation, coupling, eigh, isometry_error, merge, svd
from etn.testing import random_blocks

torch = pytest.importorskip("torch")

LEGS = ["1x0e+2x1o", "2x0e+1x1o+1x2e", "2x0e+1x1o+1x2e"]
KINDS = [
    Kind(),
    Kind(dtype="float32"),
    Kind("torch"),
    Kind("torch", "float32"),
]
every_kind = pytest.mark.parametrize("kind", KINDS, ids=str)


@every_kind
def test_arrays_of_a_kind_are_of_this_kind(kind):
    made = {
        "array": kind.array([[1, 2], [3, 4]]),
        "converted": kind.array(np.ones((2, 2), dtype=np.float32)),
        "moved": kind.array(torch.ones((2, 2), dtype=torch.float64)),
        "constant": kind.constant(coupling((Irrep("1o"),) * 2)),
        "zeros": kind.zeros((2, 2)),
        "ones": kind.ones([2, 2]),
        "eye": kind.eye(2),
    }
    for array in made.values():
        assert kind_of(array) == kind
    np.testing.assert_array_equal(to_numpy(made["array"]), [[1, 2], [3, 4]])
    np.testing.assert_array_equal(to_numpy(made["constant"]), np.eye(3))
    np.testing.assert_array_equal(to_numpy(made["zeros"]), np.zeros((2, 2)))
    np.testing.assert_array_equal(to_numpy(made["ones"]), np.ones((2, 2)))
    np.testing.assert_array_equal(to_numpy(made["eye"]), np.eye(2))
    assert namespace(*made.values()) is kind.xp
    assert kind.eps == float(np.finfo(kind.dtype).eps)


@every_kind
def test_the_functions_have_the_names_of_the_array_api(kind):
    xp, a = kind.xp, kind.array(np.arange(6.0).reshape(2, 3))
    moved = to_numpy(xp.permute_dims(xp.concat([a, a]), (1, 0)))
    np.testing.assert_array_equal(moved, np.concatenate([np.arange(6.0).reshape(2, 3)] * 2).T)
    q, r = xp.linalg.qr(a)
    np.testing.assert_allclose(to_numpy(q @ r), to_numpy(a), atol=1e-5)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Kind("jax"), "backend: expected numpy or torch, got 'jax'"),
        (lambda: Kind(dtype="float16"), "dtype: expected float32 or float64, got float16"),
        (lambda: Kind(device="cuda"), "NumPy works on the cpu, got 'cuda'; use \"torch\""),
        (lambda: Kind("torch", device="abacus"), "device: expected one that torch can use here"),
        (kind_of, "expected at least one array, got none"),
        (lambda: kind_of([1.0]), "expected a NumPy array or a torch tensor, got list"),
        (lambda: kind_of(np.zeros(1, dtype=int)), "expected float32 or float64, got int64"),
        (lambda: kind_of(torch.zeros(1, dtype=torch.float16)), "float64, got float16"),
        (
            lambda: namespace(np.zeros(1), torch.zeros(1)),
            "one kind, got numpy float64 on cpu and torch float32 on cpu; convert with .to",
        ),
        (
            lambda: kind_of(torch.zeros(1), torch.zeros(1, dtype=torch.float64)),
            "torch float32 on cpu and torch float64 on cpu",
        ),
        (lambda: Core(["0e"]).to("numpy", device="cuda"), "NumPy works on the cpu"),
        (lambda: Core(["0e"]).to(dtype="double"), "expected float32 or float64, got double"),
    ],
)
def test_kinds_that_are_refused(make, message):
    with pytest.raises(CoreError, match=message):
        make()


@pytest.mark.gpu
def test_a_device_has_one_name():
    assert Kind("torch", device="cuda").device == str(torch.zeros(1, device="cuda").device)
    core = Core.random(LEGS).to("torch", device="cuda")
    assert core.replace(core.blocks).kind == core.kind
    assert core.to("numpy").kind == Kind()


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_kinds_and_tensors_agree_on_the_name_of_the_device(device):
    kind = Kind("torch", device=device)
    assert kind_of(kind.zeros((1,))) == kind


def test_read_only_tables_are_converted_once():
    table = coupling((Irrep("1o"), Irrep("1o"), Irrep("2e")))
    like_this = torch.zeros(1, dtype=torch.float32)
    assert like(table, like_this) is like(table, like_this)
    assert Kind().constant(table) is table
    # What may change must not be remembered.
    writable = np.ones(2)
    first = like(writable, like_this)
    writable[:] = 2.0
    assert float(like(writable, like_this)[0]) == 2.0
    assert float(first[0]) == 1.0
    np.testing.assert_array_equal(like([1, 2], np.zeros(1)), [1.0, 2.0])


def test_tensors_do_not_share_memory_with_arrays():
    # NumPy blocks may be read-only, and torch would write to them.
    block = np.ones((2, 2))
    block.setflags(write=False)
    tensor = Kind("torch").array(block)
    tensor += 1.0
    assert block[0, 0] == 1.0


def test_constants_first_used_in_inference_mode_serve_autograd():
    path = (Irrep("5e"), Irrep("4o"), Irrep("3o"))  # nothing else asks for it
    with torch.inference_mode():
        Core.random(["5e", "4o", "3o"]).to("torch").to_dense()
    core = Core.random(["5e", "4o", "3o"]).to("torch")
    core.blocks[path].requires_grad_()
    core.to_dense().sum().backward()
    np.testing.assert_allclose(core.blocks[path].grad.item(), coupling(path).sum(), atol=1e-14)


def test_blocks_stay_as_they_are_and_numbers_become_float64():
    single = np.ones(2, dtype=np.float32)
    tensor = torch.ones(2, dtype=torch.float32)
    assert as_block(single) is single
    assert as_block(tensor) is tensor
    assert as_block([1, 2]).dtype == np.float64
    assert as_block(torch.ones(2, dtype=torch.int64)).dtype == torch.float64


def test_values_leave_the_graph_when_they_become_numpy():
    tensor = torch.ones(2, requires_grad=True)
    np.testing.assert_array_equal(to_numpy(2 * tensor), [2.0, 2.0])
    array = np.ones(2)
    assert to_numpy(array) is array
    assert is_torch(tensor)
    assert not is_torch(array)


@every_kind
def test_what_is_not_finite_is_found(kind):
    assert is_finite(kind.ones((2, 3)))
    assert is_finite(kind.zeros((0,)))
    for bad in (np.nan, np.inf, -np.inf):
        assert not is_finite(kind.array([1.0, bad]))


def test_numpy_alone_does_not_load_torch():
    code = (
        "import sys, numpy as np\n"
        "from etn.tensor import Core, svd\n"
        "svd(Core.random(['2x0e+1x1o'] * 3))\n"
        "assert 'torch' not in sys.modules and 'array_api_compat.torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# Derivatives with respect to reduced entries.


def leaf(values):
    return torch.tensor(to_numpy(values), dtype=torch.float64, requires_grad=True)


def with_leaves(core):
    core = core.to("torch")
    for block in core.blocks.values():
        block.requires_grad_()
    return core


def rebuilt(chain, vectors):
    return Chain([core.from_vector(v) for core, v in zip(chain, vectors, strict=True)])


CHAIN = Chain.random(["2x0e+1x1o"] * 3, start="2x0e", max_bond=2, seed=1)


def check(function, *inputs):
    """Against finite differences in float64."""
    assert torch.autograd.gradcheck(function, [leaf(x) for x in inputs])


@pytest.mark.parametrize("order", [1, 2, 3])
def test_the_gradient_of_the_dense_tensor_is_what_is_pulled_back(order, rng):
    core = with_leaves(Core.random(LEGS[3 - order :] if order > 1 else ["3x0e+1x1o"], seed=2))
    weight = rng.normal(size=tuple(leg.dim for leg in core.legs))
    (core.to_dense() * torch.tensor(weight)).sum().backward()
    pulled = core.pull_back(weight)
    assert set(pulled) == set(core.blocks)
    for path, block in core:
        np.testing.assert_allclose(block.grad.numpy(), pulled[path], atol=1e-13)


def test_the_norm_of_tensors_with_gradients_is_a_number():
    # torch warns, once in a process, where such a tensor becomes a number unasked.
    core = with_leaves(Core.random(LEGS, seed=2))
    square = Core.random(["2x0e+1x1o"] * 2, seed=1)
    square = with_leaves(square.replace({path: b + b.T for path, b in square}))
    always = torch.is_warn_always_enabled()
    torch.set_warn_always(True)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert core.norm() == pytest.approx(core.to("numpy").norm(), rel=1e-14)
            assert Core.from_dense(core.to_dense(), core.legs).residual < 1e-14
            assert isometry_error(core, leg=2) > 0
            assert merge(core, with_leaves(Core.random([LEGS[2], *LEGS[:2]]))).norm() > 0
            assert svd(core, truncation=Truncation(max_multiplets=2)).discarded > 0
            assert eigh(square)[0].norm == pytest.approx(square.norm())
            dense = Chain([with_leaves(c) for c in CHAIN]).to_dense()
            Chain.from_dense(dense, CHAIN.sites, start="2x0e")
    finally:
        torch.set_warn_always(always)


def test_the_dense_tensor_of_a_chain_is_differentiable():
    vectors = [core.to_vector() for core in CHAIN]
    check(lambda *v: rebuilt(CHAIN, v).to_dense(), *vectors)


def test_inner_products_and_sums_are_differentiable():
    other = Chain.random(CHAIN.sites, start="2x0e", max_bond=1, seed=2).to("torch")
    vectors = [core.to_vector() for core in CHAIN]
    check(lambda *v: rebuilt(CHAIN, v).inner(other), *vectors)
    check(lambda *v: rebuilt(CHAIN, v).inner(rebuilt(CHAIN, v)), *vectors)
    check(lambda *v: (rebuilt(CHAIN, v) - 2.0 * other).to_dense(), *vectors)


def test_the_gradient_of_the_squared_norm_is_twice_the_tensor():
    # d<T, T> = 2 <T, dT>: by a core it is the pull-back of the dense environment.
    chain = Chain([with_leaves(core) for core in CHAIN.canonicalize(1)], center=1)
    chain.inner(chain).backward()
    center = chain[1]
    # In this gauge the other cores are isometries: 2 (2 l + 1) a.
    for path, block in center:
        expected = 2 * path[2].dim * block.detach()
        np.testing.assert_allclose(block.grad.numpy(), expected.numpy(), atol=1e-13)


def test_gauges_are_differentiable():
    chain = Chain.random(["2x0e+1x1o"] * 3, start="2x0e", max_bond=1, seed=1)
    vectors = [core.to_vector() for core in chain]
    check(lambda *v: rebuilt(chain, v).canonicalize(1).to_dense(), *vectors)
    # A function of the gauge: the center core itself.
    check(lambda *v: rebuilt(chain, v).canonicalize(2)[2].to_vector(), *vectors)


def test_values_are_differentiable_by_cores_and_samples():
    start, site = random_blocks("2x0e", 3, seed=1), random_blocks("2x0e+1x1o", 3, seed=2)
    inputs = [*[core.to_vector() for core in CHAIN], *start.values(), *site.values()]

    def values(*given):
        vectors, legs = given[: len(CHAIN)], given[len(CHAIN) :]
        leg = dict(zip(site, legs[1:], strict=True))
        return evaluate(rebuilt(CHAIN, vectors), {Irrep("0e"): legs[0]}, leg)

    check(values, *inputs)


def test_gradients_are_differentiable_again():
    # What training on forces needs.
    start, site = random_blocks("2x0e", 2, seed=1), random_blocks("2x0e+1x1o", 2, seed=2)
    torch_start, torch_site = ({ir: torch.tensor(v) for ir, v in b.items()} for b in (start, site))

    def gradient(*vectors):
        found = value_and_gradient(rebuilt(CHAIN, vectors), torch_start, torch_site)[1]
        return tuple(found.values())

    check(gradient, *[core.to_vector() for core in CHAIN])


def test_an_optimizer_of_torch_trains_the_blocks():
    chain = Chain([with_leaves(core) for core in CHAIN])
    start, site = (random_blocks(leg, 5, seed=3, kind=chain.kind) for leg in ("2x0e", "2x0e+1x1o"))
    descent = torch.optim.SGD([b for core in chain for b in core.blocks.values()], lr=1e-4)
    losses = []
    for _ in range(5):
        descent.zero_grad()
        loss = (evaluate(chain, start, site) - 1.0).square().mean()
        losses.append(loss.item())
        loss.backward()
        descent.step()
    assert all(later < earlier for earlier, later in pairwise(losses))


# One rule for numbers that are not of floating point, at every way in


def _entries():
    """What takes arrays of numbers, by name, with the shapes that it takes."""
    leg = "2x0e+2x1o"
    products = {
        "dense": TensorProduct(leg, leg, mode="uuu", scheme="dense"),
        "cp": TensorProduct(leg, leg, mode="uuu", scheme="cp", coefficients="free"),
        "y_first": SphericalProduct(leg, "0e+1o", scheme="y_first"),
        "paths": TensorProduct(leg, "0e+1o", weights="per_path"),
        "one by one": TensorProduct(leg, leg, leg, mode="uvw", weights="per_path"),
        "elementwise": TensorProduct(leg, leg, leg, mode="uuu", weights="per_path"),
        "no weights": TensorProduct("1o", "1o", "0e+1e", mode="uuu", weights="none"),
        "cartesian": CartesianProduct(leg, leg, mode="uuu", normalization="unity"),
        "empty": TensorProduct(leg, "", leg),
    }
    found = {}
    for name, product in products.items():
        shapes = [(3, size) for size in product.sizes]
        found[f"product {name}"] = (product, shapes)
        found[f"module {name}"] = (product.module(dtype=torch.float64), shapes)
    folding = products["y_first"]
    found["fold"] = (folding.fold, [(3, 4)])
    found["apply_folded"] = (folding.apply_folded, [(3, 8), (3, 4, 4), (3, 2)])
    from etn.product.edge_product import edge_product

    src, dst = torch.tensor([0, 1, 2]), torch.tensor([1, 1, 0])
    for name, product in (("product", folding), ("module", folding.module(dtype=torch.float64))):
        found[f"edges of a {name}"] = (
            lambda x, y, w, product=product: edge_product(product, x, y, w, src, dst, 3),
            [(3, 8), (3, 4), (3, 2)],
        )
    for weights in ("shared", "per_irrep"):
        linear = SharedLinear(leg, "3x0e+3x1o", weights=weights)
        found[f"linear {weights}"] = (linear, [(3, 8), (linear.weight_numel,), (3,)])
        found[f"linear module {weights}"] = (linear.module(dtype=torch.float64), [(3, 8)])
    for order in (1, 2):
        power = SymmetricProduct(leg, order)
        found[f"symmetric {order}"] = (power, [(3, 8), (power.weight_numel,)])
        found[f"basis {order}"] = (lambda x, power=power: [*power.basis(x).values()], [(3, 8)])
    found["decomposition"] = (load_table(1, "exact"), [(3, 4), (3, 4)])
    for l in (0, 1, 2):
        for function in (cartesian.harmonics, cartesian.harmonics_with_gradients):
            found[f"{function.__name__} {l}"] = (
                lambda r, l=l, function=function: function(l, r, zero="zero"),
                [(4, 3)],
            )
        full = (2, *(3,) * l)
        found[f"pack {l}"] = (lambda t, l=l: cartesian.pack(t, l, check=False), [full])
        found[f"unpack {l}"] = (lambda p, l=l: cartesian.unpack(p, l), [(2, 2 * l + 1)])
        found[f"repack {l}"] = (
            lambda p, l=l: cartesian.repack(p, l, "monomial", "orthonormal"),
            [(2, 2 * l + 1)],
        )
        found[f"rotate {l}"] = (
            lambda p, R, l=l: cartesian.rotate(p, l, R),
            [(2, 2 * l + 1), "turn"],
        )
        found[f"packed_d {l}"] = (lambda R, l=l: cartesian.packed_d(l, R), ["turn"])
    for engineering in (False, True):
        found[f"to_voigt {engineering}"] = (
            lambda t, e=engineering: cartesian.to_voigt(t, engineering=e, check=False),
            [(2, 3, 3)],
        )
        found[f"from_voigt {engineering}"] = (
            lambda v, e=engineering: cartesian.from_voigt(v, engineering=e),
            [(2, 6)],
        )
    found["voigt_moduli"] = (cartesian.voigt_moduli, [(3, 3, 3, 3)])
    found["isotropic_elastic"] = (cartesian.isotropic_elastic, [(2,), (2,)])
    elastic = cartesian.decompose("ijkl=jikl=klij")
    found["to_irreps"] = (lambda t: elastic.to_irreps(t, check=False), [(2, 3, 3, 3, 3)])
    found["from_irreps"] = (elastic.from_irreps, [(2, elastic.dim)])
    for name, shape in (
        ("split", (2, 3, 3)), ("squared_norms", (2, 3, 3)), ("pack", (2, 3, 3)),
        ("unpack", (2, 9)), ("skew", (2, 3)), ("embed", (2, 3)),
    ):  # fmt: skip
        found[f"rank2.{name}"] = (getattr(rank2, name), [shape])
    found["rank2.product"] = (rank2.product, [(2, 3, 3), (2, 3, 3)])
    found["rank2.packed_product"] = (rank2.packed_product, [(2, 9), (2, 9)])
    legs = ["1x0e+1x1o"] * 3
    core = Core(legs)
    found["Core"] = (
        lambda v: Core(
            legs, dict(zip(core.blocks, v[:, None, None, None], strict=True))
        ).to_dense(),
        [(len(core.blocks),)],
    )
    found["Core.from_vector"] = (
        lambda v: core.from_vector(v).to_dense(),
        [(core.n_parameters,)],
    )
    found["Core.from_dense"] = (lambda d: Core.from_dense(d, legs).core.to_dense(), [(4, 4, 4)])
    found["Chain.from_dense"] = (
        lambda d: Chain.from_dense(d, ["1o", "1o"], start="0e", out="0e", tolerance=9).to_dense(),
        [(1, 3, 3, 1)],
    )
    return found


ENTRIES = _entries()


def _numbers(shapes):
    """Zeros and ones, which every dtype holds; a turn about (1, 1, 1) where one is wanted."""
    rng = np.random.default_rng(0)
    turn = np.eye(3)[[1, 2, 0]]
    return [turn if s == "turn" else rng.integers(0, 2, size=s).astype(float) for s in shapes]


def _flat(result):
    parts = result if isinstance(result, list | tuple) else [result]
    wide = [part.double() if is_torch(part) else part.astype(float) for part in parts]
    return np.concatenate([to_numpy(part).ravel() for part in wide])


def _outcome(function, arrays):
    """The numbers, or None where an error of etn refuses the arrays."""
    try:
        return _flat(function(*arrays))
    except CoreError:
        return None


@pytest.mark.parametrize("dtype", ["int64", "uint8", "bool"])
@pytest.mark.parametrize("name", ENTRIES)
def test_whole_numbers_are_promoted_or_refused_alike_by_both_libraries(name, dtype):
    """Never cut: what comes back is what float64 gives."""
    function, shapes = ENTRIES[name]
    numbers = _numbers(shapes)
    wanted = _outcome(function, [torch.tensor(a) for a in numbers])
    assert wanted is not None
    one = _outcome(function, [a.astype(dtype) for a in numbers])
    two = _outcome(function, [torch.tensor(a.astype(dtype)) for a in numbers])
    assert (one is None) == (two is None)
    if two is not None:
        np.testing.assert_allclose(one, wanted, atol=1e-12)
        np.testing.assert_allclose(two, wanted, atol=1e-12)


@pytest.mark.parametrize("name", ENTRIES)
def test_complex_numbers_and_halves_are_refused_and_never_cut(name):
    function, shapes = ENTRIES[name]
    numbers = _numbers(shapes)
    assert _outcome(function, [a.astype(complex) for a in numbers]) is None
    assert _outcome(function, [torch.tensor(a, dtype=torch.complex128) for a in numbers]) is None
    assert _outcome(function, [a.astype(np.float16) for a in numbers]) is None
    found = _outcome(function, [torch.tensor(a, dtype=torch.bfloat16) for a in numbers])
    # Only products as modules take them, and compute in the precision of their buffers.
    assert (found is not None) == ("module" in name and not name.startswith("linear"))


MIXED = {
    "precisions": (lambda a: torch.tensor(a, dtype=torch.float32), torch.tensor),
    "precisions of numpy": (lambda a: a.astype(np.float32), lambda a: a),
    "whole numbers": (lambda a: torch.tensor(a).long(), torch.tensor),
    "libraries": (lambda a: a, torch.tensor),
    "devices": (lambda a: torch.tensor(a, device="meta"), torch.tensor),
}


@pytest.mark.parametrize("mix", MIXED)
@pytest.mark.parametrize("name", [n for n, (_, shapes) in ENTRIES.items() if len(shapes) > 1])
def test_arrays_of_several_kinds_are_computed_right_or_refused(name, mix):
    function, shapes = ENTRIES[name]
    if name == "isotropic_elastic" and mix == "devices":
        pytest.skip("it takes numbers to NumPy, and meta tensors hold none")
    numbers = _numbers(shapes)
    first, others = MIXED[mix]
    found = _outcome(function, [first(numbers[0]), *map(others, numbers[1:])])
    if found is not None:
        wanted = _outcome(function, [torch.tensor(a) for a in numbers])
        np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_data_that_are_no_numbers_are_refused_by_name():
    masked = np.ma.masked_array([1.0, 2.0], [0, 1])
    dates = np.array("2020", "M8[Y]")
    for values in ("1.5", None, [1.0, None], [[1.0], [1.0, 2.0]], dates, {}, {1.0}, masked):
        with pytest.raises(CoreError, match="here: expected"):
            as_block(values, "here")
    with pytest.raises(CoreError, match="here: expected float32 or float64, got complex128"):
        as_block([1j], "here")
    np.testing.assert_array_equal(as_block([True, False]), [1.0, 0.0])
    assert as_block(torch.tensor([3])).dtype == torch.float64


def test_operands_of_a_module_are_refused_by_name():
    home = torch.zeros(1)
    with pytest.raises(CoreError, match="x: expected a torch tensor, got ndarray"):
        check_operands(home, x=np.ones(1))
    with pytest.raises(CoreError, match=r"y: expected a tensor of floating-point .* torch.bool"):
        check_operands(home, x=home, y=torch.ones(1, dtype=torch.bool))
    with pytest.raises(CoreError, match=r"w: expected a tensor on cpu .* got one on meta"):
        check_operands(home, x=None, w=torch.ones(1, device="meta"))
    check_operands(home, x=home.bfloat16(), w=home.double())


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
@pytest.mark.parametrize(
    "ask",
    [
        lambda device: Kind("torch", device=device),
        lambda device: Core.random(LEGS).to("torch", device=device),
        lambda device: Chain.random(["1x0e+1x1o"] * 2).to("torch", device=device),
        lambda device: TensorProduct("1o", "1o", "1e").module(device=device),
        lambda device: SharedLinear("1o", "1o").module(device=device),
    ],
)
def test_a_device_that_is_not_there_is_refused_in_one_line(ask):
    for device in ("cuda", "cuda:3"):
        with pytest.raises(CoreError, match=r"^device: expected one that torch can use.*\)$"):
            ask(device)


def test_counts_are_of_the_kind_of_an_array():
    for dtype in ("float32", "float64"):
        for backend in ("numpy", "torch"):
            array = Kind(backend, dtype).zeros((2,))
            counts = arange_like(4, array)
            assert str(kind_of(counts)) == str(kind_of(array))
            assert counts.tolist() == [0, 1, 2, 3]
