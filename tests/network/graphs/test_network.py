"""Networks on any graph: laws, exact values, layers of messages, torch and errors."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etn.errors import CoreError, IrrepsError
from etn.network import Chain
from etn.network.graphs.network import Network
from etn.o3 import Irrep, Irreps, irreps_d, spherical_harmonics
from etn.o3.recoupling import recoupling
from etn.tensor import Core
from etn.testing.graphs import NetworkLaws

LEG = "1x0e+2x1o"


def core(*legs, seed=0):
    return Core.random(legs, seed=seed)


class TestChain(NetworkLaws):
    def make_network(self, rng):
        one = core("2x0e", LEG, "2x0e+1x1o", seed=rng)
        two = core("2x0e+1x1o", "1x0e+1x2e+1x1o", "1x1o+1x1e", seed=rng)
        return Network("one[a x b] two[b y out] -> out x a y", one=one, two=two)


class TestRing(NetworkLaws):
    def make_network(self, rng):
        legs = ["1x0e+1x1o", "2x1o", "1x0e+1x2e+1x1e"]
        return Network(
            "one[a x b] two[c y b] three[a z c]",
            one=core(legs[0], LEG, legs[1], seed=rng),
            two=core(legs[2], "1x0o+1x1o", legs[1], seed=rng),
            three=core(legs[0], LEG, legs[2], seed=rng),
        )


class TestClosedTetrahedron(NetworkLaws):
    def make_network(self, rng):
        leg = "1x0e+1x1o+1x1e"
        names = ("one", "two", "three", "four")
        cores = {name: core(leg, leg, leg, seed=rng) for name in names}
        return Network("one[a b c] two[a d e] three[b d f] four[c e f]", **cores)


class TestTraces(NetworkLaws):
    def make_network(self, rng):
        matrix, three = core(LEG, LEG, seed=rng), core(LEG, "2x0e+1x1e", LEG, seed=rng)
        return Network("matrix[a a] three[b x b]", matrix=matrix, three=three)


class TestOneTrace(NetworkLaws):
    def make_network(self, rng):
        three, end = core(LEG, "2x0e+1x1e", LEG, seed=rng), core("2x0e+1x1e", LEG, "1o", seed=rng)
        return Network("three[b x b] end[x y z]", three=three, end=end)


class TestOneCoreAtManyNodes(NetworkLaws):
    def make_network(self, rng):
        step, end = core(LEG, LEG, LEG, seed=rng), core(LEG, seed=rng)
        formula = "start[s] one[s x a] two[a y b] three[b end out] end[end] -> y out x"
        return Network(formula, start=end, one=step, two=step, three=step, end=end)


class TestApartAndOneLeg(NetworkLaws):
    def make_network(self, rng):
        return Network("one[x] two[y z]", one=core("2x0e+1x1o", seed=rng), two=core(LEG, LEG))


class TestTorch(NetworkLaws):
    seeds = (0,)

    def make_network(self, rng):
        pytest.importorskip("torch")
        return TestTraces().make_network(rng).to("torch")


irreps = st.lists(
    st.tuples(st.integers(1, 2), st.sampled_from([Irrep(l, p) for l in range(3) for p in (1, -1)])),
    min_size=1,
    max_size=2,
).map(Irreps)


@given(st.lists(st.tuples(irreps, st.integers(1, 2)), min_size=1, max_size=4), st.data())
@settings(max_examples=25)
def test_laws_of_random_graphs(labels, data):
    """Every label on one or two legs, all legs shuffled and dealt out to cores."""
    legs = data.draw(
        st.permutations([n for n, (_, times) in enumerate(labels) for _ in range(times)])
    )
    seed = data.draw(st.integers(0, 2**16))
    nodes = {}
    while legs:
        order = data.draw(st.integers(1, min(3, len(legs))))
        nodes[f"n{len(nodes)}"], legs = legs[:order], legs[order:]

    class Laws(NetworkLaws):
        seeds = (seed,)

        def make_network(self, rng):
            formula = " ".join(f"{n}[{' '.join(f'i{k}' for k in at)}]" for n, at in nodes.items())
            cores = {n: core(*(labels[k][0] for k in at), seed=rng) for n, at in nodes.items()}
            return Network(formula, **cores)

    Laws().check()


def as_network(chain):
    nodes = [f"site{n}[b{n} x{n} b{n + 1}]" for n in range(len(chain))]
    return Network(" ".join(nodes), **{f"site{n}": core for n, core in enumerate(chain)})


def test_a_chain_is_a_network():
    chain = Chain.random([LEG, "1x0e+1x2e", LEG], start="2x0e", out="1x1o", max_bond=2, seed=3)
    network = as_network(chain)
    assert network.open == ("b0", "x0", "x1", "x2", "b3")
    assert network.bonds == ("b1", "b2")
    assert network.n_parameters == chain.n_parameters
    assert (network.legs["b0"], network.legs["b1"]) == (chain.start, chain.bonds[0])
    np.testing.assert_allclose(network.contract(), chain.to_dense(), rtol=0, atol=1e-13)


def test_a_periodic_chain_is_a_trace_of_matrices(rng):
    bond = "1x0e+1x1o+1x2e"
    cores = {f"site{n}": core(bond, LEG, bond, seed=n) for n in range(5)}
    nodes = " ".join(f"site{n}[b{n} x{n} b{(n + 1) % 5}]" for n in range(5))
    fed = {f"x{n}": rng.normal(size=(2, 7)) for n in range(5)}
    got = Network(nodes, **cores).contract(**fed)
    for sample in range(2):
        product = np.eye(9)
        for n in range(5):
            matrix = np.tensordot(cores[f"site{n}"].to_dense(), fed[f"x{n}"][sample], (1, 0))
            product = product @ matrix
        assert got[sample] == pytest.approx(np.trace(product), rel=1e-12)


def coupled(formula, **degrees):
    """Network of Clebsch-Gordan tensors; each label is a degree, of even parity."""
    cores = {}
    for node in formula.partition("->")[0].replace("]", "").split("  "):
        name, _, labels = node.partition("[")
        path = tuple(Irrep(degrees[label], 1) for label in labels.split())
        cores[name] = Core([Irreps(ir) for ir in path], {path: np.ones((1, 1, 1))})
    return Network(formula, **cores)


SIX_J = [(1, 1, 1, 1, 1, 1), (2, 1, 2, 2, 3, 3), (1, 2, 3, 2, 3, 2), (3, 2, 4, 1, 5, 2)]


@pytest.mark.parametrize("degrees", SIX_J)
def test_triangles_and_tetrahedra_are_6j_symbols(degrees):
    """((l1 l2) l12, l3) l against (l1, (l2 l3) l23) l."""
    from sympy import sqrt
    from sympy.physics.wigner import wigner_6j

    l1, l2, l12, l3, l, l23 = degrees
    exact = sqrt((2 * l12 + 1) * (2 * l23 + 1)) * wigner_6j(l1, l2, l12, l3, l, l23)
    exact = float((-1) ** (l1 + l2 + l3 + l) * exact)
    degree = {"l1": l1, "l2": l2, "l12": l12, "l3": l3, "l": l, "l23": l23}

    triangle = coupled("a[l1 l2 l12]  b[l12 l3 l]  c[l2 l3 l23] -> l1 l23 l", **degree)
    (block,) = triangle.to_core().blocks.values()
    assert float(block[0, 0, 0]) == pytest.approx(exact, rel=1e-13)
    assert exact == pytest.approx(recoupling(l1, l2, l12, l3, l, l23), rel=1e-13)

    closed = coupled("a[l1 l2 l12]  b[l12 l3 l]  c[l2 l3 l23]  d[l1 l23 l]", **degree)
    assert closed.open == ()
    assert closed.contract().shape == ()
    assert float(closed.contract()) == pytest.approx((2 * l + 1) * exact, rel=1e-13)


@pytest.mark.parametrize(
    "rows", [((1, 1, 2), (1, 1, 1), (1, 2, 2)), ((1, 2, 2), (2, 1, 3), (3, 2, 4))]
)
def test_six_cores_are_a_9j_symbol(rows):
    """((l1 l2) l12, (l3 l4) l34) l against ((l1 l3) l13, (l2 l4) l24) l."""
    from sympy import sqrt
    from sympy.physics.wigner import wigner_9j

    (l1, l2, l12), (l3, l4, l34), (l13, l24, l) = rows
    root = sqrt((2 * l12 + 1) * (2 * l34 + 1) * (2 * l13 + 1) * (2 * l24 + 1))
    exact = float(root * wigner_9j(l1, l2, l12, l3, l4, l34, l13, l24, l)) * (2 * l + 1)
    degree = {"l1": l1, "l2": l2, "l12": l12, "l3": l3, "l4": l4}
    degree |= {"l34": l34, "l13": l13, "l24": l24, "l": l}
    closed = coupled(
        "a[l1 l2 l12]  b[l3 l4 l34]  c[l12 l34 l]  d[l1 l3 l13]  e[l2 l4 l24]  f[l13 l24 l]",
        **degree,
    )
    assert float(closed.contract()) == pytest.approx(exact, rel=1e-13)
    assert abs(exact) > 1e-3


class Messages:
    """Two layers of messages on a cluster of atoms, pooled over the neighbours."""

    def __init__(self, seed=0):
        rng = np.random.default_rng(seed)
        self.positions = rng.normal(size=(4, 3))
        self.species = np.eye(2)[[0, 1, 1, 0]]
        self.sender, self.receiver = np.nonzero(~np.eye(4, dtype=bool))
        hidden, edge = "2x0e+1x1o+1x1e+1x2e", "1x0e+1x1o+1x2e"
        self.one = Network("message[h y out]", message=core("2x0e", edge, hidden, seed=rng))
        self.two = Network(
            "message[h y m] update[m self out]",
            message=core(hidden, edge, hidden, seed=rng),
            update=core(hidden, hidden, "1x0e", seed=rng),
        )

    def features(self, positions):
        r = positions[self.sender] - positions[self.receiver]
        fall = np.exp(-np.linalg.norm(r, axis=1))[:, None]
        return spherical_harmonics(2, r) * fall

    def pool(self, messages):
        return np.eye(len(self.positions))[:, self.receiver] @ messages

    def energies(self, positions):
        y = self.features(positions)
        h = self.pool(self.one.contract(h=self.species[self.sender], y=y))
        return self.pool(self.two.contract(h=h[self.sender], y=y, self=h[self.receiver]))[:, 0]


def test_two_layers_of_messages_are_sums_over_neighbours():
    """Against loops over atoms and einsums over the dense cores."""
    model = Messages()
    first, second = model.one.cores["message"].to_dense(), model.two.cores["message"].to_dense()
    update = model.two.cores["update"].to_dense()
    n, y = len(model.positions), model.features(model.positions)
    edges = {(i, j): k for k, (j, i) in enumerate(zip(model.sender, model.receiver, strict=True))}
    h = np.zeros((n, first.shape[2]))
    for (i, j), k in edges.items():
        h[i] += np.einsum("hyo,h,y->o", first, model.species[j], y[k])
    energies = np.zeros(n)
    for (i, j), k in edges.items():
        energies[i] += np.einsum("hym,h,y,mso,s->", second, h[j], y[k], update, h[i])
    np.testing.assert_allclose(model.energies(model.positions), energies, rtol=1e-12)


def test_messages_are_invariant(orthogonal):
    model = Messages()
    energies = model.energies(model.positions)
    np.testing.assert_allclose(
        model.energies(model.positions @ orthogonal.T), energies, rtol=1e-11, atol=1e-12
    )
    assert np.abs(energies).min() > 1e-3


def test_gradients_pass_through_both_layers():
    """The gradient of the first core, with the chain rule written out, is a difference."""
    model = Messages()
    y, h0 = model.features(model.positions), model.species[model.sender]
    h = model.pool(model.one.contract(h=h0, y=y))
    fed = {"h": h[model.sender], "y": y, "self": h[model.receiver]}
    ones = np.ones((len(y), 1))
    by_h = np.eye(4)[:, model.sender] @ model.two.input_gradient(ones, "h", **fed)
    by_h += np.eye(4)[:, model.receiver] @ model.two.input_gradient(ones, "self", **fed)
    gradient = model.one.gradient(by_h[model.receiver], "message", h=h0, y=y)

    message = model.one.cores["message"]
    a = message.to_vector()
    slopes = []
    for unit in 1e-5 * np.eye(len(a)):
        ends = []
        for step in (unit, -unit):
            model.one = model.one.replace("message", message.from_vector(a + step))
            ends.append(model.energies(model.positions).sum())
        slopes.append((ends[0] - ends[1]) / 2e-5)
    np.testing.assert_allclose(gradient.to_vector(), slopes, rtol=1e-7, atol=1e-8)


def test_attention_is_a_scalar_contraction(orthogonal, rng):
    """Scores are scalars of query and key, so their softmax may weight the values."""
    leg = Irreps("1x0e+1x1o+1x2e")
    score = Network("query[x q] key[y k] score[q k s]", query=core(leg, LEG), key=core(leg, LEG),
                    score=core(LEG, LEG, "1x0e"))  # fmt: skip
    value = Network("value[y out]", value=core(leg, "2x1o+1x2e"))

    def attend(x, y):
        scores = score.contract(x=x, y=y)[:, 0]
        weights = np.exp(scores) / np.exp(scores).sum()
        return weights @ value.contract(y=y)

    x, y, D = rng.normal(size=leg.dim), rng.normal(size=(6, leg.dim)), irreps_d(leg, orthogonal)
    np.testing.assert_allclose(
        attend(x @ D.T, y @ D.T), irreps_d("2x1o+1x2e", orthogonal) @ attend(x, y), atol=1e-12
    )


def test_dot_and_triple_products():
    """x . y and x . (y x z) from hand-made cores."""
    o, e = Irrep("1o"), Irrep("0e")
    dot = Core(["1o", "1o", "0e"], {(o, o, e): np.ones((1, 1, 1))})
    cross = Core(["1o", "1o", "1e"], {(o, o, Irrep("1e")): np.ones((1, 1, 1))})
    last = Core(["1e", "1o", "0o"], {(Irrep("1e"), o, Irrep("0o")): np.ones((1, 1, 1))})
    x, y, z = np.random.default_rng(0).normal(size=(3, 3))
    got = Network("dot[x y out]", dot=dot).contract(x=x, y=y)
    assert abs(got[0]) == pytest.approx(abs(x @ y) / np.sqrt(3), rel=1e-14)
    triple = Network("cross[x y v] last[v z out]", cross=cross, last=last)
    got = triple.contract(x=x, y=y, z=z)
    assert abs(got[0]) == pytest.approx(abs(np.linalg.det([x, y, z])) / np.sqrt(6), rel=1e-13)


def test_a_core_at_two_nodes_has_the_sum_of_their_gradients(rng):
    matrix = core(LEG, LEG, seed=1)
    network = Network("one[x b] two[b y]", one=matrix, two=matrix)
    x, y = rng.normal(size=(2, 7))
    ones = np.array(1.0)
    total = sum(network.gradient(ones, name, x=x, y=y).to_vector() for name in ("one", "two"))

    def value(a):
        moved = matrix.from_vector(a)
        return float(Network("one[x b] two[b y]", one=moved, two=moved).contract(x=x, y=y))

    a = matrix.to_vector()
    slopes = [(value(a + d) - value(a - d)) / 2 for d in np.eye(len(a))]
    np.testing.assert_allclose(total, slopes, rtol=1e-11, atol=1e-12)


def test_replace_and_order_of_the_open_legs():
    one, two = core("2x0e", LEG, "1x1o", seed=1), core("1x1o", "3x0e", "1x1o", seed=2)
    network = Network("one[a, x, b], two[b, y, out] -> out, y, x, a", one=one, two=two)
    assert network.open == ("out", "y", "x", "a")
    assert network.formula == "one[a x b] two[b y out] -> out y x a"
    appearing = Network("one[a x b] two[b y out]", one=one, two=two)
    # The other order may be the other product of matrices, which rounds otherwise.
    np.testing.assert_allclose(network.contract().T, appearing.contract(), rtol=0, atol=1e-14)
    twice = network.replace("two", two.scale(2.0))
    assert twice.cores["one"] is one
    np.testing.assert_allclose(twice.contract(), 2.0 * network.contract(), rtol=1e-14)
    assert repr(network) == f"Network({network.formula}, {network.n_parameters} parameters)"
    assert network.n_parameters == one.n_parameters + two.n_parameters
    closed = Network("m[a a] ->", m=core("1o", "1o"))
    assert repr(closed) == "Network(m[a a], 1 parameters)"


def test_the_trace_of_a_matrix_is_the_sum_over_its_irreps():
    """tr M = sum (2 l + 1) tr a; its gradient by a is (2 l + 1) times the identity."""
    matrix = core("2x0e+3x1o", "2x0e+3x1o", seed=4)
    network = Network("m[a a]", m=matrix)
    expected = sum(path[0].dim * np.trace(block) for path, block in matrix)
    assert float(network.contract()) == pytest.approx(expected, rel=1e-13)
    for path, block in network.gradient(1.0, "m"):
        np.testing.assert_allclose(block, path[0].dim * np.eye(len(block)), atol=1e-14)


def test_report_counts():
    """A matrix product of (4, 4) by (4, 9) by (9, 1), with and without samples."""
    short, long = "1x0e+1x1o", "1x0e+1x1o+1x2e"
    cores = {"one": core(short, short), "two": core(short, long), "three": core(long)}
    network = Network("one[x b] two[b y] three[y]", **cores)
    cost = network.report()
    assert (cost.n_parameters, cost.n_dense) == (5, 16 + 36 + 9)
    assert (cost.flops, cost.largest_intermediate) == (2 * 36 + 2 * 16, 4)
    assert cost.naive_flops == 3 * 4 * 4 * 9
    fed = network.report("x", samples=100)
    assert fed.flops == cost.flops + 2 * 100 * 4
    assert fed.largest_intermediate == 100
    text = str(fed)
    for part in ("5 parameters, 61 dense entries (12.2 x)", "x = x (1x0e+1x1o)", "100 samples"):
        assert part in text
    assert "Optimized FLOP count" in text
    single = network.report(["x"])
    assert single.flops == cost.flops + 2 * 4
    with pytest.raises(CoreError, match="'b' is a contracted bond"):
        network.report("b")


def test_many_labels():
    """More labels than there are letters."""
    chain = Chain.random(["2x0e"] * 60, max_bond=2, seed=0)
    network = as_network(chain)
    fed = {f"x{n}": np.ones(2) for n in range(60)}
    expected = np.ones(1)
    for site in chain:
        expected = np.einsum("a,axb->b", expected, site.to_dense())
    assert network.contract(b0=np.ones(1), **fed) == pytest.approx(expected, rel=1e-11)
    assert "x59 (2x0e)" in str(network.report())


def test_no_samples_give_no_rows():
    network = Network("one[x y]", one=core(LEG, LEG))
    assert network.contract(x=np.ones((0, 7))).shape == (0, 7)
    gradient = network.gradient(np.ones((0, 7)), "one", x=np.ones((0, 7)))
    assert not gradient.to_vector().any()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_torch_gives_what_numpy_gives(dtype, rng):
    pytest.importorskip("torch")
    numpy = TestRing().make_network(rng)
    network = numpy.to("torch", dtype=dtype)
    fed = {label: rng.normal(size=(3, numpy.legs[label].dim)) for label in ("x", "y")}
    tensors = {label: network.kind.array(values) for label, values in fed.items()}
    expected = numpy.contract(**fed)
    atol = (1e-12 if dtype == "float64" else 1e-5) * np.abs(expected).max()
    got = network.contract(**tensors)
    assert str(got.dtype) == f"torch.{dtype}"
    np.testing.assert_allclose(got.numpy(), expected, rtol=0, atol=atol)
    by_core = network.gradient(got, "two", **tensors)
    assert by_core.kind == network.kind
    exact = numpy.gradient(expected, "two", **fed).to_vector()
    scale = np.abs(exact).max() / np.abs(expected).max()
    np.testing.assert_allclose(by_core.to_vector().numpy(), exact, rtol=0, atol=10 * scale * atol)
    assert f"torch {dtype} on cpu" in repr(network)
    assert network.to("numpy", dtype="float64").kind == numpy.kind


@pytest.mark.parametrize("make", [TestRing, TestTraces, TestOneCoreAtManyNodes])
def test_autograd_agrees_with_the_written_gradient(make, rng):
    torch = pytest.importorskip("torch")
    network = make().make_network(rng).to("torch")
    label = network.open[0]
    leaves = {
        name: {path: block.clone().requires_grad_() for path, block in core}
        for name, core in network.cores.items()
    }
    for name, blocks in leaves.items():
        network = network.replace(name, network.cores[name].replace(blocks))
    x = network.kind.array(rng.normal(size=(3, network.legs[label].dim))).requires_grad_()
    value = network.contract(**{label: x})
    cotangent = network.kind.array(rng.normal(size=tuple(value.shape)))
    (cotangent * value).sum().backward()
    with torch.no_grad():
        for name, blocks in leaves.items():
            for path, block in network.gradient(cotangent, name, **{label: x}):
                torch.testing.assert_close(block, blocks[path].grad, rtol=1e-12, atol=1e-12)
        by_input = network.input_gradient(cotangent, label, **{label: x})
        torch.testing.assert_close(by_input, x.grad, rtol=1e-12, atol=1e-12)


@pytest.mark.gpu
def test_cuda_gives_what_numpy_gives(rng):
    numpy = TestTraces().make_network(rng)
    network, x = numpy.to("torch", device="cuda"), rng.normal(size=(3, 5))
    on_device = network.kind.array(x)
    got = network.contract(x=on_device)
    assert got.device.type == "cuda"
    np.testing.assert_allclose(got.cpu(), numpy.contract(x=x), atol=1e-12)
    gradient = network.gradient(got, "three", x=on_device).to("numpy").to_vector()
    expected = numpy.gradient(got.cpu().numpy(), "three", x=x).to_vector()
    np.testing.assert_allclose(gradient, expected, atol=1e-12)
    with pytest.raises(CoreError, match="input x: expected torch float64 on cuda:0"):
        network.contract(x=x)


A = core("2x0e", LEG, "1x1o", seed=1)
B = core("1x1o", LEG, "1x1e", seed=2)
PAIR = "one[a x b] two[b y out]"


@pytest.mark.parametrize(
    ("formula", "cores", "message"),
    [
        (PAIR, {"one": A}, "one two; missing: two, not in the formula: none"),
        (PAIR, {"one": A, "two": B, "too": B}, "missing: none, not in the formula: too"),
        ("one[a x]", {"one": A}, r"core one: expected a label for each of its 3 legs .*got a x"),
        ("one[a x b] two[b y out] -> a x y", {"one": A, "two": B}, "a x y out; got a x y"),
        ("one[a x b] -> a x b b", {"one": A}, "a x b; got a x b b"),
        (
            "one[a x b] two[b y out] three[b z w]",
            {"one": A, "two": B, "three": B},
            "label b: expected at most 2 legs, got 3, on the cores one two three",
        ),
        ("m[b b] v[b]", {"m": core("0e", "0e"), "v": core("0e")}, "got 3, on the cores m m v"),
        (
            PAIR,
            {"one": A, "two": B.to(dtype="float32")},
            "core two: expected numpy float64 on cpu as the first core, got numpy float32",
        ),
    ],
)
def test_malformed_networks(formula, cores, message):
    with pytest.raises(CoreError, match=message):
        Network(formula, **cores)


def test_the_ends_of_a_bond_must_match():
    message = "label b: core one carries 1x1o, core two carries 1x1e; both ends"
    with pytest.raises(IrrepsError, match=message):
        Network("one[a x b] two[out y b]", one=A, two=B)
    with pytest.raises(IrrepsError, match="label x: core one carries 2x0e, core one carries 1x1o"):
        Network("one[x y x]", one=A)
    network = Network(PAIR, one=A, two=B)
    with pytest.raises(IrrepsError, match="label b: core one carries 1x1e"):
        network.replace("one", core("2x0e", LEG, "1x1e"))


ONES = np.ones(7)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda n: n.contract(z=ONES), "leg 'z' is unknown: expected .* a x y out"),
        (lambda n: n.contract(b=np.ones(3)), "leg 'b' is a contracted bond: expected .* a x y out"),
        (
            lambda n: n.contract(x=np.ones(5)),
            r"input x: expected shape \(7,\) or \(samples, 7\) from the leg 1x0e\+2x1o, got \(5,\)",
        ),
        (lambda n: n.contract(x=np.ones((2, 2, 7))), r"input x: .* got \(2, 2, 7\)"),
        (lambda n: n.contract(x=1.0), r"input x: .* got \(\)"),
        (
            lambda n: n.contract(x=np.ones((2, 7)), y=np.ones((3, 7))),
            "input y: expected 2 samples as of input x, got 3",
        ),
        (
            lambda n: n.contract(x=ONES.astype("float32")),
            "input x: expected numpy float64 on cpu as the cores, got numpy float32",
        ),
        (lambda n: n.contract(x=ONES * np.nan), "input x: expected finite values, got inf or nan"),
        (lambda n: n.gradient(ONES, "x", x=ONES), "one of the cores one two, got 'x'"),
        (
            lambda n: n.gradient(ONES, "one", x=np.ones((5, 7)), y=ONES),
            r"cotangent: expected the shape \(5, 2, 3\) of the result, axes \(samples\) a out; "
            r"got \(7,\)",
        ),
        (lambda n: n.gradient(np.inf * np.ones((2, 7, 3)), "one", x=ONES), "cotangent: .* finite"),
        (lambda n: n.input_gradient(ONES, "y", x=ONES), "one of the legs fed, x; got 'y'"),
        (lambda n: n.replace("three", A), "one of the cores one two, got 'three'"),
        (lambda n: n.to_core(), r"this network has 4 open ones \(a x y out\)"),
        (lambda n: Network("m[a a]", m=core("1o", "1o")).to_core(), "has 0 open ones"),
    ],
)
def test_calls_that_do_not_fit(call, message):
    with pytest.raises(CoreError, match=message):
        call(Network(PAIR, one=A, two=B))


def test_torch_and_numpy_do_not_mix():
    torch = pytest.importorskip("torch")
    network = Network(PAIR, one=A, two=B)
    with pytest.raises(CoreError, match=r"input x: .* got torch float64 on cpu"):
        network.contract(x=torch.ones(7, dtype=torch.float64))
    with pytest.raises(CoreError, match=r"core two: .* got torch float64 on cpu"):
        Network(PAIR, one=A, two=B.to("torch"))


def test_contractions_of_any_scale():
    core = Core.random(["1x0e+1x1o"] * 3, seed=2)
    formula = "one[a x b] two[b y c] three[c z d]"
    plain = Network(formula, one=core, two=core, three=core).contract()
    mixed = {"one": core.rescaled(900), "two": core.rescaled(900), "three": core.rescaled(-900)}
    found = Network(formula, **mixed).contract()
    np.testing.assert_allclose(found, np.ldexp(plain, 900), rtol=1e-12)
    large = dict.fromkeys(mixed, core.rescaled(900))
    with pytest.raises(CoreError, match=r"the largest entry of the result is about 10.*beyond"):
        Network(formula, **large).contract()
    with pytest.raises(CoreError, match="beyond the range of float64"):
        Network("one[x y z]", one=core.rescaled(900)).contract(x=np.full(4, 1e100))


def test_contractions_that_do_not_fit_are_refused_before_they_are_begun():
    core = Core.random(["4x0e+4x1o+4x2e"] * 3, seed=2)
    names = [f"c{n}" for n in range(6)]
    formula = " ".join(f"{name}[b{n} x{n} b{n + 1}]" for n, name in enumerate(names))
    network = Network(formula, **dict.fromkeys(names, core))
    with pytest.raises(CoreError, match=r"an array of this contraction would take .* GB.*feed its"):
        network.contract()
