"""Data and starting point of a fit, read and checked before anything is fitted."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from etn.data.atomic_energies import AtomicEnergies
from etn.data.checks import check_data, check_unknowns
from etn.data.dataset import Dataset
from etn.data.weights import count_rows
from etn.errors import DataError, SettingsError
from etn.potential.base import Potential
from etn.potential.baseline import Baseline
from etn.potential.features.pairs import Pairs
from etn.run.settings import CommonSettings
from etn.run.sizes import count_unknowns

__all__ = ["Plan", "check_reach"]

# Beyond this, most of a neighbourhood is noise to a short-ranged potential, and a fit that takes
# seconds takes hours.
MAX_NEIGHBOURS = 500
# Radial functions that mostly lie beyond the largest distance in the data are not determined.
MAX_REACH = 4.0


@dataclass(frozen=True)
class Plan:
    """Data and starting point of a fit, read and checked.

    Attributes
    ----------
    settings : CommonSettings
        With every number decided that the size leaves to the data.
    train : Dataset
        Without the frames that are held out.
    valid, test : Dataset or None
    model : Potential
        Basis and baseline, not fitted.
    size : str
        Which size the potential has, and why.
    warnings : tuple of str
        What may be wrong with the data, see :mod:`etn.data.checks`.
    """

    settings: CommonSettings
    train: Dataset
    valid: Dataset | None
    test: Dataset | None
    model: Potential
    size: str = ""
    warnings: tuple[str, ...] = ()

    @classmethod
    def read(cls, settings: CommonSettings) -> Plan:
        """Read the data of a fit, build what the fit starts from, and check all of it.

        Raises
        ------
        DataError
            If data cannot be used: missing or broken files, missing labels, elements that the
            training data lack, coincident atoms, one structure with two energies.
        SettingsError
            If ``r_max`` reaches further than the data.

        Examples
        --------
        >>> from etn.run.settings import FitSettings
        >>> plan = Plan.read(FitSettings(train="etn:Mo", valid=0.1))
        >>> len(plan.train), len(plan.valid), len(plan.test)
        (175, 19, 23)
        """
        everything = settings.read(settings.train)
        valid = settings.read(settings.valid) if isinstance(settings.valid, str) else None
        test = settings.read(settings.test) if settings.test else None
        e0: str | Mapping[str, float] | Dataset = settings.e0
        if settings.e0_path is not None:
            e0 = settings.read(settings.e0_path)
        if test is not None and not any(test.labels.values()):
            raise DataError(
                f"{test.source}: no frame has an energy, forces or stress to test against; give "
                "their keys, or leave out the test set"
            )
        check_reach(everything, settings.r_max)
        held_out = settings.valid if isinstance(settings.valid, float) else valid
        train, valid = settings.objective().hold_out(everything, held_out, settings.seed)
        settings, size = settings.sized_for(train)
        basis = settings.basis(everything)
        for other in (valid, test):
            for frame in other or ():
                Pairs.find([frame], basis.elements, basis.r_max)
        found = AtomicEnergies.find(everything, e0, r_max=settings.r_max)
        model = settings.potential(basis, Baseline.fit(everything, e0=found, zbl=settings.zbl))
        plan = cls(settings, train, valid, test, model, size)
        n_rows = count_rows(train, settings.weights())
        n_unknowns = count_unknowns(len(basis.elements), dict(settings))
        warnings = (*check_data(plan.datasets), *check_unknowns(n_rows, n_unknowns))
        return replace(plan, warnings=(*found.warnings, *warnings))

    @property
    def datasets(self) -> dict[str, Dataset]:
        """The data sets by name."""
        named = {"train": self.train, "valid": self.valid, "test": self.test}
        return {name: dataset for name, dataset in named.items() if dataset is not None}

    def fingerprint(self) -> str:
        """SHA-256 of the numbers that the fit uses: a continued fit must have the same."""
        digest = hashlib.sha256()
        for frame in (*self.train, *(self.valid or ())):
            labels = (frame.energy, frame.forces, frame.stress)
            digest.update(f"{frame.config_type} {frame.weight!r}".encode())
            for array in (frame.numbers, frame.positions, frame.cell, frame.pbc, *labels):
                digest.update(b"-" if array is None else np.asarray(array).tobytes())
        return digest.hexdigest()


def check_reach(dataset: Dataset, r_max: float) -> None:
    """Check that neighbourhoods of radius `r_max` are neither overfull nor mostly beyond the data.

    Raises
    ------
    SettingsError
        If an atom would have more than 500 neighbours on average; or if no structure is periodic
        and the largest distance in the data is less than a quarter of `r_max`.
    """
    crystals = [frame for frame in dataset if frame.pbc.all()]
    if crystals:
        sphere = 4 / 3 * math.pi * r_max**3
        neighbours = sum(frame.n_atoms**2 / frame.volume * sphere for frame in crystals)
        mean = neighbours / sum(frame.n_atoms for frame in crystals)
        if mean > MAX_NEIGHBOURS:
            most = r_max * (MAX_NEIGHBOURS / mean) ** (1 / 3)
            raise SettingsError(
                f"r_max: {r_max:g} Å gives an atom {mean:.0f} neighbours on average, more than "
                f"the {MAX_NEIGHBOURS} that a fit can use; choose about 5 Å, at most {most:.1f} Å"
            )
    if any(frame.pbc.any() for frame in dataset):
        return
    largest = max(float(np.linalg.norm(np.ptp(frame.positions, axis=0))) for frame in dataset)
    if 0 < largest < r_max / MAX_REACH:
        raise SettingsError(
            f"r_max: {r_max:g} Å reaches far beyond the data, in which no two atoms are more than "
            f"{largest:.2f} Å apart; choose at most {MAX_REACH * largest:.1f} Å"
        )
