"""One irreducible representation of O(3)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import total_ordering
from typing import TypeAlias

import numpy as np

from etn.errors import IrrepsError

# Nine digits are more than any memory holds, and Python reads no number of thousands of digits.
_LP = re.compile(r"(\d{1,9})([eo])", re.ASCII)
_PARITY = {"e": 1, "o": -1}


def as_int(value: object, what: str, *, minimum: int | None = None) -> int:
    """Return `value` as a Python int, or raise an :class:`IrrepsError` that names `what`."""
    if not isinstance(value, int | np.integer) or isinstance(value, bool):
        raise IrrepsError(f"{what}: expected an integer, got {value!r} ({type(value).__name__})")
    if minimum is not None and value < minimum:
        raise IrrepsError(f"{what}: expected at least {minimum}, got {value}")
    return int(value)


def _parse(text: str) -> tuple[int, int]:
    match = _LP.fullmatch(text.strip())
    if match is None:
        raise IrrepsError(f'"{text}": expected LP with L >= 0 and P e or o, such as "1o"')
    return int(match[1]), _PARITY[match[2]]


@total_ordering
@dataclass(frozen=True, slots=True, init=False, repr=False)
class Irrep:
    """An irreducible representation of O(3): degree `l` and parity `p`.

    Its dimension is 2l+1 and its components are the real harmonics m = -l..l, so the components
    of ``1o`` are (y, z, x).  The inversion r -> -r multiplies them by `p`.

    Parameters
    ----------
    l
        Degree, ``l >= 0``; or the whole irrep as a string such as ``"1o"`` (e: p = 1, o: p = -1);
        or an :class:`Irrep`.
    p
        Parity, 1 or -1; only with an integer `l`.

    Raises
    ------
    IrrepsError
        Malformed string, ``l < 0``, or a parity other than 1 and -1.

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
    """

    l: int
    p: int

    def __init__(self, l: int | str | Irrep, p: int | None = None) -> None:
        """Check the degree and the parity, or parse the string."""
        if isinstance(l, Irrep | str):
            if p is not None:
                raise IrrepsError(f"Irrep({l!r}, {p!r}): give p only together with an integer l")
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

    def __str__(self) -> str:
        """Return l and the letter of the parity, ``1o``."""
        return f"{self.l}{'e' if self.p == 1 else 'o'}"

    __repr__ = __str__


IrrepLike: TypeAlias = "Irrep | str"
