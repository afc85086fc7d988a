"""Decomposition of Cartesian tensors into irreps, with symmetries of the indices."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from etn.backend import Array, as_block, library, like, namespace, to_numpy
from etn.errors import IrrepsError, SettingsError
from etn.o3.cartesian.histories import History, histories, invariants, multiplicities
from etn.o3.cartesian.index_coupling import couple, path_tensors, uncouple
from etn.o3.cartesian.indices import IndexSymmetry, parse
from etn.o3.irrep import Irrep, IrrepLike, as_int
from etn.o3.irreps import Irreps, IrrepsLike

# What one coupling history takes as a tuple, roughly.
_PATH_BYTES = 256

# Coefficients below this are rounding errors of zeros.
_NEGLIGIBLE = 1e-12


class CouplingPath(NamedTuple):
    """One irrep of a Cartesian tensor: a combination of coupling histories.

    `histories` holds the degrees (h_1, ..., h_n) of the first one, two, ... indices, and
    `coefficients` their weights, with squares that sum to 1.  Without index symmetry there is one
    history, with weight 1.
    """

    ir: Irrep
    histories: tuple[History, ...]
    coefficients: tuple[float, ...]


def _check_bytes(needed: int, limit: int, what: str) -> None:
    if needed > limit:
        raise SettingsError(
            f"{what}: expected at most max_bytes = {limit / 1e9:.3g} GB, got {needed / 1e9:.3g} GB;"
            " use fewer indices, or raise max_bytes where the memory is there"
        )


@dataclass(frozen=True, eq=False, repr=False)
class CartesianDecomposition:
    """A Cartesian tensor as a direct sum of irreps; made by :func:`decompose`.

    Attributes
    ----------
    symmetry : IndexSymmetry
        Letters of the indices, and their permutation symmetries.
    irreps : Irreps
        The direct sum, in ascending order of l.
    max_bytes : int
        Largest memory that :meth:`matrices`, :meth:`matrix` and :meth:`projector` may ask for.
    """

    symmetry: IndexSymmetry
    irreps: Irreps
    max_bytes: int
    # Degree to combinations of paths, one a row; None where every path stands for itself.
    _mixing: Mapping[int, npt.NDArray[np.float64] | None]
    # Whether some degrees that the index symmetry allows are left out.
    _restricted: bool

    @property
    def rank(self) -> int:
        """Number of indices."""
        return self.symmetry.rank

    @property
    def dim(self) -> int:
        """Number of independent components, ``irreps.dim``."""
        return self.irreps.dim

    @cached_property
    def paths(self) -> tuple[CouplingPath, ...]:
        """How each irrep is coupled, in the order of `irreps`, one entry a copy.

        Raises
        ------
        SettingsError
            The list would take more than `max_bytes`.

        Examples
        --------
        >>> [path.histories[0] for path in decompose("ijk").paths][:3]
        [(1, 1, 0), (1, 0, 1), (1, 1, 1)]
        """
        _check_bytes(
            _PATH_BYTES * sum(multiplicities(self.rank)),
            self.max_bytes,
            f"paths of {self.symmetry}",
        )
        known = histories(self.rank)
        found = []
        for _, ir in self.irreps:
            mixing, own = self._mixing[ir.l], known[ir.l]
            if mixing is None:
                found += [CouplingPath(ir, (history,), (1.0,)) for history in own]
                continue
            for row in mixing:
                kept = np.flatnonzero(abs(row) > _NEGLIGIBLE)
                found.append(
                    CouplingPath(
                        ir, tuple(own[h] for h in kept), tuple(float(row[h]) for h in kept)
                    )
                )
        return tuple(found)

    def to_irreps(self, tensor: Array, *, check: bool = True, tolerance: float = 1e-6) -> Array:
        r"""Return the components of a tensor in the irreps.

        The map is orthonormal: :math:`\sum_c a_c^2 = \sum_{ij\dots} T_{ij\dots}^2`.

        Parameters
        ----------
        tensor
            Cartesian components (x, y, z), shape (..., 3, ..., 3); NumPy or torch.
        check
            Refuse tensors without the symmetry.  Unchecked, their other part is dropped.
        tolerance
            Largest violation of the symmetry, relative to the largest component.

        Returns
        -------
        array, shape (..., dim)
            In the layout of `irreps`.

        Raises
        ------
        IrrepsError
            Another shape, or a tensor without the symmetry.
        CoreError
            An array that is neither float32 nor float64.

        Examples
        --------
        >>> decompose("ij=ji").to_irreps(np.eye(3)).round(6) + 0.0
        array([1.732051, 0.      , 0.      , 0.      , 0.      , 0.      ])
        """
        tensor = as_block(tensor, "tensor")
        batch = tuple(tensor.shape[: tensor.ndim - self.rank])
        if tensor.ndim < self.rank or tuple(tensor.shape[len(batch) :]) != (3,) * self.rank:
            raise IrrepsError(
                f"tensor: expected shape (..., {', '.join(['3'] * self.rank)}) for the "
                f'{self.rank} indices "{self.symmetry.letters}", got {tuple(tensor.shape)}'
            )
        if check:
            self._check_symmetry(tensor, tolerance)
        flat = tensor.reshape(math.prod(batch), 3**self.rank)
        blocks = couple(flat.swapaxes(0, 1), self.rank)
        parts = [flat[:, :0]]
        for mul, ir in self.irreps:
            block = self._mix(ir.l, blocks[ir.l])
            parts.append(block.swapaxes(0, 2).reshape(flat.shape[0], mul * ir.dim))
        found = library(tensor).concatenate(parts, 1).reshape(*batch, self.dim)
        if check and self._restricted:
            rest = abs(to_numpy(tensor) - to_numpy(self.from_irreps(found)))
            self._judge(rest, tensor, tolerance, f"only {self.irreps}")
        return found

    def from_irreps(self, components: Array) -> Array:
        r"""Return the tensor with given components: the transpose of :meth:`to_irreps`.

        Parameters
        ----------
        components
            Shape (..., dim), in the layout of `irreps`; NumPy or torch.

        Returns
        -------
        array, shape (..., 3, ..., 3)

        Raises
        ------
        IrrepsError
            Another shape.

        Examples
        --------
        >>> stress = decompose("ij=ji")
        >>> stress.from_irreps([np.sqrt(3), 0, 0, 0, 0, 0]).round(12).diagonal()
        array([1., 1., 1.])
        """
        components = as_block(components, "components")
        if components.ndim == 0 or components.shape[-1] != self.dim:
            raise IrrepsError(
                f"components: expected shape (..., {self.dim}) for {self.irreps}, got "
                f"{tuple(components.shape)}"
            )
        batch = tuple(components.shape[:-1])
        flat = components.reshape(math.prod(batch), self.dim)
        if not self.irreps:
            return like(np.zeros((*batch, *(3,) * self.rank)), components)
        blocks = {}
        for (mul, ir), part in zip(self.irreps, self.irreps.slices(), strict=True):
            block = flat[:, part].reshape(flat.shape[0], mul, ir.dim).swapaxes(0, 2)
            blocks[ir.l] = self._unmix(ir.l, block)
        dense = uncouple(blocks, self.rank)
        return dense.swapaxes(0, 1).reshape(*batch, *(3,) * self.rank)

    def matrices(self) -> tuple[npt.NDArray[np.float64], ...]:
        """Return the orthonormal path matrices, one per irrep: its components as tensors.

        Returns
        -------
        tuple of ndarray of float64, shape (3**rank, 2l+1) each
            In the order of `paths`; the rows are the indices (x, y, z), the last one fastest.
            Together they hold 3**rank * dim numbers, and at most as much again is used on the way.

        Raises
        ------
        SettingsError
            They would take more than `max_bytes`.

        Examples
        --------
        >>> [matrix.shape for matrix in decompose("ij").matrices()]
        [(9, 1), (9, 3), (9, 5)]
        """
        self._check_matrices(self.dim)
        if not self.symmetry.generators:
            dense = path_tensors(self.rank, [ir.l for _, ir in self.irreps])
            return tuple(dense[ir.l][:, copy] for mul, ir in self.irreps for copy in range(mul))
        found: list[npt.NDArray[np.float64]] = []
        for mul, ir in self.irreps:
            eye = np.eye(mul * ir.dim).reshape(mul, ir.dim, mul * ir.dim).swapaxes(0, 1)
            block = uncouple({ir.l: self._unmix(ir.l, eye)}, self.rank)
            found += [block[:, part : part + ir.dim] for part in range(0, mul * ir.dim, ir.dim)]
        return tuple(found)

    def matrix(self, k: int) -> npt.NDArray[np.float64]:
        """Return the orthonormal path matrix of one irrep, as one entry of :meth:`matrices`.

        Parameters
        ----------
        k
            Number of the irrep, from 0, in the order of `paths`.

        Returns
        -------
        ndarray of float64, shape (3**rank, 2l+1)

        Raises
        ------
        IrrepsError
            There is no such irrep.
        SettingsError
            It would take more than `max_bytes`.

        Examples
        --------
        >>> decompose("ij").matrix(0)[:, 0].round(6)[[0, 4, 8]]
        array([0.57735, 0.57735, 0.57735])
        """
        copy = as_int(k, "irrep k", minimum=0)
        for mul, ir in self.irreps:
            if copy < mul:
                self._check_matrices(ir.dim)
                one = np.zeros((ir.dim, mul, ir.dim))
                one[:, copy] = np.eye(ir.dim)
                return uncouple({ir.l: self._unmix(ir.l, one)}, self.rank)
            copy -= mul
        raise IrrepsError(
            f"irrep k: expected 0 to {self.irreps.num_irreps - 1} for {self.irreps}, got {k}"
        )

    def projector(self, k: int) -> npt.NDArray[np.float64]:
        r"""Return the projector :math:`P_k = M_k M_k^T` onto one irrep.

        Parameters
        ----------
        k
            Number of the irrep, from 0, in the order of `paths`.

        Returns
        -------
        ndarray of float64, shape (3**rank, 3**rank)

        Raises
        ------
        IrrepsError
            There is no such irrep.
        SettingsError
            It would take more than `max_bytes`.

        Examples
        --------
        >>> round(float(decompose("ij").projector(2).trace()), 12)
        5.0
        """
        self._check_matrices(3**self.rank)
        matrix = self.matrix(k)
        return matrix @ matrix.T

    def __repr__(self) -> str:
        return f"CartesianDecomposition({self.symmetry}: {self.irreps or 'no irreps'})"

    def _check_matrices(self, columns: int) -> None:
        _check_bytes(8 * 3**self.rank * columns, self.max_bytes, f"matrices of {self.symmetry}")

    def _check_symmetry(self, tensor: Array, tolerance: float) -> None:
        """Raise an :class:`IrrepsError` where a permutation of the indices changes the tensor."""
        xp = namespace(tensor)
        first = tensor.ndim - self.rank
        for generator in self.symmetry.generators:
            axes, sign = generator
            moved = xp.permute_dims(tensor, (*range(first), *(first + d for d in axes)))
            one = IndexSymmetry(self.symmetry.letters, (generator,))
            self._judge(to_numpy(abs(tensor - sign * moved)), tensor, tolerance, str(one))

    def _judge(
        self, residual: npt.NDArray[np.float64], tensor: Array, tolerance: float, wanted: str
    ) -> None:
        if residual.size == 0:
            return
        worst, scale = float(residual.max()), float(abs(to_numpy(tensor)).max())
        if not worst <= tolerance * scale:  # also true of NaN
            raise IrrepsError(
                f"tensor: expected {wanted}, got a residual of {worst:.2e} with components up to "
                f"{scale:.2e} (relative tolerance {tolerance:.0e}); symmetrize it, or pass "
                "check=False to drop the other part"
            )

    def _mix(self, l: int, block: Array) -> Array:
        """Return components of irreps from those of paths, shape (2l+1, paths, columns)."""
        mixing = self._mixing[l]
        return block if mixing is None else like(mixing, block) @ block

    def _unmix(self, l: int, block: Array) -> Array:
        """Return components of paths from those of irreps, shape (2l+1, copies, columns)."""
        mixing = self._mixing[l]
        return block if mixing is None else like(mixing, block).T @ block


def _mixing(
    symmetry: IndexSymmetry, degrees: Iterable[int]
) -> dict[int, npt.NDArray[np.float64] | None]:
    """Return the combinations of paths with the symmetry, of each degree."""
    if not symmetry.generators:
        return dict.fromkeys(degrees)
    known = histories(symmetry.rank)
    found: dict[int, npt.NDArray[np.float64] | None] = {}
    for l in degrees:
        basis = invariants(symmetry, known[l])
        basis.setflags(write=False)
        found[l] = basis
    return found


def decompose(
    formula: str,
    vector: IrrepLike = "1o",
    *,
    pseudo: bool = False,
    keep: IrrepsLike | None = None,
    max_bytes: int = 2**30,
) -> CartesianDecomposition:
    """Decompose Cartesian tensors with given index symmetries into irreps of O(3).

    Without symmetry the irreps are the paths that couple the indices from left to right.  With
    symmetry they are orthonormal combinations of paths that are invariant under the signed
    permutations; the basis is the same on every machine.  Copies of l = rank (symmetric and
    traceless tensors) have the sign and the order of the spherical harmonics.

    Parameters
    ----------
    formula
        Letters of the indices and the permutations that leave the tensor as it is, maybe with a
        minus sign: ``"ijkl=jikl=klij"``, ``"ij=-ji"``.
    vector
        The irrep of each index: "1o" for positions and forces, "1e" for axial vectors.
    pseudo
        Whether the tensor changes its sign under improper rotations once more than its indices
        say, as the gyration tensor does.
    keep
        Irreps that are kept, by default all: ``decompose("ij=ji", keep="2e")`` is traceless.
    max_bytes
        Largest memory that the decomposition, and later its matrices, may ask for.

    Returns
    -------
    CartesianDecomposition
        Its ``irreps`` may be empty: nothing in three dimensions is antisymmetric in four indices.

    Raises
    ------
    IrrepsError
        Malformed formula (the message gives the position), contradictory signs, `vector` is no
        vector, or `keep` names an irrep that is not there.
    SettingsError
        A tensor of this rank, or the matrices between its paths, would take more than `max_bytes`.

    Notes
    -----
    Source: coupling histories, Coope, Snider and McCourt, J. Chem. Phys. 43, 2269 (1965);
    permutations by 6j symbols, see :mod:`etn.o3.cartesian.histories`.

    Examples
    --------
    >>> decompose("ijkl=jikl=klij").irreps
    2x0e+2x2e+1x4e
    >>> decompose("ijk").irreps
    1x0o+3x1o+2x2o+1x3o
    >>> decompose("ij=-ji")
    CartesianDecomposition("ij=-ji": 1x1e)
    """
    symmetry = parse(formula)
    index = Irrep(vector)
    if index.l != 1:
        raise IrrepsError(f'vector: expected "1o" or "1e" for the indices, got "{index}"')
    rank = symmetry.rank
    counts = multiplicities(rank)
    _check_bytes(8 * 3**rank, max_bytes, f"tensor with the {rank} indices of {symmetry}")
    if symmetry.generators:
        # The projector, the basis and one more of the largest degree, next to those done.
        needed = 8 * (sum(n * n for n in counts) + 3 * max(counts) ** 2)
        _check_bytes(needed, max_bytes, f"combinations of the paths of {symmetry}")
    p = index.p**rank * (-1 if pseudo else 1)
    mixing = _mixing(symmetry, [l for l, mul in enumerate(counts) if mul])
    copies = {l: counts[l] if basis is None else len(basis) for l, basis in mixing.items()}
    irreps = Irreps((mul, Irrep(l, p)) for l, mul in copies.items() if mul)
    kept = irreps if keep is None else irreps.filter(keep)
    if keep is not None:
        absent = [ir for ir in Irreps(keep).unique if not irreps.count(ir)]
        if absent:
            raise IrrepsError(f"keep: expected irreps of {symmetry}, {irreps}, got {absent[0]}")
    return CartesianDecomposition(
        symmetry=symmetry,
        irreps=kept,
        max_bytes=max_bytes,
        _mixing={ir.l: mixing[ir.l] for _, ir in kept},
        _restricted=kept != irreps,
    )
