"""Fuzz one way in, guided by coverage:  python tests/fuzz/fuzz.py irreps --minutes 10.

Needs atheris (pip install atheris), which is no dependency of etn.  An input that breaks a target
is written to the current folder by libFuzzer; give that file after the target to see it again.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path


def main() -> None:
    """Read the command line and hand over to libFuzzer."""
    import atheris

    with atheris.instrument_imports(include=["etn", "yaml"], enable_loader_override=False):
        # Packages load their modules on first use, which would be too late for the coverage.
        import etn.cli
        import etn.data.dataset
        import etn.data.extxyz
        import etn.network.files
        import etn.network.graphs.network
        import etn.o3.cartesian.indices
        import etn.potential.message_passing.model
        import etn.potential.polynomial
        import etn.run.layered
        import etn.sweep.callbacks  # noqa: F401
    from targets import MEGABYTES, SECONDS, TARGETS

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--runs", type=int, default=-1, help="at most so many inputs")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("again", nargs="?", help="an input that broke the target")
    given = parser.parse_args()
    target = TARGETS[given.target]
    if given.again:
        target.check(Path(given.again).read_bytes())
        return

    def one(data: bytes) -> None:
        target.check(data)

    with tempfile.TemporaryDirectory() as corpus:
        for number, data in enumerate(target.seeds()):
            Path(corpus, str(number)).write_bytes(data)
        options = {
            "max_total_time": int(60 * given.minutes), "runs": given.runs, "seed": given.seed,
            "max_len": target.max_length, "timeout": SECONDS, "rss_limit_mb": MEGABYTES,
            "print_final_stats": 1,
        }  # fmt: skip
        flags = [f"-{name}={value}" for name, value in options.items()]
        atheris.Setup([sys.argv[0], *flags, corpus], one)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
