"""Robust fits: labels that lie far from the fit pull on it less.

Least squares gives a label that is wrong by a hundred standard deviations ten thousand times the
say of a right one.  Huber's function ::

    rho(r) = |r|^2                  for |r| <= c s,
             2 c s |r| - (c s)^2    beyond,

grows linearly from c scales s on, with a larger c for energies than for forces and stresses.  Its
minimum is found by reweighted least squares: with the weights c s / |r| beyond c s, taken at the
present residuals, the weighted sum of squares plus a constant touches rho from above, so whatever
lowers the one lowers the other.  As rho rises with s, so that a smaller scale only lowers it,
scales that never rise keep the objective falling.

A wrong energy carries a whole structure, and in a small set even the bounded pull of Huber's
function is too much: beyond the norm T from which on a label is doubtful, the rho of energies grows
as slowly as a logarithm, ::

    rho(r) = 2 c s T - (c s)^2 + 2 c s T ln(|r| / T)    for |r| > T,

the weights are c s T / |r|^2, and a label pulls the less, the further it is off.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from scipy import special

from etn.backend import FloatArray as Array
from etn.errors import SettingsError

__all__ = [
    "Doubt",
    "Huber",
    "composition_offsets",
    "describe_doubts",
    "weighed_down",
    "without_scales",
]


# Components of each label that are weighed together: a force vector as a whole, so that the
# result does not depend on the orientation of the axes.
COMPONENTS = {"energy": 1, "forces": 3, "stress": 6}
# Residuals below (eV/atom, eV/Å) are zero by symmetry, or met exactly: they say nothing of noise.
EXACT = 1e-9
# A label is worth a look if it is further than this many scales from the fit, and than this many
# times what most labels keep within: real residuals have longer tails than normal ones.
DOUBTFUL, BEYOND_MOST = 15.0, 4.0
# Most are 95 %, or all but this many (at most half) where these are more.
MOST, FEW = 0.95, 5
# Labels that pull less and less from there on.  Forces do not: their residuals have longer tails,
# and one of them is little beside the others of its structure.
REDESCENDING = ("energy",)
# How many frames a message names.
_NAMED = 5
# Iterations of least absolute deviations, and the residuals of weight one, in medians.
_REWEIGHTED, _SMALL = 50, 0.1


@dataclass
class Huber:
    """Huber's function with a robust scale for each kind of label.

    The scale of a label with p components is its median residual, divided by that of p normal
    numbers of variance one.  The threshold c_p is what such numbers exceed in norm as often as
    one of them exceeds `threshold`.

    Parameters
    ----------
    threshold : float
        For single numbers, in scales; 1.345 costs 5 % of the accuracy if all labels are right.
    energy_threshold : float
        The same for energies.  A structure has one, and those of the rarest kinds lie furthest
        from a fit that has not learned them yet: only what is far beyond that is wrong.
    scales : dict of str to float
        Of the labels whose residuals have been seen, in eV/atom and eV/Å.
    tails : dict of str to float
        The norms T beyond which these labels pull less and less; of energies only.

    Raises
    ------
    SettingsError
        If a threshold is not positive.

    Notes
    -----
    P. J. Huber, Ann. Math. Statist. 35, 73 (1964); P. W. Holland, R. E. Welsch, Commun. Stat.
    Theory Methods 6, 813 (1977), for the constant.

    Examples
    --------
    >>> huber = Huber()
    >>> huber.update({"energy": np.array([0.001, 0.002, 0.003, 0.5, 0.002])})
    >>> round(huber.scales["energy"], 5)
    0.00297
    >>> np.round(huber.weights("energy", np.array([0.001, 0.5])), 4)
    array([1.    , 0.0053])
    """

    threshold: float = 1.345
    energy_threshold: float = 10.0
    scales: dict[str, float] = field(default_factory=dict)
    tails: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("threshold", "energy_threshold"):
            value = getattr(self, name)
            if not 0 < value < np.inf:
                raise SettingsError(f"{name}: expected a positive number, got {value}")

    def update(self, residuals: Mapping[str, Array]) -> None:
        """Lower the scales to those of new residuals; they never rise.

        Parameters
        ----------
        residuals : {label: (labels,)}
            Norms of the residuals of "energy" and "stress" (eV/atom) and "forces" (eV/Å).
        """
        for label, norms in residuals.items():
            seen = norms[norms > EXACT]
            if len(seen):
                normal = np.sqrt(special.chdtri(COMPONENTS[label], 0.5))
                scale = float(np.median(seen) / normal)
                self.scales[label] = min(scale, self.scales.get(label, np.inf))
                if label in REDESCENDING:
                    tail = max(self.doubtful(label, norms), self.limit(label))
                    self.tails[label] = min(tail, self.tails.get(label, np.inf))

    def measures(self) -> dict[str, float]:
        """The scales and tails under the names that they have in the record of a sweep."""
        found = {f"scale {label[0].upper()}": scale for label, scale in self.scales.items()}
        return found | {f"scale tail {label[0].upper()}": t for label, t in self.tails.items()}

    def restore(self, measures: Mapping[str, float]) -> None:
        """Take scales and tails over from the record of a sweep."""
        for label in COMPONENTS:
            for name, found in (("scale", self.scales), ("scale tail", self.tails)):
                if (key := f"{name} {label[0].upper()}") in measures:
                    found[label] = measures[key]

    def limit(self, label: str) -> float:
        """Norm of a residual beyond which it is down-weighted; infinite before any was seen."""
        threshold = self.energy_threshold if label == "energy" else self.threshold
        bound = threshold
        if COMPONENTS[label] > 1:
            tail = special.chdtrc(1, threshold**2)
            bound = float(np.sqrt(special.chdtri(COMPONENTS[label], tail)))
        return bound * self.scales.get(label, np.inf)

    def doubtful(self, label: str, norms: Array) -> float:
        """Norm beyond which one of these residuals casts doubt on its label.

        Examples
        --------
        >>> Huber(scales={"energy": 0.01}).doubtful("energy", np.full(50, 0.02))
        0.15
        """
        few = max(FEW / max(len(norms), 2 * FEW), 1 - MOST)
        most = float(np.quantile(norms, 1 - few, method="lower")) if len(norms) else 0.0
        return max(DOUBTFUL * self.scales.get(label, np.inf), BEYOND_MOST * most)

    def weights(self, label: str, norms: Array) -> Array:
        """What multiplies squared residuals: min(1, c s / |r|), times T / |r| in the tail."""
        limit = self.limit(label)
        if limit == np.inf:
            return np.ones(len(norms))
        weights = np.where(norms > limit, limit / np.maximum(norms, limit), 1.0)
        return weights / np.maximum(norms / self.tails.get(label, np.inf), 1.0)

    def loss(self, label: str, norms: Array) -> Array:
        """rho(r) of each residual."""
        limit, tail = self.limit(label), self.tails.get(label, np.inf)
        near = np.minimum(norms, tail)
        # |r|^2 - (|r| - c s)^2 beyond the limit, which may be infinite.
        rho: Array = near**2 - np.maximum(near - limit, 0.0) ** 2
        far = norms > tail
        rho[far] += 2 * limit * tail * np.log(norms[far] / tail)
        return rho


def composition_offsets(composition: Array, residuals: Array) -> Array:
    """Offset of each element that leaves the least sum of absolute residuals.

    Most energies agree on the offsets; unlike with squares, the wrong ones have no say in them.

    Parameters
    ----------
    composition : (frames, elements)
        Fraction of the atoms of each frame that are of each element.
    residuals : (frames,)
        Per atom.

    Returns
    -------
    (elements,): of least norm where the compositions do not fix them.

    Examples
    --------
    >>> mixed = np.array([[1, 0], [1, 0], [1, 0], [0.5, 0.5], [0, 1]])
    >>> composition_offsets(mixed, np.array([3.0, 90.0, 3.0, 2.0, 1.0])).round(6)
    array([3., 1.])
    """
    weights = np.ones(len(residuals))
    for _ in range(_REWEIGHTED):
        root = np.sqrt(weights)
        offsets = np.linalg.lstsq(root[:, None] * composition, root * residuals, rcond=None)[0]
        left = np.abs(residuals - composition @ offsets)
        small = _SMALL * float(np.median(left)) + EXACT
        weights = small / np.maximum(left, small)
    return np.asarray(offsets)


def weighed_down(measures: Mapping[str, float]) -> str:
    """How many labels of each kind the record of a sweep counts as weighed down.

    Examples
    --------
    >>> weighed_down({"train E": 2.1, "outliers E": 40.0, "outliers F": 4201.0})
    '40 energies, 4201 forces'
    """
    names = {"E": "energies", "F": "forces", "S": "stresses"}
    found = {name: measures.get(f"outliers {key}") for key, name in names.items()}
    return ", ".join(f"{count:.0f} {name}" for name, count in found.items() if count is not None)


def without_scales(measures: Mapping[str, float]) -> dict[str, float]:
    """The figures of a sweep that are not about the robust weights.

    Examples
    --------
    >>> without_scales({"train E": 2.1, "outliers E": 40.0, "scale E": 0.004})
    {'train E': 2.1}
    """
    return {
        key: value for key, value in measures.items() if not key.startswith(("outliers ", "scale "))
    }


class Doubt(NamedTuple):
    """A label that does not fit with the others.

    Attributes
    ----------
    frame : str
    label : {"energy", "forces", "stress"}
    atom : int or None
        Whose force it is.
    residual : float
        Reference minus fit: its norm in eV/atom or eV/Å.
    scales : float
        The same in robust standard deviations.
    """

    frame: str
    label: str
    atom: int | None
    residual: float
    scales: float


def describe_doubts(doubts: Sequence[Doubt]) -> list[str]:
    """Say which labels a robust fit disbelieves, one message for each kind.

    Examples
    --------
    >>> print(*describe_doubts([Doubt("train.xyz:17", "energy", None, 0.5, 80.0)]))
    train: 1 energy that the fit disbelieves: train.xyz:17 (0.5 eV/atom, 80 scales); look at these
    frames, correct or remove what is wrong
    """
    messages = []
    for label, unit in (("energy", "eV/atom"), ("forces", "eV/Å"), ("stress", "eV/atom")):
        of_label = [doubt for doubt in doubts if doubt.label == label]
        if not of_label:
            continue
        worst: dict[str, Doubt] = {}
        for doubt in sorted(of_label, key=lambda doubt: -doubt.scales):
            worst.setdefault(doubt.frame, doubt)
        named = [
            f"{frame}{'' if doubt.atom is None else f' atom {doubt.atom}'} "
            f"({doubt.residual:.2g} {unit}, {doubt.scales:.0f} scales)"
            for frame, doubt in list(worst.items())[:_NAMED]
        ]
        more = ["..."] if len(worst) > _NAMED else []
        kind = {"energy": ("energy", "energies"), "forces": ("force", "forces")}
        one, many = kind.get(label, ("stress", "stresses"))
        messages.append(
            f"train: {len(of_label)} {one if len(of_label) == 1 else many} that the fit "
            f"disbelieves: {', '.join([*named, *more])}; look at these frames, correct or remove "
            "what is wrong"
        )
    return messages
