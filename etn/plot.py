"""Plots: parity and convergence of fits, singular values of bonds.

The functions return a matplotlib ``Figure`` that belongs to no window and to no global state;
``figure.savefig(path)`` writes it, and a notebook shows it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from etn.backend import FloatArray as Array
from etn.errors import CoreError, DataError
from etn.network import Chain, Tree
from etn.o3 import Irrep
from etn.sweep import Report

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from etn.data.dataset import Dataset
    from etn.data.frame import Frame
    from etn.data.metrics import Prediction
    from etn.nn.progress import TrainingReport

__all__ = ["convergence", "parity", "spectra", "training"]


# Colours of Okabe and Ito, told apart by all eyes; the fitted data stay in the background.
_COLORS = {"train": "#8c8c8c", "valid": "#0072b2", "test": "#d55e00"}
_MORE_COLORS = ("#009e73", "#cc79a7", "#e69f00", "#56b4e9")
_IRREP_COLORS = ("black", "#0072b2", "#d55e00", *_MORE_COLORS, "#f0e442", "#8c8c8c")
_DPI = 150
# Beyond this many points only a random part of them is drawn: more would hide each other.
_MAX_POINTS = 20_000
_MAX_HELD = 50 * _MAX_POINTS


def _style() -> AbstractContextManager[Any]:
    import matplotlib as mpl

    return mpl.rc_context(
        {
            "font.size": 9,
            "axes.titlesize": 10,
            "axes.linewidth": 0.8,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "legend.frameon": False,
            "legend.fontsize": 8.5,
            "savefig.dpi": _DPI,
        }
    )


def parity(results: Mapping[str, tuple[Dataset, Sequence[Prediction]]]) -> Figure:
    """Predictions against labels, and their errors: energies per atom and force components.

    Parameters
    ----------
    results : mapping of name to (dataset, predictions)
        Such as ``{"train": ..., "test": ...}``, drawn in this order.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    DataError
        If no data set has an energy or forces.

    Examples
    --------
    >>> from etn import Basis, Dataset, PolynomialPotential
    >>> data = Dataset.read("etn:Mo/test", index=":3")
    >>> model = PolynomialPotential(Basis(("Mo",), l_max=1))
    >>> figure = parity({"test": (data, model.predict(data))})
    >>> [axes.get_title() for axes in figure.axes]
    ['Energy', 'Forces', '', '']
    """
    from matplotlib.figure import Figure

    energies = {n: _Points.of(result, _energies, len(result[0])) for n, result in results.items()}
    forces = {
        n: _Points.of(result, _forces, 3 * result[0].n_atoms) for n, result in results.items()
    }
    panels = [
        ("Energy", energies, 1e3, "meV/atom", "energy per atom (eV)"),
        ("Forces", forces, 1.0, "eV/Å", "force component (eV/Å)"),
    ]
    panels = [panel for panel in panels if any(len(v.values) for v in panel[1].values())]
    if not panels:
        raise DataError("parity: no data set has energies or forces to compare with")
    with _style():
        figure = Figure(figsize=(4.4 * len(panels), 5.4), layout="constrained")
        grid = figure.subplots(2, len(panels), squeeze=False, sharex="col", height_ratios=[3, 1])
        for (top, bottom), (title, data, scale, unit, quantity) in zip(grid.T, panels, strict=True):
            drawn = {k: v for k, v in data.items() if len(v.values)}
            _parity_panel(top, bottom, drawn, scale, unit)
            top.set(title=title, ylabel=f"predicted {quantity}")
            bottom.set(xlabel=f"reference {quantity}", ylabel=f"error ({unit})")
    return figure


def convergence(report: Report) -> Figure:
    r"""Loss after every local solve, and the errors after every sweep.

    Dotted lines mark where the chain grew.

    Parameters
    ----------
    report : Report

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    DataError
        If the report has no sweep.

    Examples
    --------
    >>> from etn.network import Chain
    >>> from etn.sweep import Report, SweepRecord
    >>> measures = {"train F": 0.1, "train E": 2.0}
    >>> sweeps = [SweepRecord(2, k, 1.0 / k, (1.2 / k, 1.0 / k), 1e3, "cholesky", 0.1, 9, "3x0e",
    ...                       measures) for k in (1, 2)]
    >>> figure = convergence(Report(tuple(sweeps), Chain.random(["2x0e"] * 2, seed=0), True, ""))
    >>> [axes.get_ylabel() for axes in figure.axes]
    ['loss', 'force MAE\n(eV/Å)', 'energy MAE\n(meV/atom)']
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    records = report.history
    if not records:
        raise DataError("convergence: the report has no sweep")
    ends = np.cumsum([len(record.losses) for record in records])
    losses = np.concatenate([record.losses for record in records])
    measured = {key for record in records for key in record.measures}
    panels = [
        (letter, label)
        for letter, label in (("F", "force MAE\n(eV/Å)"), ("E", "energy MAE\n(meV/atom)"))
        if any(key.endswith(f" {letter}") for key in measured)
    ]
    with _style():
        figure = Figure(figsize=(6.4, 2.6 + 1.6 * len(panels)), layout="constrained")
        rows = figure.subplots(
            1 + len(panels), 1, sharex=True, squeeze=False, height_ratios=[1.5] + [1] * len(panels)
        )[:, 0]
        steps = np.arange(1, len(losses) + 1)
        rows[0].plot(steps, losses, "-", color="black", lw=1.1)
        rows[0].plot(steps, losses, ".", color="black", ms=3.5, label="after a local solve")
        rows[0].plot(
            ends, losses[ends - 1], "o", color="black", mfc="white", ms=6, label="after a sweep"
        )
        rows[0].set_ylabel("loss")
        if losses.min() > 0 and losses.max() > 10 * losses.min():
            rows[0].set_yscale("log")
        rows[0].legend(loc="upper right")
        for axes, (letter, label) in zip(rows[1:], panels, strict=True):
            highest = 0.0
            for index, kind in enumerate(("train", "valid")):
                key = f"{kind} {letter}"
                points = [
                    (end, record.measures[key])
                    for end, record in zip(ends, records, strict=True)
                    if key in record.measures
                ]
                if points:
                    x, y = np.array(points).T
                    axes.plot(x, y, "o-", color=_color(kind, index), lw=1.2, ms=4.5, label=kind)
                    highest = max(highest, float(y.max()))
            axes.set_ylabel(label)
            axes.set_ylim(0, 1.12 * highest or 1.0)
            axes.legend(loc="lower left", ncols=2)
        # A length of the chain, or a cycle through several chains; what they start from is one
        # point, with no room for a name of its own.
        stages = [
            f"cycle {max(record.cycle, 1)}" if record.chain else f"{record.n_sites} sites"
            for record in records
        ]
        for index, stage in enumerate(stages):
            if index and stage == stages[index - 1]:
                continue
            start = (ends[index - 1] if index else 0) + 0.5
            for axes in rows:
                if index:
                    axes.axvline(start, color="0.6", lw=0.9, ls=":")
            rows[0].annotate(
                stage,
                (start, 1.0),
                (4, 3),
                xycoords=("data", "axes fraction"),
                textcoords="offset points",
                color="0.35",
                fontsize=8.5,
            )
        rows[-1].set_xlabel("local solves")
        rows[-1].xaxis.set_major_locator(MaxNLocator(integer=True))
        rows[-1].set_xlim(0.5, len(losses) + 0.5)
    return figure


