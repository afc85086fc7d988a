"""What to keep of a bond: singular values for each irrep and rules that choose among them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from numbers import Integral, Real
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from etn.errors import CoreError, MissingError, SettingsError
from etn.o3 import Irrep, Irreps
from etn.tensor.scale import frobenius, unscaled


class Spectrum(Mapping[Irrep, NDArray[np.float64]]):
    """Singular values of a bond, descending, for each of its irreps.

    A singular value s of irrep l stands for 2 l + 1 equal singular values of the dense matrix.

    Parameters
    ----------
    values : mapping of Irrep to array

    Examples
    --------
    >>> spectrum = Spectrum({Irrep("0e"): [2.0, 1.0], Irrep("1o"): [1.0]})
    >>> spectrum.irreps, spectrum.norm**2
    (2x0e+1x1o, 8.0)
    """

    def __init__(self, values: Mapping[Irrep, ArrayLike]) -> None:
        self._values = {ir: np.asarray(values[ir], dtype=float) for ir in sorted(values)}

    def __getitem__(self, ir: Irrep | str) -> NDArray[np.float64]:
        found = self._values.get(Irrep(ir) if isinstance(ir, str) else ir)
        if found is None:
            there = ", ".join(map(str, self)) or "none"
            raise MissingError(f"irrep {ir}: the bond carries {there}")
        return found

    def __iter__(self) -> Iterator[Irrep]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    @property
    def irreps(self) -> Irreps:
        """Irreps of the bond with their multiplicities."""
        return Irreps([(len(s), ir) for ir, s in self.items() if len(s)])

    @property
    def norm(self) -> float:
        """Norm of the dense matrix, sqrt(sum (2 l + 1) s^2).

        Raises
        ------
        CoreError
            If it is beyond the range of floating point.
        """
        return frobenius(self.values(), [ir.dim for ir in self])

    def normalized(self) -> Spectrum:
        """Singular values divided by :attr:`norm`, whatever their size; zeros stay.

        Examples
        --------
        >>> Spectrum({Irrep("0e"): [3e200, 4e200]}).normalized()
        Spectrum(0e: [0.6, 0.8])
        """
        values, _ = unscaled(self._values)
        small = Spectrum(values)
        return Spectrum({ir: s / (small.norm or 1.0) for ir, s in values.items()})

    def entropy(self) -> float:
        r"""Entanglement entropy in natural units.

        .. math:: S = -\sum_{l i} (2 l + 1)\, p_{li} \ln p_{li}, \qquad
            p_{li} = s_{li}^2 / \sum (2 l + 1) s^2

        Examples
        --------
        >>> Spectrum({Irrep("1e"): [0.7]}).entropy() - math.log(3)
        0.0
        """
        entropy = 0.0
        for ir, s in self.normalized().items():
            p = s**2
            p = p[p > 0]
            entropy -= ir.dim * float(p @ np.log(p))
        return entropy

    def change(self, other: Spectrum) -> float:
        """Norm of the difference of the two spectra, each scaled to norm one."""
        total = 0.0
        mine, theirs = self.normalized(), other.normalized()
        for ir in sorted({*self, *other}):
            one, two = (s.get(ir, np.empty(0)) for s in (mine, theirs))
            difference = np.zeros(max(len(one), len(two)))
            difference[: len(one)] += one
            difference[: len(two)] -= two
            total += ir.dim * float(difference @ difference)
        return math.sqrt(total)

    def __repr__(self) -> str:
        parts = ", ".join(
            f"{ir}: {np.array2string(s, precision=4, separator=', ')}" for ir, s in self.items()
        )
        return f"Spectrum({parts})"


class Cut(NamedTuple):
    """What a truncation keeps of a bond.

    Attributes
    ----------
    kept : dict of Irrep to int
        How many of the largest singular values of each irrep stay.
    discarded : float
        Norm of what is dropped, sqrt(sum (2 l + 1) s^2): the Frobenius error of the dense matrix.
    """

    kept: dict[Irrep, int]
    discarded: float


@dataclass(frozen=True)
class Truncation:
    """A rule that chooses which multiplets of a bond stay.

    Multiplets are ranked by sqrt(2 l + 1) s, their share in the dense norm, and are never split.
    The tolerances drop the end of the ranking.  Of the others each stays, from the largest on, for
    which all caps have room: where one irrep is full, the next multiplets of other irreps follow.
    ``a & b`` has the smaller one of every cap and the larger one of every tolerance.

    Parameters
    ----------
    max_bond : int, Irreps or str, optional
        Most multiplets of each irrep: one number for all of them, or irreps with their
        multiplicities (irreps that are not named are dropped).
    max_multiplets : int, optional
        Most multiplets in total.
    max_dim : int, optional
        Largest dense dimension sum (2 l + 1) R_l; a multiplet that is too large for what is left
        is passed over.
    max_parameters : int, optional
        Most parameters of the two cores that share the bond.  Only the split of a pair of cores
        knows how many a multiplet takes.
    rel_tol, abs_tol : float
        Drop the smallest multiplets as long as the norm of all that these two drop stays at or
        below ``rel_tol`` times the norm of the tensor or, if that is larger, ``abs_tol``.
    cost_aware : bool
        Rank by s instead: the squared share of the norm for each of the 2 l + 1 states that a
        multiplet adds to the cost of a contraction.

    Raises
    ------
    SettingsError
        If a limit is no number, or out of range.

    Examples
    --------
    >>> rule = Truncation(max_bond=16) & Truncation(rel_tol=1e-8)
    >>> rule
    Truncation(max_bond=16, rel_tol=1e-08)
    >>> spectrum = Spectrum({Irrep("0e"): [2.0, 0.6], Irrep("1o"): [0.5, 1e-9]})
    >>> (rule & Truncation(max_multiplets=2)).cut(spectrum)
    Cut(kept={0e: 1, 1o: 1}, discarded=0.6)
    """

    max_bond: int | Irreps | str | None = None
    max_multiplets: int | None = None
    max_dim: int | None = None
    rel_tol: float = 0.0
    abs_tol: float = 0.0
    cost_aware: bool = False
    max_parameters: int | None = None

    def __post_init__(self) -> None:
        if isinstance(self.max_bond, str | Irreps):
            # One way to write a cap: equal rules are equal values.
            object.__setattr__(self, "max_bond", Irreps(self.max_bond).regroup())
        for name in ("max_bond", "max_multiplets", "max_dim", "max_parameters"):
            value = getattr(self, name)
            if value is None or isinstance(value, Irreps):
                continue
            if not isinstance(value, Integral):
                raise SettingsError(f"Truncation: {name} must be a whole number, got {value!r}")
            if int(value) < 1:
                raise SettingsError(f"Truncation: {name} must be at least 1, got {value}")
            object.__setattr__(self, name, int(value))
        for name in ("rel_tol", "abs_tol"):
            value = getattr(self, name)
            if not isinstance(value, Real) or not 0 <= float(value) < math.inf:
                raise SettingsError(f"Truncation: {name} must be zero or positive, got {value!r}")

    def __and__(self, other: Truncation) -> Truncation:
        """The rule with the tighter one of every limit; ``cost_aware`` if one of them is.

        All caps of both hold.  For rules of one ranking it keeps just what both keep, if only the
        irreps are capped (``max_bond``) or only the number of multiplets (``max_multiplets``).
        If both are, it keeps at least that: what a full irrep gives up, the next multiplets take.
        """
        return Truncation(
            max_bond=_least(self.max_bond, other.max_bond),
            max_multiplets=_smaller(self.max_multiplets, other.max_multiplets),
            max_dim=_smaller(self.max_dim, other.max_dim),
            rel_tol=max(self.rel_tol, other.rel_tol),
            abs_tol=max(self.abs_tol, other.abs_tol),
            cost_aware=self.cost_aware or other.cost_aware,
            max_parameters=_smaller(self.max_parameters, other.max_parameters),
        )

    def cut(self, spectrum: Spectrum, parameters: Mapping[Irrep, int] | None = None) -> Cut:
        """Choose the multiplets that stay.

        Parameters
        ----------
        spectrum : Spectrum
        parameters : mapping of Irrep to int, optional
            How many parameters a multiplet of each irrep takes.

        Raises
        ------
        CoreError
            If a singular value is not finite, or nothing would stay.
        SettingsError
            If the rule limits parameters and nobody says how many a multiplet takes.
        """
        if self.max_parameters is not None and parameters is None:
            raise SettingsError(
                "Truncation: max_parameters holds for the split of a pair of cores, where it is "
                "known how many parameters a multiplet takes; use max_bond, max_multiplets or "
                "max_dim here"
            )
        price = parameters if parameters and self.max_parameters else {}
        budget = math.inf if self.max_parameters is None else self.max_parameters
        for ir, values in spectrum.items():
            if not np.isfinite(values).all():
                raise CoreError(f"irrep {ir}: expected finite singular values, got {values}")
        # Squares are taken of values of about the size one.
        small, power = unscaled(dict(spectrum))
        share = {ir: math.sqrt(ir.dim) * s for ir, s in small.items()}
        ranked = sorted(
            ((ir, i) for ir, s in spectrum.items() for i in range(len(s))),
            # Equal values: the cheaper irrep first, so that the choice is the same everywhere.
            key=lambda at: (-(spectrum if self.cost_aware else share)[at[0]][at[1]], at),
        )
        n_small = self._small(ranked, share, power)
        kept = dict.fromkeys(spectrum, 0)
        multiplets = dim = spent = 0
        for ir, i in ranked[: len(ranked) - n_small]:
            fits = i == kept[ir] < self._most(ir)
            fits = fits and (self.max_multiplets is None or multiplets < self.max_multiplets)
            fits = fits and (self.max_dim is None or dim + ir.dim <= self.max_dim)
            if fits and spent + price.get(ir, 0) <= budget:
                kept[ir] += 1
                multiplets += 1
                dim += ir.dim
                spent += price.get(ir, 0)
        if not multiplets:
            raise CoreError(
                f"the truncation {self} leaves nothing of a bond {spectrum.irreps} of norm "
                f"{spectrum.norm:.6g}: loosen it, or name an irrep that the bond carries"
            )
        dropped = sum(float(v[kept[ir] :] @ v[kept[ir] :]) for ir, v in share.items())
        return Cut({ir: n for ir, n in kept.items() if n}, math.ldexp(math.sqrt(dropped), power))

    def _small(
        self,
        ranked: list[tuple[Irrep, int]],
        share: Mapping[Irrep, NDArray[np.float64]],
        power: int,
    ) -> int:
        """How many at the end of the ranking the tolerances drop; shares are times 2^power."""
        norm = frobenius(share.values())
        if norm == 0:
            # Of a tensor that is zero, one multiplet stands for the bond.
            return len(ranked) - 1 if self.rel_tol or self.abs_tol else 0
        with np.errstate(over="ignore", under="ignore"):
            # An absolute tolerance far above all values drops all but what is asked for.
            abs_tol = float(np.ldexp(float(self.abs_tol), -power))
        budget = min(max(self.rel_tol * norm, abs_tol), 1e150) ** 2
        tail = np.cumsum([share[ir][i] ** 2 for ir, i in reversed(ranked)])
        return int(np.searchsorted(tail, budget, side="right")) if budget else 0

    def _most(self, ir: Irrep) -> float:
        return math.inf if self.max_bond is None else _count(self.max_bond, ir)

    def __repr__(self) -> str:
        given = [
            f"{f.name}={getattr(self, f.name)!r}"
            for f in fields(self)
            if getattr(self, f.name) != f.default
        ]
        return f"Truncation({', '.join(given)})"


def _smaller(a: int | None, b: int | None) -> int | None:
    return min((x for x in (a, b) if x is not None), default=None)


def _least(a: int | Irreps | str | None, b: int | Irreps | str | None) -> int | Irreps | str | None:
    if a is None or b is None:
        return b if a is None else a
    if isinstance(a, int) and isinstance(b, int):
        return min(a, b)
    named = Irreps(b if isinstance(a, int) else a)  # type: ignore[arg-type]
    return Irreps([(min(_count(a, ir), _count(b, ir)), ir) for ir in named.unique])


def _count(cap: int | Irreps | str, ir: Irrep) -> int:
    """Most multiplets of an irrep that a cap allows."""
    return cap if isinstance(cap, int) else Irreps(cap).count(ir)
