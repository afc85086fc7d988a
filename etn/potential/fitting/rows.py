"""From a data set to batches of design rows with targets and weights, for a single chain."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property, partial

import numpy as np
from numpy.typing import NDArray

from etn.backend import FloatArray as Array
from etn.data.dataset import Dataset
from etn.data.frame import Frame
from etn.data.robust import Huber
from etn.data.weights import Weights
from etn.network import Chain, Samples
from etn.network.design import CoreDesign
from etn.potential.baseline import Baseline
from etn.potential.features.basis import Basis
from etn.potential.features.batching import force_parts, join_frames, most_atoms
from etn.potential.features.expansion import Expansion
from etn.potential.features.pairs import Pairs
from etn.potential.fitting.close_pairs import close_pairs, dimers
from etn.potential.fitting.compiled import CompiledChains
from etn.potential.fitting.labelled import LabelledRows
from etn.potential.fitting.memory import PAIR, MemoryPlan
from etn.potential.fitting.targets import RowGroup, Targets
from etn.potential.response import Response, respond, vacuum_energies
from etn.sweep import Batch
from etn.sweep.kept import Kept
from etn.sweep.regression.batches import Batches
from etn.tensor import Core

# A product with the rows and their transpose, in evaluations of energies and forces.
PRODUCT = 4.0


class Rows(LabelledRows[Chain]):
    """Design rows of a data set, streamed in batches.

    Frames of similar size are joined to batches; the force rows of a large frame are cut into
    parts, each with the atoms that feel them.  Pairs and features are kept between sweeps as long
    as there is memory for them, else computed anew.

    Parameters
    ----------
    dataset : Dataset
    basis : Basis
    baseline : Baseline
    weights : Weights
        Frames without a label have no row for it.
    robust : Huber, optional
        For :meth:`reweigh`.
    memory : MemoryPlan, optional
    """

    def __init__(
        self,
        dataset: Dataset,
        basis: Basis,
        baseline: Baseline,
        weights: Weights,
        robust: Huber | None = None,
        memory: MemoryPlan | None = None,
    ) -> None:
        self.dataset, self.basis, self.baseline, self.weights = dataset, basis, baseline, weights
        self.memory = MemoryPlan() if memory is None else memory
        self._pairs_kept = 0.0
        self._compiled = CompiledChains(basis)
        by_size = sorted(dataset, key=lambda frame: frame.n_atoms)
        joined = join_frames(by_size, basis, self.memory.batch)
        groups = [group for frames in joined for group in self._split(frames)]
        pairs = dimers(basis)
        super().__init__(groups, robust, [close_pairs(pairs)] if pairs else [])
        self._expansions = Kept[Expansion](
            self.memory.kept - self._pairs_kept,
            lambda expansion: expansion.nbytes,
            threads=self.memory.threads,
        )

    def _split(self, frames: Sequence[Frame]) -> Iterator[RowGroup]:
        basis = self.basis
        pairs = Pairs.find(frames, basis.elements, basis.r_max)
        targets = Targets.of(frames, pairs, self.baseline, self.weights, basis)
        movable = np.flatnonzero(targets.force_weights > 0)
        energy, stress = bool(targets.energy_weights.any()), bool(targets.strain_weights.any())

        def group(part: Pairs, atoms: NDArray[np.int64], energy: bool, stress: bool) -> RowGroup:
            size = PAIR * len(part.distance)
            fits = self._pairs_kept + size <= self.memory.kept
            self._pairs_kept += size if fits else 0.0
            rows = targets.rows(atoms, energy=energy, stress=stress)
            centers = None if part is pairs else part.sample
            return RowGroup(frames, atoms, energy, stress, *rows, centers, part if fits else None)

        if len(movable) <= most_atoms(pairs, basis, self.memory.batch):
            if len(movable) or energy or stress:
                yield group(pairs, movable, energy, stress)
            return
        if energy or stress:
            yield group(pairs, movable[:0], energy, stress)
        for atoms, felt in force_parts(pairs, movable, frames, basis, self.memory.batch):
            yield group(felt, atoms, False, False)

    def __len__(self) -> int:
        return sum(len(group.targets) for group in self.groups)

    def forget(self) -> None:
        """Give back the memory of kept features; they are computed anew when needed."""
        self._expansions.clear()

    def batches(self) -> Iterator[Batch]:
        """All batches, built anew at each call."""
        for build in self.builders():
            yield build()

    def builders(self) -> list[Callable[[], FrameBatch]]:
        """One function for each batch that builds it, from plain values."""
        self._keep()
        return [
            partial(FrameBatch, self._compiled, group, weights, self._expansions.get(number))
            for number, (group, weights) in enumerate(
                zip(self.all_groups, self.all_weights, strict=True)
            )
        ]

    def _keep(self) -> None:
        """Expand what is kept between solves."""
        if self._compiled.is_available:
            return
        numbers = range(len(self.groups))
        self._expansions.fill(numbers, lambda number: expand(self.basis, self.groups[number]))

    def errors(self, network: Chain) -> list[Array]:
        """Prediction minus target of every row of the data, group by group."""
        vacuum, builders = vacuum_energies(network, self.basis), self.builders()
        batches = Batches[FrameBatch](builders[: len(self.groups)], threads=self.memory.threads)
        return batches.map(partial(group_errors, network, vacuum)).collect()

    def errors_of_more(self, network: Chain) -> list[Array]:
        """Prediction minus bound of every row of dimers, which are one small group."""
        vacuum = vacuum_energies(network, self.basis)
        batches = [FrameBatch(self._compiled, group, group.weights, None) for group in self.bounds]
        return [group_errors(network, vacuum, batch) for batch in batches]


class FrameBatch(Batch):
    """A group of rows: samples only where a chain is not compiled.

    Parameters
    ----------
    compiled : CompiledChains
    group : RowGroup
    weights : (rows,)
        As they are now.
    expansion : Expansion, optional
        Features, if they are kept.
    """

    def __init__(
        self, compiled: CompiledChains, group: RowGroup, weights: Array, expansion: Expansion | None
    ) -> None:
        self.compiled, self.group, self.expansion = compiled, group, expansion
        self.targets, self.weights = group.targets, weights

    @cached_property
    def samples(self) -> Samples:
        """What the chain is fed with."""
        group = self.group
        return (self.expansion or expand(self.compiled.basis, group)).samples(**group.wanted)

    def rows(
        self, chain: Chain, design: CoreDesign, site: int, weights: Array | None = None
    ) -> Array:
        """Rows of the design of the core at a site, times weights if given."""
        evaluator, group = self.compiled.of(chain), self.group
        if evaluator is None:
            return super().rows(chain, design, site, weights)
        pairs = pairs_of(self.compiled.basis, group)
        return evaluator.rows(site, pairs, weights=weights, **group.wanted)

    def operations(self, chain: Chain) -> float:
        """Multiply-adds of a product with the rows of a core and their transpose."""
        evaluator = self.compiled.of(chain)
        if evaluator is None:
            return super().operations(chain)
        pairs = pairs_of(self.compiled.basis, self.group)
        each = evaluator.operations(len(pairs.distance) / pairs.n_samples)
        return PRODUCT * pairs.n_samples * each

    def values(self, chain: Chain) -> Array:
        """What the chain says, (rows,)."""
        evaluator, group = self.compiled.of(chain, linear=True), self.group
        if evaluator is None:
            return super().values(chain)
        pairs = pairs_of(self.compiled.basis, group)
        return group.rows(Response(*evaluator.answer(pairs)), pairs)

    def push(self, chain: Chain, moved: Sequence[Chain]) -> Array:
        """Derivatives of the rows along a change of all cores, (rows,)."""
        if self.compiled.of(chain) is None:
            return super().push(chain, moved)
        return np.sum([self.values(each) for each in moved], axis=0)

    def pull(
        self, chain: Chain, weights: Array, designs: Mapping[int, CoreDesign]
    ) -> dict[int, Core]:
        """Derivatives of the weighted sum of the rows by the entries of cores."""
        evaluator, group = self.compiled.of(chain), self.group
        if evaluator is None:
            return super().pull(chain, weights, designs)
        pairs = pairs_of(self.compiled.basis, group)
        return {
            site: design.to_core(evaluator.pull(site, pairs, weights, **group.wanted))
            for site, design in designs.items()
        }


def pairs_of(basis: Basis, group: RowGroup) -> Pairs:
    """Pairs of the atoms that the rows of a group depend on."""
    if group.pairs is not None:
        return group.pairs
    pairs = Pairs.find(group.frames, basis.elements, basis.r_max)
    return pairs if group.centers is None else pairs.select(group.centers)


def expand(basis: Basis, group: RowGroup) -> Expansion:
    """Features of the atoms that the rows of a group depend on."""
    return basis.expand(pairs_of(basis, group))


def group_errors(chain: Chain, vacuum: Array, batch: FrameBatch) -> Array:
    """Prediction minus target of the rows of a batch, in reverse mode."""
    basis, group, evaluator = batch.compiled.basis, batch.group, batch.compiled.of(chain)
    if evaluator is not None:
        pairs = pairs_of(basis, group)
        return group.rows(Response(*evaluator.answer(pairs)), pairs) - group.targets
    expansion = batch.expansion or expand(basis, group)
    return group.rows(respond(chain, expansion, vacuum), expansion.pairs) - group.targets
