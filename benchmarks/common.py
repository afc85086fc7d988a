"""What the benchmarks share: the machine, and where results go."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stamp import script, stamp

from etn.run.provenance import jsonable, machine, versions

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RESULTS = Path(__file__).resolve().parent / "results"
FIGURES = Path(__file__).resolve().parents[1] / "docs" / "figures"
# Colours of Okabe and Ito, told apart by all eyes.
PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")


def shared_data() -> Path:
    """Folder of the reference sets: ETN_SHARED_DATA, or ../shared/data beside the repository."""
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    return Path(os.environ.get("ETN_SHARED_DATA", default))


def processor() -> str:
    """Name of the processor, where the system says it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return "unknown"
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else "unknown"


def result_name(text: str) -> str:
    """A name that `write` takes, for argparse: said before the work, not after it."""
    script(text)
    return text


def write(name: str, result: dict[str, Any], *, out: Path | None = None) -> Path:
    """Write a result with its stamp, the machine, the versions and the time it was measured.

    A file of fits that were measured one by one has a stamp in each of them.
    """
    path = RESULTS / f"{name}.json" if out is None else out
    path.parent.mkdir(parents=True, exist_ok=True)
    one_by_one = any("stamp" in fit for fit in result.get("fits", ()))
    content = {
        **result,
        **({} if one_by_one else {"stamp": stamp(name)}),
        "machine": {**machine(), "processor": processor()},
        "versions": versions(),
        "measured": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    text = json.dumps(jsonable(content), indent=1, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")
    return path


def stored(path: Path) -> list[dict[str, Any]]:
    """The fits of a result that were measured one by one so far."""
    if not path.exists():
        return []
    fits: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["fits"]
    return fits


def save(figure: Figure, path: Path) -> None:
    """Write an SVG file whose bytes depend on nothing but the figure."""
    import matplotlib as mpl

    path.parent.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context({"svg.hashsalt": "etn", "svg.fonttype": "none"}):
        figure.savefig(path, format="svg", metadata={"Date": None})
