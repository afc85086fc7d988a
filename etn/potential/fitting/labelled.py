"""Rows with labels: errors, the loss, robust weights and doubts, for every kind of potential."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import Generic, TypeVar

import numpy as np

from etn.backend import FloatArray as Array
from etn.data.robust import Doubt, Huber
from etn.errors import SettingsError
from etn.potential.fitting.targets import RowGroup

Network = TypeVar("Network")

# Mean error of the forces, eV/Å, from which on what is no data has its full weight: where a network
# follows its data more closely, less is enough to decide where they do not.
CLOSE = 0.05


class LabelledRows(ABC, Generic[Network]):
    """Rows of a data set in groups, and what a fit asks of them after each sweep.

    Parameters
    ----------
    groups : sequence of RowGroup
    robust : Huber, optional
        For :meth:`reweigh`.
    more : sequence of RowGroup
        Rows that are fitted along but no data: nothing is measured on them, and their targets are
        bounds, see :meth:`retarget`.

    Attributes
    ----------
    offset : float
        Huber's function less the weighted squares, at the residuals that gave the weights.
    """

    def __init__(
        self, groups: Sequence[RowGroup], robust: Huber | None, more: Sequence[RowGroup] = ()
    ) -> None:
        self.groups, self.robust, self.more = tuple(groups), robust, tuple(more)
        self.bounds = self.more
        self.offset = 0.0
        # The square root of what multiplies the squared residual of each row, group by group.
        self.row_weights = [group.weights for group in self.groups]

    @property
    def all_groups(self) -> tuple[RowGroup, ...]:
        """Everything that is fitted: the rows of the data, then the others."""
        return self.groups + self.more

    @property
    def all_weights(self) -> list[Array]:
        """Weights of all rows, those of the data as they are now."""
        return self.row_weights + [group.weights for group in self.more]

    @abstractmethod
    def errors(self, network: Network) -> list[Array]:
        """Prediction minus target of every row of the data, group by group."""

    def errors_of_more(self, network: Network) -> list[Array]:
        """Prediction minus bound of every row that is no data."""
        return []

    def retarget(self, network: Network, error: float | None = None) -> None:
        """Ask of the rows that are no data for their bound, or for more where they give more.

        `error` is the mean one of the forces, which has a say in their weights.

        What they should cost is max(b - p, 0)^2 of bound b and prediction p, not a square.  A row
        whose present prediction p is beyond its bound asks for no more than p, and weighs as b / p:
        it costs nothing now, and to lose all that it has costs no more than to miss the bound by as
        much.  So no bound that is kept holds a network where it is, as it would with full weight,
        and none is forgotten, as it would be without: a fit then goes back and forth.  Between two
        sweeps the loss may rise by what now misses its bound.  The same with signs turned where b
        is negative.
        """
        moved, share = [], 1.0 if error is None else min(error / CLOSE, 1.0)
        for bound, missed in zip(self.bounds, self.errors_of_more(network), strict=True):
            found = bound.targets + missed
            beyond = np.sign(bound.targets) * (found - bound.targets) > 0
            targets = np.where(beyond, found, bound.targets)
            # A bound of zero is never beyond itself, and weighs as it did.
            ratio = np.divide(bound.targets, targets, out=np.ones_like(targets), where=beyond)
            moved.append(replace(bound, targets=targets, weights=share * ratio * bound.weights))
        self.more = tuple(moved)

    def measure(self, network: Network, errors: list[Array] | None = None) -> dict[str, float]:
        """Mean absolute errors of energy (meV/atom) and forces (eV/Å), and the weighted loss.

        Computed from the rows' own targets, so labels without weight do not count.  The loss is
        that of the plain weights, or of Huber's function at its present scales.  `errors` are those
        of the network, where they are known.
        """
        losses: list[float] = []
        by_label: dict[str, list[Array]] = {"E": [], "F": []}
        every = self.errors(network) if errors is None else errors
        for group, found in zip(self.groups, every, strict=True):
            parts = group.labels(found)
            if group.energy:
                known = group.weighted("energy")
                by_label["E"].append((parts["energy"][:, 0] / group.sizes)[known])
            by_label["F"].append(parts["forces"][group.weighted("forces")].ravel())
            losses.append(self._loss(group, found))
        measures = {"loss": sum(losses)}
        for name, scale in (("E", 1e3), ("F", 1.0)):
            stacked = np.concatenate([*by_label[name], np.empty(0)])
            if len(stacked):
                measures[name] = scale * float(np.abs(stacked).mean())
        return measures

    def _loss(self, group: RowGroup, errors: Array) -> float:
        """Loss of the rows of a group."""
        if self.robust is None:
            return float(np.sum((group.weights * errors) ** 2))
        squares = group.labels((group.weights * errors) ** 2)
        total = 0.0
        for label, norms in group.norms(errors).items():
            # rho(r) / r^2 does not depend on the units that the weights turn r into.
            share = self.robust.loss(label, norms) / np.where(norms > 0, norms, 1.0) ** 2
            total += float(share @ squares[label].sum(axis=1))
        return total

    def reweigh(self, network: Network, errors: list[Array] | None = None) -> dict[str, float]:
        """Weigh labels that lie far from a network down, as Huber's function has it.

        Returns
        -------
        dict
            ``"outliers E"``, ``"outliers F"``, ``"outliers S"``: the energies, force vectors and
            stresses that were weighed down; ``"scale E"``, ...: the scales in eV/atom and eV/Å.

        Raises
        ------
        SettingsError
            If the rows have no robust function.
        """
        if self.robust is None:
            raise SettingsError("reweigh: expected rows with a robust function, got robust=None")
        every = self.errors(network) if errors is None else errors
        found = [
            (group, own, group.norms(own)) for group, own in zip(self.groups, every, strict=True)
        ]
        used = [
            {label: norms[group.weighted(label)] for label, norms in of_group.items()}
            for group, _, of_group in found
        ]
        self.robust.update(
            {label: np.concatenate([u[label] for u in used]) for label in used[0]} if used else {}
        )
        outliers = dict.fromkeys(self.robust.scales, 0)
        self.offset, self.row_weights = 0.0, []
        for group, own, of_group in found:
            factors = {label: np.ones_like(part) for label, part in group.labels(own).items()}
            for label, norms in of_group.items():
                weights = self.robust.weights(label, norms)
                factors[label] *= np.sqrt(weights)[:, None]
                if label in outliers:
                    outliers[label] += int(np.sum((weights < 1) & group.weighted(label)))
            rows = group.weights * np.concatenate([part.ravel() for part in factors.values()])
            self.row_weights.append(rows)
            self.offset += self._loss(group, own) - float(np.sum((rows * own) ** 2))
        measures = {f"outliers {label[0].upper()}": float(n) for label, n in outliers.items()}
        return measures | self.robust.measures()

    def doubts(self, network: Network) -> list[Doubt]:
        """Labels that lie far beyond all others from a network, the worst first."""
        if self.robust is None:
            return []
        found = [
            (group, group.norms(errors))
            for group, errors in zip(self.groups, self.errors(network), strict=True)
        ]
        doubts = []
        for label, scale in self.robust.scales.items():
            used = [of_group[label][group.weighted(label)] for group, of_group in found]
            bound = self.robust.doubtful(label, np.concatenate(used))
            for group, of_group in found:
                norms = of_group[label]
                for index in np.flatnonzero((norms > bound) & group.weighted(label)):
                    frame, atom = group.place(label, int(index))
                    norm = float(norms[index])
                    doubts.append(Doubt(frame.name, label, atom, norm, norm / scale))
        return sorted(doubts, key=lambda doubt: -doubt.scales)
