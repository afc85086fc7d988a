"""Fit a two-layer potential: sweeps over one chain after another."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from etn.data.dataset import Dataset
from etn.errors import SettingsError
from etn.potential.fitting.fit import fit
from etn.potential.fitting.weights import Weights
from etn.potential.message_passing.layers import Layers
from etn.potential.message_passing.model import MessagePassingPotential
from etn.potential.message_passing.problem import LayerProblem
from etn.potential.message_passing.rows import LayerRows
from etn.potential.message_passing.start import first_layer, make_room
from etn.potential.polynomial import PolynomialPotential
from etn.sweep import Schedule, sweep

# The order in which a cycle goes through the chains: messages change nothing until the readout
# listens, and a query nothing until there is a key that is not constant.
ORDER = ("readout", "value", "key", "query")


@dataclass(frozen=True)
class LayerRecord:
    """One sweep over one chain.

    Attributes
    ----------
    cycle : int
        From 1; 0 is the potential of one layer that the fit starts from.
    chain : str
        "readout", "value", "key" or "query".
    losses : tuple of float
        Objective after each local solve; in cycle 0 that of the start alone.
    seconds : float
    measures : dict of str to float
        Errors after the last sweep of a cycle: MAE of energies (meV/atom) and forces (eV/Å).
    """

    cycle: int
    chain: str
    losses: tuple[float, ...]
    seconds: float
    measures: Mapping[str, float]


@dataclass(frozen=True)
class LayersReport:
    """Report of a fit of two layers.

    Attributes
    ----------
    records : tuple of LayerRecord
    model : MessagePassingPotential
        The fitted potential: of the best cycle if there is a validation set, else of the last.
    one_layer : PolynomialPotential
        The potential without messages from which the fit started.
    """

    records: tuple[LayerRecord, ...]
    model: MessagePassingPotential
    one_layer: PolynomialPotential

    def __str__(self) -> str:
        names = list(dict.fromkeys(name for r in self.records for name in r.measures))
        lines = ["  ".join(["cycle", "chain".ljust(7), "loss".rjust(11), *names])]
        for r in self.records:
            cells = [f"{r.cycle:5d}", r.chain.ljust(7), f"{r.losses[-1]:11.4f}"]
            cells += [f"{r.measures[n]:{len(n)}.4g}" for n in names if n in r.measures]
            lines.append("  ".join(cells))
        return "\n".join(lines)


def fit_layers(
    model: MessagePassingPotential,
    train: Dataset,
    *,
    valid: float | Dataset | None = None,
    weights: Weights | Mapping[str, float] | None = None,
    ridge: float = 1e-3,
    schedule: Schedule | None = None,
    max_cycles: int = 6,
    rel_tol: float = 1e-2,
    seed: int = 0,
) -> LayersReport:
    """Fit all chains of a two-layer potential to energies, forces and stress.

    Starts from the potential of one layer, which is the readout without messages; then goes
    through the chains in turn, with one sweep over each in a cycle.  Every update is the exact
    least-squares solution for one core, so the objective

        sum_rows w^2 (prediction - label)^2 + ridge sum_chains ||T||^2

    never rises.

    Parameters
    ----------
    model : MessagePassingPotential
        Its chains, if any, are not used.
    train : Dataset
        Frames of up to some tens of atoms: derivatives are dense in the atoms of a frame.
    valid : float or Dataset, optional
        Fraction of the training set to hold out, or a data set: its energies and forces pick the
        best cycle.
    weights : Weights or mapping
    ridge : float
    schedule : Schedule, optional
        Of the fit of one layer.
    max_cycles : int
    rel_tol : float
        The fit ends once a cycle lowers the loss by less than this fraction.
    seed : int
        Of the random start and of the validation split.

    Returns
    -------
    LayersReport

    Raises
    ------
    DataError
        If labels are missing, atoms coincide or a frame is too large.
    SettingsError
        If a setting is out of range.

    Examples
    --------
    >>> from etn.potential import Baseline, Basis
    >>> from etn.potential.message_passing import Messages
    >>> train = Dataset.read("etn:NbMoTaW/train", index="::10")
    >>> train = Dataset([frame for frame in train if frame.n_atoms <= 16])
    >>> basis = Basis.for_dataset(train, r_max=3.4, n_max=2, l_max=1)
    >>> model = MessagePassingPotential(
    ...     basis, Messages("1x0e+1x1o", n_max=2, l_max=1, body_order=2),
    ...     body_order=3, max_bond=2, baseline=Baseline.fit(train))
    >>> report = fit_layers(model, train, max_cycles=1)
    >>> [record.chain for record in report.records]
    ['readout', 'readout', 'value']
    """
    if not ridge >= 0:
        raise SettingsError(f"ridge: expected zero or more, got {ridge}")
    if max_cycles < 1:
        raise SettingsError(f"max_cycles: expected at least 1, got {max_cycles}")
    weights = Weights.of(weights)
    if isinstance(valid, Dataset):
        held_out: Dataset | None = valid
    elif valid:
        train, held_out = train.split(float(valid), seed)
    else:
        held_out = None
    basis, messages, coupling = model.basis, model.messages, model.coupling
    rows = LayerRows(train, basis, messages, coupling, model.baseline, weights)
    begin = time.perf_counter()
    single = PolynomialPotential(
        basis, body_order=model.body_order, max_bond=model.max_bond, baseline=model.baseline
    )
    report = fit(
        single,
        train,
        valid=held_out,
        weights=weights,
        ridge=ridge,
        schedule=schedule,
        seed=seed,
        uncertainty=False,
    )
    readout = make_room(report.chain, basis, coupling)
    layers = Layers(readout, **first_layer(basis, messages, train, seed=seed))
    silent = layers.readout.canonicalize(len(layers.readout) - 1)
    loss = LayerProblem(rows, layers, "readout", ridge=ridge).loss(silent)
    measures = _measure(model.with_layers(layers), train, held_out)
    records = [LayerRecord(0, "readout", (loss,), time.perf_counter() - begin, measures)]
    best, lowest = layers, _score(model.with_layers(layers), held_out, weights)
    for cycle in range(1, max_cycles + 1):
        before = loss
        for name in ORDER:
            if name not in layers.chains():
                continue
            begin = time.perf_counter()
            chain = layers.chains()[name]
            problem = LayerProblem(rows, layers, name, ridge=ridge)
            steps = list(sweep(chain, problem, Schedule(max_sweeps=1)))
            layers, loss = layers.replace(name, steps[-1].chain), steps[-1].loss
            losses = tuple(step.loss for step in steps)
            records.append(LayerRecord(cycle, name, losses, time.perf_counter() - begin, {}))
        potential = model.with_layers(layers)
        records[-1] = replace(records[-1], measures=_measure(potential, train, held_out))
        score = _score(potential, held_out, weights)
        if score <= lowest:
            best, lowest = layers, score
        if before - loss < rel_tol * before:
            break
    return LayersReport(tuple(records), model.with_layers(best), report.model)


def _measure(
    potential: MessagePassingPotential, train: Dataset, valid: Dataset | None
) -> dict[str, float]:
    """Mean absolute errors: energies in meV/atom, forces in eV/Å."""
    found = {}
    for name, dataset in (("train", train), ("valid", valid)):
        if dataset is None:
            continue
        metrics = potential.evaluate(dataset)
        if metrics.energy is not None:
            found[f"{name} E"] = 1e3 * metrics.energy.mae
        if metrics.forces is not None:
            found[f"{name} F"] = metrics.forces.mae
    return found


def _score(potential: MessagePassingPotential, valid: Dataset | None, weights: Weights) -> float:
    """Loss of energies and forces of the validation set; without one the last cycle is best."""
    total = 0.0
    for frame, p in zip(valid or (), potential.predict(valid or ()), strict=True):
        squares = 0.0
        if frame.energy is not None:
            squares += (weights.energy * (p.energy - frame.energy)) ** 2 / frame.n_atoms
        if frame.forces is not None:
            squares += float(np.sum((weights.forces * (p.forces - frame.forces)) ** 2))
        total += weights.count(frame) * squares
    return total
