r"""Symmetric Cartesian tensors in rational arithmetic: the formulas as they stand in the papers.

Notes
-----
A symmetric tensor A with l indices is kept as the homogeneous polynomial

.. math:: A(r) = \sum_{i_1 \dots i_l} A_{i_1 \dots i_l} r_{i_1} \cdots r_{i_l}
    = \sum_{a+b+c=l} \frac{l!}{a!\, b!\, c!}\, A_{abc}\, x^a y^b z^c ,

where A_abc is the component with a indices x, b indices y and c indices z.  Contracted indices are
derivatives, the symmetrized product with the unit tensor I is a multiplication by r·r, and a trace
is a Laplacian: a tensor is traceless if its polynomial is harmonic.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from itertools import permutations
from math import comb, factorial, prod
from typing import TypeAlias

from etn.errors import IrrepsError
from etn.o3.cartesian.constants import double_factorial, free_indices, unity_constant
from etn.o3.irrep import as_int

Exponents: TypeAlias = tuple[int, int, int]
Polynomial: TypeAlias = Mapping[Exponents, Fraction]

_AXES: tuple[Exponents, ...] = ((1, 0, 0), (0, 1, 0), (0, 0, 1))
_SQUARE: Polynomial = {(2, 0, 0): Fraction(1), (0, 2, 0): Fraction(1), (0, 0, 2): Fraction(1)}


@cache
def monomials(l: int) -> tuple[Exponents, ...]:
    """Return the exponents (a, b, c) of degree l, by c and then by b, both ascending.

    The first 2l+1 have c = 0 or 1.  They are the packed monomials: their components determine a
    traceless tensor, since two indices z are minus two indices x minus two indices y.

    Raises
    ------
    IrrepsError
        ``l < 0``.

    Examples
    --------
    >>> monomials(2)
    ((2, 0, 0), (1, 1, 0), (0, 2, 0), (1, 0, 1), (0, 1, 1), (0, 0, 2))
    """
    l = as_int(l, "degree l", minimum=0)
    return tuple((l - b - c, b, c) for c in range(l + 1) for b in range(l - c + 1))


def multiplicity(exponents: Exponents) -> int:
    """Return l!/(a! b! c!), the number of places of the full tensor that hold one component.

    Examples
    --------
    >>> multiplicity((2, 1, 0))
    3
    """
    return factorial(sum(exponents)) // prod(map(factorial, exponents))


def _times(first: Polynomial, second: Polynomial) -> Polynomial:
    out: dict[Exponents, Fraction] = {}
    for (a, b, c), left in first.items():
        for (d, e, f), right in second.items():
            place = (a + d, b + e, c + f)
            out[place] = out.get(place, Fraction(0)) + left * right
    return out


def _sum(terms: Sequence[tuple[Fraction | int, Polynomial]]) -> Polynomial:
    out: dict[Exponents, Fraction] = {}
    for factor, polynomial in terms:
        for place, value in polynomial.items():
            out[place] = out.get(place, Fraction(0)) + factor * value
    return {place: value for place, value in out.items() if value}


def _derivative(polynomial: Polynomial, orders: Exponents) -> Polynomial:
    out = {}
    for exponents, value in polynomial.items():
        pairs = tuple(zip(exponents, orders, strict=True))
        if all(n >= k for n, k in pairs):
            falling = prod(factorial(n) // factorial(n - k) for n, k in pairs)
            out[(pairs[0][0] - orders[0], pairs[1][0] - orders[1], pairs[2][0] - orders[2])] = (
                falling * value
            )
    return out


def _power_of_square(m: int) -> Polynomial:
    """Polynomial (r·r)^m."""
    out: Polynomial = {(0, 0, 0): Fraction(1)}
    for _ in range(m):
        out = _times(out, _SQUARE)
    return out


@dataclass(frozen=True)
class SymmetricTensor:
    """A symmetric Cartesian tensor with rational components.

    Parameters
    ----------
    l
        Number of indices.
    polynomial
        Coefficients {(a, b, c): value} of its polynomial, a+b+c = l; absent ones are zero.

    Raises
    ------
    IrrepsError
        A monomial has another degree.

    Examples
    --------
    >>> T = direction_tensor(2, (1, 0, 0))
    >>> T.component((2, 0, 0)), T.component((0, 2, 0)), T.trace().polynomial
    (Fraction(1, 1), Fraction(-1, 2), {})
    """

    l: int
    polynomial: Polynomial

    def __post_init__(self) -> None:
        """Check the degree of every monomial."""
        for exponents in self.polynomial:
            if sum(exponents) != self.l or min(exponents) < 0:
                raise IrrepsError(
                    f"polynomial: expected monomials of degree {self.l}, got exponents {exponents}"
                )

    @classmethod
    def from_components(cls, l: int, components: Mapping[Exponents, Fraction]) -> SymmetricTensor:
        """Tensor with the components {(a, b, c): A_abc}; absent ones are zero."""
        return cls(l, {e: multiplicity(e) * Fraction(v) for e, v in components.items() if v})

    def component(self, exponents: Exponents) -> Fraction:
        """Component A_abc with a indices x, b indices y, c indices z."""
        return self.polynomial.get(exponents, Fraction(0)) / multiplicity(exponents)

    def trace(self) -> SymmetricTensor:
        """Trace over one pair of indices; of fewer than two indices it is zero."""
        if self.l < 2:
            return SymmetricTensor(max(self.l - 2, 0), {})
        doubled: list[Exponents] = [(2, 0, 0), (0, 2, 0), (0, 0, 2)]
        parts = [_derivative(self.polynomial, orders) for orders in doubled]
        scale = Fraction(1, self.l * (self.l - 1))
        return SymmetricTensor(self.l - 2, _sum([(scale, part) for part in parts]))

    def dot(self, other: SymmetricTensor) -> Fraction:
        """Contraction of all indices with those of a tensor of the same degree."""
        if other.l != self.l:
            raise IrrepsError(f"expected a tensor with {self.l} indices, got {other.l}")
        return sum(
            (value * other.component(place) for place, value in self.polynomial.items()),
            start=Fraction(0),
        )


def direction_tensor(l: int, r: Sequence[Fraction | int]) -> SymmetricTensor:
    r"""Return the irreducible Cartesian tensor T^l(r) of a vector with rational components.

    .. math:: T^l(r) = \frac{(2l-1)!!}{l!} \sum_{m=0}^{\lfloor l/2 \rfloor} (-1)^m
        \frac{(2l-2m-1)!!}{(2l-1)!!}\; |r|^{2m} \{ r^{\otimes (l-2m)} \otimes I^{\otimes m} \}

    where {.} is the sum over the l!/((l-2m)! m! 2^m) distinct placements of the indices.  For a
    vector that is not of unit length this is |r|^l times the tensor of its direction.

    Parameters
    ----------
    l
        Degree.
    r
        The vector (x, y, z), integers or fractions.

    Raises
    ------
    IrrepsError
        ``l < 0``.

    Notes
    -----
    Source: Zaverkin et al., arXiv:2405.14253, Eq. 1.

    Examples
    --------
    >>> T = direction_tensor(3, (Fraction(2, 3), Fraction(1, 3), Fraction(2, 3)))
    >>> T.dot(T), T.dot(direction_tensor(3, (0, 0, 1)))  # (2l-1)!!/l! and 5/2 P_3(2/3)
    (Fraction(5, 2), Fraction(-35, 54))
    """
    l = as_int(l, "degree l", minimum=0)
    vector = [Fraction(component) for component in r]
    length2 = sum((v * v for v in vector), start=Fraction(0))
    linear: Polynomial = dict(zip(_AXES, vector, strict=True))
    powers: list[Polynomial] = [{(0, 0, 0): Fraction(1)}]
    for _ in range(l):
        powers.append(_times(powers[-1], linear))
    terms = []
    for m in range(l // 2 + 1):
        placements = factorial(l) // (factorial(l - 2 * m) * factorial(m) * 2**m)
        weight = Fraction((-1) ** m * double_factorial(2 * l - 2 * m - 1), factorial(l))
        factor = weight * placements * length2**m
        terms.append((factor, _times(powers[l - 2 * m], _power_of_square(m))))
    return SymmetricTensor(l, _sum(terms))


def traceless(tensor: SymmetricTensor) -> SymmetricTensor:
    r"""Return the traceless part: the orthogonal projection onto irreducible tensors.

    .. math:: A(r) \mapsto \sum_k \frac{(-1)^k (2l-2k-1)!!}{2^k\, k!\, (2l-1)!!}\,
        (r \cdot r)^k\, \Delta^k A(r)

    Examples
    --------
    >>> traceless(SymmetricTensor(2, {(2, 0, 0): Fraction(1)})).component((0, 0, 2))
    Fraction(-1, 3)
    """
    l = tensor.l
    terms, current = [], tensor
    for k in range(l // 2 + 1):
        weight = (-1) ** k * double_factorial(2 * l - 2 * k - 1) * comb(l, 2 * k)
        weight *= double_factorial(2 * k - 1)
        factor = Fraction(weight, double_factorial(2 * l - 1))
        # Delta^k is l!/(l-2k)! traces, and (2k)!/(2^k k!) = (2k-1)!!.
        terms.append((factor, _times(_power_of_square(k), current.polynomial)))
        current = current.trace()
    return SymmetricTensor(l, _sum(terms))


def _contract(first: Polynomial, second: Polynomial, n: int) -> Polynomial:
    """Sum over n pairs of indices of the product of two tensors, without its factorials."""
    return _sum(
        [
            (multiplicity(e), _times(_derivative(first, e), _derivative(second, e)))
            for e in monomials(n)
        ]
    )


def _cross_contract(first: Polynomial, second: Polynomial, n: int) -> Polynomial:
    """Like _contract, with one more index of each taken by a Levi-Civita symbol."""
    terms = []
    for i, j, k in permutations(range(3)):
        sign = (j - i) * (k - i) * (k - j) // 2
        pair = _derivative(first, _AXES[j]), _derivative(second, _AXES[k])
        terms.append((sign, _times({_AXES[i]: Fraction(1)}, _contract(*pair, n))))
    return _sum(terms)


def product(first: SymmetricTensor, second: SymmetricTensor, l3: int) -> SymmetricTensor:
    r"""Return the irreducible product of two irreducible tensors, normalization "unity".

    .. math:: (A \otimes B)_{l_3} = K \sum_m (-1)^m 2^m \frac{(2 l_3 - 2m - 1)!!}{(2 l_3 - 1)!!}
        \{ (A \cdot_{k+m} B) \otimes I^{\otimes m} \}

    where k+m pairs of indices are contracted and {.} is the sum over distinct placements of the
    indices.  On odd paths (l1+l2+l3 odd) the Levi-Civita symbol joins one more index of each,
    eps_iab A_a.. B_b.. .  K is :func:`~etn.o3.cartesian.constants.unity_constant`.

    Parameters
    ----------
    first, second
        Symmetric traceless tensors of degrees l1, l2; of others the result is not traceless.
    l3
        Degree of the result, |l1-l2| <= l3 <= l1+l2.

    Raises
    ------
    IrrepsError
        The degrees break the triangle rule.

    Notes
    -----
    Source: Zaverkin et al., arXiv:2405.14253, Eqs. 2 and 3.

    Examples
    --------
    >>> x, y = direction_tensor(1, (1, 0, 0)), direction_tensor(1, (0, 1, 0))
    >>> product(x, y, 1) == direction_tensor(1, (0, 0, 1))
    True
    """
    l1, l2 = first.l, second.l
    n1, n2, k, odd = free_indices(l1, l2, l3)
    contract = _cross_contract if odd else _contract
    terms = []
    for m in range(min(n1, n2) + 1):
        # The free indices of the contraction are n1 - m and n2 - m; its derivatives carry the
        # factorials l1! l2! / ((n1 - m)! (n2 - m)!) too many, and the placements are
        # l3! / ((n1 - m)! (n2 - m)! m! 2^m).
        weight = Fraction((-1) ** m * factorial(l3), factorial(m) * factorial(l1) * factorial(l2))
        weight *= Fraction(double_factorial(2 * l3 - 2 * m - 1), double_factorial(2 * l3 - 1))
        series = contract(first.polynomial, second.polynomial, k + m)
        terms.append((weight, _times(series, _power_of_square(m))))
    constant = unity_constant(l1, l2, l3)
    return SymmetricTensor(l3, _sum([(constant * factor, part) for factor, part in terms]))
