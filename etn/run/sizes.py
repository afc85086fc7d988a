"""Sizes of a potential: named values for the settings that decide what a fit costs."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from etn.potential.features.basis import Basis, most_channels
from etn.potential.polynomial import PolynomialPotential
from etn.sweep.schedule import FIT_DEFAULTS

__all__ = ["SIZES", "Size", "choose_size", "count_unknowns"]

# An update solves for all unknowns of a core at once: its time grows with their square times the
# data rows, that of the solver with their cube, its memory with their square.
MAX_UNKNOWNS = 13_000
# Multiplications of one update, rows times unknowns squared: some minutes on two cores.
MAX_WORK = 1e13
# From so many elements on, bonds need more copies: an atom can be many things.
MANY_ELEMENTS = 3


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
        FIT_DEFAULTS["max_sweeps"],
    ),
    # For molecules and alloys, in which an atom can be many things.
    "wide": Size(8, 4, 4, (8, 6, 4, 3, 2), (2, 2)),
    # Finer in the angles: more radial functions or bodies gained less in cross-validation.
    "large": Size(8, 5, 4, (5, 4, 3, 3, 2, 2), (2, 2)),
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
        At least ``n_max``, ``l_max``, ``body_order`` and ``max_bond``; ``max_channels`` is that
        of :meth:`Basis.for_dataset` where it is missing.

    Raises
    ------
    SettingsError
        If ``max_bond`` does not fit ``l_max``.

    Examples
    --------
    >>> [count_unknowns(n, SIZES["medium"].values()) for n in (1, 2, 4)]
    [3575, 5447, 6455]
    """
    from ase.data import chemical_symbols

    # Any elements do: only their number counts.
    elements = tuple(chemical_symbols[1 : n_elements + 1])
    basis = Basis(elements, n_max=values["n_max"], l_max=values["l_max"])
    max_channels = values.get("max_channels", default_of(Basis.for_dataset, "max_channels"))
    most = most_channels(max_channels, basis.l_max)
    basis = replace(basis, channels=basis.contraction.principal((), most))
    model = PolynomialPotential(basis, body_order=values["body_order"], max_bond=values["max_bond"])
    chain = model.initial_chain(seed=0)
    if model.body_order - 1 > len(chain):  # all inner cores are alike, so one shows
        chain = chain.insert(1)
    return max(core.n_parameters for core in chain.cores)


def choose_size(
    n_elements: int,
    n_rows: int,
    given: Mapping[str, Any],
    *,
    max_channels: int | Sequence[int] | None = default_of(Basis.for_dataset, "max_channels"),
) -> tuple[dict[str, Any], str]:
    """Values for what is not `given`, as large as cost and data allow.

    One and two elements start from ``medium``, more from ``wide``.  The largest core of a size
    may have up to 13000 unknowns and cost 1e13 multiplications an update, data rows times
    unknowns squared, and with what is given it may have no more unknowns than there are data
    rows: where it has more, cross-validation prefers the next smaller size.
    ``large`` is never chosen, as only the user knows whether its accuracy is worth its time.

    Parameters
    ----------
    n_elements : int
    n_rows : int
        Data rows of the fit, see :func:`etn.data.weights.count_rows`.
    given : mapping
        Settings that are decided, by name.
    max_channels : int or sequence of int, optional
        See :meth:`Basis.for_dataset`.

    Returns
    -------
    values : dict
        The settings of a :class:`Size`, those given included.
    reason : str

    Examples
    --------
    >>> values, reason = choose_size(4, 27047, {})
    >>> values["l_max"], values["max_bond"], reason
    (4, (8, 6, 4, 3, 2), 'wide: 27047 data rows for 11773 unknowns in one core')
    >>> choose_size(1, 31619, {"l_max": 3})[1]
    'medium: 31619 data rows for 2467 unknowns in one core'
    """
    first = "medium" if n_elements < MANY_ELEMENTS else "wide"
    candidates = [
        *((first, SIZES[first]), ("small", SIZES["small"])),
        *(("less than small", size) for size in _SMALLER),
    ]
    reason = ""
    for name, size in candidates:
        values = {**size.values(), **given}
        own, unknowns = (
            count_unknowns(n_elements, {**v, "max_channels": max_channels})
            for v in (size.values(), values)
        )
        # What is given may cost what it costs, and is no reason to take back other values.
        if own > MAX_UNKNOWNS:
            reason = reason or f"{name} has {own} unknowns in one core, more than {MAX_UNKNOWNS}"
        elif n_rows * own**2 > MAX_WORK:
            reason = reason or f"{name} has {own} unknowns in one core, slow for {n_rows} data rows"
        elif n_rows < unknowns:
            reason = reason or f"{name} has {unknowns} unknowns in one core for {n_rows} data rows"
        else:
            reason = reason or f"{n_rows} data rows for {unknowns} unknowns in one core"
            break
    return values, f"{name}: {reason}"


def _shown(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