def training(report: TrainingReport) -> Figure:
    """Loss, learning rate and errors of every epoch of a training.

    A dotted line marks the epoch whose weights are kept.

    Parameters
    ----------
    report : TrainingReport

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    DataError
        If the report has no epoch.
    """
    from matplotlib.figure import Figure

    epochs = report.epochs
    if not epochs:
        raise DataError("training: the report has no epoch")
    number = np.array([epoch.number for epoch in epochs])
    has_valid = epochs[-1].valid is not None
    kind = "valid" if has_valid else "train"
    panels = [
        (label, factor * np.array([getattr(epoch, name) for epoch in epochs]))
        for label, name, factor in (
            ("force RMSE\n(eV/Å)", "forces", 1.0),
            ("energy RMSE\n(meV/atom)", "energy", 1e3),
        )
        if math.isfinite(getattr(epochs[-1], name))
    ]
    panels.append(("learning rate", np.array([epoch.rate for epoch in epochs])))
    with _style():
        figure = Figure(figsize=(6.4, 2.6 + 1.4 * len(panels)), layout="constrained")
        rows = figure.subplots(
            1 + len(panels), 1, sharex=True, squeeze=False, height_ratios=[1.5] + [1] * len(panels)
        )[:, 0]
        rows[0].semilogy(number, [e.loss for e in epochs], color=_color("train", 0), label="train")
        if has_valid:
            valid = [epoch.valid for epoch in epochs]
            rows[0].semilogy(number, valid, color=_color("valid", 1), label="valid")
        rows[0].set_ylabel("loss")
        rows[0].legend(loc="upper right")
        for axes, (label, values) in zip(rows[1:], panels, strict=True):
            color = "black" if label == "learning rate" else _color(kind, int(has_valid))
            axes.semilogy(number, values, color=color)
            axes.set_ylabel(label)
        for axes in rows:
            axes.axvline(report.best, color="0.6", lw=0.9, ls=":")
        rows[-1].set_xlabel("epochs")
    return figure


