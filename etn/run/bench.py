"""What a step of molecular dynamics costs on this machine, part by part."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

import numpy as np

from etn.data.frame import Frame
from etn.data.verlet import VerletList
from etn.errors import SettingsError
from etn.machine import threads
from etn.native import Evaluator, why_not
from etn.potential.base import Potential
from etn.potential.features.pairs import element_indices

if TYPE_CHECKING:
    from ase import Atoms

__all__ = ["Bench", "bench", "crystal"]

# Atoms of the default structure, at least; and by how much they are moved from their places, Å.
ATOMS, RATTLE = 1000, 0.05
SKIN = 0.5


@dataclass(frozen=True)
class Bench:
    """Times of the parts of a step.

    Attributes
    ----------
    n_atoms : int
    neighbors : float
        Of an atom within the radius of the potential, on average.
    target : str
        Instructions of the compiled evaluator; why there is none.
    operations : float
        Multiply-adds of an atom, as the compiled evaluator counts them; zero without one.
    n_threads : int
    microseconds : dict of str to float
        Of each part, for an atom; medians.
    """

    n_atoms: int
    neighbors: float
    target: str
    operations: float
    n_threads: int
    microseconds: dict[str, float]

    def gflops(self, part: str) -> float:
        """Rate of a part, 1e9 operations a second, each multiplication and addition one."""
        return 2e-3 * self.operations / self.microseconds[part]

    def __str__(self) -> str:
        lines = [
            f"{self.n_atoms} atoms, {self.neighbors:.1f} neighbours, {self.n_threads} "
            f"thread{'' if self.n_threads == 1 else 's'}, {self.target}",
            "",
            f"{'':<34}{'µs an atom':>12}{'GFLOP/s':>10}",
        ]
        for part, value in self.microseconds.items():
            rate = f"{self.gflops(part):>10.1f}" if part.startswith("compiled") else ""
            lines.append(f"{part:<34}{value:>12.2f}{rate}")
        return "\n".join(lines)


def bench(model: Potential, atoms: Atoms | None = None, *, seconds: float = 1.0) -> Bench:
    """Measure what a step costs.

    Parameters
    ----------
    model : Potential
    atoms : ase.Atoms, optional
        By default a crystal of the first element of the potential.
    seconds : float
        For each part.

    Raises
    ------
    SettingsError
        If the first element has no crystal that ASE knows, and no structure is given.
    DataError
        If the structure holds elements that the potential does not know.

    Examples
    --------
    >>> from etn.potential import Basis, PolynomialPotential
    >>> model = PolynomialPotential(Basis(("Mo",), l_max=1), max_bond=1)
    >>> model = model.with_chain(model.initial_chain(seed=0))
    >>> found = bench(model, seconds=0.01)
    >>> found.n_atoms, list(found.microseconds)[:1]
    (1024, ['lists of neighbours, each search'])
    """
    atoms = crystal(model.elements[0]) if atoms is None else atoms.copy()
    frame = Frame(atoms.numbers, atoms.positions, atoms.cell.array, atoms.pbc)
    element_indices(frame, model.elements)
    n = frame.n_atoms

    def timed(call: Callable[[], object]) -> float:
        call()
        found: list[float] = []
        end = time.perf_counter() + seconds
        while len(found) < 3 or time.perf_counter() < end:
            begin = time.perf_counter()
            call()
            found.append(time.perf_counter() - begin)
        return 1e6 * median(found) / n

    times = {
        "lists of neighbours, each search": timed(
            lambda: VerletList(model.r_max, skin=SKIN).of(frame)
        )
    }
    pairs = VerletList(model.r_max, skin=0.0).of(frame)
    evaluator, operations, target = model.evaluator, 0.0, "not compiled"
    if evaluator is None:
        target = f"NumPy: {why_not() or 'there is no compiled evaluator of it'}"
    else:
        target, operations = evaluator.target, evaluator.operations(len(pairs.first) / n)
        near = VerletList(model.r_max, skin=SKIN).of(frame)
        every = np.arange(n)
        for bits in (64, 32):
            own = Evaluator(evaluator.content, precision=bits)
            times[f"compiled, float{bits}"] = timed(
                lambda own=own: own.evaluate(  # type: ignore[misc]
                    element=element_indices(frame, model.elements), frame=every, n_frames=n,
                    sample=every, center=near.first, neighbor=near.second,
                    position=frame.positions, shift=near.shift, threads=threads(),
                )
            )  # fmt: skip
    with _numpy():
        times["NumPy, lists included"] = timed(lambda: model.predict([frame]))
    atoms.calc = model.calculator(gamma_warn=None)
    times["a step with ASE"] = timed(lambda: _step(atoms))
    return Bench(n, len(pairs.first) / n, target, operations, threads(), times)


def crystal(symbol: str) -> Atoms:
    """A crystal of an element of a thousand atoms, somewhat out of place.

    Raises
    ------
    SettingsError
        If ASE knows none.
    """
    from ase.build import bulk

    try:
        cell = bulk(symbol, cubic=True)
    except (ValueError, RuntimeError):
        raise SettingsError(
            f"structure: no cubic crystal of {symbol} is known; give a file with a structure"
        ) from None
    times = int(np.ceil((ATOMS / len(cell)) ** (1 / 3)))
    atoms = cell.repeat(times)
    atoms.rattle(RATTLE, seed=0)
    return atoms


def _step(atoms: Atoms) -> None:
    """Move all atoms a little, and ask for the forces."""
    atoms.positions += 1e-4
    atoms.positions[0] += 1e-4
    atoms.get_forces()


@contextmanager
def _numpy() -> Iterator[None]:
    """Without the compiled evaluator."""
    before = os.environ.get("ETN_NATIVE")
    os.environ["ETN_NATIVE"] = "0"
    try:
        yield
    finally:
        if before is None:
            del os.environ["ETN_NATIVE"]
        else:
            os.environ["ETN_NATIVE"] = before
