"""Drawings of networks, laid out and painted by quimb."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from etn.network.views.quimb import quimb_network
from etn.network.views.wiring import Wired, Wiring, as_network

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from quimb.tensor import TensorNetwork

__all__ = ["draw"]

# Colors by degree: the sequence of Okabe and Ito, told apart by all eyes.
_COLORS = ("#56b4e9", "#e69f00", "#009e73", "#cc79a7", "#0072b2", "#d55e00", "#f0e442")


def draw(network: Wired, **options: Any) -> Figure:
    """Drawing of a network by quimb.

    A core has the color of the largest degree l on its bonds, or on its legs if it has no bond;
    the legend says which.  Each leg has its name and its irreps written on it and is the wider the
    larger its dimension; one of a single component is dotted.  A chain is drawn as a line.

    Parameters
    ----------
    network : Chain, Wiring or a network with a method ``wiring``
    **options
        For ``quimb.tensor.TensorNetwork.draw`` with matplotlib in two dimensions, instead of the
        values chosen here; with ``ax`` the network is drawn there.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    CoreError
        If quimb is not installed.

    Examples
    --------
    >>> from etn.network import Chain
    >>> figure = draw(Chain.random(["1x0e+1x1o"] * 3, max_bond=2, seed=0))
    >>> [text.get_text().strip() for text in figure.axes[0].get_legend().get_texts()]
    ['l = 1']
    """
    from matplotlib.figure import Figure

    known = as_network(network)
    wiring = known.wiring()
    # A drawing shows the shapes alone: one number stands for all entries.
    shapes = [tuple(leg.dim for leg in core.legs) for core in wiring.cores]
    tn = quimb_network(wiring, [np.broadcast_to(0.0, shape) for shape in shapes])
    degrees = [_largest_degree(wiring, number) for number in range(len(wiring.cores))]
    for number, degree in enumerate(degrees):
        tn[f"I{number}"].add_tag(f"l = {degree}")
    shown = sorted(set(degrees))
    chosen: dict[str, Any] = {
        "color": [f"l = {degree}" for degree in shown],
        "custom_colors": [_COLORS[degree % len(_COLORS)] for degree in shown],
        "show_inds": False,
        "show_tags": False,
        "legend": True,
        "node_scale": 0.7,
    }
    is_line = known.is_line and not options.keys() & {"pos", "fix", "layout"}
    if is_line:
        chosen["pos"] = _line_positions(tn, wiring)
    chosen |= options
    if chosen.get("ax") is None:
        width = min(2.5 + 1.1 * len(degrees), 40.0) if is_line else 6.4
        figsize = chosen.get("figsize", (width, 3.2 if is_line else 6.4))
        chosen["ax"] = Figure(figsize=figsize, layout="constrained").add_subplot()
    # The second call draws what the first one has laid out.
    chosen["pos"] = tn.draw(**chosen, get="pos")
    tn.draw(**chosen)
    if not chosen["show_inds"]:
        _write_legs(chosen["ax"], tn, wiring, chosen["pos"])
    figure = chosen["ax"].figure
    assert isinstance(figure, Figure)
    return figure


def _write_legs(axes: Axes, tn: TensorNetwork, wiring: Wiring, pos: Mapping[Any, Any]) -> None:
    """Names and irreps on the legs; several bonds between two cores share a place."""
    places: dict[tuple[float, float], list[str]] = {}
    for label, leg in wiring.legs.items():
        ends = [tuple(pos[tid]) for tid in sorted(tn.ind_map[label])]
        if label in wiring.open:
            ends.append(tuple(pos[label]))
            place = ends[1]
        else:
            place = tuple(np.mean(ends, axis=0))
        if leg.dim == 1:
            # quimb draws legs as wide as the logarithm of their dimension, and this one not.
            axes.plot(*zip(*ends, strict=True), ":", color="0.45", lw=1.0, zorder=0)
        places.setdefault(place, []).extend([label, *map(str, leg)])
    for (x, y), lines in places.items():
        axes.text(
            x,
            y,
            "\n".join(lines),
            fontsize=7,
            family="monospace",
            ha="center",
            va="center",
            linespacing=1.0,
            zorder=10,
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.8},
        )


def _largest_degree(wiring: Wiring, number: int) -> int:
    labels = wiring.labels[number]
    legs = [wiring.legs[label] for label in labels if label in wiring.bonds]
    legs = legs or [wiring.legs[label] for label in labels]
    return max((ir.l for leg in legs for ir in leg.unique), default=0)


def _line_positions(tn: TensorNetwork, wiring: Wiring) -> dict[int | str, tuple[float, float]]:
    """Cores on a line, their sites below them: quimb wants all numbers of tensors and open legs."""
    places: dict[int | str, tuple[float, float]] = {}
    for number, (left, site, right) in enumerate(wiring.labels):
        (tid,) = tn.tag_map[f"I{number}"]
        places[tid] = (number, 0.0)
        places[site] = (number, -0.8)
        for label, x in ((left, number - 1), (right, number + 1)):
            if label in wiring.open:
                places[label] = (x, 0.0)
    return places
