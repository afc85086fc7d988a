r"""Symmetries of the indices of a Cartesian tensor, written as in ``ijkl=jikl=klij``.

Notes
-----
A permutation a of the n axes acts by :math:`(a T)_{i_0 \dots} = T_{j_0 \dots}` with
:math:`j_{a_d} = i_d`, which is ``numpy.transpose(T, a)``.  Two of them compose to
:math:`(a b)_d = a_{b_d}`: first a, then b.  The entry a_0 tells apart the cosets of the subgroup
that leaves axis 0 in place, and so on down the axes.  The average over the group is therefore the
product of the averages over one representative of each coset: at most n(n+1)/2 permutations
instead of up to n!, and the group is never listed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from etn.errors import IrrepsError

# To find a group takes n^6 steps or so: 2 s for all permutations of 18 indices.
MAX_INDICES = 18

_CONTRADICTION = "the signs contradict each other, so that only the tensor zero is left"


class SignedPermutation(NamedTuple):
    """A permutation of the axes of a tensor, as for ``numpy.transpose``, and a sign."""

    axes: tuple[int, ...]
    sign: int

    def then(self, other: SignedPermutation) -> SignedPermutation:
        """Return the permutation that applies this one first and the other one next."""
        axes = self.axes
        return SignedPermutation(tuple([axes[d] for d in other.axes]), self.sign * other.sign)

    def inverse(self) -> SignedPermutation:
        """Return the permutation that undoes this one."""
        axes = tuple(sorted(range(len(self.axes)), key=self.axes.__getitem__))
        return SignedPermutation(axes, self.sign)


def _cosets(
    rank: int, generators: tuple[SignedPermutation, ...]
) -> list[dict[int, SignedPermutation]] | int:
    """Return representatives of the cosets at each axis, or which generator contradicts.

    That is the number of the first one whose sign does not fit those before it.

    Every permutation that is not yet a product of representatives becomes one itself, and its
    products with the others are examined in turn (Furst, Hopcroft and Luks, 21st FOCS (1980)).
    """
    table = [{axis: SignedPermutation(tuple(range(rank)), 1)} for axis in range(rank)]
    members: list[SignedPermutation] = []
    for number, generator in enumerate(generators):
        waiting = [generator]
        while waiting:
            rest = waiting.pop()
            for axis, level in enumerate(table):
                image = rest.axes[axis]
                if image not in level:
                    level[image] = rest
                    members.append(rest)
                    waiting += [rest.then(member) for member in members]
                    waiting += [member.then(rest) for member in members]
                    break
                rest = level[image].inverse().then(rest)
            else:
                # Nothing but the sign is left.
                if rest.sign < 0:
                    return number
    return table


class _Side(NamedTuple):
    """One side of the equations: its letters, its sign, its number and where its letters start."""

    letters: str
    sign: int
    number: int
    position: int


@dataclass(frozen=True)
class IndexSymmetry:
    """The letters of the indices of a tensor, and the permutations that leave it as it is.

    Parameters
    ----------
    letters
        One letter per index.
    generators
        Signed permutations that generate the symmetry group; none for a tensor without symmetry.

    Examples
    --------
    >>> symmetry = parse("ijkl = jikl = klij")
    >>> symmetry.rank, symmetry.order
    (4, 8)
    >>> symmetry.generators[0]
    SignedPermutation(axes=(1, 0, 2, 3), sign=1)
    """

    letters: str
    generators: tuple[SignedPermutation, ...] = ()

    @property
    def rank(self) -> int:
        """Number of indices."""
        return len(self.letters)

    @cached_property
    def cosets(self) -> tuple[tuple[SignedPermutation, ...], ...]:
        """Representatives of the cosets, axis by axis: the average over the group in factors.

        Raises
        ------
        IrrepsError
            The signs contradict each other.

        Examples
        --------
        >>> [len(level) for level in parse("ijk=jik=jki").cosets]
        [3, 2, 1]
        """
        table = _cosets(self.rank, self.generators)
        if isinstance(table, int):
            raise IrrepsError(f"{self}: {_CONTRADICTION}")
        return tuple(tuple(level.values()) for level in table)

    @property
    def order(self) -> int:
        """Number of permutations in the group."""
        return math.prod(len(level) for level in self.cosets)

    def __str__(self) -> str:
        """Return the formula."""
        terms = []
        for axes, sign in self.generators:
            term = "".join(self.letters[axes.index(d)] for d in range(self.rank))
            terms.append(f"={'-' if sign < 0 else ''}{term}")
        return f'"{self.letters}{"".join(terms)}"'


def _error(formula: str, number: int, position: int, problem: str) -> IrrepsError:
    return IrrepsError(f'"{formula}": term {number} (position {position}): {problem}')


def _split(formula: str) -> list[_Side]:
    """Return the terms of the formula; every one has letters, and each of them once."""
    terms = []
    start = 0
    for number, piece in enumerate(formula.split("="), start=1):
        body = piece.lstrip()
        sign = -1 if body.startswith("-") else 1
        body = body[1:].lstrip() if sign < 0 else body
        position = start + len(piece) - len(body)
        letters = body.rstrip()
        if not letters:
            raise _error(formula, number, position, 'expected index letters such as "ij", got none')
        for offset, letter in enumerate(letters):
            if not (letter.isascii() and letter.isalpha()):
                problem = f'expected a letter a-z or A-Z for each index, got "{letter}"'
                raise _error(formula, number, position + offset, problem)
            if letter in letters[:offset]:
                problem = f'expected each letter once, got "{letter}" twice'
                raise _error(formula, number, position + offset, problem)
        terms.append(_Side(letters, sign, number, position))
        start += len(piece) + 1
    return terms


def parse(formula: str) -> IndexSymmetry:
    """Read the symmetries of the indices of a tensor, in the grammar of e3nn.

    Parameters
    ----------
    formula
        The letters of the indices, followed by what they may be exchanged for:
        ``"ijkl=jikl=klij"`` says T_ijkl = T_jikl = T_klij, and ``"ij=-ji"`` that T is
        antisymmetric.  Spaces are allowed.

    Returns
    -------
    IndexSymmetry

    Raises
    ------
    IrrepsError
        Malformed term, a letter that comes twice or is missing (the message names the term and its
        position in the string, from 0), symmetries of more than 18 indices, or signs that only the
        tensor zero satisfies.

    Examples
    --------
    >>> str(parse("ij = -ji"))
    '"ij=-ji"'
    >>> parse("ijk=jkl")
    Traceback (most recent call last):
    ...
    etn.errors.IrrepsError: "ijk=jkl": term 2 (position 6): expected a permutation of "ijk", got \