def spectra(
    spectra: Mapping[int, Mapping[Irrep, Array]] | Sequence[Mapping[Irrep, Array]] | Chain | Tree,
) -> Figure:
    r"""Singular values of the bonds of a network, a column for each bond and a color an irrep.

    What is drawn is :math:`\sqrt{2 l + 1}\, s`: this much a multiplet adds to the norm, and so it
    is ranked in a truncation.  Values of zero have no place on the logarithmic axis.

    Parameters
    ----------
    spectra : mapping of bond to {irrep: singular values}, sequence of these, Chain or Tree
        Such as ``chain.spectra()``, or a chain or a tree itself; the bonds of a sequence count
        from 0.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    CoreError
        If it is no mapping or sequence of these, no singular value is positive, or one is negative
        or not finite.

    Examples
    --------
    >>> figure = spectra({0: {Irrep("0e"): [2.0, 1.0], Irrep("1o"): [0.5]}})
    >>> [line.get_label() for line in figure.axes[0].get_lines()]
    ['0e', '1o']
    """
    from matplotlib.figure import Figure

    given: Any = spectra.spectra() if isinstance(spectra, Chain | Tree) else spectra
    bonds = isinstance(given, Iterable)
    columns = dict(given if isinstance(given, Mapping) else enumerate(given if bonds else ()))
    if not bonds or not all(isinstance(values, Mapping) for values in columns.values()):
        raise CoreError(
            "spectra: expected {irrep: singular values} for each bond, such as chain.spectra(), or "
            f"a chain, got {type(given).__name__}"
        )
    weighted = {
        bond: {ir: math.sqrt(ir.dim) * np.asarray(s, dtype=float) for ir, s in values.items()}
        for bond, values in columns.items()
    }
    every = [s for values in weighted.values() for s in values.values()]
    if any(not np.isfinite(s).all() or (s < 0).any() for s in every):
        raise CoreError("spectra: expected singular values that are finite and not negative")
    if not any((s > 0).any() for s in every):
        raise CoreError("spectra: there is no positive singular value to draw")
    irreps = sorted({ir for v in weighted.values() for ir, s in v.items() if (s > 0).any()})
    with _style():
        width = min(2.4 + 0.42 * len(columns), 20.0)
        figure = Figure(figsize=(max(width, 3.6), 3.4), layout="constrained")
        axes = figure.subplots()
        for index, ir in enumerate(irreps):
            # Side by side within a column, so that equal values do not hide each other.
            shift = 0.7 * ((index + 0.5) / len(irreps) - 0.5)
            points = [
                (column + shift, s)
                for column, values in enumerate(weighted.values())
                for s in values.get(ir, ())
                if s > 0
            ]
            x, y = np.array(points).reshape(-1, 2).T
            color = _IRREP_COLORS[index % len(_IRREP_COLORS)]
            axes.plot(x, y, "_", color=color, ms=7, mew=1.8, label=str(ir))
        axes.set_yscale("log")
        axes.set(xlabel="bond", ylabel=r"$\sqrt{2l+1}\,s$", xlim=(-0.6, len(columns) - 0.4))
        # As many numbers as have room.
        step = math.ceil(len(columns) / 40)
        axes.set_xticks(range(0, len(columns), step), [str(b) for b in list(columns)[::step]])
        axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), handletextpad=0.2)
    return figure


