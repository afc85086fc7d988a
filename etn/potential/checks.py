"""What may be wrong with the data of a fit, beyond what each data set says of itself.

:class:`DatasetSummary` looks at one data set: missing labels, units and sign of the stress, net
forces. Here data sets are compared with each other and with the model: structures that stand
twice, elements and energies without company, and more unknowns than the data determine.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise, product
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from etn.errors import DataError

if TYPE_CHECKING:
    from etn.potential.dataset import Dataset
    from etn.potential.frame import Frame

__all__ = ["check_data", "check_unknowns", "find_duplicates"]

Array = NDArray[np.float64]

# Two structures are the same if no distance differs by more than this, Å: files keep at least
# five decimals, and the smallest displacements of phonon calculations are hundred times larger.
_SAME = 1e-4
# Fingerprints of the same structure differ by less than this.
_SIMILAR = 1e-3
# Energies of one structure, eV/atom: beyond the first the level of theory differs.
_CONTRADICTION = 0.1
_DISAGREEMENT = 1e-3
_FEW_ATOMS = 10
_OUTLIER_FRAMES = 20  # frames of one kind before an energy is judged
_OUTLIER_SIGMAS = 10.0
_MIN_SIGMA = 0.01  # eV/atom; perfect crystals scatter by less
_WAVES = tuple(k for k in product((0, 1, 2), (-1, 0, 1), (-1, 0, 1)) if k > (0, 0, 0))


def check_data(datasets: Mapping[str, Dataset]) -> list[str]:
    """Compare the data sets of a fit and say what may be wrong with them.

    Parameters
    ----------
    datasets : mapping of name to Dataset
        "train" and, where there are such data, "valid" and "test".

    Returns
    -------
    list of str
        Warnings, each with what was found, where, and what to do.

    Raises
    ------
    DataError
        If a structure stands in the training set twice with energies more than 0.1 eV/atom
        apart, which no potential can have.

    Examples
    --------
    >>> from etn.potential import Dataset
    >>> train = Dataset.read("etn:Mo/train", index="::4")
    >>> check_data({"train": train})
    []
    >>> for warning in check_data({"train": train, "test": train[:2]}):
    ...     print(warning)
    test: 2 of 2 frames are in the training set too (etn:Mo/train:0 is etn:Mo/train:0): errors on
    these frames are training errors; remove them from one of the two
    """
    train = datasets["train"]
    return [
        *_duplicate_warnings(datasets),
        *_element_warnings(train),
        *_energy_warnings(train),
    ]


def check_unknowns(n_rows: int, n_unknowns: int) -> list[str]:
    """Warn if a core has more unknowns than there are data rows.

    Examples
    --------
    >>> check_unknowns(31619, 3575)
    []
    >>> print(check_unknowns(900, 3575)[0])
    train: 900 data rows for 3575 unknowns in one core: what the data leave open the ridge decides;
    add frames, or choose a smaller size (--size auto or small) or smaller max_bond, l_max or n_max
    """
    if n_rows >= n_unknowns:
        return []
    return [
        f"train: {n_rows} data rows for {n_unknowns} unknowns in one core: what the data leave "
        "open the ridge decides; add frames, or choose a smaller size (--size auto or small) or "
        "smaller max_bond, l_max or n_max"
    ]


def find_duplicates(frames: Sequence[Frame]) -> list[list[int]]:
    """Indices of frames that are the same structure, in groups of two or more.

    Shifted, rotated, mirrored and wrapped copies and other orders of the atoms count as the same;
    another choice of cell vectors does not.

    Parameters
    ----------
    frames : sequence of Frame, or Dataset

    Returns
    -------
    list of list of int
        Both the groups and their members in the order of the frames.

    Examples
    --------
    >>> from etn.potential import Dataset, Frame
    >>> one = Dataset.read("etn:Mo/test")[0]
    >>> other = Frame(one.numbers[::-1], one.positions[::-1] + 0.7, one.cell, one.pbc)
    >>> find_duplicates([one, Dataset.read("etn:Mo/test")[1], other])
    [[0, 2]]
    """
    kinds: dict[bytes, list[int]] = defaultdict(list)
    for index, frame in enumerate(frames):
        kinds[np.sort(frame.numbers).tobytes() + frame.pbc.tobytes()].append(index)
    found = []
    for members in kinds.values():
        similar = _groups([_fingerprint(frames[i]) for i in members], _SIMILAR)
        for group in similar:
            chosen = [members[i] for i in group]
            same = _groups([_geometry(frames[i]) for i in chosen], _SAME)
            found += [[chosen[i] for i in part] for part in same]
    return sorted(found)


def _groups(points: Sequence[Array], tolerance: float) -> Iterator[list[int]]:
    """Groups of points that are linked by steps of at most the tolerance in any component."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components
    from scipy.spatial import KDTree

    if len(points) < 2:
        return
    pairs = KDTree(np.array(points)).query_pairs(tolerance, p=np.inf, output_type="ndarray")
    links = coo_array((np.ones(len(pairs)), pairs.T), shape=(len(points), len(points)))
    _, label = connected_components(links, directed=False)
    order = np.argsort(label, kind="stable")
    for group in np.split(order, np.flatnonzero(np.diff(label[order])) + 1):
        if len(group) > 1:
            yield [int(i) for i in group]


