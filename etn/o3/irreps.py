"""Direct sums of irreps of O(3): what a tensor leg carries."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import accumulate, pairwise
from typing import Any, NamedTuple, SupportsIndex, TypeAlias, overload

import numpy as np
import numpy.typing as npt

from etn.errors import IrrepsError
from etn.o3.irrep import Irrep, IrrepLike, as_int, natural_hint, refuse_text

_TERM = re.compile(r"(?:(\d{1,18})\s*x\s*)?(\d{1,9}[eo])", re.ASCII)


# Most terms that are made at once, a list of some 100 MB.
_MAX_TERMS = 10**6


class Term(NamedTuple):
    """One term of :class:`Irreps`: `mul` copies of the irrep `ir`."""

    mul: int
    ir: Irrep

    @property
    def dim(self) -> int:
        """Dimension mul * (2l+1)."""
        return self.mul * self.ir.dim

    def __str__(self) -> str:
        """Return the term as written in a string, ``8x0e``."""
        return f"{self.mul}x{self.ir}"

    def __repr__(self) -> str:
        """Return the term as written in a string, ``8x0e``."""
        return str(self)


class Sorted(NamedTuple):
    """Result of :meth:`Irreps.sort`."""

    irreps: Irreps
    p: tuple[int, ...]
    inv: tuple[int, ...]


TermLike: TypeAlias = "Term | tuple[int, IrrepLike] | Irrep | str"
IrrepsLike: TypeAlias = "Irreps | Irrep | str | Iterable[TermLike]"


def _read_term(text: str) -> Term | None:
    match = _TERM.fullmatch(text)
    if match is None:
        return None
    return Term(1 if match[1] is None else int(match[1]), Irrep(match[2]))


def _parse_term(text: str, where: str) -> Term:
    term = _read_term(text)
    if term is None:
        if re.match(r"-|\d+\s*x\s*-", text):
            hint = "multiplicities and degrees are >= 0"
        elif re.search(r"\d{10}", text):
            hint = "multiplicities have at most 18 digits, degrees at most 9"
        else:
            hint = "expected MULxLP with P e or o"
        raise IrrepsError(f"{where}: {hint}, such as 4x1o{natural_hint(text)}")
    return term


def _parse(text: str) -> Iterator[Term]:
    if not text.strip():
        return
    position = 0
    for number, piece in enumerate(text.split("+"), start=1):
        text_of_term = piece.strip()
        term = _read_term(text_of_term)
        if term is None:
            start = position + (len(piece) - len(piece.lstrip()) if text_of_term else 0)
            where = f'"{text}": term {number} "{text_of_term}" (position {start})'
            term = _parse_term(text_of_term, where)
        yield term
        position += len(piece) + 1


def _as_term(item: object, number: int) -> Term:
    where = f"term {number} of the irreps"
    if isinstance(item, Irrep):
        return Term(1, item)
    if isinstance(item, str):
        return _parse_term(item.strip(), f'{where}, "{item}"')
    if isinstance(item, tuple | list) and len(item) == 2:
        mul, ir = item
        if isinstance(ir, Irrep | str | tuple):
            return Term(as_int(mul, f"{where}, multiplicity", minimum=0), Irrep(ir))
    raise IrrepsError(f'{where}: expected (mul, irrep) such as (4, "1o"), got {item!r}')


def _check_ordered(irreps: object) -> None:
    """Refuse what has no order of terms, or whose order is not that of its terms."""
    if isinstance(irreps, set | frozenset):
        hint = "a set has no order; give a list"
    elif isinstance(irreps, Mapping):
        hint = "a mapping goes over its keys alone; give (mul, irrep) pairs"
    elif isinstance(irreps, bytes | bytearray):
        hint = "bytes are no text; decode them"
    else:
        return
    raise IrrepsError(
        f'irreps: expected a string such as "8x0e+4x1o", or a list of (mul, irrep) pairs, got '
        f"{irreps!r}: {hint}"
    )


class Irreps(tuple[Term, ...]):
    """A direct sum of irreps of O(3), ``8x0e+4x1o``: the contents of one tensor leg.

    An immutable, hashable tuple of terms (mul, ir).  The dense vector of dimension `dim` holds
    the terms in order; inside a term the copy runs slowest and m = -l..l fastest.

    Parameters
    ----------
    irreps
        String in the grammar of e3nn without its letter y (terms ``MULxLP`` or ``LP`` joined by
        ``+``; ``""`` is the empty sum of dimension 0), an :class:`Irrep`, an :class:`Irreps`, or a
        sequence of (mul, irrep) pairs, irreps and terms as strings.  A multiplicity of zero is
        allowed.

    Raises
    ------
    IrrepsError
        Malformed term (the message names its number and its position in the string), negative
        multiplicity or degree; a mapping or a set; comparison with a string.

    Examples
    --------
    >>> irreps = Irreps("8x0e + 4x1o + 2e")
    >>> irreps
    8x0e+4x1o+1x2e
    >>> irreps.dim, irreps.num_irreps, irreps.l_max
    (25, 13, 2)
    >>> [(mul, ir.l) for mul, ir in irreps]
    [(8, 0), (4, 1), (1, 2)]
    >>> Irreps("8x0e+4x1z")
    Traceback (most recent call last):
    ...
    etn.errors.IrrepsError: "8x0e+4x1z": term 2 "4x1z" (position 5): \
