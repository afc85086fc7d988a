"""Structures in other coordinates.

===========  ====================================================================================
fixture      value
===========  ====================================================================================
``copied``   function: the same structure turned, shifted, wrapped and in another order
===========  ====================================================================================
"""

from __future__ import annotations

import numpy as np
import pytest

from etn.data import Frame
from etn.o3 import random_rotation


@pytest.fixture(scope="session")
def copied():
    def copy(one: Frame, seed: int, digits: int = 6) -> Frame:
        """The same structure: turned, shifted, wrapped, in another order, rounded as in a file."""
        rng = np.random.default_rng(seed)
        rotation = random_rotation(rng, reflect=bool(seed % 2))
        order = rng.permutation(one.n_atoms)
        shift = 20 * rng.normal(size=3)
        images = rng.integers(-2, 3, size=(one.n_atoms, 3)) * one.pbc
        positions = (one.positions + images @ one.cell)[order] @ rotation.T + shift
        return Frame(
            one.numbers[order], positions.round(digits), (one.cell @ rotation.T).round(8), one.pbc
        )

    return copy