def _fingerprint(frame: Frame) -> Array:
    """Numbers that shifts, rotations, wrapping and other orders of the atoms leave as they are.

    The cell, the extent of the structure where it is not periodic, and how the elements scatter
    waves that fit the cell: all change smoothly with the positions, unlike a hash.
    """
    periodic = frame.cell[frame.pbc]
    across = np.eye(3) - np.linalg.pinv(periodic) @ periodic
    centered = (frame.positions - frame.positions.mean(axis=0)) @ across
    extent = np.linalg.svd(centered, compute_uv=False)
    parts = [_cell(frame), np.resize(extent, 3) / np.sqrt(frame.n_atoms)]
    waves = np.array([k for k in _WAVES if not np.any(np.array(k)[~frame.pbc])])
    if len(waves):
        fractional = frame.positions @ np.linalg.pinv(periodic)
        phases = np.exp(2j * np.pi * fractional @ waves[:, frame.pbc].T)
        elements = np.unique(frame.numbers)
        waves_of = np.array([phases[frame.numbers == number].sum(axis=0) for number in elements])
        first, second = np.triu_indices(len(elements))
        scattered = (waves_of[first] * waves_of[second].conj()).real.ravel()
        # The same structure to 1e-4 Å may differ by some times that where all atoms add up.
        parts.append(0.1 * scattered / frame.n_atoms)
    return np.concatenate(parts)


def _geometry(frame: Frame) -> Array:
    """The cell, all distances sorted within each pair of elements, and their spectrum, Å.

    Alloys on one lattice often share all distances and yet differ in who has which; the
    eigenvalues of the distance matrix, weighted by element, tell such structures apart.
    """
    shifts = np.array(list(product(*((-1, 0, 1) if p else (0,) for p in frame.pbc)))) @ frame.cell
    inverse = np.linalg.pinv(frame.cell[frame.pbc])
    vectors = frame.positions[:, None] - frame.positions
    vectors = vectors - np.rint(vectors @ inverse) @ frame.cell[frame.pbc]
    squares = np.min(
        [np.einsum("ijx,ijx->ij", v, v) for v in (vectors + s for s in shifts)], axis=0
    )
    # An exact symmetry, which the eigenvalues need and rounding at the cell's border may break.
    distances = np.sqrt(np.minimum(squares, squares.T))
    elements, which = np.unique(frame.numbers, return_inverse=True)
    weights = (1.0 + which) / len(elements)
    spectrum = np.linalg.eigvalsh(weights[:, None] * distances * weights) / frame.n_atoms
    blocks = [
        np.sort(distances[np.ix_(which == one, which == other)], axis=None)
        for one in range(len(elements))
        for other in range(one, len(elements))
    ]
    return np.concatenate([_cell(frame), spectrum, *blocks])


def _cell(frame: Frame) -> Array:
    """Lengths of the periodic cell vectors and of their sums, which fix the cell up to rotation."""
    cell = frame.cell[frame.pbc]
    vectors = [*cell, *(a + b for i, a in enumerate(cell) for b in cell[i + 1 :])]
    return np.array([np.linalg.norm(vector) for vector in vectors])


def _duplicate_warnings(datasets: Mapping[str, Dataset]) -> list[str]:
    frames = [frame for dataset in datasets.values() for frame in dataset]
    part = [name for name, dataset in datasets.items() for _ in dataset]
    # A group of frames with the same structure, by the data set that they are in.
    groups = []
    for group in find_duplicates(frames):
        by_part: dict[str, list[Frame]] = {name: [] for name in datasets}
        for index in group:
            by_part[part[index]].append(frames[index])
        groups.append(by_part)
    warnings = []
    for name, dataset in datasets.items():
        repeated = [by_part[name] for by_part in groups if len(by_part[name]) > 1]
        if repeated:
            count = sum(len(same) - 1 for same in repeated)
            first = f"{_name(repeated[0][1])} is {_name(repeated[0][0])}"
            warnings.append(
                f"{name}: {count} of {len(dataset)} frames repeat another one ({first}): they "
                "count more than once; remove them unless that is meant"
            )
        if name == "train":
            warnings += _disagreement_warnings(repeated)
            continue
        shared = [by_part for by_part in groups if by_part["train"] and by_part[name]]
        if shared:
            count = sum(len(by_part[name]) for by_part in shared)
            first = f"{_name(shared[0][name][0])} is {_name(shared[0]['train'][0])}"
            warnings.append(
                f"{name}: {count} of {len(dataset)} frames are in the training set too ({first}): "
                "errors on these frames are training errors; remove them from one of the two"
            )
    return warnings


