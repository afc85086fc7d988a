"""A small basis, and frames with and without neighbours through several images.

============  ===================================================================================
fixture       value
============  ===================================================================================
``basis``     basis of copper, molybdenum and tungsten, in this order
``frame_of``  function: four atoms of some elements as a "cluster", a "slab" or in a "small" cell
============  ===================================================================================
"""

from __future__ import annotations

import numpy as np
import pytest

from etn.potential import Basis, Frame

ELEMENTS = ("Cu", "Mo", "W")


CELLS = {
    "cluster": (np.zeros((3, 3)), (False, False, False)),
    "slab": (np.diag([3.1, 3.4, 20.0]), (True, True, False)),
    # Smaller than r_max: atoms see their own images, and neighbours through several images.
    "small": (np.array([[2.9, 0.2, 0.1], [0.0, 3.0, 0.3], [0.4, -0.1, 3.2]]), (True, True, True)),
}


@pytest.fixture
def basis():
    return Basis(ELEMENTS, r_max=4.0, n_max=3, l_max=3, r_min=1.5, scale=1.7, smoothness=0.8)


def frame_of(kind, elements=ELEMENTS, *, name=""):
    cell, pbc = CELLS[kind]
    numbers = [{"Cu": 29, "Mo": 42, "W": 74}[elements[k % len(elements)]] for k in (0, 1, 2, 1)]
    positions = [[0.1, 0.0, 0.2], [1.5, 1.6, 0.1], [0.1, 1.5, 1.8], [1.6, 0.2, 1.7]]
    return Frame(numbers, positions, cell, pbc, name=name)


@pytest.fixture(name="frame_of")
def _frame_of():
    return frame_of
