"""What has a compiled evaluator: potentials, and the grades of their uncertainty."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

from numpy.typing import NDArray

from etn.native.evaluator import Evaluator, compiled
from etn.native.library import is_on

__all__ = ["Evaluated", "compiled_grades"]

Stored = tuple[dict[str, Any], Mapping[str, NDArray[Any]]]


class Evaluated:
    """Something that may have a compiled evaluator; a subclass overrides ``_compiled``.

    Examples
    --------
    >>> Evaluated().evaluator is None
    True
    """

    @property
    def evaluator(self) -> Evaluator | None:
        """The same compiled; None where there is none or it is off.

        ``ETN_NATIVE=0`` in the environment turns it off.
        """
        return self._compiled if is_on() else None

    @cached_property
    def _compiled(self) -> Evaluator | None:
        return None


def compiled_grades(
    elements: Sequence[str], basis: Stored, chain: Stored, uncertainty: Stored
) -> Evaluator | None:
    """An evaluator of grades alone; None if there is none.

    Parameters
    ----------
    elements : sequence of str
    basis, chain, uncertainty : (header, arrays)
        As model files have them. Energies are those of this chain without a baseline.
    """
    baseline = {"e0": dict.fromkeys(elements, 0.0), "zbl": False}
    parts = {"basis": basis, "chain": chain, "uncertainty": uncertainty}
    header = {"baseline": baseline} | {name: described for name, (described, _) in parts.items()}
    arrays = {name: array for _, more in parts.values() for name, array in more.items()}
    return compiled("polynomial potential", header, arrays)
