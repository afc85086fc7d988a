"""Stresses and virials: components, units, signs.

Inside etn a stress is (1/V) ∂E/∂ε in eV/Å³, tension positive, in the Voigt order of ASE; other
programs write it with the sign of a pressure, in GPa or kbar, in another order, or as the virial
-V·stress in eV.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from etn.backend import FloatArray
from etn.errors import SettingsError
from etn.surface import name_of

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

__all__ = [
    "CONVENTIONS",
    "GPA",
    "STRESS_UNITS",
    "VASP_ORDER",
    "VOIGT",
    "full_stress",
    "known_unit",
    "show",
    "voigt",
    "voigt_stress",
]

VOIGT = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))
"""Cartesian components of the Voigt order xx, yy, zz, yz, xz, xy."""

VASP_ORDER = (0, 1, 2, 4, 5, 3)
"""Where the components xx, yy, zz, yz, xz, xy stand among xx, yy, zz, xy, yz, zx."""

GPA = 160.21766208
"""One eV/Å³ in GPa."""

_BOHR, _HARTREE = 0.529177210903, 27.211386245988  # Å and eV, CODATA 2018
STRESS_UNITS = {
    "eV/Å³": 1.0,
    "GPa": GPA,
    "kbar": 10 * GPA,
    "bar": 1e4 * GPA,
    "Pa": 1e9 * GPA,
    "Hartree/Bohr³": _BOHR**3 / _HARTREE,
    "Ry/Bohr³": 2 * _BOHR**3 / _HARTREE,
}
"""One eV/Å³ in each unit that a stress may be read in."""

CONVENTIONS = ("tension", "compression", "vasp")
"""Which sign a stress or virial has: that of ASE, that of a pressure, or that of a pressure with
six numbers in the order xx, yy, zz, xy, yz, zx."""


def known_unit(text: str) -> str:
    """Return a unit of stress as :data:`STRESS_UNITS` spells it.

    Raises
    ------
    SettingsError
        If there is no such unit.

    Examples
    --------
    >>> known_unit("gpa"), known_unit("eV/A^3"), known_unit("eV/angstrom**3")
    ('GPa', 'eV/Å³', 'eV/Å³')
    """
    for unit in STRESS_UNITS:
        if _plain(unit) == _plain(str(text)):
            return unit
    raise SettingsError(
        f"{name_of('stress_unit')}: expected one of {', '.join(STRESS_UNITS)}, got {text!r}"
    )


def _plain(unit: str) -> str:
    """A unit without what keyboards lack."""
    text = unit.strip().lower().replace("³", "3").replace("å", "a").replace("\u212b", "a")
    text = re.sub(r"ang(strom)?\b|ang(strom)?(?=[\d^*])", "a", text)
    return re.sub(r"[\^*\s]", "", text).replace("ha/", "hartree/")


def voigt_stress(value: ArrayLike, order: Sequence[int] = range(6)) -> FloatArray:
    """Return a stress given as 3x3, as nine numbers or as six as xx, yy, zz, yz, xz, xy.

    Parameters
    ----------
    value : (3, 3), (9,) or (6,)
    order : sequence of int
        Where these components stand among six numbers, see :data:`VASP_ORDER`.

    Raises
    ------
    ValueError
        If the shape is another or the 3x3 tensor is not symmetric to 1e-3 of its largest entry.

    Examples
    --------
    >>> voigt_stress([[1, 6, 5], [6, 2, 4], [5, 4, 3]])
    array([1., 2., 3., 4., 5., 6.])
    >>> voigt_stress([1, 2, 3, 6, 4, 5], VASP_ORDER)
    array([1., 2., 3., 4., 5., 6.])
    """
    try:
        array = np.array(value, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"the stress must be numbers, came {show(value)}") from error
    if array.shape == (6,):
        return array[list(order)]
    if array.shape not in ((3, 3), (9,)):
        raise ValueError(
            f"expected a stress of shape (3, 3), (9,) or (6,) (Voigt), came {array.shape}"
        )
    tensor = array.reshape(3, 3)
    if not np.isfinite(tensor).all():  # passes here; Frame refuses it with a better message
        return tensor[tuple(zip(*VOIGT, strict=True))]
    asymmetry = np.abs(tensor - tensor.T).max()
    if asymmetry > 1e-6 + 1e-3 * np.abs(tensor).max():
        raise ValueError(
            f"the stress tensor must be symmetric, but mirrored entries differ by "
            f"{asymmetry:.3g}; check the order of the nine numbers"
        )
    return voigt(tensor)


def voigt(tensor: FloatArray) -> FloatArray:
    """Voigt components of symmetric 3 x 3 tensors (..., 3, 3): (..., 6)."""
    return np.stack([(tensor[..., a, b] + tensor[..., b, a]) / 2 for a, b in VOIGT], axis=-1)


def full_stress(voigt: ArrayLike) -> FloatArray:
    """The symmetric tensor (3, 3) with these Voigt components (6,).

    Examples
    --------
    >>> full_stress([1, 2, 3, 4, 5, 6])
    array([[1., 6., 5.], [6., 2., 4.], [5., 4., 3.]])
    """
    xx, yy, zz, yz, xz, xy = np.asarray(voigt, dtype=np.float64)
    return np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])


def show(value: object) -> str:
    """Return the `repr` of what came instead of a label, cut to fit a message."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
