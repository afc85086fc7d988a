"""Two neighbouring cores contracted over their bond: the unknown of two-site updates.

Along a chain the bond between the two cores keeps its irrep as a label, so the four-leg tensor is
one matrix for each irrep j,

    Theta_j[(l1 r1 s1), (s2 r2 l2)],

from the couplings (left bond ⊗ left site -> j) to the couplings (right site ⊗ right bond -> j).
In these bases, which are orthonormal, ||Theta||^2 = sum (2 j + 1) |Theta_j|^2, and splitting the
pair again is one singular value decomposition for each j: no recoupling is needed.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

from etn.backend import Array, Kind, kind_of, to_numpy
from etn.errors import CoreError, SettingsError
from etn.o3 import Irrep, Irreps
from etn.tensor.core import Core
from etn.tensor.factor import cut, matricize, tensorize, thin_svd
from etn.tensor.pullback import kept
from etn.tensor.scale import frobenius
from etn.tensor.truncation import Spectrum, Truncation


@lru_cache(maxsize=4096)
def couplings(first: Irreps, second: Irreps) -> dict[Irrep, int]:
    """How many couplings of two legs reach each irrep.

    Examples
    --------
    >>> couplings(Irreps("2x0e+1x1o"), Irreps("1x1o"))
    {0e: 1, 1o: 2, 1e: 1, 2e: 1}
    """
    found: dict[Irrep, int] = {}
    for ir1 in first.unique:
        for ir2 in second.unique:
            for ir in ir1 * ir2:
                found[ir] = found.get(ir, 0) + first.count(ir1) * second.count(ir2)
    return {ir: found[ir] for ir in sorted(found)}


class Split(NamedTuple):
    """A pair as two cores again.

    Attributes
    ----------
    left, right : Core
        One of them is an isometry towards the other, which is the center.
    spectrum : Spectrum
        Singular values that were kept.
    discarded : float
        Frobenius norm of the difference.
    """

    left: Core
    right: Core
    spectrum: Spectrum
    discarded: float


class Pair:
    """Two neighbouring cores as one matrix for each irrep of the bond between them.

    Parameters
    ----------
    legs : (left bond, left site, right site, right bond)
    matrices : mapping of Irrep to array
        One for each irrep that both sides reach, of shape
        ``(couplings(legs[0], legs[1])[ir], couplings(legs[2], legs[3])[ir])``; those that are
        missing are zero.

    Raises
    ------
    CoreError
        If a matrix has another shape, or its irrep is not reached from both sides.

    Examples
    --------
    >>> one = Core.random(["1x0e", "2x0e+1x1o", "2x0e+1x1o"], seed=0)
    >>> two = Core.random(["2x0e+1x1o", "2x0e+1x1o", "1x0e"], seed=1)
    >>> pair = merge(one, two)
    >>> pair
    Pair(1x0e ⊗ 2x0e+1x1o → 2x0e+1x1o ⊗ 1x0e, couplings 2x0e+1x1o | 2x0e+1x1o)
    >>> split = pair.split(Truncation(max_bond=1))
    >>> split.left.legs[2], round(split.discarded, 12) == split.discarded
    (1x0e+1x1o, False)
    """

    __slots__ = ("kind", "legs", "matrices")

    legs: tuple[Irreps, Irreps, Irreps, Irreps]
    matrices: dict[Irrep, Array]
    kind: Kind

    def __init__(
        self, legs: tuple[Irreps, Irreps, Irreps, Irreps], matrices: Mapping[Irrep, Array]
    ) -> None:
        self.legs = legs
        self.kind = kind_of(*matrices.values()) if matrices else Kind()
        shapes = pair_shapes(legs)
        for ir, matrix in matrices.items():
            if ir not in shapes or tuple(matrix.shape) != shapes[ir]:
                expected = f"shape {shapes[ir]}" if ir in shapes else f"one of {list(shapes)}"
                raise CoreError(
                    f"pair {self!r}: irrep {ir}: expected {expected}, got {tuple(matrix.shape)}"
                )
        self.matrices = {
            ir: matrices[ir] if ir in matrices else self.kind.zeros(shape)
            for ir, shape in shapes.items()
        }

    def norm(self) -> float:
        """Frobenius norm of the dense tensor, sqrt(sum (2 j + 1) |Theta_j|^2)."""
        return frobenius(self.matrices.values(), [ir.dim for ir in self.matrices])

    def split(self, truncation: Truncation | None = None, *, center: str = "right") -> Split:
        """Write the pair as two cores.

        Parameters
        ----------
        truncation : Truncation, optional
            By default all singular values stay.
        center : {"left", "right"}
            Which of the cores takes the singular values; the other one is an isometry.

        Raises
        ------
        SettingsError
            If the center is neither.
        CoreError
            If the truncation leaves nothing.
        """
        if center not in ("left", "right"):
            raise SettingsError(f"center: expected left or right, got {center!r}")
        factors = {ir: thin_svd(m, self.kind) for ir, m in self.matrices.items()}
        # A multiplet of the bond is a column of each of the two cores.
        parameters = {ir: sum(matrix.shape) for ir, matrix in self.matrices.items()}
        numbers, discarded = cut(
            {ir: s for ir, (_, s, _) in factors.items()}, truncation, parameters
        )
        left, right, values = {}, {}, {}
        for ir, n in numbers.items():
            u, s, vh = factors[ir]
            if center == "right":
                left[ir], bond = kept(self.matrices[ir], u, s, vh, n)
                right[ir] = bond.T
            else:
                right[ir], bond = kept(self.matrices[ir].T, vh.T, s, u.T, n)
                left[ir] = bond.T
            values[ir] = to_numpy(s[:n])
        bond0, site0, site1, bond1 = self.legs
        none = Irreps()
        return Split(
            tensorize(left, (bond0, site0, none), 2, self.kind),
            tensorize(right, (none, site1, bond1), 0, self.kind),
            Spectrum(values),
            discarded,
        )

    def __repr__(self) -> str:
        bond0, site0, site1, bond1 = self.legs
        rows = Irreps([(n, ir) for ir, n in couplings(bond0, site0).items()])
        columns = Irreps([(n, ir) for ir, n in couplings(site1, bond1).items()])
        return f"Pair({bond0} ⊗ {site0} → {site1} ⊗ {bond1}, couplings {rows} | {columns})"


def pair_shapes(legs: tuple[Irreps, Irreps, Irreps, Irreps]) -> dict[Irrep, tuple[int, int]]:
    """Shape of the matrix of each irrep that both sides of a pair reach."""
    rows, columns = couplings(legs[0], legs[1]), couplings(legs[2], legs[3])
    return {ir: (n, columns[ir]) for ir, n in rows.items() if ir in columns}


def merge(left: Core, right: Core) -> Pair:
    """Contract two cores over the last leg of the first and the first leg of the second.

    Raises
    ------
    CoreError
        If the cores have not three legs each, the bonds differ, or one of the cores is of
        another library, precision or device.
    """
    if left.order != 3 or right.order != 3 or left.legs[2] != right.legs[0]:
        raise CoreError(
            f"merge needs two cores of three legs that share a bond, got {left!r} and {right!r}"
        )
    if left.kind != right.kind:
        raise CoreError(
            f"merge: expected cores of one kind, got {left.kind} and {right.kind}; "
            "convert with .to(backend=, dtype=, device=)"
        )
    rows, columns = matricize(left, 2), matricize(right, 0)
    legs: tuple[Irreps, Irreps, Irreps, Irreps] = (*left.legs[:2], *right.legs[1:])  # type: ignore[assignment]
    # Written out where it is zero: a pair of zeros is still of the kind of its cores.
    products = {
        ir: rows[ir] @ columns[ir].T if ir in rows and ir in columns else left.kind.zeros(shape)
        for ir, shape in pair_shapes(legs).items()
    }
    return Pair(legs, products)
