r"""All couplings of several legs in one tensor: the fused Clebsch-Gordan tensor.

Notes
-----
Legs hold each irrep once.  A *path* couples one irrep of every input to one of the output; its
tensor is invariant, and paths are orthonormal:

.. math:: M_{k, i j} = \sum_p \alpha_p\, W^p_{k, i j}, \qquad \langle W^p, W^q\rangle = \delta_{pq},
    \qquad \|M\|^2 = \sum_p \alpha_p^2,

with W the unit-norm :func:`etn.o3.wigner_3j` of (l1, l2, l3), its output leg moved to the front.
With more than two inputs they are coupled from the left, and the irreps in between are part of
the path.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from etn.backend import FloatArray, frozen
from etn.errors import IrrepsError, SettingsError
from etn.o3 import Irrep, Irreps, clebsch_gordan

if TYPE_CHECKING:
    from sympy import ImmutableDenseNDimArray

__all__ = ["Coefficients", "FusedTensor", "Path", "Sparse"]

Coefficients = Literal["3j", "cg"] | Mapping[str, float] | Sequence[float] | FloatArray
"""Names, numbers a path in order, or numbers by label; see :func:`~etn.product.fused_cg`."""

# Dense tensors above this are refused with an estimate: they would not fit the cache of any
# machine by far, and the sparse form serves as well.
MAX_BYTES = 4_000_000_000


class Path(NamedTuple):
    """One way to couple the inputs to the output, by term numbers of the legs.

    Attributes
    ----------
    out : int
        Term of the output.
    ins : tuple of int
        Term of each input.
    between : tuple of Irrep
        What the first two, three, ... inputs are coupled to on the way; empty for two inputs.
    """

    out: int
    ins: tuple[int, ...]
    between: tuple[Irrep, ...] = ()


class Sparse(NamedTuple):
    """Non-zero entries of a tensor, sorted by place: ``values[n]`` at ``places[:, n]``."""

    places: NDArray[np.int64]
    values: FloatArray


@dataclass(frozen=True, eq=False)
class FusedTensor:
    """An invariant tensor that holds every coupling of its inputs to its output.

    Parameters
    ----------
    out : Irreps
        The output, each multiplicity 1.
    ins : tuple of Irreps
        The inputs, each multiplicity 1.
    paths : tuple of Path
    coefficients : (n_paths,) ndarray
        In units of path tensors of norm 1.

    Raises
    ------
    IrrepsError
        If a multiplicity is not 1, or there is no input.
    SettingsError
        If the coefficients are not one finite number a path.

    Examples
    --------
    >>> from etn.product import fused_cg
    >>> t = fused_cg(l_max=1)
    >>> t
    FusedTensor(1x0e+1x1e x 1x0e+1x1e -> 1x0e+1x1e, 5 paths)
    >>> t.dense().shape, round(t.norm**2, 12)
    ((4, 4, 4), 5.0)
    """

    out: Irreps
    ins: tuple[Irreps, ...]
    paths: tuple[Path, ...]
    coefficients: FloatArray

    def __post_init__(self) -> None:
        if not self.ins:
            raise IrrepsError("a fused tensor needs at least one input, got none")
        for name, leg in zip(("output", *_numbered(len(self.ins))), self.legs, strict=True):
            for term in leg:
                if term.mul != 1:
                    raise IrrepsError(
                        f"{name} of a fused tensor: expected each irrep once, got {term}; channels "
                        "belong to the product, not to its coupling"
                    )
        values = np.asarray(self.coefficients, float)
        if values.shape != (len(self.paths),) or not np.isfinite(values).all():
            raise SettingsError(
                f"coefficients: expected {len(self.paths)} finite numbers, one a path, got "
                f"{_brief(values)}"
            )
        object.__setattr__(self, "coefficients", frozen(values))

    @property
    def legs(self) -> tuple[Irreps, ...]:
        """Output and inputs, in the order of the axes of :meth:`dense`."""
        return (self.out, *self.ins)

    @cached_property
    def shape(self) -> tuple[int, ...]:
        """Dimensions of the legs."""
        return tuple(leg.dim for leg in self.legs)

    @property
    def norm(self) -> float:
        """Frobenius norm, sqrt(sum of squared coefficients)."""
        return float(np.linalg.norm(self.coefficients))

    def slices(self, path: Path) -> tuple[slice, ...]:
        """Where the block of a path stands in the dense tensor."""
        terms = (path.out, *path.ins)
        return tuple(leg.slices()[term] for leg, term in zip(self.legs, terms, strict=True))

    def degrees(self, path: Path) -> tuple[int, ...]:
        """Degrees l of the irreps that a path couples, in the order of the legs."""
        terms = (path.out, *path.ins)
        return tuple(leg[term].ir.l for leg, term in zip(self.legs, terms, strict=True))

    def path_tensor(self, path: Path) -> FloatArray:
        """Unit-norm tensor of a path, shape (2 l_out + 1, 2 l_1 + 1, ...)."""
        out, *ins = self.degrees(path)
        return _path_tensor(tuple(ins), tuple(ir.l for ir in path.between), out)

    @cached_property
    def _dense(self) -> FloatArray:
        n_bytes = 8 * math.prod(self.shape)
        if n_bytes > MAX_BYTES:
            raise SettingsError(
                f"dense tensor of shape {self.shape}: it would take {n_bytes / 1e9:.1f} GB, the "
                f"limit is {MAX_BYTES / 1e9:.0f} GB; take sparse(), or a smaller l_max"
            )
        dense = np.zeros(self.shape)
        for path, alpha in zip(self.paths, self.coefficients, strict=True):
            dense[self.slices(path)] += alpha * self.path_tensor(path)
        return frozen(dense)

    def dense(self) -> FloatArray:
        """The tensor, shape (output, first input, second input, ...); cached and read-only.

        Raises
        ------
        SettingsError
            If it would take more than 4 GB; the estimate comes before the allocation.
        """
        return self._dense

    def sparse(self) -> Sparse:
        """The non-zero entries, without going through the dense tensor."""
        pieces = []
        for path, alpha in zip(self.paths, self.coefficients, strict=True):
            block = self.path_tensor(path)
            inside = np.argwhere(block)
            starts = np.array([part.start for part in self.slices(path)])
            flat = np.ravel_multi_index(tuple((inside + starts).T), self.shape)
            pieces.append((flat, alpha * block[tuple(inside.T)]))
        # Paths that differ only in between share entries.
        flat, inverse = np.unique(np.concatenate([f for f, _ in pieces]), return_inverse=True)
        values = np.bincount(inverse, np.concatenate([v for _, v in pieces]), len(flat))
        return Sparse(np.array(np.unravel_index(flat, self.shape)), values.astype(float))

    def exact(self) -> ImmutableDenseNDimArray:
        """The tensor of a binary product with unit coefficients in exact form (loads sympy).

        Raises
        ------
        SettingsError
            If there are not two inputs, or a coefficient differs from 1.
        """
        from sympy import ImmutableDenseNDimArray, S

        from etn.o3 import wigner_3j

        if len(self.ins) != 2 or not (self.coefficients == 1.0).all():
            raise SettingsError(
                "exact(): expected two inputs and coefficients that are all 1, got "
                f"{len(self.ins)} inputs and {_brief(self.coefficients)}"
            )
        entries = [S.Zero] * math.prod(self.shape)
        for path in self.paths:
            k, i, j = self.degrees(path)
            block = wigner_3j(i, j, k, exact=True)
            starts = [part.start for part in self.slices(path)]
            for a, b, c in itertools.product(*map(range, block.shape)):
                place = (starts[0] + c, starts[1] + a, starts[2] + b)
                entries[int(np.ravel_multi_index(place, self.shape))] = block[a, b, c]
        return ImmutableDenseNDimArray(entries, self.shape)

    def project(self, tensor: ArrayLike) -> FloatArray:
        """Coefficients of the invariant tensor nearest to any tensor of the same shape.

        The component of ``tensor`` along each path, <W^p, tensor>; what is left after it breaks
        the symmetry, or the selection of paths.

        Raises
        ------
        IrrepsError
            If the shape differs.

        Examples
        --------
        >>> from etn.product import fused_cg
        >>> t = fused_cg(l_max=2)
        >>> bool(abs(t.project(t.dense()) - 1.0).max() < 1e-14)
        True
        """
        dense = np.asarray(tensor, float)
        if dense.shape != self.shape:
            raise IrrepsError(f"expected a tensor of shape {self.shape}, got {dense.shape}")
        return np.array(
            [float(np.vdot(self.path_tensor(p), dense[self.slices(p)])) for p in self.paths]
        )

    def with_coefficients(self, coefficients: Coefficients) -> FusedTensor:
        """The same paths with other coefficients, see :func:`~etn.product.fused_cg`."""
        return FusedTensor(self.out, self.ins, self.paths, _coefficients(self, coefficients))

    def select(self, paths: Iterable[Sequence[int]]) -> FusedTensor:
        """Some of the paths of a product of two inputs, in the order given.

        Parameters
        ----------
        paths : iterable of (int, int, int)
            Terms of first input, second input and output.

        Raises
        ------
        IrrepsError
            If one of them is no path of this tensor.

        Examples
        --------
        >>> from etn.product import fused_cg
        >>> fused_cg(l_max=1).select([(1, 1, 0)]).labels()
        ('1e x 1e -> 0e',)
        """
        known = {(*path.ins, path.out): n for n, path in enumerate(self.paths)}
        chosen = []
        for path in map(tuple, paths):
            if path not in known:
                raise IrrepsError(
                    f"paths: {path} (terms of first input, second input, output) couples nothing "
                    f"in {self}; what couples is {sorted(known)}"
                )
            chosen.append(known[path])
        kept = tuple(self.paths[n] for n in chosen)
        return FusedTensor(self.out, self.ins, kept, self.coefficients[chosen])

    def labels(self) -> tuple[str, ...]:
        """The paths in words, ``1o x 1o -> 2e``.

        Examples
        --------
        >>> from etn.product import fused_cg
        >>> fused_cg(l_max=1).labels()[-1]
        '1e x 1e -> 1e'
        """
        return tuple(self._label(path) for path in self.paths)

    def _label(self, path: Path) -> str:
        ins = [str(leg[t].ir) for leg, t in zip(self.ins, path.ins, strict=True)]
        text = f"{' x '.join(ins)} -> {self.out[path.out].ir}"
        return f"{text} (by {', '.join(map(str, path.between))})" if path.between else text

    def __repr__(self) -> str:
        """Return legs and number of paths."""
        ins = " x ".join(map(str, self.ins))
        return f"FusedTensor({ins} -> {self.out}, {len(self.paths)} paths)"


def _path_tensor(ls: tuple[int, ...], between: tuple[int, ...], out: int) -> FloatArray:
    """Chain of isometric couplings, output first, scaled to norm 1."""
    tensor: FloatArray = np.eye(2 * ls[0] + 1)
    for one, two, to in zip((ls[0], *between), ls[1:], (*between, out), strict=False):
        tensor = np.tensordot(tensor, clebsch_gordan(one, two, to), axes=(-1, 0))
    return np.moveaxis(tensor, -1, 0) / math.sqrt(2 * out + 1)


def _coefficients(fused: FusedTensor, given: Coefficients) -> FloatArray:
    if isinstance(given, str):
        if given == "3j":
            return np.ones(len(fused.paths))
        if given == "cg":
            return np.sqrt([fused.out[path.out].ir.dim for path in fused.paths])
        raise SettingsError(f"coefficients: expected 3j, cg, numbers or a mapping, got {given!r}")
    if isinstance(given, Mapping):
        labels = fused.labels()
        unknown = sorted(set(given) - set(labels))
        if unknown:
            raise SettingsError(
                f"coefficients: no path {unknown[0]!r}; the paths are {', '.join(labels)}"
            )
        return np.array([float(given.get(label, 1.0)) for label in labels])
    return np.asarray(given, float)


def _numbered(n: int) -> tuple[str, ...]:
    return tuple(f"input {k}" for k in range(1, n + 1))


def _brief(values: FloatArray) -> str:
    return str(values) if values.size <= 6 else f"an array of shape {values.shape}"
