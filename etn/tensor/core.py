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
from itertools import product
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from etn.errors import CoreError
from etn.o3 import Irrep, Irreps, clebsch_gordan

Path = tuple[Irrep, ...]
Block = NDArray[np.float64]


def coupling(path: Path) -> Block:
    """Structural tensor of a path: 1, the identity or the isometric Clebsch-Gordan tensor.

    Parameters
    ----------
    path : tuple of Irrep
        One to three irreps, one a leg.

    Returns
    -------
    array of shape (2 l1 + 1, ...)
        Contracted over all legs but the last with itself it is the identity.

    Examples
    --------
    >>> from etn.o3 import Irrep
    >>> coupling((Irrep("1o"), Irrep("1o"))).shape
    (3, 3)
    """
    if len(path) == 1:
        return np.ones(1)
    if len(path) == 2:
        return np.eye(path[0].dim)
    return clebsch_gordan(path[0].l, path[1].l, path[2].l)


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
    return [path for path in product(*(sorted(leg.unique) for leg in legs)) if is_allowed(path)]


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
        Reduced arrays; the array of path (ir1, ir2, ir3) has shape
        (legs[0].count(ir1), legs[1].count(ir2), legs[2].count(ir3)).
        Allowed paths that are missing are zero.

    Raises
    ------
    CoreError
        If a path is forbidden by the selection rules or a block has another shape.

    Examples
    --------
    >>> core = Core.random(["2x0e", "3x0e+2x1o", "2x0e+1x1o"], seed=0)
    >>> core
    Core(2x0e ⊗ 3x0e+2x1o → 2x0e+1x1o, 16 parameters)
    >>> dense = core.to_dense()
    >>> dense.shape, bool(abs(core.norm() - np.linalg.norm(dense)) < 1e-12)
    ((2, 9, 5), True)
    """

    __slots__ = ("blocks", "legs")

    legs: tuple[Irreps, ...]
    blocks: dict[Path, Block]

    def __init__(
        self, legs: Sequence[Irreps | str], blocks: Mapping[Path, ArrayLike] | None = None
    ) -> None:
        self.legs = tuple(Irreps(leg) for leg in legs)
        if not 1 <= len(self.legs) <= 3:
            raise CoreError(
                f"a core has one to three legs, got {len(self.legs)}: "
                "write a tensor of higher order as a network of cores"
            )
        given = {path: np.asarray(block) for path, block in (blocks or {}).items()}
        self.blocks = {}
        for path in allowed_paths(self.legs):
            shape = self._shape(path)
            block = given.pop(path, None)
            if block is None:
                block = np.zeros(shape)
            elif block.shape != shape:
                raise CoreError(
                    f"block {_name(path)}: expected shape {shape} from the legs "
                    f"({', '.join(map(str, self.legs))}), got {block.shape}"
                )
            self.blocks[path] = block
        if given:
            raise CoreError(
                f"block {_name(next(iter(given)))} is not allowed between the legs "
                f"({', '.join(map(str, self.legs))}): it needs irreps of these legs that "
                "satisfy |l1 - l2| <= l3 <= l1 + l2 and p1 p2 p3 = +1"
            )

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
    def from_dense(cls, dense: ArrayLike, legs: Sequence[Irreps | str]) -> Projection:
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
            If the shape is not that of the legs.
        """
        core = cls(legs)
        dense = np.asarray(dense, dtype=float)
        expected = tuple(leg.dim for leg in core.legs)
        if dense.shape != expected:
            raise CoreError(
                f"dense tensor: expected shape {expected} from the legs "
                f"({', '.join(map(str, core.legs))}), got {dense.shape}"
            )
        blocks = {}
        for path in core.blocks:
            shape = [n for r, ir in zip(core._shape(path), path, strict=True) for n in (r, ir.dim)]
            part = dense[core._dense_index(path)].reshape(shape)
            # Contracting with C over all m and dividing by ||C||^2 = 2 l3 + 1 projects.
            m_axes = list(range(1, 2 * core.order, 2))
            blocks[path] = (
                np.tensordot(part, coupling(path), (m_axes, list(range(core.order)))) / path[-1].dim
            )
        projected = core.replace(blocks)
        return Projection(projected, float(np.linalg.norm(dense - projected.to_dense())))

    def to_dense(self) -> Block:
        """Dense tensor of shape (legs[0].dim, ...), irreps expanded over m."""
        dense = np.zeros(tuple(leg.dim for leg in self.legs))
        for path, block in self.blocks.items():
            expanded = np.multiply.outer(block, coupling(path))
            order = len(path)
            interleaved = [axis for leg in range(order) for axis in (leg, leg + order)]
            dense[self._dense_index(path)] = expanded.transpose(interleaved).reshape(
                [leg.count(ir) * ir.dim for leg, ir in zip(self.legs, path, strict=True)]
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
        return sum(block.size for block in self.blocks.values())

    def norm(self) -> float:
        """Frobenius norm of the dense tensor, sqrt(sum (2 l + 1) ||block||^2), l the last leg."""
        return math.sqrt(
            sum(path[-1].dim * float(np.vdot(b, b)) for path, b in self.blocks.items())
        )

    def replace(self, blocks: Mapping[Path, ArrayLike]) -> Core:
        """Core with the same legs and these blocks."""
        return Core(self.legs, blocks)

    def metric(self) -> Block:
        """Weight 2 l3 + 1 of every entry of :meth:`to_vector`, so that ||T||^2 = sum w a^2."""
        return np.concatenate(
            [np.full(b.size, float(path[-1].dim)) for path, b in self.blocks.items()]
            or [np.empty(0)]
        )

    def to_vector(self) -> Block:
        """All reduced entries as one vector, block after block."""
        return np.concatenate([b.ravel() for b in self.blocks.values()] or [np.empty(0)])

    def from_vector(self, vector: ArrayLike) -> Core:
        """Core with these legs whose :meth:`to_vector` is the given vector."""
        vector = np.asarray(vector)
        if vector.shape != (self.n_parameters,):
            raise CoreError(
                f"expected a vector of {self.n_parameters} entries for {self!r}, "
                f"got shape {vector.shape}"
            )
        blocks, at = {}, 0
        for path, block in self.blocks.items():
            blocks[path] = vector[at : at + block.size].reshape(block.shape)
            at += block.size
        return self.replace(blocks)

    def __iter__(self) -> Iterator[tuple[Path, Block]]:
        return iter(self.blocks.items())

    def __repr__(self) -> str:
        *inputs, output = map(str, self.legs)
        return f"Core({' ⊗ '.join([*inputs])} → {output}, {self.n_parameters} parameters)"


def _name(path: Path) -> str:
    return "(" + ", ".join(map(str, path)) + ")"
