"""Data and starting point of a fit, read and checked before anything is fitted."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import chain

import numpy as np

from etn.data.atomic_energies import AtomicEnergies
from etn.data.charge import check_charges
from etn.data.checks import check_constants, check_data, check_unknowns
from etn.data.dataset import Dataset
from etn.data.force_cap import describe_left_out, split_by_force
from etn.data.missing import check_some_label
from etn.data.on_disk import Joined
from etn.data.weights import count_rows
from etn.errors import SettingsError
from etn.potential.base import Potential
from etn.potential.baseline import Baseline
from etn.potential.features.pairs import Pairs
from etn.run.data_settings import DataSettings
from etn.surface import speaking

__all__ = ["Plan", "check_reach"]

# Beyond this, most of a neighbourhood is noise to a short-ranged potential, and a fit that takes
# seconds takes hours.
MAX_NEIGHBOURS = 500
# Radial functions that mostly lie beyond the largest distance in the data are not determined.
MAX_REACH = 4.0
SHORTEST_REACH = 0.1  # Å


@dataclass(frozen=True)
class Plan:
    """Data and starting point of a fit, read and checked.

    Attributes
    ----------
    settings : DataSettings
        With every number decided that the size leaves to the data.
    train : Dataset
        Without the frames that are held out, or left out for their forces.
    valid, test : Dataset or None
    model : Potential
        Basis and baseline, not fitted.
    size : str
        Which size the potential has, and why.
    warnings : tuple of str
        What may be wrong with the data, see :mod:`etn.data.checks`.
    left_out : mapping of str to Dataset
        Frames of "train" and "valid" with forces above ``max_force``.
    """

    settings: DataSettings
    train: Dataset
    valid: Dataset | None
    test: Dataset | None
    model: Potential
    size: str = ""
    warnings: tuple[str, ...] = ()
    left_out: Mapping[str, Dataset] = field(default_factory=dict)

    @classmethod
    def read(cls, settings: DataSettings) -> Plan:
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
        with speaking("settings"):
            return cls._read(settings)

    @classmethod
    def _read(cls, settings: DataSettings) -> Plan:
        everything = settings.read(settings.train)
        valid = settings.read(settings.valid) if isinstance(settings.valid, str) else None
        test = settings.read(settings.test) if settings.test else None
        e0: str | Mapping[str, float] | Dataset = settings.e0
        if settings.e0_path is not None:
            e0 = settings.read(settings.e0_path)
        if test is not None:
            check_some_label(test, then="or leave out the test set")
        everything, above = split_by_force(everything, settings.max_force)
        left_out = {"train": above}
        if valid is not None:
            valid, left_out["valid"] = split_by_force(valid, settings.max_force)
        check_reach(everything, settings.r_max)
        held_out = settings.valid if isinstance(settings.valid, float) else valid
        train, valid = settings.hold_out(everything, held_out)
        n_rows = count_rows(train, settings.weights())
        if not n_rows:
            check_some_label(train, what="nothing to fit", then="or choose other data")
            raise SettingsError("weights: no label of the training set has a weight above zero")
        if e0 in ("auto", "lstsq", "cohesive") and not everything.labels["energy"]:
            if settings.energy_key is not None and settings.energy_weight:
                settings.weights().require(train, what="training set")
            e0 = dict.fromkeys(everything.elements, 0.0)  # forces say nothing about constants
        settings, size = settings.sized_for(train)
        found = AtomicEnergies.find(everything, e0, r_max=settings.r_max)
        model = settings.start(everything, Baseline.fit(everything, e0=found, zbl=settings.zbl))
        others = (valid, test, *left_out.values())
        for other in (everything, *others):
            model.check_frames(other or ())
        for other in others:
            for frame in other or ():
                Pairs.find([frame], model.elements, model.r_max)
        plan = cls(settings, train, valid, test, model, size)
        n_unknowns = settings.unknowns(len(model.elements))
        warnings = (
            *found.warnings,
            *check_data(plan.datasets),
            *(check_charges(plan.datasets) if model.ignores_charge else ()),
            *check_constants(train, settings.energy_weight),
            *(() if n_unknowns is None else check_unknowns(n_rows, n_unknowns)),
        )
        capped = {name: frames for name, frames in left_out.items() if frames is not None}
        return replace(plan, warnings=warnings, left_out=capped)

    @property
    def datasets(self) -> dict[str, Dataset]:
        """The data sets by name."""
        named = {"train": self.train, "valid": self.valid, "test": self.test}
        return {name: dataset for name, dataset in named.items() if dataset is not None}

    @property
    def evaluated(self) -> dict[str, Dataset]:
        """What errors are given on: the data sets by name, each followed by what is left out."""
        found = {}
        for name, dataset in self.datasets.items():
            parts = [dataset, *(above for of, above in self.left_out.items() if of == name)]
            frames = Joined(parts) if dataset.on_disk else [f for part in parts for f in part]
            found[name] = Dataset(frames, source=dataset.source)
        return found

    def describe_left_out(self) -> str:
        """Which frames are left out for their forces; empty if none is."""
        if not self.left_out or self.settings.max_force is None:
            return ""
        return describe_left_out(self.settings.max_force, self.datasets, self.left_out)

    def fingerprint(self) -> str:
        """SHA-256 of the numbers that the fit uses: a continued fit must have the same."""
        digest = hashlib.sha256()
        for frame in chain(self.train, self.valid or ()):
            labels = (frame.energy, frame.forces, frame.stress)
            charge = f" {frame.charge!r}" if frame.charge else ""
            digest.update(f"{frame.config_type} {frame.weight!r}{charge}".encode())
            for array in (frame.numbers, frame.positions, frame.cell, frame.pbc, *labels):
                digest.update(b"-" if array is None else np.asarray(array).tobytes())
        return digest.hexdigest()


def check_reach(dataset: Dataset, r_max: float) -> None:
    """Check that neighbourhoods of radius `r_max` are neither overfull nor mostly beyond the data.

    Raises
    ------
    SettingsError
        If `r_max` is below 0.1 Å; if an atom would have more than 500 neighbours on average; or if
        no structure is periodic and the largest distance in the data is less than a quarter of
        `r_max`.
    """
    if r_max < SHORTEST_REACH:
        raise SettingsError(
            f"r_max: {r_max:g} Å is shorter than any bond, so no atom has neighbours; choose about "
            "5 Å"
        )
    sphere = 4 / 3 * math.pi * r_max**3
    atoms, neighbours = 0, 0.0
    for frame in dataset:
        if frame.pbc.all():
            atoms += frame.n_atoms
            neighbours += frame.n_atoms**2 / frame.volume * sphere
    if atoms:
        mean = neighbours / atoms
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