"l"; "i" is missing
    >>> parse("ij=-ij")
    Traceback (most recent call last):
    ...
    etn.errors.IrrepsError: "ij=-ij": term 2 (position 4): the signs contradict each other, so that
    only the tensor zero is left: with the terms before it, T_ij = -T_ij
    """
    if not isinstance(formula, str):
        raise IrrepsError(
            f'formula: expected a string such as "ijkl=jikl=klij", got {formula!r} '
            f"({type(formula).__name__})"
        )
    first, *others = _split(formula)
    letters = first.letters
    if others and len(letters) > MAX_INDICES:
        problem = f"expected at most {MAX_INDICES} indices of a tensor with symmetries, "
        raise _error(formula, 1, first.position, f"{problem}got {len(letters)}")
    generators: list[SignedPermutation] = []
    for term in others:
        for offset, letter in enumerate(term.letters):
            if letter not in letters:
                absent = "".join(known for known in letters if known not in term.letters)
                problem = f'expected a permutation of "{letters}", got "{letter}"'
                problem += f'; "{absent}" is missing' if absent else ""
                raise _error(formula, term.number, term.position + offset, problem)
        absent = "".join(known for known in letters if known not in term.letters)
        if absent:
            problem = f'expected a permutation of "{letters}", but "{absent}" is missing'
            raise _error(formula, term.number, term.position + len(term.letters), problem)
        axes = tuple(term.letters.index(letter) for letter in letters)
        generators.append(SignedPermutation(axes, first.sign * term.sign))
    symmetry = IndexSymmetry(letters, tuple(generators))
    _check_signs(formula, symmetry, others)
    return symmetry


def _check_signs(formula: str, symmetry: IndexSymmetry, others: list[_Side]) -> None:
    """Raise an :class:`IrrepsError` that names the first term whose sign contradicts the others."""
    if all(generator.sign > 0 for generator in symmetry.generators):
        return
    found = _cosets(symmetry.rank, symmetry.generators)
    if isinstance(found, int):
        term = others[found]
        problem = f"{_CONTRADICTION}: with the terms before it, T_{symmetry.letters} = "
        problem += f"-T_{symmetry.letters}"
        raise _error(formula, term.number, term.position, problem)
