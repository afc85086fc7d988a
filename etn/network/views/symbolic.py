r"""Small networks as exact polynomials in named features.

A network with a vector of features on every open leg is a polynomial,

.. math:: p = \sum_n q_n \sqrt{s_n} \prod_k a_{n k} \prod_j x_{n j},

with rational q, square-free integers s (the square roots of the Clebsch-Gordan coefficients),
entries a of the blocks and features x.  It is contracted in this form, where equal terms meet as
soon as they arise, and handed to sympy at the end.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from functools import cache
from itertools import product
from numbers import Integral
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from etn.backend import to_numpy
from etn.errors import CoreError, SettingsError
from etn.network.views.wiring import Wired, Wiring, as_wiring
from etn.o3 import Irreps, clebsch_gordan
from etn.tensor import Core
from etn.tensor.core import Path

if TYPE_CHECKING:
    import sympy


Monomial = tuple[str, ...]
Polynomial = dict[tuple[Monomial, Monomial, int], Fraction]
"""{(features, entries of blocks, s): q}, a sum of q sqrt(s) with these factors."""

_ONE: Polynomial = {((), (), 1): Fraction(1)}


class _Tensor(NamedTuple):
    """Sparse tensor of polynomials."""

    labels: tuple[str, ...]
    entries: dict[tuple[int, ...], Polynomial]


def to_sympy(
    network: Wired,
    *,
    coefficients: Literal["numeric", "symbolic"] = "numeric",
    features: Sequence[Sequence[str | int | sympy.Symbol]] | None = None,
    out: Sequence[str] | None = None,
    max_terms: int = 20_000,
) -> sympy.Expr | sympy.ImmutableDenseNDimArray:
    """Contract a small network with named features to an exact polynomial.

    Parameters
    ----------
    network : Chain, Wiring or a network with a method ``wiring``
    coefficients : {"numeric", "symbolic"}
        Entries of the blocks as the exact rational numbers that the floats are, or as the
        symbols ``a{core}_{ir1}_{ir2}_{ir3}_{r1}_{r2}_{r3}``; see :func:`coefficient_values`.
    features : sequence of sequences of str, Symbol or int, optional
        For each leg that is fed, in the order of the open legs, what stands in each component
        of its dense index; 1 for a constant channel.  Equal names are equal features: the same
        names on all sites make the polynomial symmetric.  By default component m of copy c of
        irrep ir on leg x0 is ``x0_{ir}_{c}_{m}``, with a negative m written as ``m1``.
    out : sequence of str, optional
        Open legs that are not fed: one axis of the result each.  By default those called
        ``start`` and ``out``, the ends of a chain.
    max_terms : int
        Most terms that the polynomial may have.

    Returns
    -------
    sympy.Expr or sympy.ImmutableDenseNDimArray
        One term for each monomial in the features.  An array if a leg of `out` has more than
        one component; legs with one component make no axis.

    Raises
    ------
    CoreError
        If the polynomial would have too many terms, the features do not fit the legs, or `out`
        names a leg that is not open.
    SettingsError
        If `coefficients` is neither of the two.

    Examples
    --------
    The triple product of three vectors, whose components are (y, z, x):

    >>> from etn.network import Chain
    >>> legs = ["0e", "1o", "1o"], ["1o", "1o", "1e"], ["1e", "1o", "0o"]
    >>> chain = Chain([Core(leg).from_vector(np.ones(1)) for leg in legs])
    >>> p = to_sympy(chain, features=[["ay", "az", "ax"], ["by", "bz", "bx"], ["cy", "cz", "cx"]])
    >>> p.simplify()
    sqrt(6)*(ax*by*cz - ax*bz*cy - ay*bx*cz + ay*bz*cx + az*bx*cy - az*by*cx)/6
    """
    if coefficients not in ("numeric", "symbolic"):
        raise SettingsError(f'coefficients: expected "numeric" or "symbolic", got {coefficients!r}')
    wiring = as_wiring(network)
    if out is None:
        out = [label for label in ("start", "out") if label in wiring.open]
    if not set(out) <= set(wiring.open) or len(set(out)) != len(out):
        raise CoreError(f"out: expected some of the open legs {wiring.open}, got {tuple(out)}")
    fed = [label for label in wiring.open if label not in out]
    symbols: dict[str, sympy.Symbol] = {}
    values = _features(wiring, fed, features, symbols)
    symbolic = coefficients == "symbolic"
    terms = _estimate(wiring, values, symbolic=symbolic)
    if terms > max_terms:
        raise CoreError(
            f"the polynomial could have {terms:.3g} terms, the limit is {max_terms:,}: take a "
            "network with fewer or smaller legs, or raise max_terms"
        )
    result = _Tensor((), {(): _ONE})
    for number, (core, labels) in enumerate(zip(wiring.cores, wiring.labels, strict=True)):
        tensor = _Tensor(labels, dict(_entries(core, number, symbolic=symbolic)))
        for label in labels:
            if label in values:
                tensor = _contract(tensor, _Tensor((label,), values[label]))
        result = _contract(result, tensor)
    return _as_sympy(result, out, [wiring.legs[label].dim for label in out], symbols)


def coefficient_values(network: Wired) -> dict[str, float]:
    """Entry of a block for each symbol that ``to_sympy(coefficients="symbolic")`` writes.

    Examples
    --------
    >>> core = Core(["2x0e"]).from_vector(np.array([0.5, 2.0]))
    >>> values = coefficient_values(Wiring([core], [("x",)]))
    >>> values
    {'a0_0e_0': 0.5, 'a0_0e_1': 2.0}
    >>> to_sympy(Wiring([core], [("x",)]), coefficients="symbolic", features=[["u", "v"]])
    a0_0e_0*u + a0_0e_1*v
    """
    return {
        _coefficient(number, path, copies): float(value)
        for number, core in enumerate(as_wiring(network).cores)
        for path, block in core
        for copies, value in np.ndenumerate(to_numpy(block))
    }


def _coefficient(number: int, path: Path, copies: Sequence[int]) -> str:
    return "_".join([f"a{number}", *map(str, path), *map(str, copies)])


def _features(
    wiring: Wiring,
    fed: Sequence[str],
    features: Sequence[Sequence[Any]] | None,
    symbols: dict[str, sympy.Symbol],
) -> dict[str, dict[tuple[int, ...], Polynomial]]:
    """What stands on each fed leg; enters the symbols in `symbols`."""
    if features is None:
        features = [_default_names(label, wiring.legs[label]) for label in fed]
    if len(features) != len(fed):
        raise CoreError(
            f"features: expected one sequence for each of the legs {', '.join(fed)}, "
            f"got {len(features)}"
        )
    values: dict[str, dict[tuple[int, ...], Polynomial]] = {}
    for label, names in zip(fed, features, strict=True):
        leg = wiring.legs[label]
        if len(names) != leg.dim:
            raise CoreError(
                f"features of leg {label}: expected {leg.dim} names for {leg}, got {len(names)}"
            )
        values[label] = {(i,): _feature(name, symbols) for i, name in enumerate(names)}
    return values


def _feature(value: Any, symbols: dict[str, sympy.Symbol]) -> Polynomial:
    import sympy

    if isinstance(value, Integral):
        return {((), (), 1): Fraction(int(value))} if value else {}
    symbol = sympy.Symbol(value) if isinstance(value, str) else value
    if not isinstance(symbol, sympy.Symbol):
        raise CoreError(f"features: expected names, symbols or integers, got {value!r}")
    if symbols.setdefault(symbol.name, symbol) != symbol:
        raise CoreError(f"features: two symbols of different assumptions are called {symbol}")
    return {((symbol.name,), (), 1): Fraction(1)}


def _default_names(label: str, leg: Irreps) -> list[str]:
    names = [""] * leg.dim
    for ir in leg.unique:
        for copy, row in enumerate(leg.indices(ir)):
            for m, index in enumerate(row, start=-ir.l):
                names[index] = f"{label}_{ir}_{copy}_{'m' if m < 0 else ''}{abs(m)}"
    return names


def _estimate(
    wiring: Wiring, values: Mapping[str, Mapping[tuple[int, ...], Polynomial]], *, symbolic: bool
) -> float:
    """Bound on the number of terms of all components together."""
    from opt_einsum import contract

    # Products of entries and features that are not zero, before equal ones are added up.
    inputs, _, _ = wiring.einsum().partition("->")
    cores = [
        core.from_vector(core.kind.ones((core.n_parameters,))) if symbolic else core
        for core in wiring.cores
    ]
    patterns = [(to_numpy(core.to_dense()) != 0).astype(float) for core in cores]
    with np.errstate(over="ignore", invalid="ignore"):
        products = float(contract(f"{inputs}->", *patterns))
    if not math.isfinite(products):
        products = math.inf
    if symbolic:
        return products
    # Monomials in the features, times components.  Legs with the same k names in all have
    # (n + k - 1 choose k) of degree n.
    names = Counter(
        frozenset(monomial for p in leg.values() for monomial in p) for leg in values.values()
    )
    monomials = math.prod(float(math.comb(len(own) + k - 1, k)) for own, k in names.items())
    components = math.prod(wiring.legs[label].dim for label in wiring.open if label not in values)
    return min(products, monomials * components)


def _entries(
    core: Core, number: int, *, symbolic: bool
) -> Iterator[tuple[tuple[int, ...], Polynomial]]:
    """Entries of a dense core."""
    for path, block in core:
        rows = [leg.indices(ir) for leg, ir in zip(core.legs, path, strict=True)]
        for copies, value in np.ndenumerate(to_numpy(block)):
            if not symbolic and value == 0:
                continue
            names = (_coefficient(number, path, copies),) if symbolic else ()
            factor = Fraction(1) if symbolic else Fraction(float(value))
            for place, rational, root in _exact_coupling(path):
                index = tuple(
                    int(row[copy, m]) for row, copy, m in zip(rows, copies, place, strict=True)
                )
                yield index, {((), names, root): factor * rational}


@cache
def _exact_coupling(path: Path) -> list[tuple[tuple[int, ...], Fraction, int]]:
    """Non-zero entries q sqrt(s) of the coupling tensor of a path: (place, q, s)."""
    if len(path) < 3:
        return [((m,) * len(path), Fraction(1), 1) for m in range(path[0].dim)]
    tensor = clebsch_gordan(path[0].l, path[1].l, path[2].l, exact=True)
    entries = []
    for place in product(*(range(ir.dim) for ir in path)):
        rational, root = tensor[place].as_coeff_Mul()
        if rational:
            entries.append((place, Fraction(int(rational.p), int(rational.q)), int(root**2)))
    return entries


def _contract(a: _Tensor, b: _Tensor) -> _Tensor:
    """Product of two tensors, summed over the labels that they share."""
    shared = [label for label in a.labels if label in b.labels]
    rest_a = [axis for axis, label in enumerate(a.labels) if label not in shared]
    rest_b = [axis for axis, label in enumerate(b.labels) if label not in shared]
    axes_a, axes_b = [[t.labels.index(label) for label in shared] for t in (a, b)]
    partners: dict[tuple[int, ...], list[tuple[tuple[int, ...], Polynomial]]] = {}
    for index, value in b.entries.items():
        key = tuple(index[axis] for axis in axes_b)
        partners.setdefault(key, []).append((tuple(index[axis] for axis in rest_b), value))
    entries: dict[tuple[int, ...], Polynomial] = {}
    for index, value in a.entries.items():
        start = tuple(index[axis] for axis in rest_a)
        for end, other in partners.get(tuple(index[axis] for axis in axes_a), ()):
            _add_product(entries.setdefault(start + end, {}), value, other)
    labels = [a.labels[axis] for axis in rest_a] + [b.labels[axis] for axis in rest_b]
    return _Tensor(tuple(labels), entries)


def _add_product(total: Polynomial, a: Polynomial, b: Polynomial) -> None:
    for (features, names, root), factor in a.items():
        for (more_features, more_names, other), by in b.items():
            common = math.gcd(root, other)
            key = (
                tuple(sorted(features + more_features)),
                tuple(sorted(names + more_names)),
                # sqrt(r) sqrt(s) = g sqrt(r s / g^2) is square-free again.
                root * other // common**2,
            )
            total[key] = total.get(key, 0) + factor * by * common


def _as_sympy(
    tensor: _Tensor, out: Sequence[str], shape: Sequence[int], symbols: Mapping[str, sympy.Symbol]
) -> sympy.Expr | sympy.ImmutableDenseNDimArray:
    import sympy

    order = [tensor.labels.index(label) for label in out]
    components = {tuple(index[axis] for axis in order): p for index, p in tensor.entries.items()}
    entries = [_expression(components.get(i, {}), symbols) for i in np.ndindex(*shape)]
    axes = [n for n in shape if n > 1]
    return sympy.ImmutableDenseNDimArray(entries, axes) if axes else entries[0]


def _expression(polynomial: Polynomial, symbols: Mapping[str, sympy.Symbol]) -> sympy.Expr:
    """Sum over the monomials in the features, each with one coefficient."""
    import sympy

    collected: dict[Monomial, list[sympy.Expr]] = {}
    for (features, names, root), factor in polynomial.items():
        if factor:
            number = sympy.Rational(factor.numerator, factor.denominator) * sympy.sqrt(root)
            term = sympy.Mul(number, *map(sympy.Symbol, names))
            collected.setdefault(features, []).append(term)
    return sympy.Add(
        *(
            sympy.Mul(sympy.Add(*terms), *(symbols[name] for name in features))
            for features, terms in collected.items()
        )
    )
