"""Rows of a regression in batches: the one place that maps over them and adds up.

A data set has more rows than memory, so a batch need not be there: a function may stand for it,
which is called when its turn comes, and whose result nobody keeps.  Whatever a sweep asks of the
data is a sum over the batches,

    sum_b f(b),

of losses, slopes or normal equations.  Each thread adds up what its share of the batches gives,
and the parts are added from the first to the last.  The order of the additions, and so the last
bit of the sum, depends on the number of threads and on nothing else.

What is mapped are functions of a module, with values bound to them by ``functools.partial``, and
what comes back is a value that can be added: both can be pickled if the batches can, so a share
may as well be worked on by another process.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial, reduce
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np

from etn.backend import FloatArray as Array
from etn.network import left_environment, right_environment
from etn.network.derivatives import BatchRows
from etn.sweep.threads import share

if TYPE_CHECKING:
    from etn.network import Chain, Samples
    from etn.network.design import CoreDesign
    from etn.tensor import Core

WeightedRows = tuple[Array, Array]
"""Weighted rows (rows, columns) of a linear problem and their weighted targets (rows,)."""

Value = TypeVar("Value")
Result = TypeVar("Result")


class Batch:
    """Samples with a target and a weight for each of their rows.

    A kind of batch that knows a faster way to the rows of a chain, and to products with them,
    overrides these.

    Parameters
    ----------
    samples : Samples
    targets : (rows,)
    weights : (rows,)
        The square root of what multiplies the squared residual.
    """

    def __init__(self, samples: Samples, targets: Array, weights: Array) -> None:
        self._samples, self.targets, self.weights = samples, targets, weights

    @property
    def samples(self) -> Samples:
        """What the chain is fed with."""
        return self._samples

    def __iter__(self) -> Iterator[Any]:
        """Samples, targets and weights."""
        return iter((self.samples, self.targets, self.weights))

    def rows(
        self, chain: Chain, design: CoreDesign, site: int, weights: Array | None = None
    ) -> Array:
        """Rows of the design of the core at a site, times weights if given: (rows, columns)."""
        samples = self.samples
        left = left_environment(chain.cores[:site], samples, jacobian=True)
        right = right_environment(chain.cores[site + 1 :], samples, jacobian=True)
        rows = design.rows(samples, left, right)
        return rows if weights is None else np.multiply(rows, weights[:, None], out=rows)

    def values(self, chain: Chain) -> Array:
        """What the chain says, (rows,)."""
        return BatchRows(chain, self.samples).values

    def operations(self, chain: Chain) -> float:
        """Multiply-adds of a product with the rows of a core and their transpose, where known."""
        return math.inf

    def push(self, chain: Chain, moved: Sequence[Chain]) -> Array:
        """Derivatives of the rows along a change of all cores, (rows,): J v.

        Parameters
        ----------
        moved : sequence of Chain
            For each site the chain with the change of its core in place of the core.
        """
        return BatchRows(chain, self.samples).push([each[k] for k, each in enumerate(moved)])

    def pull(
        self, chain: Chain, weights: Array, designs: Mapping[int, CoreDesign]
    ) -> dict[int, Core]:
        """Derivatives of the weighted sum of the rows by the entries of cores: J^T r.

        Parameters
        ----------
        weights : (rows,)
        designs : mapping of int to CoreDesign
            Of the cores that are wanted, by their sites.
        """
        gradients = BatchRows(chain, self.samples).pull(weights)
        return {site: gradients[site] for site in designs}


class Batches(Generic[Value]):
    """Values that are ready or built when needed, shared among threads.

    Parameters
    ----------
    sources : iterable
        Of values, none of them callable, or of functions without arguments that build one.  In
        a thread one built value is in memory at a time.
    threads : int, optional
        Most threads to use; by default as many as the BLAS may use.

    Examples
    --------
    >>> import math
    >>> numbers = Batches([1.0, lambda: 2.0, 3.0])
    >>> list(numbers), numbers.map(math.sqrt).sum(0.0) == 1 + math.sqrt(2) + math.sqrt(3)
    ([1.0, 2.0, 3.0], True)
    """

    def __init__(
        self, sources: Iterable[Value | Callable[[], Value]], *, threads: int | None = None
    ) -> None:
        self.sources = list(sources)
        self.threads = threads

    def __len__(self) -> int:
        return len(self.sources)

    def __iter__(self) -> Iterator[Value]:
        """One value after another, in this thread."""
        return map(_ready, self.sources)

    def map(self, function: Callable[[Value], Result]) -> Batches[Result]:
        """What a function makes of each value, built when needed."""
        sources = [partial(_apply, function, source) for source in self.sources]
        return Batches(sources, threads=self.threads)

    def collect(self) -> list[Value]:
        """All values in their order, built by the threads.

        Examples
        --------
        >>> Batches([1, 2, 3]).map(str).collect()
        ['1', '2', '3']
        """
        parts = share(partial(_of_share, list), self.sources, most=self.threads)
        values: list[Value | None] = [None] * len(self.sources)
        for first, part in enumerate(parts):
            values[first :: len(parts)] = part
        return values  # type: ignore[return-value]

    def sum(self, zero: Value, add: Callable[[Value, Value], Value] = operator.add) -> Value:
        """Sum of the values.

        Parameters
        ----------
        zero : Value
            What the sum of each thread starts from; it is not changed.
        add : callable, optional
            Returns a new value.
        """
        return self.fold(partial(_sum, zero, add), add=add)

    def fold(
        self,
        part: Callable[[Iterator[Value]], Result],
        *,
        most: int | None = None,
        add: Callable[[Result, Result], Result] = operator.iadd,
    ) -> Result:
        """Sum of what threads make of their shares.

        Parameters
        ----------
        part : callable
            Called in each thread with an iterator over the values of its share.
        most : int, optional
            Most threads to use, if these are fewer.
        add : callable, optional
            Adds the second result to the first, which it may change: by default ``+=``.
        """
        limits = [limit for limit in (most, self.threads) if limit is not None]
        parts = share(partial(_of_share, part), self.sources, most=min(limits, default=None))
        return reduce(add, parts)


def _ready(source: Value | Callable[[], Value]) -> Value:
    return source() if callable(source) else source


def _apply(function: Callable[[Value], Result], source: Value | Callable[[], Value]) -> Result:
    return function(_ready(source))


def _of_share(
    part: Callable[[Iterator[Value]], Result], sources: Iterator[Value | Callable[[], Value]]
) -> Result:
    return part(map(_ready, sources))


def _sum(zero: Value, add: Callable[[Value, Value], Value], values: Iterator[Value]) -> Value:
    return reduce(add, values, zero)
