"""What error bars, extrapolation grades and selected frames are worth on mlearn molybdenum.

Fits a modest potential (l_max 3, body order 4, three sweeps in all) and measures on the test set
how error bars rank and measure the force errors; how far the grades of other kinds of structures
rise if the training data are strained crystals only; whether 50 frames that ``select`` picks from
the pool teach a potential, fitted to 20, more than 50 random ones, or 10 more than 10; and what
all of it costs.

    python benchmarks/uncertainty.py [--seeds 5] [--chosen 10 50]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from common import write
from scipy.stats import spearmanr

from etn.potential import Baseline, Basis, Dataset, PolynomialPotential, fit, select
from etn.sweep import Schedule

START = 20
SCHEDULE = Schedule(max_sweeps=(2, 1))


def fitted(train: Dataset, everything: Dataset) -> PolynomialPotential:
    """A potential with the same basis and baseline whatever it is fitted to."""
    model = PolynomialPotential(
        Basis.for_dataset(everything, l_max=3), body_order=4, baseline=Baseline.fit(everything)
    )
    return fit(model, train, schedule=SCHEDULE).model


def error_bars(model: PolynomialPotential, test: Dataset) -> dict[str, Any]:
    """Rank correlation and size of force errors and their bars."""
    predictions = model.predict(test)
    errors = np.concatenate([p.forces - f.forces for f, p in zip(test, predictions, strict=True)])
    bars = np.concatenate(model.uncertainty.forces(test))
    energies = np.array([p.energy - f.energy for f, p in zip(test, predictions, strict=True)])
    lengths = [np.linalg.norm(x, axis=1) for x in (bars, errors)]
    ratio = errors / np.maximum(bars, 1e-8 * bars.max())
    kinds = np.repeat([f.config_type for f in test], [f.n_atoms for f in test])
    return {
        "spearman of components": spearmanr(bars.ravel(), np.abs(errors).ravel()).statistic,
        "spearman of atoms": spearmanr(*lengths).statistic,
        "spearman of atoms by kind": {
            kind: spearmanr(*(x[kinds == kind] for x in lengths)).statistic
            for kind in np.unique(kinds)
        },
        "rms of error / bar, components": np.sqrt(np.mean(ratio**2)),
        "rms of error / bar, atoms": np.sqrt(np.mean((lengths[1] / lengths[0]) ** 2)),
        "rms of error / bar, energies": np.sqrt(
            np.mean((energies / model.uncertainty.energy(test)) ** 2)
        ),
        "components within two bars": np.mean(np.abs(ratio) < 2),
        "scales": dict(model.uncertainty.scales),
    }


def grades(model: PolynomialPotential, dataset: Dataset) -> dict[str, dict[str, float]]:
    """Least, mean and largest grade of the frames of each kind."""
    gamma = np.array([each.max() for each in model.uncertainty.gamma(dataset)])
    kinds = np.array([frame.config_type for frame in dataset])
    return {
        kind: {
            "least": gamma[kinds == kind].min(),
            "mean": gamma[kinds == kind].mean(),
            "largest": gamma[kinds == kind].max(),
        }
        for kind in np.unique(kinds)
    }


def learning(everything: Dataset, test: Dataset, seed: int, chosen: int) -> dict[str, Any]:
    """Errors of a potential fitted to 20 random frames, with more that are random or selected."""
    order = np.random.default_rng(seed).permutation(len(everything))
    start, pool = order[:START], order[START:]
    first = fitted(everything[start], everything)
    sets = {
        "start": start[:0],
        "random": pool[:chosen],
        "selected": pool[select(first, everything[pool], chosen).indices],
    }
    result = {}
    for name, more in sets.items():
        model = first
        if len(more):
            model = fitted(everything[np.concatenate([start, more])], everything)
        found = model.evaluate(test)
        result[name] = {
            "forces MAE": found.forces.mae,
            "forces RMSE": found.forces.rmse,
            "energy MAE": found.energy.mae,
        }
    return result


def mean(runs: list[dict[str, dict[str, float]]]) -> dict[str, dict[str, float]]:
    """Means over the seeds."""
    return {
        name: {label: float(np.mean([run[name][label] for run in runs])) for label in errors}
        for name, errors in runs[0].items()
    }


def milliseconds(call: Callable[[], Any], repeats: int = 5) -> float:
    """Least CPU time of some calls, after a first one."""
    call()
    times = []
    for _ in range(repeats):
        start = time.process_time()
        call()
        times.append(time.process_time() - start)
    return 1e3 * min(times)


def main() -> None:
    """Measure and write ``results/uncertainty.json``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--chosen", type=int, nargs="+", default=[10, 50])
    parser.add_argument("--out", type=Path, default=None)
    arguments = parser.parse_args()
    everything, test = Dataset.read("etn:Mo/train"), Dataset.read("etn:Mo/test")
    result: dict[str, Any] = {}
    model = fitted(everything, everything)
    result["error bars"] = error_bars(model, test)
    result["grades"] = grades(model, test)
    print(result["error bars"], result["grades"], sep="\n", flush=True)
    u, some = model.uncertainty, test[:1]
    result["CPU milliseconds for 53 atoms"] = {
        "energy, forces and stress": milliseconds(lambda: model.predict(some)),
        "grades": milliseconds(lambda: u.gamma(some)),
        "error bars of forces": milliseconds(lambda: u.forces(some)),
    }
    print(result["CPU milliseconds for 53 atoms"], flush=True)
    elastic = everything[[frame.config_type == "Elastic" for frame in everything]]
    result["grades, trained on strained crystals"] = grades(fitted(elastic, everything), test)
    print(result["grades, trained on strained crystals"], flush=True)
    result["learning"] = {}
    for chosen in arguments.chosen:
        runs = [learning(everything, test, seed, chosen) for seed in range(arguments.seeds)]
        result["learning"][f"{chosen} frames more"] = {"mean": mean(runs), "seeds": runs}
        print(chosen, mean(runs), flush=True)
    print("written to", write("uncertainty", result, out=arguments.out))


if __name__ == "__main__":
    main()
