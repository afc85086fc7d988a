"""Networks as polynomials: textbook forms, the dense contraction, symmetry, the guard."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import sympy
from sympy import Rational, sqrt, symbols

from etn.errors import CoreError, SettingsError
from etn.network import Chain
from etn.network.views.symbolic import coefficient_values, to_sympy
from etn.network.views.wiring import Wiring, as_wiring
from etn.o3 import Irreps
from etn.tensor import Core

X, Y, Z = (sympy.Matrix(symbols(f"{name}_x {name}_y {name}_z")) for name in "abc")


def in_etn_order(vector: sympy.Matrix) -> list[sympy.Symbol]:
    """Components of l = 1 are (y, z, x)."""
    return [vector[1], vector[2], vector[0]]


def path_chain(*legs: tuple[str, str, str]) -> Chain:
    """Chain with one block of one entry, 1, in each core."""
    return Chain([Core(leg).from_vector(np.ones(1)) for leg in legs])


def test_dot_product():
    chain = path_chain(("0e", "1o", "1o"), ("1o", "1o", "0e"))
    found = to_sympy(chain, features=[in_etn_order(X), in_etn_order(Y)])
    assert sympy.expand(found - X.dot(Y) / sqrt(3)) == 0


def test_triple_product():
    chain = path_chain(("0e", "1o", "1o"), ("1o", "1o", "1e"), ("1e", "1o", "0o"))
    found = to_sympy(chain, features=[in_etn_order(v) for v in (X, Y, Z)])
    assert sympy.expand(found - X.dot(Y.cross(Z)) / sqrt(6)) == 0


def test_cross_product_is_an_array_over_the_last_bond():
    chain = path_chain(("0e", "1o", "1o"), ("1o", "1o", "1e"))
    found = to_sympy(chain, features=[in_etn_order(X), in_etn_order(Y)])
    assert found.shape == (3,)
    expected = in_etn_order(X.cross(Y) / sqrt(2))
    assert all(sympy.expand(a - b) == 0 for a, b in zip(found, expected, strict=True))


def test_shared_names_give_the_symmetric_polynomial():
    chain = path_chain(
        ("0e", "1o", "1o"), ("1o", "1o", "2e"), ("2e", "1o", "1o"), ("1o", "1o", "0e")
    )
    found = to_sympy(chain, features=[in_etn_order(X)] * 4)
    # S = (x x)_2 has |S|^2 = |x|^4 (1 - 1/3).  The 3j symbol is the same for (2, 1, 1) as for
    # (1, 1, 2), so x . (S x)_1 = sqrt(3/5) (x x)_2 . S; the last core divides by sqrt(3).
    expected = Rational(2, 3) * sqrt(Rational(3, 5)) / sqrt(3) * X.dot(X) ** 2
    assert sympy.expand(found - expected) == 0
    assert len(found.args) == 6


@pytest.mark.parametrize("coefficients", ["numeric", "symbolic"])
@pytest.mark.parametrize("out", ["0e", "1x0e+1x1o"])
def test_values_are_those_of_the_dense_tensor(coefficients, out, rng):
    sites = ["1x0e+1x1o", "1x1o+2x0e", "1x2e+1x0e+1x1o"]
    chain = Chain.random(sites, start="2x0e", out=out, max_bond=2, seed=5)
    names = [
        [f"{name}{i}" for i in range(Irreps(leg).dim)]
        for name, leg in zip("uvw", sites, strict=True)
    ]
    found = to_sympy(chain, coefficients=coefficients, features=names)
    if coefficients == "symbolic":
        found = found.subs(coefficient_values(chain))
    flat = list(itertools.chain(*names))
    function = sympy.lambdify([flat], list(found.reshape(len(found))))
    for _ in range(3):
        point = rng.standard_normal(len(flat))
        vectors = np.split(point, np.cumsum([len(n) for n in names])[:-1])
        expected = np.einsum("sabco,a,b,c->so", chain.to_dense(), *vectors).squeeze()
        assert found.shape == expected.shape
        np.testing.assert_allclose(function(point), expected.ravel(), atol=1e-12)


def test_default_names_follow_the_dense_index(rng):
    chain = Chain.random(["1x1o+2x0e"] * 2, max_bond=1, seed=0)
    found = to_sympy(chain)
    names = ["1o_0_m1", "1o_0_0", "1o_0_1", "0e_0_0", "0e_1_0"]
    flat = [f"x{site}_{name}" for site in range(2) for name in names]
    assert {symbol.name for symbol in found.free_symbols} == set(flat)
    assert all(name.isidentifier() for name in flat)
    point = rng.standard_normal(10)
    expected = point[:5] @ chain.to_dense().squeeze() @ point[5:]
    assert float(found.subs(dict(zip(flat, point, strict=True)))) == pytest.approx(expected)


def test_coefficients_are_exact():
    core = Core(["1x1o", "1x1o"]).from_vector(np.array([0.1]))
    other = Core(["1x1o"] * 2).from_vector(np.array([0.2]))
    found = to_sympy(Wiring([core, other], ["ij", "jk"]), features=[["a", 0, 0], ["b", 0, 0]])
    assert found == Rational(0.1) * Rational(0.2) * symbols("a") * symbols("b")


def test_constants_take_the_place_of_a_feature():
    chain = Chain.random(["1x0e+1x1o"] * 3, max_bond=1, seed=0)
    names = [1, "y", "z", "x"]
    found = to_sympy(chain, features=[names] * 3)
    x, y, z = symbols("x y z")
    polynomial = sympy.Poly(found, x, y, z)
    # One constant and one square: an invariant of a single vector.
    square = polynomial.coeff_monomial(x**2)
    assert square != 0
    constant = polynomial.coeff_monomial(1)
    assert sympy.expand(found - constant - square * (x**2 + y**2 + z**2)) == 0


def test_invariance_under_a_quarter_turn_about_z():
    """(x, y, z) -> (-y, x, z) and with it the five harmonics of degree 2."""
    leg = "1x0e+1x1o+1x2e"
    chain = Chain.random([leg] * 3, max_bond=1, seed=2)
    names = [[f"{k}{n}" for n in ("s", "y", "z", "x", "xy", "yz", "zz", "zx", "xx")] for k in "abc"]
    found = to_sympy(chain, features=names)
    turned = {}
    for k in "abc":
        of = {n: sympy.Symbol(f"{k}{n}") for n in ("y", "x", "xy", "yz", "zx", "xx")}
        turned |= {of["x"]: -of["y"], of["y"]: of["x"]}
        # xy -> -xy, yz -> zx, zx -> -yz, x^2 - y^2 -> -(x^2 - y^2)
        turned |= {
            of["xy"]: -of["xy"],
            of["yz"]: of["zx"],
            of["zx"]: -of["yz"],
            of["xx"]: -of["xx"],
        }
    assert len(found.free_symbols) == 27
    assert sympy.expand(found - found.subs(turned, simultaneous=True)) == 0
    # A wrong turn is seen.
    turned[sympy.Symbol("azx")] *= -1
    assert sympy.expand(found - found.subs(turned, simultaneous=True)) != 0


def test_networks_with_a_loop():
    bond, leg = "1x0e+1x1o", "1x0e+1x1o"
    cores = [Core.random([bond, leg, bond], seed=i) for i in range(2)]
    ring = Wiring(cores, [("i", "x", "j"), ("j", "y", "i")])
    found = to_sympy(ring, features=[list("abcd"), list("efgh")])
    point = dict(zip("abcdefgh", np.linspace(-1, 2, 8), strict=True))
    values = np.linspace(-1, 2, 8)
    assert float(found.subs(point)) == pytest.approx(values[:4] @ ring.dense() @ values[4:])


def test_open_legs_in_any_order():
    core = Core.random(["1x0e+1x1o", "1x1o", "1x0e+1x1o+1x2e"], seed=0)
    wiring = Wiring([core], ["abc"])
    found = to_sympy(wiring, out=["c", "a"], features=[["p", "q", "r"]])
    assert found.shape == (9, 4)
    values = np.array(found.subs({"p": 2, "q": -1, "r": 3}).tolist(), dtype=float)
    expected = np.einsum("abc,b->ca", core.to_dense(), [2, -1, 3])
    np.testing.assert_allclose(values, expected, atol=1e-14)


def test_cores_in_torch():
    pytest.importorskip("torch")
    chain = Chain.random(["1x0e+1x1o"] * 2, max_bond=1, seed=0)
    assert to_sympy(chain.to("torch")) == to_sympy(chain)
    assert coefficient_values(chain.to("torch")) == coefficient_values(chain)


def test_one_term_for_each_monomial():
    chain = Chain.random(["2x0e+1x1o"] * 3, max_bond=3, seed=0)
    for coefficients in ("numeric", "symbolic"):
        found = to_sympy(chain, coefficients=coefficients)
        features = [symbol for symbol in found.free_symbols if symbol.name.startswith("x")]
        assert len(found.args) == len(sympy.Poly(found, *features).terms())


@pytest.mark.parametrize("coefficients", ["numeric", "symbolic"])
def test_the_estimate_bounds_the_number_of_terms(coefficients):
    chain = Chain.random(["1x0e+1x1o"] * 3, max_bond=2, seed=0)
    terms = len(sympy.expand(to_sympy(chain, coefficients=coefficients)).args)
    with pytest.raises(CoreError, match=rf"could have .* terms, the limit is {terms - 1}"):
        to_sympy(chain, coefficients=coefficients, max_terms=terms - 1)


def test_too_many_terms_are_refused_at_once():
    chain = Chain.random(["4x0e+4x1o+4x2e"] * 6, max_bond=4, seed=0)
    with pytest.raises(CoreError, match=r"2.18e\+09 terms, the limit is 20,000"):
        to_sympy(chain)
    # 36 features shared by six legs: (41 choose 6) monomials.
    names = [f"x{i}" for i in range(36)]
    with pytest.raises(CoreError, match=r"4.5e\+06 terms"):
        to_sympy(chain, features=[names] * 6)
    very_long = Chain.random(["2x0e+2x1o"] * 600, max_bond=9, seed=0)
    with pytest.raises(CoreError, match="inf terms"):
        to_sympy(very_long, coefficients="symbolic")


def test_errors():
    chain = Chain.random(["1x0e+1x1o"] * 2, seed=0)
    with pytest.raises(SettingsError, match='"numeric" or "symbolic", got \'exact\''):
        to_sympy(chain, coefficients="exact")
    with pytest.raises(CoreError, match="each of the legs x0, x1, got 1"):
        to_sympy(chain, features=[list("abcd")])
    with pytest.raises(CoreError, match=r"leg x1: expected 4 names for 1x0e\+1x1o, got 3"):
        to_sympy(chain, features=[list("abcd"), list("efg")])
    with pytest.raises(CoreError, match=r"names, symbols or integers, got 0\.5"):
        to_sympy(chain, features=[[0.5, "b", "c", "d"]] * 2)
    with pytest.raises(CoreError, match="different assumptions are called x"):
        to_sympy(chain, features=[["x", *"bcd"], [sympy.Symbol("x", real=True), *"bcd"]])
    with pytest.raises(CoreError, match=r"out: expected some of the open legs .* got \('b1',\)"):
        to_sympy(chain, out=["b1"])


def test_names_of_coefficients():
    chain = Chain.random(["1x0e+1x1o"] * 2, max_bond=2, seed=0)
    values = coefficient_values(chain)
    assert len(values) == chain.n_parameters
    assert all(name.isidentifier() for name in values)
    block = as_wiring(chain).cores[1].blocks
    (path,) = [path for path in block if str(path[0]) == "1o"]
    assert values["a1_1o_1o_0e_0_0_0"] == block[path][0, 0, 0]
    symbolic = to_sympy(chain, coefficients="symbolic")
    names = {s.name for s in symbolic.free_symbols if s.name.startswith("a")}
    assert names == set(values)
