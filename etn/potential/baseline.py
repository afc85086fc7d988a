"""What is known before the fit: energies of isolated atoms and nuclear repulsion."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from etn.backend import FloatArray as Array
from etn.data.atomic_energies import AtomicEnergies
from etn.potential.features.inner import FULL, Inner, elements_of
from etn.potential.features.pairs import Pairs
from etn.potential.features.zbl import atomic_numbers_of, covalent_distances, zbl

if TYPE_CHECKING:
    from etn.data.dataset import Dataset

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Baseline:
    """Energy of every atom before the network: E0 of its element and half of its ZBL pairs.

    Parameters
    ----------
    e0 : mapping of symbol to energy
        eV; the potential gives exactly this for an isolated atom.
    zbl : bool
        Whether to add the Ziegler-Biersack-Littmark repulsion, which keeps atoms apart where
        there are no data: below the distances that the data hold or, where these are not known,
        within the sum of the covalent radii.

    Examples
    --------
    >>> Baseline({"Mo": -10.9})
    Baseline(e0={'Mo': -10.9}, zbl=False)
    """

    e0: Mapping[str, float]
    zbl: bool = False

    @classmethod
    def fit(
        cls,
        dataset: Dataset,
        *,
        e0: str | Mapping[str, float] | Dataset | AtomicEnergies = "auto",
        zbl: bool = True,
        r_max: float = 5.2,
    ) -> Baseline:
        """Baseline of a data set.

        What speaks against E0 is logged at the level WARNING.

        Parameters
        ----------
        dataset : Dataset
        e0 : str, mapping, Dataset or AtomicEnergies
            "auto", "isolated", "by-config NAME", "cohesive", "lstsq", eV by symbol, or a data set
            with the isolated atoms: see :meth:`etn.data.atomic_energies.AtomicEnergies.find`.
        zbl : bool
        r_max : float
            Radius of the potential, Å: an atom is isolated if it has no neighbour within it.

        Raises
        ------
        DataError
            If an isolated atom is missing, or no frame has an energy.
        SettingsError
            If ``e0`` is none of these.
        """
        if not isinstance(e0, AtomicEnergies):
            e0 = AtomicEnergies.find(dataset, e0, r_max=r_max)
            for text in e0.warnings:
                logger.warning("%s", text)
        return cls(dict(e0.values), zbl)

    def evaluate(
        self,
        pairs: Pairs,
        elements: tuple[str, ...],
        r_max: float = np.inf,
        inner: Inner | None = None,
    ) -> tuple[Array, Array, Array]:
        """Energies, forces and strain derivatives.

        Parameters
        ----------
        pairs : Pairs
            With ``element`` counting in ``elements``.
        r_max : float
            Radius within which the pairs were found, Å: the repulsion ends there at the latest.
        inner : Inner, optional
            Where the data end: the repulsion begins there.

        Returns
        -------
        energies : (samples,), eV
        forces : (atoms, 3), eV/Å
        strain : (frames, 3, 3), eV
        """
        e0 = np.array([self.e0[symbol] for symbol in elements])
        energies = e0[pairs.element[pairs.sample]]
        forces = np.zeros((pairs.n_atoms, 3))
        strain = np.zeros((pairs.n_frames, 3, 3))
        if not self.zbl:
            return energies, forces, strain
        z = atomic_numbers_of(elements)
        one, two = elements_of(pairs)
        end, share = (covalent_distances(elements), 0.5) if inner is None else (inner.onset, FULL)
        r_off = np.minimum(end[one, two], r_max)
        near = np.flatnonzero(pairs.distance < r_off)
        value, slope = zbl(
            pairs.distance[near], z[one[near]], z[two[near]], share * r_off[near], r_off[near]
        )
        center, neighbor = pairs.center[near], pairs.neighbor[near]
        energies = energies + np.bincount(center, value / 2, pairs.n_samples)
        vector = pairs.vector[near]
        pull = (slope / 2 / pairs.distance[near])[:, None] * vector
        np.add.at(forces, pairs.sample[center], pull)
        np.subtract.at(forces, neighbor, pull)
        np.add.at(strain, pairs.sample_frame[center], pull[:, :, None] * vector[:, None, :])
        return energies, forces, strain
