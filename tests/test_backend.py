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
    is_finite,
    is_torch,
    kind_of,
    like,
    namespace,
    to_numpy,
)
from etn.errors import CoreError
from etn.network import Chain, evaluate, value_and_gradient
from etn.o3 import Irrep
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


def test_counts_are_of_the_kind_of_an_array():
    for dtype in ("float32", "float64"):
        for backend in ("numpy", "torch"):
            array = Kind(backend, dtype).zeros((2,))
            counts = arange_like(4, array)
            assert str(kind_of(counts)) == str(kind_of(array))
            assert counts.tolist() == [0, 1, 2, 3]
