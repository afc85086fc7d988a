"""What a chain is fed with: leg values of many samples and directions to differentiate along.

The last axis of values is the sample, so that couplings run over contiguous memory.  A
direction is one output row of a linear design: either a sum of chain values over samples or
a derivative of that sum.
"""

from __future__ import annotations

from dataclasses import dataclass

from etn.backend import Array
from etn.o3 import Irrep

Blocks = dict[Irrep, Array]
"""Components of an equivariant vector, one array for each irrep."""


@dataclass(frozen=True)
class Samples:
    """A batch of samples for a chain whose sites all read the same leg.

    Attributes
    ----------
    start : {ir: (multiplicity, 2 l + 1, samples)}
        Values on the first bond.
    site : {ir: (multiplicity, 2 l + 1, samples)}
        Values on the site leg.
    directions : {ir: (2 l + 1, samples, rows, multiplicity)}
        Rows 0..n_sums-1: the site values of the samples that are summed in this row, zero for
        the others.  Further rows: derivatives of the site values.
    n_sums : int
        Number of rows that sum values.
    """

    start: Blocks
    site: Blocks
    directions: Blocks
    n_sums: int

    @property
    def n_samples(self) -> int:
        """Number of samples."""
        return next(iter(self.site.values())).shape[-1]

    @property
    def n_rows(self) -> int:
        """Number of rows, sums and derivatives."""
        return next(iter(self.directions.values())).shape[2]
