"""Equivariant cores: tensors with at most three legs, stored as reduced blocks.

By the Wigner-Eckart theorem an O(3)-equivariant tensor with three legs is a set of
reduced arrays, one for each allowed triple of irreps, times a fixed Clebsch-Gordan tensor:

    T[(l1 r1 m1), (l2 r2 m2), (l3 r3 m3)] = a^{l1 l2 l3}[r1, r2, r3] C^{l3 m3}_{l1 m1, l2 m2}

Real O(3) irreps are self-dual and a triple couples in at most one way, so there are no
arrows, no dual spaces and no multiplicity labels.  C is the *isometric* real Clebsch-Gordan
tensor; with it a reduced array with orthonormal columns is a dense isometry from the first
legs to the last one, and ||T||^2 = sum (2 l3 + 1) ||a||^2.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import cache, lru_cache
from itertools import product
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from etn.backend import Array, Kind, as_block, is_finite, kind_of, to_numpy
from etn.errors import CoreError, MissingError
from etn.machine import check_memory
from etn.o3 import Irrep, Irreps, clebsch_gordan
from etn.tensor.scale import frobenius, multiplied, rescaled, unscaled

Path = tuple[Irrep, ...]
Block = Array


@cache
def coupling(path: Path) -> NDArray[np.float64]:
    """Structural tensor of a path: 1, the identity or the isometric Clebsch-Gordan tensor.

    Parameters
    ----------
    path : tuple of Irrep
        One to three irreps, one a leg.

    Returns
    -------
    array of shape (2 l1 + 1, ...), read-only
        Contracted over all legs but the last with itself it is the identity.

    Examples
    --------
    >>> from etn.o3 import Irrep
    >>> coupling((Irrep("1o"), Irrep("1o"))).shape
    (3, 3)
    """
    if len(path) == 3:
        return clebsch_gordan(path[0].l, path[1].l, path[2].l)
    tensor = np.eye(path[0].dim) if len(path) == 2 else np.ones(1)
    tensor.setflags(write=False)
    return tensor


def is_allowed(path: Path) -> bool:
    """Whether the selection rules (triangle and parity) let the irreps of a path couple."""
    if len(path) == 1:
        return path[0] == Irrep(0, 1)
    if len(path) == 2:
        return path[0] == path[1]
    (l1, l2, l3), parity = (ir.l for ir in path), math.prod(ir.p for ir in path)
    return abs(l1 - l2) <= l3 <= l1 + l2 and parity == 1


def allowed_paths(legs: Sequence[Irreps]) -> list[Path]:
    """All paths that the selection rules allow between the legs, in a fixed order."""
    return list(_paths(tuple(leg.unique for leg in legs)))


@lru_cache(maxsize=4096)
def _paths(legs: tuple[tuple[Irrep, ...], ...]) -> tuple[Path, ...]:
    return tuple(path for path in product(*map(sorted, legs)) if is_allowed(path))


class Blocks(dict[Path, Block]):
    """Reduced arrays by path; irreps may be given by their names.

    Raises
    ------
    MissingError
        If there is no such path.

    Examples
    --------
    >>> Core(["1x0e", "2x1o", "1x1o"]).blocks["0e", "1o", "1o"]
    array([[[0.],
            [0.]]])
    """

    def __missing__(self, path: object) -> Block:
        names = path if isinstance(path, tuple) else (path,)
        if any(isinstance(ir, str) for ir in names):
            wanted = tuple(Irrep(ir) if isinstance(ir, str) else ir for ir in names)
            if wanted in self:
                return self[wanted]
        there = ", ".join(map(_name, self)) or "none"
        shown = _name(names) if all(isinstance(ir, Irrep | str) for ir in names) else repr(path)
        raise MissingError(f"block {shown}: expected one of the paths {there}")


class Projection(NamedTuple):
    """An equivariant core and what of the dense tensor it does not hold.

    Attributes
    ----------
    core : Core
        The orthogonal projection on equivariant tensors.
    residual : float
        Frobenius norm of (dense - core.to_dense()).
    """

    core: Core
    residual: float


class Core:
    """An equivariant tensor with one, two or three legs.

    Parameters
    ----------
    legs : sequence of Irreps or str
        What each leg carries.  The dense index of a leg runs over its terms, within a term
        over the multiplicity, then over m.
    blocks : mapping of path to array
        Reduced arrays, NumPy or torch, all of one kind; the array of path (ir1, ir2, ir3) has
        shape (legs[0].count(ir1), legs[1].count(ir2), legs[2].count(ir3)).
        Allowed paths that are missing are zero.  Blocks are kept in C order, and copied only if
        they are not: the same values give the same bits, wherever a core comes from.

    Raises
    ------
    CoreError
        If a path is forbidden by the selection rules, or a block has another shape, holds a
        value that is not finite, or differs from the others in library, precision or device.

    Examples
    --------
    >>> core = Core.random(["2x0e", "3x0e+2x1o", "2x0e+1x1o"], seed=0)
    >>> core
    Core(2x0e ⊗ 3x0e+2x1o → 2x0e+1x1o, 16 parameters)
    >>> dense = core.to_dense()
    >>> dense.shape, bool(abs(core.norm() - np.linalg.norm(dense)) < 1e-12)
    ((2, 9, 5), True)
    """

    __slots__ = ("blocks", "kind", "legs")

    legs: tuple[Irreps, ...]
    blocks: Blocks
    kind: Kind

    def __init__(
        self, legs: Sequence[Irreps | str], blocks: Mapping[Path, Array] | None = None
    ) -> None:
        self.legs = tuple(Irreps(leg) for leg in legs)
        if not 1 <= len(self.legs) <= 3:
            raise CoreError(
                f"a core has one to three legs, got {len(self.legs)}: "
                "write a tensor of higher order as a network of cores"
            )
        given = {path: as_block(block) for path, block in (blocks or {}).items()}
        self.kind = kind_of(*given.values()) if given else Kind()
        self.blocks = Blocks()
        for path in allowed_paths(self.legs):
            shape = self._shape(path)
            block = given.pop(path, None)
            if block is None:
                block = self.kind.zeros(shape)
            elif tuple(block.shape) != shape:
                raise CoreError(
                    f"block {_name(path)}: expected shape {shape} from the legs "
                    f"({', '.join(map(str, self.legs))}), got {tuple(block.shape)}"
                )
            elif not is_finite(block):
                bad = int((~np.isfinite(to_numpy(block))).sum())
                raise CoreError(
                    f"block {_name(path)}: expected finite values, {bad} of "
                    f"{math.prod(shape)} are not"
                )
            self.blocks[path] = self.kind.c_order(block)
        if given:
            raise CoreError(
                f"block {_name(next(iter(given)))} is not allowed between the legs "
                f"({', '.join(map(str, self.legs))}): it needs irreps of these legs that "
                "satisfy |l1 - l2| <= l3 <= l1 + l2 and p1 p2 p3 = +1"
            )

    @classmethod
    def trusted(cls, legs: tuple[Irreps, ...], blocks: dict[Path, Block], kind: Kind) -> Core:
        """Core from blocks that are known to be complete, ordered and of this kind.

        For results of other cores; nothing is checked, which matters in a sweep.
        """
        core = cls.__new__(cls)
        core.legs, core.kind = legs, kind
        core.blocks = Blocks((path, kind.c_order(block)) for path, block in blocks.items())
        return core

    def _shape(self, path: Path) -> tuple[int, ...]:
        return tuple(leg.count(ir) for leg, ir in zip(self.legs, path, strict=True))

    @classmethod
    def random(cls, legs: Sequence[Irreps | str], *, seed: int | np.random.Generator = 0) -> Core:
        """Gaussian core whose dense map from all legs but the last keeps the variance.

        Each entry of the last leg, fed with independent unit-variance inputs on the other
        legs, has unit variance: var(a) = 1 / (number of reduced entries that reach it).
        """
        rng = np.random.default_rng(seed)
        core = cls(legs)
        fan_in: dict[Irrep, int] = {}
        for path, block in core.blocks.items():
            fan_in[path[-1]] = fan_in.get(path[-1], 0) + block[..., 0].size
        return core.replace(
            {
                path: rng.standard_normal(block.shape) / math.sqrt(fan_in[path[-1]])
                for path, block in core.blocks.items()
            }
        )

    @classmethod
    def from_dense(cls, dense: Array, legs: Sequence[Irreps | str]) -> Projection:
        """Project a dense tensor on the equivariant tensors between the legs.

        Parameters
        ----------
        dense : array of shape (legs[0].dim, ...)
        legs : sequence of Irreps or str

        Returns
        -------
        Projection
            The nearest core and the Frobenius norm of what was left out.

        Raises
        ------
        CoreError
            If the shape is not that of the legs, or a value is not finite.
        """
        dense = as_block(dense)
        kind = kind_of(dense)
        empty = cls(legs)
        expected = tuple(leg.dim for leg in empty.legs)
        if tuple(dense.shape) != expected:
            raise CoreError(
                f"dense tensor: expected shape {expected} from the legs "
                f"({', '.join(map(str, empty.legs))}), got {tuple(dense.shape)}"
            )
        if not is_finite(dense):
            raise CoreError("dense tensor: expected finite values, got inf or nan")
        # Contracting with C over all m and dividing by ||C||^2 = 2 l3 + 1 projects.
        blocks = {path: block / path[-1].dim for path, block in empty.pull_back(dense).items()}
        projected = cls.trusted(empty.legs, blocks, kind)
        return Projection(projected, frobenius([dense - projected.to_dense()]))

    def pull_back(self, dense: Array) -> dict[Path, Block]:
        """Adjoint of :meth:`to_dense`: derivative of sum(dense * to_dense()) by each block.

        Parameters
        ----------
        dense : array of shape (legs[0].dim, ...)

        Returns
        -------
        dict of path to array, shaped as the blocks
        """
        kind = kind_of(dense)
        xp, order = kind.xp, self.order
        blocks = {}
        for path in self.blocks:
            shape = [n for r, ir in zip(self._shape(path), path, strict=True) for n in (r, ir.dim)]
            part = xp.reshape(dense[self._dense_index(path)], shape)
            axes = (list(range(1, 2 * order, 2)), list(range(order)))
            blocks[path] = xp.tensordot(part, kind.constant(coupling(path)), axes=axes)
        return blocks

    def to_dense(self) -> Array:
        """Dense tensor of shape (legs[0].dim, ...), irreps expanded over m.

        Raises
        ------
        CoreError
            If there is no memory for it.
        """
        entries = math.prod(leg.dim for leg in self.legs)
        check_memory(entries * self.kind.itemsize, f"the dense tensor of {self!r}")
        xp, order = self.kind.xp, self.order
        dense = self.kind.zeros(tuple(leg.dim for leg in self.legs))
        for path, block in self.blocks.items():
            expanded = xp.tensordot(block, self.kind.constant(coupling(path)), axes=0)
            interleaved = tuple(axis for leg in range(order) for axis in (leg, leg + order))
            shape = [n * ir.dim for n, ir in zip(self._shape(path), path, strict=True)]
            dense[self._dense_index(path)] = xp.reshape(
                xp.permute_dims(expanded, interleaved), shape
            )
        return dense

    def _dense_index(self, path: Path) -> tuple[NDArray[np.int64], ...]:
        return np.ix_(*(leg.indices(ir).ravel() for leg, ir in zip(self.legs, path, strict=True)))

    @property
    def order(self) -> int:
        """Number of legs."""
        return len(self.legs)

    @property
    def n_parameters(self) -> int:
        """Number of reduced entries."""
        return sum(math.prod(block.shape) for block in self.blocks.values())

    def norm(self) -> float:
        """Frobenius norm of the dense tensor, sqrt(sum (2 l + 1) ||block||^2), l the last leg.

        Raises
        ------
        CoreError
            If it is beyond the range of floating point.
        """
        return frobenius(self.blocks.values(), [path[-1].dim for path in self.blocks])

    def scale(self, factor: float) -> Core:
        """The core times a number.

        Raises
        ------
        CoreError
            If the factor is no finite number, or the product is beyond the range of floating point.
        """
        blocks = multiplied(self.blocks, factor, repr(self))
        return Core.trusted(self.legs, blocks, self.kind)

    def unscaled(self) -> tuple[Core, int]:
        """The core with its size taken out as a power of two; see :mod:`etn.tensor.scale`.

        Returns
        -------
        core : Core
            This one, where its size is harmless.
        power : int
            This core is the other one times 2^power.
        """
        blocks, power = unscaled(self.blocks)
        return (Core.trusted(self.legs, blocks, self.kind) if power else self), power

    def rescaled(self, power: int, what: str = "a core") -> Core:
        """The core times 2^power.

        Raises
        ------
        CoreError
            If it is beyond the range of floating point; ``what`` stands in the message.
        """
        if not power:
            return self
        return Core.trusted(self.legs, rescaled(self.blocks, power, what), self.kind)

    def replace(self, blocks: Mapping[Path, Array]) -> Core:
        """Core with the same legs and these blocks."""
        core = Core(self.legs, blocks)
        return core if blocks else core.to(**vars(self.kind))

    def to(
        self, backend: str | None = None, *, dtype: str | None = None, device: str | None = None
    ) -> Core:
        """The same core in another library, precision or place; what is not named stays.

        Parameters
        ----------
        backend : {"numpy", "torch"}, optional
        dtype : {"float64", "float32"}, optional
        device : str, optional
            Such as "cuda"; going to NumPy means going to the CPU.
        """
        kind = converted(self.kind, backend, dtype, device)
        blocks = {path: kind.array(block) for path, block in self}
        return Core.trusted(self.legs, blocks, kind)

    def metric(self) -> NDArray[np.float64]:
        """Weight 2 l3 + 1 of every entry of :meth:`to_vector`, so that ||T||^2 = sum w a^2."""
        return np.concatenate(
            [np.full(math.prod(b.shape), float(path[-1].dim)) for path, b in self] or [np.empty(0)]
        )

    def to_vector(self) -> Array:
        """All reduced entries as one vector, block after block."""
        xp = self.kind.xp
        flat = [xp.reshape(block, (-1,)) for block in self.blocks.values()]
        return xp.concat(flat) if flat else self.kind.zeros((0,))

    def from_vector(self, vector: Array) -> Core:
        """Core with these legs whose :meth:`to_vector` is the given vector."""
        vector = as_block(vector)
        if tuple(vector.shape) != (self.n_parameters,):
            raise CoreError(
                f"expected a vector of {self.n_parameters} entries for {self!r}, "
                f"got shape {tuple(vector.shape)}"
            )
        kind, blocks, at = kind_of(vector), {}, 0
        for path, block in self.blocks.items():
            size = math.prod(block.shape)
            blocks[path] = kind.xp.reshape(vector[at : at + size], tuple(block.shape))
            at += size
        return Core.trusted(self.legs, blocks, kind)

    def __iter__(self) -> Iterator[tuple[Path, Block]]:
        return iter(self.blocks.items())

    def __repr__(self) -> str:
        *inputs, output = map(str, self.legs)
        kind = "" if self.kind == Kind() else f", {self.kind}"
        return f"Core({' ⊗ '.join([*inputs])} → {output}, {self.n_parameters} parameters{kind})"


def embed(core: Core, legs: tuple[Irreps, ...]) -> Core:
    """The core on legs that carry further irreps, with zeros there."""
    empty = Core(legs)
    blocks = {
        path: core.blocks[path] if path in core.blocks else core.kind.zeros(tuple(zero.shape))
        for path, zero in empty
    }
    return Core.trusted(empty.legs, blocks, core.kind)


def converted(kind: Kind, backend: str | None, dtype: str | None, device: str | None) -> Kind:
    """The kind with what is named replaced."""
    backend = backend or kind.backend
    stays = backend == kind.backend
    return Kind(backend, dtype or kind.dtype, device or (kind.device if stays else "cpu"))


def _name(path: Sequence[object]) -> str:
    return "(" + ", ".join(map(str, path)) + ")"
