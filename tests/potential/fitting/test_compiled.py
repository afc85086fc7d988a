"""A fit by compiled rows beside one by NumPy."""

from __future__ import annotations

import numpy as np
import pytest

from etn.native import is_built
from etn.network import Chain
from etn.potential import Baseline, Basis, Dataset, PolynomialPotential, fit
from etn.potential.fitting import compiled
from etn.potential.fitting.compiled import CompiledChains
from etn.sweep import Schedule

pytestmark = pytest.mark.skipif(not is_built(), reason="the compiled evaluator was not built")


@pytest.fixture(scope="module")
def data():
    return Dataset.read("etn:NbMoTaW/train", index="::60")


def fitted(data, **options):
    basis = Basis.for_dataset(data, r_max=4.0, n_max=4, l_max=2)
    model = PolynomialPotential(
        basis, body_order=4, max_bond=(3, 2, 1), baseline=Baseline.fit(data, r_max=4.0)
    )
    return fit(model, data, schedule=Schedule(max_sweeps=2), seed=0, **options)


@pytest.mark.parametrize("options", [{}, {"robust": "huber"}, {"refine": 1}])
def test_it_is_the_fit_by_numpy(data, options, monkeypatch):
    one = fitted(data, **options)
    monkeypatch.setenv("ETN_NATIVE", "0")
    two = fitted(data, **options)
    assert len(one.records) == len(two.records)
    for mine, other in zip(one.records, two.records, strict=True):
        assert mine.loss == pytest.approx(other.loss, rel=1e-6)
    errors = [report.model.evaluate(data) for report in (one, two)]
    assert errors[0].forces.rmse == pytest.approx(errors[1].forces.rmse, rel=1e-4)


def test_pairs_of_cores(data, monkeypatch):
    basis = Basis.for_dataset(data, r_max=4.0, n_max=3, l_max=1)
    model = PolynomialPotential(basis, body_order=4, max_bond=(2, 1))
    losses = []
    for native in ("1", "0"):
        monkeypatch.setenv("ETN_NATIVE", native)
        report = fit(model, data, schedule=Schedule(max_sweeps=1, sites=2), seed=0)
        losses.append([record.loss for record in report.records])
    # More unknowns than rows in the end: what is left of the loss depends on the last digits.
    assert np.allclose(losses[0][0], losses[1][0], rtol=1e-6)
    assert np.allclose(losses[0], losses[1], rtol=0.02)


def test_chains_without_an_evaluator(data, monkeypatch):
    basis = Basis.for_dataset(data, r_max=4.0, n_max=3, l_max=1)
    chains = CompiledChains(basis)
    chain = Chain.random([basis.leg] * 2, start=basis.start, max_bond=2, seed=0)
    assert chains.of(chain) is chains.of(chain) is not None
    monkeypatch.setattr(compiled, "MAX_BOND", 1)
    assert chains.of(Chain.random([basis.leg] * 2, start=basis.start, max_bond=2, seed=1)) is None
    monkeypatch.setenv("ETN_NATIVE", "0")
    assert chains.of(chain) is None