expected MULxLP with P e or o, such as 4x1o
    """

    __slots__ = ()

    # Arrays and scalars of NumPy leave sums and multiples to this class.
    __array_ufunc__ = None

    def __new__(cls, irreps: IrrepsLike = ()) -> Irreps:
        """Parse or collect the terms."""
        if isinstance(irreps, Irreps):
            return irreps
        _check_ordered(irreps)
        terms: Iterable[Term]
        if isinstance(irreps, Irrep):
            terms = (Term(1, irreps),)
        elif isinstance(irreps, str):
            terms = _parse(irreps)
        elif getattr(irreps, "ndim", 1) != 0 and isinstance(irreps, Iterable):
            terms = (_as_term(item, number) for number, item in enumerate(irreps, start=1))
        else:
            raise IrrepsError(f'irreps: expected a string such as "8x0e+4x1o", got {irreps!r}')
        return super().__new__(cls, terms)

    @staticmethod
    def spherical_harmonics(l_max: int, p: int = -1) -> Irreps:
        """Irreps of the harmonics l = 0..l_max: one irrep (l, p^l) each.

        Parameters
        ----------
        l_max
            Largest degree.
        p
            Parity of the vector that the harmonics are taken of: -1 for positions, 1 for
            pseudovectors.

        Examples
        --------
        >>> Irreps.spherical_harmonics(3)
        1x0e+1x1o+1x2e+1x3o
        """
        l_max, p = as_int(l_max, "l_max", minimum=0), Irrep(0, p).p
        if l_max > _MAX_TERMS:
            raise IrrepsError(f"l_max: expected at most {_MAX_TERMS} terms, got {l_max}")
        return Irreps((1, Irrep(degree, p**degree)) for degree in range(l_max + 1))

    @property
    def dim(self) -> int:
        """Dimension, the sum of mul * (2l+1)."""
        return sum(term.dim for term in self)

    @property
    def num_irreps(self) -> int:
        """Number of irreps, the sum of the multiplicities."""
        return sum(mul for mul, _ in self)

    @property
    def l_max(self) -> int:
        """Largest degree l; raises IrrepsError if there is no irrep at all."""
        if not self.unique:
            raise IrrepsError(f'"{self}" contains no irrep, so there is no largest degree')
        return max(ir.l for ir in self.unique)

    @property
    def unique(self) -> tuple[Irrep, ...]:
        """Different irreps, in the order of their first appearance (multiplicity > 0)."""
        return tuple(dict.fromkeys(ir for mul, ir in self if mul > 0))

    def slices(self) -> tuple[slice, ...]:
        """Return the slice of the dense vector that each term occupies.

        Examples
        --------
        >>> Irreps("2x0e+1o").slices()
        (slice(0, 2, None), slice(2, 5, None))
        """
        ends = accumulate((term.dim for term in self), initial=0)
        return tuple(slice(start, stop) for start, stop in pairwise(ends))

    def indices(self, ir: IrrepLike) -> npt.NDArray[np.int64]:
        """Return the positions of the copies of `ir` in the dense vector.

        Parameters
        ----------
        ir
            The irrep looked for.

        Returns
        -------
        ndarray of int64, shape (count(ir), ir.dim)
            Row i holds the components m = -l..l of copy i.

        Examples
        --------
        >>> Irreps("1o+2x0e+1o").indices("1o")
        array([[0, 1, 2],
               [5, 6, 7]])
        """
        ir = Irrep(ir)
        rows = [
            np.arange(part.start, part.stop, dtype=np.int64).reshape(-1, ir.dim)
            for term, part in zip(self, self.slices(), strict=True)
            if term.ir == ir
        ]
        return np.concatenate(rows) if rows else np.empty((0, ir.dim), dtype=np.int64)

    def count(self, ir: IrrepLike, /) -> int:
        """Return the number of copies of `ir`, summed over the terms."""
        ir = Irrep(ir)
        return sum(mul for mul, own in self if own == ir)

    def __contains__(self, ir: object) -> bool:
        """Whether at least one copy of the irrep is present; or the very term (mul, irrep).

        A string is an irrep here, ``"1o"``; one with a multiplicity is refused, since it might mean
        the term or that many copies.
        """
        if isinstance(ir, tuple):
            # (mul, irrep) is a term, (l, p) an irrep.
            if len(ir) == 2 and isinstance(ir[1], str | Irrep | tuple):
                return super().__contains__(_as_term(ir, 1))
            return self.count(ir) > 0
        if isinstance(ir, str) and "x" in ir:
            term = _as_term(ir, 1)
            raise IrrepsError(
                f'"{ir}" in irreps: expected one irrep such as "{term.ir}"; '
                f'irreps.count("{term.ir}") is the number of its copies, here {self.count(term.ir)}'
            )
        return isinstance(ir, Irrep | str) and self.count(ir) > 0

    def __eq__(self, other: object) -> bool:
        """Whether both have the same terms in the same order; strings are refused."""
        if not isinstance(other, tuple):
            refuse_text(self, other)
        return super().__eq__(other)

    def __ne__(self, other: object) -> bool:
        """Whether terms differ; strings are refused."""
        if not isinstance(other, tuple):
            refuse_text(self, other)
        return super().__ne__(other)

    __hash__ = tuple.__hash__

    def simplify(self) -> Irreps:
        """Merge neighbouring terms of the same irrep and drop empty terms; the layout stays.

        Examples
        --------
        >>> Irreps("1o+2x1o+0x2e+0e+1o").simplify()
        3x1o+1x0e+1x1o
        """
        merged: list[Term] = []
        for mul, ir in self:
            if merged and merged[-1].ir == ir:
                merged[-1] = Term(merged[-1].mul + mul, ir)
            elif mul > 0:
                merged.append(Term(mul, ir))
        return Irreps(merged)

    def sort(self) -> Sorted:
        """Sort the terms by irrep, keeping the order of equal ones.

        Returns
        -------
        Sorted
            Named tuple (irreps, p, inv): term i moves to place ``p[i]``, and place j receives
            term ``inv[j]``.

        Examples
        --------
        >>> Irreps("1o+0e+1e").sort()
        Sorted(irreps=1x0e+1x1o+1x1e, p=(1, 0, 2), inv=(1, 0, 2))
        """
        inv = tuple(sorted(range(len(self)), key=lambda i: self[i].ir))
        p = tuple(sorted(range(len(self)), key=inv.__getitem__))
        return Sorted(Irreps(self[i] for i in inv), p, inv)

    def regroup(self) -> Irreps:
        """Sort, then simplify: every irrep appears in at most one term.

        Examples
        --------
        >>> Irreps("1o+2x0e+1o").regroup()
        2x0e+2x1o
        """
        return self.sort().irreps.simplify()

    def filter(
        self,
        keep: IrrepsLike | Callable[[Term], bool] | None = None,
        *,
        drop: IrrepsLike | None = None,
        l_max: int | None = None,
    ) -> Irreps:
        """Keep some terms.

        Parameters
        ----------
        keep
            Irreps whose terms are kept, or a function from a term (mul, ir) to bool.
        drop
            Irreps whose terms are dropped.
        l_max
            Largest degree that is kept.

        Examples
        --------
        >>> Irreps("8x0e+4x1o+2x2e").filter("0e+1o", l_max=0)
        8x0e
        >>> Irreps("8x0e+4x1o+2x2e").filter(lambda term: term.mul < 5)
        4x1o+2x2e
        """
        terms: list[Term] = list(self)
        if callable(keep):
            terms = [term for term in terms if keep(term)]
        elif keep is not None:
            kept = {ir for _, ir in Irreps(keep)}
            terms = [term for term in terms if term.ir in kept]
        if drop is not None:
            dropped = {ir for _, ir in Irreps(drop)}
            terms = [term for term in terms if term.ir not in dropped]
        if l_max is not None:
            l_max = as_int(l_max, "l_max")
            terms = [term for term in terms if term.ir.l <= l_max]
        return Irreps(terms)

    def product(self, other: IrrepsLike) -> Irreps:
        """Return the irreps of the full tensor product with `other`, regrouped.

        Examples
        --------
        >>> Irreps("2x0e+1o").product("1o")
        1x0e+2x1o+1x1e+1x2e
        """
        return Irreps(
            (mul1 * mul2, ir)
            for mul1, ir1 in self
            for mul2, ir2 in Irreps(other)
            for ir in ir1 * ir2
        ).regroup()

    @overload
    def __getitem__(self, key: SupportsIndex) -> Term: ...
    @overload
    def __getitem__(self, key: slice) -> Irreps: ...
    def __getitem__(self, key: SupportsIndex | slice) -> Term | Irreps:
        """Return one term, or the Irreps of a slice of the terms."""
        if isinstance(key, slice):
            return Irreps(super().__getitem__(key))
        return super().__getitem__(key)

    def __add__(self, other: Any) -> Irreps:
        """Direct sum: the terms of `self`, then those of `other`."""
        if not isinstance(other, Irreps | Irrep | str):
            return NotImplemented
        return Irreps(tuple(self) + tuple(Irreps(other)))

    def __radd__(self, other: Any) -> Irreps:
        """Direct sum with irreps on the left, also given as a string."""
        if not isinstance(other, Irrep | str):
            return NotImplemented
        return Irreps(other) + self

    def __mul__(self, times: SupportsIndex) -> Irreps:
        """Direct sum of `times` copies: the list of terms is repeated."""
        if not isinstance(times, SupportsIndex):
            return NotImplemented
        times = as_int(times, "number of copies", minimum=0)
        if times * len(self) > _MAX_TERMS:
            raise IrrepsError(
                f"number of copies: expected at most {_MAX_TERMS} terms, got {times} times "
                f"{len(self)}; a multiplicity costs nothing"
            )
        return Irreps(super().__mul__(times))

    __rmul__ = __mul__

    def __str__(self) -> str:
        """Return the terms joined by ``+``."""
        return "+".join(str(term) for term in self)

    __repr__ = __str__


Irrep.direct_sum = Irreps
