"""Structures and labels to fit and to test on."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, overload

import numpy as np

from etn.data.embedded import PREFIX, embedded_path
from etn.data.formats import read_structures
from etn.data.frame import Frame
from etn.data.labels import LabelKeys
from etn.data.on_disk import Chosen, Lazy, OnDisk, keep
from etn.data.split import stratified_choice
from etn.data.summary import DatasetSummary, count_labels, summarize
from etn.errors import DataError, SettingsError
from etn.io import write_atomic
from etn.machine import GB

if TYPE_CHECKING:
    from ase import Atoms
    from numpy.typing import NDArray

__all__ = ["Dataset"]

_Path = str | os.PathLike[str]
T = TypeVar("T")

# Bytes of a frame beside those of its numbers.
_FRAME = 2000.0


class Dataset(Sequence[Frame]):
    """An immutable sequence of frames.

    ``dataset[3]`` is a :class:`Frame`; a slice, a list of indices or a boolean mask gives a
    :class:`Dataset`. Printing it shows what was read: :meth:`summary`.

    Parameters
    ----------
    frames : iterable of Frame
        At least one frame.
    source : str
        Where the frames come from, for the summary.
    keys : LabelKeys, optional
        Where the labels were looked for, for the summary.

    Raises
    ------
    DataError
        If there is no frame.

    Examples
    --------
    >>> train = Dataset.read("etn:Mo/train")
    >>> train
    Dataset(194 frames, 10087 atoms, Mo; energy 194, forces 194, stress 194)
    >>> train[0], len(train[::10])
    (Frame(etn:Mo/train:0: Mo53, energy, forces, stress), 20)
    """

    def __init__(
        self, frames: Iterable[Frame], *, source: str = "", keys: LabelKeys | None = None
    ) -> None:
        self._frames = frames if isinstance(frames, Lazy) else tuple(frames)
        self._source = source
        self._keys = keys or LabelKeys()
        if not self._frames:
            raise DataError(f"{source or 'dataset'}: expected at least one frame, came none")
        for index, frame in enumerate(() if self.on_disk else self._frames):
            if not isinstance(frame, Frame):
                raise DataError(
                    f"{source or 'dataset'}: item {index} is a {type(frame).__name__}, expected a "
                    "Frame; use Dataset.from_atoms for ASE structures"
                )

    @classmethod
    def read(
        cls,
        source: _Path | Sequence[_Path],
        *,
        energy: str | None = "energy",
        forces: str | None = "forces",
        stress: str | None = "stress",
        virial: str | None = None,
        stress_unit: str = "eV/Å³",
        stress_convention: str | None = None,
        charge: str | None = "charge",
        index: str | int | slice = ":",
        memory: float | None = None,
    ) -> Dataset:
        """Read files of extended XYZ, or of any other format that ASE reads.

        Parameters
        ----------
        source : path-like or sequence of them
            A file of extended XYZ (plain, ``.gz``, ``.bz2`` or ``.xz``) or of another format that
            ASE knows by its name or content (``OUTCAR``, ``vasprun.xml``, ``.traj``, ``.db``,
            ...), or the name of an embedded set such as ``"etn:Mo/train"``.
        energy, forces, stress : str or None
            The key under which the file has each label: total energy (eV), forces (eV/Å), stress.
            None leaves the label out. A frame may lack a label; the summary counts how many do.
            A stress is read only of frames that are periodic in all three directions. What ASE
            reads from the output of a program has these names; of VASP and some others the energy
            extrapolated to no smearing is ``"energy"`` and the one that the forces derive from
            ``"free_energy"``.
        virial : str or None
            The key of the virial in eV, -V·stress, which is then read as the stress.
        stress_unit : str
            "eV/Å³", "GPa", "kbar" or another of :data:`etn.data.stress.STRESS_UNITS`.
        stress_convention : {"tension", "compression", "vasp"}, optional
            Which sign stresses and virials have, see :class:`LabelKeys`; by default a stress is
            positive under tension and a virial under compression.
        charge : str or None
            The key of the total charge of a frame, elementary charges, which is zero where there
            is no single number under it. None takes all frames for neutral.
        index : str, int or slice
            Which frames of each file: ``":"``, ``"::10"``, ``"-100:"``, ``5``.
        memory : float, optional
            Most memory of the frames, GB. Those of a larger set wait on disk, in a temporary file
            (where TMPDIR says, else in /var/tmp), and each is loaded when it is asked for. All
            are read and checked once, as ever.

        Raises
        ------
        DataError
            If a file is missing, empty, truncated or malformed; if a key stands twice in a frame;
            if a number is not finite, a species unknown, or a shape wrong; if a stress and a
            virial contradict each other. The message names the frame.
        SettingsError
            If `index` is malformed, or the unit or convention of the stress unknown.

        Examples
        --------
        >>> Dataset.read("etn:Mo/test", index=":5", stress=None).labels
        {'energy': 5, 'forces': 5, 'stress': 0}
        """
        keys = LabelKeys(energy, forces, stress, virial, stress_unit, stress_convention, charge)
        once = tuple(key for names in keys.used().values() for key in names)
        sources = [source] if isinstance(source, str | os.PathLike) else list(source)
        titles = _titles([os.fspath(one) for one in sources])
        named = (
            (f"{title}:{number}", atoms)
            for one, title in zip(sources, titles, strict=True)
            for number, atoms in read_structures(
                _as_path(one), index=index, keys=once, charge=charge, order=keys.order, title=title
            )
        )
        return cls._collect(named, ", ".join(titles), keys, memory)

    @classmethod
    def from_atoms(
        cls,
        images: Iterable[Atoms],
        *,
        energy: str | None = "energy",
        forces: str | None = "forces",
        stress: str | None = "stress",
        virial: str | None = None,
        stress_unit: str = "eV/Å³",
        stress_convention: str | None = None,
        charge: str | None = "charge",
        name: str = "atoms",
    ) -> Dataset:
        """Take over ASE structures and their stored labels; see :meth:`Frame.from_atoms`.

        Raises
        ------
        DataError
            As :meth:`read`.

        Examples
        --------
        >>> from ase.build import bulk
        >>> Dataset.from_atoms([bulk("Cu"), bulk("Al")], name="fcc").elements
        ('Al', 'Cu')
        """
        named = ((f"{name}:{number}", atoms) for number, atoms in enumerate(images))
        keys = LabelKeys(energy, forces, stress, virial, stress_unit, stress_convention, charge)
        return cls._collect(named, name, keys)

    @classmethod
    def _collect(
        cls,
        named: Iterable[tuple[str, Atoms]],
        source: str,
        keys: LabelKeys,
        memory: float | None = None,
    ) -> Dataset:
        frames = (Frame.from_atoms(atoms, name=name, **asdict(keys)) for name, atoms in named)
        most = None if memory is None else GB * memory
        return cls(keep(frames, most, _size), source=source, keys=keys)

    def write(self, path: _Path) -> None:
        """Write the frames as extended XYZ with the keys ``energy``, ``forces`` and ``stress``.

        A frame that is not neutral has its ``charge``.

        Positions and forces are rounded to 8 decimals, as ASE writes them. The file appears only
        when it is complete.

        Raises
        ------
        OSError
            If the file cannot be written.
        """
        import io

        import ase.io

        text = io.StringIO()
        ase.io.write(text, [frame.to_atoms() for frame in self._frames], format="extxyz")
        write_atomic(path, text.getvalue())

    @property
    def frames(self) -> Sequence[Frame]:
        """All frames."""
        return self._frames

    @property
    def on_disk(self) -> bool:
        """Whether frames are loaded when they are asked for."""
        return isinstance(self._frames, Lazy)

    def beside(self, items: Iterable[T]) -> Sequence[T]:
        """What is computed of each frame, kept where the frames are: in memory or on disk.

        Examples
        --------
        >>> Dataset.read("etn:Mo/test", index=":2").beside(["first", "second"])
        ['first', 'second']
        """
        return OnDisk(items) if self.on_disk else list(items)

    @property
    def source(self) -> str:
        """Where the frames come from; may be empty."""
        return self._source

    @property
    def label_keys(self) -> LabelKeys:
        """Where the labels were looked for."""
        return self._keys

    @cached_property
    def elements(self) -> tuple[str, ...]:
        """The chemical symbols of the elements, by atomic number."""
        from ase.data import chemical_symbols

        numbers = set().union(*(np.unique(frame.numbers).tolist() for frame in self._frames))
        return tuple(chemical_symbols[number] for number in sorted(numbers))

    @cached_property
    def n_atoms(self) -> int:
        """The number of atoms in all frames."""
        return sum(frame.n_atoms for frame in self._frames)

    @property
    def labels(self) -> dict[str, int]:
        """The number of frames that have each label."""
        return count_labels(self._frames)

    def summary(self) -> DatasetSummary:
        """Return what was read: counts, labels found and missing, ranges, warnings.

        Examples
        --------
        >>> print(Dataset.read("etn:Mo/test").summary())
        Dataset        etn:Mo/test
        frames         23
        atoms          1189 (24 to 54 per frame)
        elements       Mo 1189
        config types   AIMD-NVT 12, Elastic 6, Vacancy 3, Surface 2
        energy         23 of 23 frames (key "energy"), eV
        forces         23 of 23 frames (key "forces"), eV/Å
        stress         23 of 23 frames (key "stress"), eV/Å³, tension positive
        energy range   -10.818 to -9.545 eV/atom
        force range    largest 12.97 eV/Å, rms component 1.57 eV/Å
        stress range   -0.2945 to 0.2083 eV/Å³ (1 eV/Å³ = 160.2 GPa)
        volume range   14.62 to 31.82 Å³/atom
        warnings       none
        """
        return summarize(self._frames, source=self._source, keys=self._keys)

    def split(self, fraction: float, seed: int) -> tuple[Dataset, Dataset]:
        """Split off a random `fraction` of the frames, the same of each ``config_type``.

        Parameters
        ----------
        fraction : float
            The part of the frames that goes into the second set, between 0 and 1.
        seed : int
            The same seed gives the same split.

        Returns
        -------
        train, valid : Dataset
            Both keep the order of the frames.

        Raises
        ------
        SettingsError
            If `fraction` does not lie between 0 and 1.
        DataError
            If one of the parts would be empty.

        Examples
        --------
        >>> train, valid = Dataset.read("etn:Mo/train").split(0.1, seed=0)
        >>> len(train), len(valid)
        (175, 19)
        """
        if not 0 < fraction < 1:
            raise SettingsError(
                f"fraction: expected a number between 0 and 1 (exclusive), came {fraction}"
            )
        size = round(fraction * len(self))
        if size in (0, len(self)):
            empty = "second" if size == 0 else "first"
            raise DataError(
                f"{self._source or 'dataset'}: a fraction of {fraction} of {len(self)} frames "
                f"leaves the {empty} part empty; choose another fraction or add frames"
            )
        chosen = stratified_choice([frame.config_type for frame in self._frames], size, seed)
        return self[~chosen], self[chosen]

    def __len__(self) -> int:
        return len(self._frames)

    def __iter__(self) -> Iterator[Frame]:
        return iter(self._frames)

    @overload
    def __getitem__(self, index: int) -> Frame: ...
    @overload
    def __getitem__(self, index: slice | Sequence[int] | NDArray[Any]) -> Dataset: ...
    def __getitem__(self, index: int | slice | Sequence[int] | NDArray[Any]) -> Frame | Dataset:
        if isinstance(index, int | np.integer):
            return self._frames[index]
        frames: Sequence[Frame]
        if isinstance(index, slice):
            frames = self._frames[index]
        else:
            chosen = np.asarray(index)
            if chosen.dtype == bool and chosen.shape != (len(self),):
                raise DataError(
                    f"expected a mask of shape ({len(self)},), one entry a frame, "
                    f"came {chosen.shape}"
                )
            if chosen.size and chosen.dtype.kind not in "biu":
                raise TypeError(f"expected integers or a mask as index, came {chosen.dtype}")
            positions = np.flatnonzero(chosen) if chosen.dtype == bool else chosen
            places = range(len(self))  # counts from the end too, and says what is out of range
            frames = Chosen(self._frames, [places[int(position)] for position in positions])
            frames = frames if self.on_disk else tuple(frames)
        return Dataset(frames, source=self._source, keys=self._keys)

    def __repr__(self) -> str:
        labels = ", ".join(f"{label} {count}" for label, count in self.labels.items())
        return (
            f"Dataset({len(self)} frames, {self.n_atoms} atoms, {' '.join(self.elements)}; "
            f"{labels})"
        )

    def __str__(self) -> str:
        return str(self.summary())


def _size(frame: Frame) -> float:
    """Bytes that a frame takes."""
    arrays = (frame.numbers, frame.positions, frame.forces)
    return _FRAME + sum(array.nbytes for array in arrays if array is not None)


def _as_path(source: _Path) -> Path:
    text = os.fspath(source)
    return embedded_path(text) if text.startswith(PREFIX) else Path(text)


def _titles(sources: Sequence[str]) -> list[str]:
    """Name files by their last part, or by their whole path where two would share a name."""
    short = [text if text.startswith(PREFIX) else Path(text).name for text in sources]
    return [
        text if short.count(name) > 1 else name for text, name in zip(sources, short, strict=True)
    ]
