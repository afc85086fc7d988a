"""Sizes of a potential: named values for the settings that decide what a fit costs."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from etn.potential.basis import Basis
from etn.potential.model import PolynomialPotential
from etn.sweep import Schedule

__all__ = ["SIZES", "Size", "choose_size", "count_unknowns"]

# An update solves for all unknowns of a core at once: its time grows with their square, that of
# the solver with their cube. Two elements of medium size stay below, four do not.
MAX_UNKNOWNS = 8000


def default_of(function: Callable[..., Any], parameter: str) -> Any:
    """Return the default of a parameter of a function, or of a field of a dataclass."""
    return inspect.signature(function).parameters[parameter].default


@dataclass(frozen=True)
class Size:
    """The settings that a size stands for.

    Attributes
    ----------
    n_max, l_max : int
    body_order : int
    max_bond : tuple of int
    max_sweeps : tuple of int

    Examples
    --------
    >>> print(SIZES["small"])
    n_max 8, l_max 3, body_order 4, max_bond 4,3,2,2, max_sweeps 2,1
    """

    n_max: int
    l_max: int
    body_order: int
    max_bond: tuple[int, ...]
    max_sweeps: tuple[int, ...]

    def values(self) -> dict[str, Any]:
        """The settings by name."""
        return asdict(self)

    def __str__(self) -> str:
        return ", ".join(f"{name} {_shown(value)}" for name, value in self.values().items())


SIZES: Mapping[str, Size] = {
    "small": Size(8, 3, 4, (4, 3, 2, 2), (2, 1)),
    # Those of the Python functions: there is no second set of numbers.
    "medium": Size(
        default_of(Basis.for_dataset, "n_max"),
        default_of(Basis.for_dataset, "l_max"),
        default_of(PolynomialPotential, "body_order"),
        default_of(PolynomialPotential, "max_bond"),
        default_of(Schedule, "max_sweeps"),
    ),
    # Finer in the angles: more radial functions or bodies gained less in cross-validation.
    "large": Size(8, 5, 4, (5, 4, 3, 3, 2, 2), (2, 1)),
}
# For data that do not carry a small potential, and for many elements.
_SMALLER = (
    Size(6, 2, 4, (3, 2, 1), (2, 1)),
    Size(4, 2, 3, (2, 2, 1), (2, 1)),
    Size(3, 1, 3, (1, 1), (2, 1)),
)


def count_unknowns(n_elements: int, values: Mapping[str, Any]) -> int:
    """Unknowns of the largest core, which one update solves for.

    Parameters
    ----------
    n_elements : int
    values : mapping
        At least ``n_max``, ``l_max``, ``body_order`` and ``max_bond``.

    Raises
    ------
    SettingsError
        If ``max_bond`` does not fit ``l_max``.

    Examples
    --------
    >>> [count_unknowns(n, SIZES["medium"].values()) for n in (1, 2, 4)]
    [3575, 7087, 14111]
    """
    from ase.data import chemical_symbols

    # Any elements do: only their number counts.
    elements = tuple(chemical_symbols[1 : n_elements + 1])
    basis = Basis(elements, n_max=values["n_max"], l_max=values["l_max"])
    model = PolynomialPotential(basis, body_order=values["body_order"], max_bond=values["max_bond"])
    chain = model.initial_chain(seed=0)
    if model.body_order - 1 > len(chain):  # all inner cores are alike, so one shows
        chain = chain.insert(1)
    return max(core.n_parameters for core in chain.cores)


def choose_size(
    n_elements: int, n_rows: int, given: Mapping[str, Any]
) -> tuple[dict[str, Any], str]:
    """Values for what is not `given`, as large as cost and data allow, up to ``medium``.

    The largest core of a size may have up to 8000 unknowns, and with what is given no more than
    there are data rows: where it has more, cross-validation prefers the next smaller size.
    ``large`` is never chosen, as only the user knows whether its accuracy is worth its time.

    Parameters
    ----------
    n_elements : int
    n_rows : int
        Data rows of the fit, see :func:`etn.potential.rows.count_rows`.
    given : mapping
        Settings that are decided, by name.

    Returns
    -------
    values : dict
        The settings of a :class:`Size`, those given included.
    reason : str

    Examples
    --------
    >>> values, reason = choose_size(4, 27047, {})
    >>> values["l_max"], values["max_bond"], reason
    (3, (4, 3, 2, 2), 'small: medium has 14111 unknowns in one core, more than 8000')
    >>> choose_size(1, 31619, {"l_max": 3})[1]
    'medium: 31619 data rows for 2467 unknowns in one core'
    """
    candidates = [
        *(("medium", SIZES["medium"]), ("small", SIZES["small"])),
        *(("less than small", size) for size in _SMALLER),
    ]
    reason = ""
    for name, size in candidates:
        values = {**size.values(), **given}
        own, unknowns = (count_unknowns(n_elements, v) for v in (size.values(), values))
        # What is given may cost what it costs, and is no reason to take back other values.
        if own > MAX_UNKNOWNS:
            reason = reason or f"{name} has {own} unknowns in one core, more than {MAX_UNKNOWNS}"
        elif n_rows < unknowns:
            reason = reason or f"{name} has {unknowns} unknowns in one core for {n_rows} data rows"
        else:
            reason = reason or f"{n_rows} data rows for {unknowns} unknowns in one core"
            break
    return values, f"{name}: {reason}"


def _shown(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
