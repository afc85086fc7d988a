r"""What a second layer gains at the same number of parameters and the same radius.

    python benchmarks/message_passing.py --data shared/data/rMD17_ethanol
    python benchmarks/message_passing.py --data DIR --energy-weight 100 \
        --out benchmarks/results/message_passing-energy-300.json
    python benchmarks/message_passing.py --table                # print what has been measured

DIR holds `train_01.xyz` and `test_01.xyz` of rMD17 ethanol. The radius is short, so that one layer
sees little more than the next neighbours; a last model of one layer sees as far as two layers do.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

from common import RESULTS, write

from etn.data.weights import Weights, count_rows
from etn.potential import Baseline, Basis, Dataset, PolynomialPotential, fit
from etn.potential.message_passing import MessagePassingPotential, Messages, fit_layers
from etn.sweep import Schedule

R_MAX = 2.4
L_MAX = 2
RIDGE = 3e-3
ENERGY_WEIGHT = 33.0
SCHEDULE = Schedule(max_sweeps=(3, 3))
MAX_CYCLES = 8
MODELS: dict[str, dict[str, Any]] = {
    "one layer": {"r_max": R_MAX, "n_max": 5, "max_bond": "5x0e+4x1o+3x2e"},
    "two layers": {
        "r_max": R_MAX,
        "n_max": 4,
        "max_bond": "4x0e+3x1o+2x2e",
        "messages": {"outputs": "4x0e+3x1o+2x2e", "max_bond": "4x0e+3x1o+2x2e"},
    },
    "two layers, attention": {
        "r_max": R_MAX,
        "n_max": 4,
        "max_bond": "4x0e+3x1o+2x2e",
        "messages": {
            "outputs": "2x0e+2x1o+1x2e",
            "max_bond": "3x0e+2x1o+1x2e",
            "attention": "1x0e+1x1o",
        },
    },
    "one layer, twice the radius": {"r_max": 2 * R_MAX, "n_max": 5, "max_bond": "5x0e+4x1o+3x2e"},
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, help="folder with train_01.xyz and test_01.xyz")
    parser.add_argument("--train", type=int, default=200, help="training frames")
    parser.add_argument("--test", type=int, default=500, help="test frames")
    parser.add_argument("--cycles", type=int, default=MAX_CYCLES)
    parser.add_argument("--energy-weight", type=float, default=ENERGY_WEIGHT)
    parser.add_argument("--out", type=Path, help="where the result goes")
    parser.add_argument("--table", action="store_true", help="only print the results so far")
    given = parser.parse_args()
    path = given.out or RESULTS / "message_passing.json"
    if given.table:
        print(table(json.loads(path.read_text(encoding="utf-8"))))
        return
    if given.data is None:
        parser.error("give the folder of the data with --data")
    train = Dataset.read(given.data / "train_01.xyz", index=f":{given.train}")
    test = Dataset.read(given.data / "test_01.xyz", index=f":{given.test}")
    weights = Weights(energy=given.energy_weight, forces=1.0)
    result: dict[str, Any] = {
        "benchmark": "message_passing",
        "set": "rMD17 ethanol, split 01",
        "train_frames": len(train),
        "test_frames": len(test),
        "rows": count_rows(train, weights),
        "body_order": 4,
        "l_max": L_MAX,
        "ridge": RIDGE,
        "weights": {"energy": weights.energy, "forces": weights.forces},
        "max_cycles": given.cycles,
        "fits": [],
    }
    for name, setting in MODELS.items():
        result["fits"].append(measure(name, setting, train, test, weights, given.cycles))
        write("message_passing", result, out=path)
        print(result["fits"][-1], flush=True)
    print(table(result))


def measure(
    name: str,
    setting: dict[str, Any],
    train: Dataset,
    test: Dataset,
    weights: Weights,
    cycles: int,
) -> dict[str, Any]:
    """Fit one model."""
    # All radial functions of all elements: the radius alone sets the models apart.
    basis = Basis.for_dataset(
        train, r_max=setting["r_max"], n_max=setting["n_max"], l_max=L_MAX, max_channels=None
    )
    shared: dict[str, Any] = {"max_bond": setting["max_bond"], "baseline": Baseline.fit(train)}
    losses: list[float] = []
    begin = time.perf_counter()
    model: PolynomialPotential | MessagePassingPotential
    if "messages" in setting:
        messages = Messages(**setting["messages"])
        two = MessagePassingPotential(basis, messages, **shared)
        report = fit_layers(
            two,
            train,
            weights=weights,
            ridge=RIDGE,
            schedule=SCHEDULE,
            max_cycles=cycles,
            rel_tol=1e-3,
        )
        model, losses = report.model, [record.losses[-1] for record in report.records]
    else:
        one = PolynomialPotential(basis, **shared)
        options: dict[str, Any] = {"schedule": SCHEDULE, "uncertainty": False}
        model = fit(one, train, weights=weights, ridge=RIDGE, **options).model
    seconds = time.perf_counter() - begin
    return {
        "model": name,
        "settings": setting,
        "parameters": model.n_parameters,
        "seconds": round(seconds, 1),
        "losses": losses,
        "errors": {part: errors(model, data) for part, data in (("train", train), ("test", test))},
    }


def errors(model: PolynomialPotential | MessagePassingPotential, data: Dataset) -> dict[str, Any]:
    """MAE and RMSE of energies (meV) and force components (meV/Å)."""
    metrics = model.evaluate(data)
    assert metrics.energy is not None
    assert metrics.forces is not None
    # The metrics are for one atom; a molecule of ethanol has nine.
    return {
        "energy_mev": {"mae": 9e3 * metrics.energy.mae, "rmse": 9e3 * metrics.energy.rmse},
        "forces_mev_per_angstrom": {
            "mae": 1e3 * metrics.forces.mae,
            "rmse": 1e3 * metrics.forces.rmse,
        },
    }


def table(result: dict[str, Any]) -> str:
    """Markdown table of all models."""
    lines = [
        "| model | radius, Å | parameters | train E, meV | train F, meV/Å | "
        "test E, meV | test F, meV/Å |",
        "|---|---|---|---|---|---|---|",
    ]
    for one in result["fits"]:
        cells = [one["model"], f"{one['settings']['r_max']:g}", str(one["parameters"])]
        for part in ("train", "test"):
            found = one["errors"][part]
            cells.append(f"{found['energy_mev']['mae']:.1f}")
            cells.append(f"{found['forces_mev_per_angstrom']['mae']:.1f}")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