def _disagreement_warnings(repeated: Sequence[Sequence[Frame]]) -> list[str]:
    """Different energies of one structure."""
    found = []
    for same in repeated:
        energies = [(f.energy / f.n_atoms, f) for f in same if f.energy is not None]
        energies.sort(key=lambda pair: pair[0])
        if len(energies) > 1:
            found.append((energies[-1][0] - energies[0][0], energies[0][1], energies[-1][1]))
    if not found:
        return []
    spread, low, high = max(found, key=lambda entry: entry[0])
    if spread > _CONTRADICTION:
        raise DataError(
            f"{_name(high)} is the same structure as {_name(low)}, but its energy is {spread:.3g} "
            "eV/atom higher: expected one energy of one structure; remove the wrong frame, or fit "
            "data of one level of theory"
        )
    if spread > _DISAGREEMENT:
        return [
            f"train: the energies of one structure differ by up to {1e3 * spread:.2g} meV/atom "
            f"({_name(low)}, {_name(high)}): no potential has smaller errors on both; check that "
            "all were calculated with the same settings"
        ]
    return []


def _element_warnings(train: Dataset) -> list[str]:
    """Elements that are too rare to be learned."""
    from ase.data import chemical_symbols

    # Isolated atoms give the energy of an element, but nothing about its bonds.
    frames = [frame for frame in train if frame.n_atoms > 1]
    atoms, within = np.zeros(119, dtype=int), np.zeros(119, dtype=int)
    for frame in frames:
        counts = np.bincount(frame.numbers, minlength=119)
        atoms += counts
        within += counts > 0
    warnings = []
    for number in np.unique(np.concatenate([frame.numbers for frame in train])):
        few = atoms[number] < _FEW_ATOMS
        if few or (within[number] == 1 and len(frames) > 1):
            n_atoms, n_frames = int(atoms[number]), int(within[number])
            warnings.append(
                f"train: {chemical_symbols[number]} has {n_atoms} bonded "
                f"atom{'' if n_atoms == 1 else 's'} in {n_frames} "
                f"frame{'' if n_frames == 1 else 's'}, expected at least {_FEW_ATOMS} in several: "
                "its interactions are not determined; add frames with it, or leave it out"
            )
    return warnings


def _energy_warnings(train: Dataset) -> list[str]:
    """Frames whose energy per atom stands alone, far from that of all frames of their kind."""
    kinds: dict[tuple[bytes, str], list[Frame]] = defaultdict(list)
    for frame in train:
        if frame.energy is not None and frame.n_atoms > 1:
            composition = np.bincount(frame.numbers, minlength=119) / frame.n_atoms
            kinds[np.round(composition, 6).tobytes(), frame.config_type].append(frame)
    found = []
    for frames in kinds.values():
        if len(frames) < _OUTLIER_FRAMES:
            continue
        frames.sort(key=lambda frame: (frame.energy or 0.0) / frame.n_atoms)
        energies = np.array([(frame.energy or 0.0) / frame.n_atoms for frame in frames])
        median = float(np.median(energies))
        sigma = max(_MIN_SIGMA, 1.4826 * float(np.median(np.abs(energies - median))))
        gaps = [b - a for a, b in pairwise(energies)]
        for place, gap in ((0, gaps[0]), (-1, gaps[-1])):
            away = abs(float(energies[place]) - median)
            # Strong compression and hot liquids lead away step by step; a wrong label jumps.
            if away > _OUTLIER_SIGMAS * sigma and gap > away / 2:
                found.append((away, away / sigma, frames[place], median))
    if not found:
        return []
    away, sigmas, frame, median = max(found, key=lambda entry: entry[0])
    kind = f' of config type "{frame.config_type}"' if frame.config_type else ""
    return [
        f"train: the energy of {_name(frame)} is {away:.3g} eV/atom ({sigmas:.0f} robust standard "
        f"deviations) from the median of the frames of its composition{kind}, {median:.4g} "
        "eV/atom, and none is near it: check that the calculation converged, or remove the frame"
    ]


def _name(frame: Frame) -> str:
    return frame.name or repr(frame)
