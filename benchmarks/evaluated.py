"""Tables and the figure of what evaluator.py has measured."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from common import PALETTE
from published import PUBLISHED

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Force error on the test set of etn:Mo, eV/Å, of a fit of ace-jax 0.4.1 to its training set that we
# have made with the radius and size that are timed: order 3, degree 18, weights 30, 1, 1.
ACE_JAX = 0.110


def table(result: dict[str, Any]) -> str:
    """Markdown: all contestants, then other potentials of etn, then numbers of elements."""
    return "\n\n".join([contestants(result), potentials(result), elements(result)])


def contestants(result: dict[str, Any]) -> str:
    """The crystal of Mo."""
    own = result["own"]
    lines = [
        f"{own['atoms']} atoms of Mo, one thread, {result['machine']['processor']}. etn: "
        f"{own['operations']:,.0f} multiply-adds an atom, {own['gflops']:.1f} GFLOP/s of the "
        f"{result['dgemm_gflops']:.1f} of DGEMM in the same run.",
        "",
        *head("", "µs per atom and step", "times that of etn", ""),
    ]
    for row in sorted(result["rows"], key=lambda row: row["microseconds"]):
        lines.append(
            cells(row["name"], shown(row["microseconds"]), shown(row["ratio"]), row["note"])
        )
    return "\n".join(lines)


def potentials(result: dict[str, Any]) -> str:
    """Potentials of all sizes and sets: what they cost, and what single precision leaves."""
    lines = [
        "Other potentials, those of molecules in a gas of them; errors of forces are those of the "
        "fits on test data. In single precision on the same test data, the largest difference and "
        "the root mean square:",
        "",
        *head(
            "potential", "elements", "bonds", "neighbours", "multiply-adds", "µs per atom",
            "GFLOP/s", "force MAE, eV/Å", "float32: forces, eV/Å", "float32: energies, meV/atom",
        ),
    ]  # fmt: skip
    for name, each in result["cases"].items():
        error, single = each["force_mae"], each["single_precision"]
        energies = (1e3 * single[f"energy_{kind}"] for kind in ("max", "rms"))
        forces = (single[f"forces_{kind}"] for kind in ("max", "rms"))
        lines.append(
            cells(
                name, each["elements"], each["bonds"], f"{each['neighbors']:.1f}",
                f"{each['operations']:,.0f}", shown(each["microseconds"]), shown(each["gflops"]),
                "" if error is None else f"{error:.4f}",
                ", ".join(f"{value:.1e}" for value in forces),
                ", ".join(f"{value:.1e}" for value in energies),
            )
        )  # fmt: skip
    return "\n".join(lines)


def elements(result: dict[str, Any]) -> str:
    """One to four elements, all else being equal."""
    found = result["by_elements"]
    lines = [
        f"Random potentials for random alloys in the same places, bonds {found[0]['bonds']}: the "
        "channels of a leg grow with the elements, as in a fit.",
        "",
        *head("elements", "leg", "multiply-adds", "µs per atom", "times that of one"),
    ]
    for each in found:
        ratio = each["microseconds"] / found[0]["microseconds"]
        operations, time = f"{each['operations']:,.0f}", shown(each["microseconds"])
        lines.append(cells(each["elements"], each["leg"], operations, time, f"{ratio:.2f}"))
    return "\n".join(lines)


def head(*names: str) -> list[str]:
    return [cells(*names), "|---" * len(names) + "|"]


def cells(*values: object) -> str:
    return f"| {' | '.join(map(str, values))} |"


def shown(value: float) -> str:
    """Three digits."""
    return f"{value:.0f}" if value >= 99.95 else f"{value:#.3g}"


def figure(result: dict[str, Any]) -> Figure:
    """Errors of forces against times; published errors of codes that are not timed are lines."""
    import matplotlib as mpl
    from matplotlib.figure import Figure
    from matplotlib.ticker import NullLocator

    times = {row["name"]: row["microseconds"] for row in result["rows"]}
    sizes = {
        name.removeprefix("Mo, "): (case["microseconds"], case["force_mae"])
        for name, case in result["cases"].items()
        if name.startswith("Mo") and case["force_mae"] is not None
    }
    peers = result["force_errors"] | ({"ace-jax": ACE_JAX} if "ace-jax" in times else {})
    with mpl.rc_context({"font.size": 9}):
        drawn = Figure(figsize=(5.2, 3.2), layout="constrained")
        panel = drawn.subplots()
        for error in {error for _, error in PUBLISHED["Mo"].values()}:
            names = ", ".join(name for name, each in PUBLISHED["Mo"].items() if each[1] == error)
            panel.axhline(error, color="0.6", lw=0.8, ls="--", zorder=0)
            panel.annotate(f"{names} (published)", (0.99, error), ha="right", va="bottom",
                           xycoords=("axes fraction", "data"), color="0.4")  # fmt: skip
        panel.plot(*zip(*sizes.values(), strict=True), "o", color=PALETTE[0], label="etn, float64")
        clear = {"facecolor": "white", "edgecolor": "none", "pad": 0.5}
        for k, (name, place) in enumerate(sorted(sizes.items(), key=lambda size: size[1])):
            # By turns above and below: the times are close.
            panel.annotate(name, place, (0, (6, -13)[k % 2]), textcoords="offset points",
                           ha="center", bbox=clear)  # fmt: skip
        for k, (name, error) in enumerate(peers.items()):
            panel.plot(times[name], error, "sD^"[k], mfc="none", mec="0.35", label=name)
        panel.set(xscale="log", xlabel="µs per atom and step, one core",
                  ylabel="force MAE on the test set of Mo, eV/Å", yscale="log",
                  ylim=(0.06, 0.3))  # fmt: skip
        panel.set_xticks([2, 5, 10, 20, 50, 100], minor=False)
        panel.set_yticks([0.06, 0.08, 0.1, 0.15, 0.2, 0.3], minor=False)
        for axis in (panel.xaxis, panel.yaxis):
            axis.set_major_formatter(lambda value, _: f"{value:g}")
            axis.set_minor_locator(NullLocator())
        panel.spines[["top", "right"]].set_visible(False)
        panel.legend(frameon=False)
    return drawn
