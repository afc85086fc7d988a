"""Fitted potentials, labels and losses that the tests of potentials share.

====================  ===========================================================================
fixture               value
====================  ===========================================================================
``crystals``          some frames of molybdenum
``crystal_model``     potential that was fitted to them, with error bars; ridge 1e-2
``alloy_model``       random potential of two elements with error bars; ridge 1e-2
``structures``        function: random frames of two elements, with and without a cell
``random_labels``     function: a frame with random energy and forces
``last_core_rows``    function: change of energies and forces per unknown of the last core
``with_last_core``    function: a potential with error bars and another last core
``labelled``          function: frames with what a potential says as labels
``weighted_loss``     function: the documented loss without ridge and robust weights
``dimer_loss``        function: what the rows of dimers add to it in a sweep after a potential
====================  ===========================================================================

The potentials are made once a session and are values: no test changes them.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from etn.network import Chain
from etn.potential import (
    Baseline,
    Basis,
    Dataset,
    Frame,
    PolynomialPotential,
    fit,
    with_uncertainty,
)
from etn.potential.features.pairs import Pairs
from etn.potential.fitting.close_pairs import PUSH, WEIGHT, dimers
from etn.potential.fitting.labelled import CLOSE
from etn.sweep import Schedule

RIDGE = 1e-2


@pytest.fixture(scope="session")
def crystals():
    return Dataset.read("etn:Mo/train", index="3::12")


@pytest.fixture(scope="session")
def crystal_model(crystals):
    start = PolynomialPotential(
        Basis.for_dataset(crystals, r_max=4.0, n_max=4, l_max=2),
        body_order=4,
        max_bond=2,
        baseline=Baseline.fit(crystals),
    )
    # Plain squares: a robust fit has weights of its own, which with_uncertainty does not know.
    schedule = Schedule(max_sweeps=1)
    return fit(start, crystals, ridge=RIDGE, schedule=schedule, robust=None).model


@pytest.fixture(scope="session")
def alloy_model():
    """Two elements and frames with and without a cell."""
    rng = np.random.default_rng(4)
    basis = Basis(("Mo", "W"), r_max=4.0, n_max=2, l_max=2, r_min=1.5)
    potential = PolynomialPotential(basis, body_order=4, max_bond=2)
    potential = potential.with_chain(
        Chain.random([basis.leg] * 3, start=basis.start, max_bond=potential.max_bond, seed=1)
    )
    data = Dataset([random_labels(frame, rng) for frame in structures(rng, 12)])
    return with_uncertainty(potential, data, ridge=RIDGE)


def structures(rng, n):
    grid = np.array([[i, j, k] for i in range(2) for j in range(2) for k in range(2)]) * 2.7
    cell = 5.4 * np.eye(3)
    return [
        Frame(
            rng.choice([42, 74], 8),
            grid + rng.normal(scale=0.2, size=grid.shape),
            cell if k % 2 else np.zeros((3, 3)),
            [bool(k % 2)] * 3,
        )
        for k in range(n)
    ]


@pytest.fixture(name="structures")
def _structures():
    return structures


def random_labels(frame, rng):
    forces = rng.normal(size=(frame.n_atoms, 3))
    return replace(frame, energy=float(rng.normal()), forces=forces)


@pytest.fixture(name="random_labels")
def _random_labels():
    return random_labels


def with_last_core(model, vector):
    """The model whose last core, in the gauge of the uncertainty, is another one."""
    chain = model.uncertainty.chain
    return model.with_chain(chain.replace(len(chain) - 1, chain[-1].from_vector(vector)))


@pytest.fixture(name="with_last_core")
def _with_last_core():
    return with_last_core


@pytest.fixture
def last_core_rows():
    def rows(model, frames):
        """Change of weighted energies, forces and strains per unknown, by finite differences."""
        at = model.uncertainty.chain[-1].to_vector()

        def values(vector):
            found = with_last_core(model, vector).predict(frames)
            return np.concatenate([[p.energy, *p.forces.ravel()] for p in found])

        # The energy is linear in the core: a difference of any size is exact.
        base = values(np.zeros_like(at))
        return np.stack([values(axis) - base for axis in np.eye(len(at))], axis=1)

    return rows


@pytest.fixture
def labelled():
    def label(frames, potential):
        out = []
        for frame, p in zip(frames, potential.predict(frames), strict=True):
            stress = p.stress if frame.pbc.all() else None
            labels = {"energy": p.energy, "forces": p.forces, "stress": stress}
            out.append(replace(frame, **labels))
        return Dataset(out)

    return label


@pytest.fixture
def dimer_loss():
    def forces(model):
        frames = dimers(model.basis)
        bare = model.baseline.evaluate(
            Pairs.find(frames, model.elements, model.r_max),
            model.elements,
            model.r_max,
            model.inner,
        )[1]
        return np.concatenate([p.forces for p in model.predict(frames)]) - bare

    def loss_of(model, before=None, error=CLOSE):
        target = np.zeros((2 * len(dimers(model.basis)), 3))
        target[:, 2] = np.resize([-PUSH, PUSH], len(target))
        excess = np.ones(len(target))
        if before is not None:  # what pushed harder before the sweep should go on, with less weight
            excess = np.maximum(forces(before)[:, 2] / target[:, 2], 1.0)
        residuals = forces(model) - target * excess[:, None]
        weight = WEIGHT * min(error / CLOSE, 1.0)  # by the error of forces before the sweep
        return np.sum((weight * residuals / excess[:, None]) ** 2)

    return loss_of


@pytest.fixture
def weighted_loss():
    def loss_of(model, data, weights):
        loss = 0.0
        stress = weights.DEFAULT_STRESS if weights.stress is None else weights.stress
        for frame, p in zip(data, model.predict(data), strict=True):
            n = frame.n_atoms
            if frame.energy is not None:
                loss += (weights.energy * (p.energy - frame.energy)) ** 2 / n
            if frame.forces is not None:
                loss += np.sum((weights.forces * (p.forces - frame.forces)) ** 2)
            if frame.stress is not None:
                loss += np.sum((stress * (p.stress - frame.stress) * frame.volume / n) ** 2)
        return loss

    return loss_of
