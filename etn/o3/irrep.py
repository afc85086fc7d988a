"""One irreducible representation of O(3)."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import total_ordering
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

from etn.errors import IrrepsError

if TYPE_CHECKING:
    from etn.o3.irreps import Irreps

# Nine digits are more than any memory holds, and Python reads no number of thousands of digits.
_LP = re.compile(r"(\d{1,9})([eo])", re.ASCII)
_PARITY = {"e": 1, "o": -1}


def as_int(value: Any, what: str, *, minimum: int | None = None) -> int:
    """Return `value` as a Python int, or raise an :class:`IrrepsError` that names `what`.

    What counts as an integer is the same everywhere: integers of Python and NumPy, and whatever
    else says that it is one (``__index__``).  Floats are refused, 1.0 as well, and so are booleans.
    """
    try:
        number = operator.index(value)
    except TypeError:
        number = None
    if number is None or isinstance(value, bool):
        hint = f"; write {int(value)}" if isinstance(value, float) and value.is_integer() else ""
        raise IrrepsError(
            f"{what}: expected an integer, got {value!r} ({type(value).__name__}){hint}"
        )
    if minimum is not None and number < minimum:
        raise IrrepsError(f"{what}: expected at least {minimum}, got {number}")
    return number


def refuse_text(irreps: object, other: object) -> None:
    """Raise an :class:`IrrepsError` if irreps are compared with a string.

    A string that is equal would have to hash alike in every spelling, so the answer could only be
    False, which is not what is meant.
    """
    if isinstance(other, str):
        name = type(irreps).__name__
        raise IrrepsError(
            f'{irreps} == "{other}": expected irreps on both sides, got a string; compare with '
            f'{name}("{other}"), or str({name.lower()}) with the string'
        )


def natural_hint(text: str) -> str:
    """Return what to write for the letter y of e3nn, the parity (-1)^l, if the text ends in it."""
    match = re.search(r"(\d{1,15})y$", text, re.ASCII)
    if match is None:
        return ""
    return f"; for y, the parity (-1)^l, write {match[1]}{'eo'[int(match[1]) % 2]}"


def _parse(text: str) -> tuple[int, int]:
    match = _LP.fullmatch(text.strip())
    if match is None:
        raise IrrepsError(
            f'"{text}": expected LP with L >= 0 and P e or o, such as "1o"'
            f"{natural_hint(text.strip())}"
        )
    return int(match[1]), _PARITY[match[2]]


@total_ordering
@dataclass(frozen=True, slots=True, init=False, repr=False, eq=False)
class Irrep:
    """An irreducible representation of O(3): degree `l` and parity `p`.

    Its dimension is 2l+1 and its components are the real harmonics m = -l..l, so the components
    of ``1o`` are (y, z, x).  The inversion r -> -r multiplies them by `p`.

    Parameters
    ----------
    l
        Degree, ``l >= 0``; or the whole irrep as a string such as ``"1o"`` (e: p = 1, o: p = -1),
        as a tuple (l, p), or as an :class:`Irrep`.
    p
        Parity, 1 or -1; only with an integer `l`.

    Raises
    ------
    IrrepsError
        Malformed string, ``l < 0``, or a parity other than 1 and -1; comparison with a string.

    Notes
    -----
    Irreps are immutable and hashable.  They are ordered by l, and the natural parity (-1)^l comes
    first: ``0e < 0o < 1o < 1e < 2e < 2o``, the sequence of e3nn's ``Irrep.iterator``.  (Sorting
    in e3nn puts the odd irrep first at every l, which differs where both parities of an even l
    are present.)

    Examples
    --------
    >>> Irrep("1o") == Irrep(1, -1)
    True
    >>> Irrep("2e").dim
    5
    >>> Irrep("1o") * Irrep("1o")
    (0e, 1e, 2e)
    >>> 3 * Irrep("1o"), Irrep("1o") + Irrep("2e")
    (3x1o, 1x1o+1x2e)
    >>> l, p = Irrep("1o")
    >>> l, p
    (1, -1)
    """

    l: int
    p: int

    # Arrays and scalars of NumPy leave sums and multiples to this class.
    __array_ufunc__: ClassVar[None] = None

    # The class of direct sums, which hands itself in: it is made of this one.
    direct_sum: ClassVar[Callable[[list[Any]], Irreps]]

    def __init__(self, l: int | str | tuple[int, int] | Irrep, p: int | None = None) -> None:
        """Check the degree and the parity, or parse the string."""
        if isinstance(l, Irrep | str | tuple):
            if p is not None:
                raise IrrepsError(f"Irrep({l!r}, {p!r}): give p only together with an integer l")
            if isinstance(l, tuple):
                if len(l) != 2:
                    raise IrrepsError(f"Irrep({l!r}): expected a tuple (l, p), got {len(l)} items")
                l = Irrep(as_int(l[0], "degree l", minimum=0), l[1])
            degree, parity = (l.l, l.p) if isinstance(l, Irrep) else _parse(l)
        elif p is None:
            raise IrrepsError(f'Irrep({l!r}): expected a string such as "1o", or both l and p')
        else:
            degree, parity = as_int(l, "degree l", minimum=0), as_int(p, "parity p")
        if parity not in (1, -1):
            raise IrrepsError(f"parity p: expected 1 (even) or -1 (odd), got {parity}")
        object.__setattr__(self, "l", degree)
        object.__setattr__(self, "p", parity)

    @property
    def dim(self) -> int:
        """Dimension 2l+1."""
        return 2 * self.l + 1

    @property
    def is_scalar(self) -> bool:
        """Whether this is the trivial irrep ``0e``."""
        return self.l == 0 and self.p == 1

    def __iter__(self) -> Iterator[int]:
        """Degree and parity, so that an irrep unpacks."""
        return iter((self.l, self.p))

    def __eq__(self, other: object) -> bool:
        """Whether both have the same degree and parity; strings are refused."""
        if isinstance(other, Irrep):
            return self.l == other.l and self.p == other.p
        refuse_text(self, other)
        return NotImplemented

    def __hash__(self) -> int:
        return hash((self.l, self.p))

    def __lt__(self, other: Irrep) -> bool:
        """Order by l, natural parity first."""
        if not isinstance(other, Irrep):
            return NotImplemented
        return self._order < other._order

    @property
    def _order(self) -> int:
        return 2 * self.l + (self.p == (-1 if self.l % 2 == 0 else 1))

    def __mul__(self, other: Irrep) -> tuple[Irrep, ...]:
        """Irreps in the product: l = |l1-l2| .. l1+l2, parity p1*p2, each once."""
        if not isinstance(other, Irrep):
            return NotImplemented
        degrees = range(abs(self.l - other.l), self.l + other.l + 1)
        return tuple(Irrep(degree, self.p * other.p) for degree in degrees)

    def __rmul__(self, copies: Any) -> Irreps:
        """Return a direct sum of so many copies."""
        return Irrep.direct_sum([(as_int(copies, "number of copies", minimum=0), self)])

    def __add__(self, other: Irrep) -> Irreps:
        """Return the direct sum of two irreps."""
        if not isinstance(other, Irrep):
            return NotImplemented
        return Irrep.direct_sum([self, other])

    def __str__(self) -> str:
        """Return l and the letter of the parity, ``1o``."""
        return f"{self.l}{'e' if self.p == 1 else 'o'}"

    __repr__ = __str__


IrrepLike: TypeAlias = "Irrep | str | tuple[int, int]"
