"""ChainRegressor: planted teachers with default options, forms of X, scikit-learn's contract."""

from __future__ import annotations

import numpy as np
import pytest

from etn.errors import CoreError, DataError, SettingsError
from etn.network import Chain
from etn.o3 import Irreps, irreps_d
from etn.sweep import Schedule
from etn.sweep.callbacks import Callback
from etn.sweep.regression.estimator import ChainRegressor
from etn.testing import dense_value

LEG = "2x0e+2x1o"


def planted(seed, *, shared, out="0e", n=1500, n_sites=4):
    rng = np.random.default_rng(seed)
    teacher = Chain.random([LEG] * n_sites, out=out, max_bond=2, seed=rng)

    def draw(n):
        shape = (n, Irreps(LEG).dim) if shared else (n, n_sites, Irreps(LEG).dim)
        x = rng.normal(size=shape)
        legs = [x.T] * n_sites if shared else [x[:, k].T for k in range(n_sites)]
        y = dense_value(teacher, [np.ones((1, n)), *legs]).T
        return x, y[:, 0] if y.shape[1] == 1 else y

    return draw(n), draw(400)


def error(model, test):
    x, y = test
    return np.linalg.norm(model.predict(x) - y) / np.linalg.norm(y)


@pytest.mark.parametrize("seed", range(5))
def test_distinct_features_give_the_planted_bonds(seed):
    train, test = planted(seed, shared=False)
    model = ChainRegressor(LEG, 4, seed=seed).fit(*train)
    assert error(model, test) < 1e-9
    assert [str(bond) for bond in model.chain_.bonds] == [LEG] * 3


@pytest.mark.slow
@pytest.mark.parametrize("max_bond", [4, LEG])
def test_shared_features_with_one_start(max_bond):
    errors = []
    for seed in range(10):
        train, test = planted(seed, shared=True)
        errors.append(error(ChainRegressor(LEG, 4, max_bond=max_bond, seed=seed).fit(*train), test))
    # Ten of ten when this was written.
    assert sum(e < 1e-6 for e in errors) >= 8


@pytest.mark.slow
def test_shared_features_at_six_sites():
    """Harder: joint refinement may end in a local minimum, and more starts help."""
    errors = []
    for seed in range(4):
        train, test = planted(seed, shared=True, n=2000, n_sites=6)
        errors.append(error(ChainRegressor(LEG, 6, max_bond=LEG, n_starts=3).fit(*train), test))
    assert sum(e < 1e-6 for e in errors) >= 3


@pytest.mark.parametrize("out", ["1o", "2e", "1x2e+2x0e+1x1o"])
def test_vector_targets_and_turned_inputs(out, orthogonal):
    (x, y), (x_test, y_test) = planted(0, shared=True, out=out, n=600, n_sites=3)
    model = ChainRegressor(LEG, 3, out=out).fit(x, y)
    assert error(model, (x_test, y_test)) < 1e-8
    assert model.predict(x_test).shape == y_test.shape
    D = irreps_d(LEG, orthogonal), irreps_d(out, orthogonal)
    np.testing.assert_allclose(
        model.predict(x_test @ D[0].T), model.predict(x_test) @ D[1].T, rtol=1e-10, atol=1e-10
    )
    assert model.score(x_test @ D[0].T, y_test @ D[1].T) == pytest.approx(1.0)


def test_all_forms_of_distinct_features_are_one():
    (x, y), _ = planted(1, shared=False, n=300, n_sites=3)
    forms = [x, [x[:, k] for k in range(3)], x.reshape(len(x), -1)]
    predictions = [
        ChainRegressor([LEG] * 3, max_bond=2, seed=2).fit(form, y).predict(form) for form in forms
    ]
    for other in predictions[1:]:
        np.testing.assert_array_equal(other, predictions[0])


def test_legs_of_different_irreps_side_by_side(rng):
    legs = ["1x1o", "2x0e", "1x1o+1x0e"]
    x = rng.normal(size=(200, 9))
    y = x[:, 3] * np.sum(x[:, :3] * x[:, 5:8], axis=1)
    model = ChainRegressor(legs).fit(x, y)
    assert model.n_features_in_ == 9
    assert model.score(x, y) == pytest.approx(1.0)
    parts = [x[:, :3], x[:, 3:5], x[:, 5:]]
    np.testing.assert_array_equal(model.predict(parts), model.predict(x))


def test_it_is_lstsq_for_one_site(rng):
    x, y = rng.normal(size=(50, 3)), rng.normal(size=50)
    w = rng.uniform(0.5, 2.0, size=50)
    model = ChainRegressor("3x0e", 1, ridge=0.7).fit(x, y, sample_weight=w)
    a = np.linalg.solve((x.T * w) @ x + 0.7 * np.eye(3), (x.T * w) @ y)
    np.testing.assert_allclose(model.predict(x), x @ a, rtol=1e-10)
    assert model.loss_ == pytest.approx(w @ (y - x @ a) ** 2 + 0.7 * a @ a)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_torch_in_torch_out(dtype):
    torch = pytest.importorskip("torch")
    (x, y), (x_test, y_test) = planted(2, shared=True, n=400, n_sites=3)
    x, y, x_test = (torch.tensor(a, dtype=getattr(torch, dtype)) for a in (x, y, x_test))
    model = ChainRegressor(LEG, 3).fit(x, y)
    found = model.predict(x_test)
    assert isinstance(found, torch.Tensor)
    assert found.dtype == x.dtype
    difference = np.linalg.norm(found.numpy() - y_test) / np.linalg.norm(y_test)
    assert difference < {"float64": 1e-9, "float32": 1e-3}[dtype]
    assert model.score(x, y) == pytest.approx(1.0, abs=1e-5)
    with pytest.raises(CoreError, match="kind"):
        model.predict(x_test.numpy())


