"""Frames with random labels, and wrong labels among right ones.

==============  =================================================================================
fixture         value
==============  =================================================================================
``data``        four frames of ``make_frame``
``basis``       a basis for them
``chain``       a random chain of three sites over this basis, canonical around its second
``baseline``    a baseline for them, with repulsion
``wrong``       function: data with some wrong labels, and which
``mo``          a third of the embedded frames of molybdenum
``potential``   function: a potential for data such as these, not fitted
==============  =================================================================================
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from etn.network import Chain
from etn.potential import Baseline, Basis, Dataset, PolynomialPotential


@pytest.fixture
def data(rng, make_frame):
    return Dataset([make_frame(rng, n) for n in (3, 9, 5, 1)])


@pytest.fixture
def basis():
    return Basis(("Cu", "Mo"), r_max=3.0, n_max=3, l_max=2, r_min=0.8)


@pytest.fixture
def chain(basis):
    return Chain.random([basis.leg] * 3, start=basis.start, max_bond=2, seed=1).canonicalize(1)


@pytest.fixture
def baseline():
    return Baseline({"Cu": -1.0, "Mo": 2.0}, zbl=True)


def wrong(data, *, seed=0, shift=0.5):
    """2 % of the energies shifted (eV/atom), 1 % of the force vectors replaced by others."""
    rng = np.random.default_rng(seed)
    frames = list(data)
    chosen = sorted(rng.choice(len(frames), max(1, round(0.02 * len(frames))), replace=False))
    for index in chosen:
        frame = frames[index]
        frames[index] = replace(frame, energy=frame.energy + shift * frame.n_atoms)
    forces = np.concatenate([frame.forces for frame in frames])
    replaced = rng.random(len(forces)) < 0.01
    forces[replaced] = 3.0 * rng.normal(size=(int(replaced.sum()), 3))
    parts = np.split(forces, np.cumsum([frame.n_atoms for frame in frames])[:-1])
    dirty = Dataset(replace(f, forces=part) for f, part in zip(frames, parts, strict=True))
    return dirty, [dirty[int(index)].name for index in chosen], replaced


@pytest.fixture(name="wrong", scope="session")
def _wrong():
    return wrong


@pytest.fixture(scope="session")
def mo():
    return Dataset.read("etn:Mo/train", index="::3")


# Large enough for the hardest collision of the data: with fewer radial functions its forces would
# be off by a third, and doubted with some reason.
SIZE = {"body_order": 3, "max_bond": 3}


def potential(data):
    basis = Basis.for_dataset(data, r_max=5.2, n_max=6, l_max=2)
    return PolynomialPotential(basis, **SIZE, baseline=Baseline.fit(data))


@pytest.fixture(name="potential", scope="session")
def _potential():
    return potential