def _color(name: str, index: int) -> str:
    return _COLORS.get(name, _MORE_COLORS[index % len(_MORE_COLORS)])


def _parity_panel(
    top: Axes, bottom: Axes, data: Mapping[str, _Points], scale: float, unit: str
) -> None:
    """Draw columns (label, prediction) of each set with the diagonal, and the errors below."""
    every = np.concatenate([points for points, _ in data.values()])
    low, high = float(every.min()), float(every.max())
    margin = 0.04 * (high - low) or 1.0
    limits = (low - margin, high + margin)
    many = len(every) > 2000
    top.plot(limits, limits, "-", color="0.25", lw=0.7, zorder=1)
    bottom.axhline(0, color="0.25", lw=0.7, zorder=1)
    for index, (name, (points, mae)) in enumerate(data.items()):
        error = scale * (points[:, 1] - points[:, 0])
        label = f"{name}: MAE {scale * mae:.3g} {unit}"
        shown = np.arange(len(points))
        if len(points) > _MAX_POINTS:
            shown = np.random.default_rng(0).choice(shown, _MAX_POINTS, replace=False)
        for axes, y in ((top, points[:, 1]), (bottom, error)):
            axes.plot(
                points[shown, 0],
                y[shown],
                "o",
                ms=2.2 if many else 4.5,
                mew=0,
                alpha=0.4 if many else 0.8,
                color=_color(name, index),
                zorder=2 + index,
                rasterized=True,
                label=label,
            )
    top.set(xlim=limits, ylim=limits)
    legend = top.legend(loc="upper left", handletextpad=0.2, markerscale=2.0 if many else 1.0)
    for handle in legend.legend_handles:
        if handle is not None:
            handle.set_alpha(1.0)


class _Points(NamedTuple):
    """Labels and predictions, and the mean absolute error of all, also those left out.

    Attributes
    ----------
    values : (points, 2)
    mae : float
    """

    values: Array
    mae: float

    @classmethod
    def of(
        cls,
        result: tuple[Dataset, Sequence[Prediction]],
        rows: Callable[[Frame, Prediction], Array | None],
        size: int,
    ) -> _Points:
        """Those of frames, or of some of them where there are far more than can be drawn."""
        every = max(1, size // _MAX_HELD)
        parts, total, count = [np.zeros((0, 2))], 0.0, 0
        for place, (frame, prediction) in enumerate(zip(*result, strict=True)):
            found = rows(frame, prediction)
            if found is not None:
                total += float(np.abs(found[:, 1] - found[:, 0]).sum())
                count += len(found)
                if place % every == 0:
                    parts.append(found)
        return cls(np.concatenate(parts), total / max(count, 1))


def _energies(frame: Frame, prediction: Prediction) -> Array | None:
    """Label and prediction per atom: (1, 2)."""
    if frame.energy is None:
        return None
    return np.array([[frame.energy, prediction.energy]]) / frame.n_atoms


def _forces(frame: Frame, prediction: Prediction) -> Array | None:
    """Label and prediction: (components, 2)."""
    if frame.forces is None:
        return None
    return np.stack([frame.forces.ravel(), prediction.forces.ravel()], axis=1)
