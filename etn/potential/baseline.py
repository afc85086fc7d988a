"""What is known before the fit: energies of isolated atoms and nuclear repulsion."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from etn.backend import FloatArray as Array
from etn.data.cohesive import cohesive_energy
from etn.errors import DataError, SettingsError
from etn.potential.features.inner import FULL, Inner, elements_of
from etn.potential.features.pairs import Pairs
from etn.potential.zbl import atomic_numbers_of, covalent_distances, zbl

if TYPE_CHECKING:
    from etn.data.dataset import Dataset


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
        e0: str | Mapping[str, float] | Dataset = "auto",
        zbl: bool = True,
    ) -> Baseline:
        """Baseline of a data set.

        Parameters
        ----------
        dataset : Dataset
        e0 : str, mapping or Dataset
            "isolated": energies of the single-atom frames of the data set; "lstsq": least
            squares of the energies against the composition, of minimal norm where that does
            not fix them; "cohesive": these plus the measured cohesive energy of each element,
            an estimate of isolated atoms within some tenths of an eV; "auto": isolated atoms
            if all elements have such a frame, else the estimate; a mapping of symbol to energy;
            or another data set with the isolated atoms.
        zbl : bool

        Raises
        ------
        DataError
            If an isolated atom is missing, or no frame has an energy.
        SettingsError
            If ``e0`` is none of these.
        """
        elements = dataset.elements
        if isinstance(e0, Mapping):
            return cls(_complete(dict(e0), elements, "the given e0"), zbl)
        if not isinstance(e0, str):
            return cls(_complete(_isolated(e0), elements, f"{e0.source or 'the data set'}"), zbl)
        if e0 == "isolated":
            return cls(_complete(_isolated(dataset), elements, "the training set"), zbl)
        if e0 == "lstsq":
            return cls(_least_squares(dataset), zbl)
        if e0 == "cohesive":
            return cls(_estimate(dataset), zbl)
        if e0 == "auto":
            found = _isolated(dataset)
            complete = all(symbol in found for symbol in elements)
            return cls(found if complete else _estimate(dataset), zbl)
        raise SettingsError(
            'e0: expected "auto", "isolated", "lstsq", "cohesive", a mapping of symbol to eV or a '
            f"data set of isolated atoms, got {e0!r}"
        )

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


def _isolated(dataset: Dataset) -> dict[str, float]:
    return {
        frame.symbols[0]: frame.energy
        for frame in dataset
        if frame.n_atoms == 1 and frame.energy is not None and not frame.pbc.any()
    }


def _complete(e0: dict[str, float], elements: tuple[str, ...], where: str) -> dict[str, float]:
    missing = [symbol for symbol in elements if symbol not in e0]
    if missing:
        raise DataError(
            f"e0: {where} has no isolated atom of {', '.join(missing)} (a non-periodic frame "
            'with one atom and an energy): add it, give its energy, or use e0="lstsq"'
        )
    return {symbol: float(e0[symbol]) for symbol in elements}


def _least_squares(dataset: Dataset) -> dict[str, float]:
    frames = [frame for frame in dataset if frame.energy is not None]
    if not frames:
        raise DataError(
            "e0: no frame has an energy, so the energies of the atoms cannot be found: "
            "check the key of the energy, or give e0 as a mapping of symbol to eV"
        )
    counts = np.array(
        [[frame.symbols.count(symbol) for symbol in dataset.elements] for frame in frames]
    )
    n = counts.sum(1)
    energies = np.array([frame.energy for frame in frames])
    # Energies per atom: large frames do not count more than small ones.
    solution = np.linalg.lstsq(counts / n[:, None], energies / n, rcond=None)[0]
    return {s: float(e) for s, e in zip(dataset.elements, solution, strict=True)}


def _estimate(dataset: Dataset) -> dict[str, float]:
    """Energies of isolated atoms as far above the data as the elements are bound.

    A potential is pinned to them where an atom has no neighbours.  With the energies of the data
    themselves there, it would bend back on the way to surfaces and vacancies.
    """
    return {s: round(e + cohesive_energy(s), 6) for s, e in _least_squares(dataset).items()}