def test_the_report_is_honest_about_truncation():
    train, _ = planted(3, shared=True)
    schedule = Schedule(sites=2, max_bond=LEG, max_sweeps=2)
    model = ChainRegressor(LEG, 4, schedule=schedule, refine=False).fit(*train)
    last = model.report_.records[-1]
    assert last.measures["truncated"] == pytest.approx(model.loss_)
    assert last.loss < 1e-12 * model.loss_
    assert "truncated" in str(model.report_)
    assert model.refinement_ is None
    assert model.chain_ is model.report_.chain


def test_the_best_start_is_kept():
    (x, y), _ = planted(4, shared=True, n=200)
    y = y + np.random.default_rng(0).normal(size=len(y)) * np.std(y)
    options = {"schedule": Schedule(max_sweeps=1), "refine": False, "max_bond": 1}
    losses = [
        ChainRegressor(LEG, 4, n_starts=n, seed=3, **options).fit(x, y).loss_ for n in (1, 2, 3, 6)
    ]
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < losses[0]
    again = ChainRegressor(LEG, 4, n_starts=6, seed=3, **options).fit(x, y)
    assert again.loss_ == losses[-1]


class Interrupt(Callback):
    def on_sweep(self, state):
        raise KeyboardInterrupt


def test_an_interrupted_fit_leaves_the_estimator_as_it_was():
    (x, y), _ = planted(5, shared=True, n=200, n_sites=2)
    model = ChainRegressor(LEG, 2).fit(x, y)
    before = dict(vars(model))
    with pytest.raises(KeyboardInterrupt):
        model.set_params(callbacks=[Interrupt()]).fit(x, 2 * y)
    assert {**vars(model), "callbacks": ()} == before


def test_parameters():
    model = ChainRegressor(LEG, 4, ridge=0.1)
    params = model.get_params()
    assert params["sites"] is model.sites
    assert params["ridge"] == 0.1
    assert ChainRegressor(**params).get_params() == params
    assert model.set_params(ridge=0.2, out="1o") is model
    assert (model.ridge, model.out) == (0.2, "1o")
    assert repr(model) == "ChainRegressor(sites='2x0e+2x1o', n_sites=4, out='1o', ridge=0.2)"
    with pytest.raises(SettingsError, match="got 'rigde'"):
        model.set_params(rigde=0.1)


def test_scikit_learn_can_use_it(rng):
    sklearn = pytest.importorskip("sklearn.base")
    selection = pytest.importorskip("sklearn.model_selection")
    metrics = pytest.importorskip("sklearn.metrics")
    (x, y), _ = planted(6, shared=True, n=300, n_sites=2)
    model = ChainRegressor(Irreps(LEG), 2, max_bond=Irreps(LEG), ridge=1e-8)
    copy = sklearn.clone(model)
    assert copy.get_params() == model.get_params()
    assert sklearn.is_regressor(model)
    assert selection.cross_val_score(model, x, y, cv=3).min() > 1 - 1e-9
    search = selection.GridSearchCV(model, {"ridge": [1e-8, 1e6]}, cv=3).fit(x, y)
    assert search.best_params_ == {"ridge": 1e-8}
    noisy, w = y + rng.normal(size=len(y)), rng.uniform(size=len(y))
    expected = metrics.r2_score(noisy, search.predict(x), sample_weight=w)
    assert search.best_estimator_.score(x, noisy, sample_weight=w) == pytest.approx(expected)


X = np.ones((6, 8))


@pytest.mark.parametrize(
    ("params", "inputs", "targets", "error", "message"),
    [
        ({"sites": LEG}, X, np.ones(6), SettingsError, "n_sites: expected at least 1 .* got None"),
        ({"sites": [LEG], "n_sites": 2}, X, np.ones(6), SettingsError, "n_sites: expected 1"),
        ({"n_starts": 0}, X, np.ones(6), SettingsError, "n_starts: expected at least 1, got 0"),
        ({}, X[:, :5], np.ones(6), DataError, r"\(samples, 8\) or \(samples, 2, 8\) .* \(6, 5\)"),
        ({}, [X], np.ones(6), DataError, "a list of 2 arrays, one a site, got 1"),
        ({}, [X, X[:, :3]], np.ones(6), DataError, r"site 1: expected shape \(6, 8\)"),
        ({}, X * np.inf, np.ones(6), DataError, "site 0: expected finite values"),
        ({}, X, np.ones((6, 2)), DataError, r"targets: expected shape \(6, 1\)"),
        ({"sites": ["1x0e", LEG], "n_sites": None}, X, np.ones(6), DataError, r"\(samples, 9\) or"),
    ],
)
def test_unusable_arguments(params, inputs, targets, error, message):
    model = ChainRegressor(
        **{"sites": LEG, "n_sites": 2 if "sites" not in params else None} | params
    )
    with pytest.raises(error, match=message):
        model.fit(inputs, targets)
    assert not hasattr(model, "chain_")


def test_unusable_predictions():
    model = ChainRegressor(LEG, 2)
    with pytest.raises(CoreError, match="fit"):
        model.predict(X)
    (x, y), _ = planted(7, shared=True, n=100, n_sites=2)
    model.fit(x, y)
    with pytest.raises(DataError, match="sites that read one vector"):
        model.predict([X, X])
    with pytest.raises(DataError, match="expected finite values"):
        model.predict(X * np.nan)
    with pytest.raises(DataError, match=r"y: expected shape \(6,\)"):
        model.score(X, np.ones((6, 2)))
