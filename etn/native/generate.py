"""Write ``include/etn/couplings.hpp``: the Clebsch-Gordan tensors that the evaluator is built of.

    python -m etn.native.generate

A triple of degrees l1 <= l2 <= l3 has one tensor w of norm one, invariant under rotations, which
serves all orders of the legs: as far as :func:`etn.tensor.coupling` is concerned they differ by a
factor.  Components that are zero are left out.
"""

from __future__ import annotations

from itertools import combinations_with_replacement
from pathlib import Path

import numpy as np

from etn.o3 import Irrep
from etn.tensor import coupling

__all__ = ["MAX_DEGREE", "header"]

MAX_DEGREE = 6
PATH = Path(__file__).parent / "include" / "etn" / "couplings.hpp"

HEAD = """// Written by etn/native/generate.py.
//
// ETN_TRIPLES(F) is F(l1, l2, l3) for all degrees l1 <= l2 <= l3 that couple, up to ETN_MAX_DEGREE,
// ETN_COUPLING_l1_l2_l3(F) F(m1, m2, m3, w) for the components of their tensor that are not zero.
#pragma once
"""


def header() -> str:
    """The text of the header."""
    triples = [
        (a, b, c)
        for a, b, c in combinations_with_replacement(range(MAX_DEGREE + 1), 3)
        if c <= a + b
    ]
    lines = [HEAD, f"#define ETN_MAX_DEGREE {MAX_DEGREE}", "", "#define ETN_TRIPLES(F) \\"]
    lines += [f"  F({a}, {b}, {c}) \\" for a, b, c in triples]
    lines.append("")
    for triple in triples:
        # Parity has no part in the numbers.
        tensor = coupling(tuple(Irrep(l, 1) for l in triple))
        tensor = np.asarray(tensor) / np.sqrt(2 * triple[2] + 1)
        lines.append("#define ETN_COUPLING_{}_{}_{}(F) \\".format(*triple))
        lines += [
            f"  F({i}, {j}, {k}, {tensor[i, j, k]:.17g}) \\"
            for i, j, k in np.argwhere(np.abs(tensor) > 1e-12).tolist()
        ]
        lines.append("")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PATH.write_text(header(), encoding="utf-8")
