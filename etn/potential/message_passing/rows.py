"""Design rows of the cores of both layers, in forward mode.

With all chains but one fixed the energy is that chain, fed with the legs of the basis, and closed
at its last bond: the readout by 1, with messages on the leg of its last site; a chain of the first
layer by h_j = dE / d(its output of atom j), which collects what atom j told all others.  So

    E = sum_j  chain(v_j, ..., v_j) · h_j  +  what the readout says without messages,

and the rows of a core follow from the product rule over the legs left of it, its own, those right
of it, and h.  Derivatives are dense in the atoms of a frame: moving any atom may change h of any
other within twice the radius.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from etn.backend import FloatArray as Array
from etn.data.dataset import Dataset
from etn.data.frame import Frame
from etn.data.robust import Huber
from etn.data.weights import Weights
from etn.errors import DataError
from etn.network import Blocks, Samples, left_environment
from etn.o3 import Irreps
from etn.potential.baseline import Baseline
from etn.potential.features.basis import Basis
from etn.potential.features.pairs import Pairs
from etn.potential.fitting.close_pairs import close_pairs, dimers
from etn.potential.fitting.labelled import LabelledRows
from etn.potential.fitting.memory import MemoryPlan
from etn.potential.fitting.targets import RowGroup, Targets
from etn.potential.message_passing.edges import Edges, Sources
from etn.potential.message_passing.frame_rows import Along, FrameRows
from etn.potential.message_passing.layers import (
    Layers,
    flatten,
    no_messages,
    respond,
    sources_of,
    unflatten,
    vacuum_energies,
    widen,
)
from etn.potential.message_passing.message import SCALAR, MessageCoupling, Messages
from etn.sweep.kept import Kept
from etn.sweep.regression.batches import Batches
from etn.tensor.core import coupling as structure

# Bound of what one frame takes, bytes.
MAX_FRAME = 2e9
# Frames whose rows enter the Gram matrix together.
FRAMES_AT_ONCE = 16


@dataclass(frozen=True)
class _Molecule:
    """A frame with its features and their derivatives."""

    samples: Samples
    edges: Edges
    edge_slopes: Array

    @property
    def n_atoms(self) -> int:
        return self.edges.pairs.n_atoms

    @property
    def nbytes(self) -> int:
        arrays = [*self.samples.directions.values(), self.edge_slopes, self.edges.gradients]
        return sum(array.nbytes for array in arrays)


class LayerRows(LabelledRows[Layers]):
    """Design rows of a data set for the chains of two layers.

    Parameters
    ----------
    dataset : Dataset
    basis : Basis
    messages : Messages
    coupling : MessageCoupling
    baseline : Baseline
    weights : Weights
        Frames without a label have rows of weight zero for it.
    robust : Huber, optional
        For :meth:`reweigh`.
    memory : MemoryPlan, optional

    Raises
    ------
    DataError
        If the derivatives of a frame do not fit in memory.
    """

    def __init__(
        self,
        dataset: Dataset,
        basis: Basis,
        messages: Messages,
        coupling: MessageCoupling,
        baseline: Baseline,
        weights: Weights,
        robust: Huber | None = None,
        memory: MemoryPlan | None = None,
    ) -> None:
        self.basis, self.messages, self.coupling = basis, messages, coupling
        self.memory = MemoryPlan() if memory is None else memory
        for frame in dataset:
            self._check(frame)
        super().__init__(
            [self._group(frame, baseline, weights) for frame in dataset],
            robust,
            [close_pairs([frame], energy=True) for frame in dimers(basis)],
        )
        # The features get one half of what may be kept, what one chain sees of them the other.
        self._molecules = Kept[_Molecule](
            0.5 * self.memory.kept, lambda molecule: molecule.nbytes, threads=self.memory.threads
        )

    def _check(self, frame: Frame) -> None:
        rows = 3 * frame.n_atoms + 7
        width = self.basis.leg.dim + self.coupling.leg.dim
        needed = (
            8.0 * frame.n_atoms * rows * (width + self.coupling.n_edge * self.coupling.n_source)
        )
        if needed > MAX_FRAME:
            raise DataError(
                f"{frame.title}: {frame.n_atoms} atoms, whose derivatives in two layers take "
                f"{needed:.1e} bytes, more than {MAX_FRAME:.1e}: fit to smaller frames, or use "
                "fewer outputs, n_max or l_max in the messages"
            )

    def _group(self, frame: Frame, baseline: Baseline, weights: Weights) -> RowGroup:
        """The rows of a frame: energy, forces, and strain if it has a stress."""
        basis = self.basis
        pairs = Pairs.find([frame], basis.elements, basis.r_max)
        targets = Targets.of([frame], pairs, baseline, weights, basis)
        atoms, stress = np.arange(frame.n_atoms), bool(targets.strain_weights.any())
        rows = targets.rows(atoms, energy=True, stress=stress)
        return RowGroup([frame], atoms, True, stress, *rows)

    def __len__(self) -> int:
        return sum(int(np.count_nonzero(group.weights)) for group in self.groups)

    def errors(self, network: Layers) -> list[Array]:
        """Prediction minus target of every row of the data, frame by frame."""
        return self._errors(network, self.groups)

    def errors_of_more(self, network: Layers) -> list[Array]:
        """Prediction minus bound of every row of dimers."""
        return self._errors(network, self.bounds)

    def _errors(self, network: Layers, groups: Sequence[RowGroup]) -> list[Array]:
        vacuum = vacuum_energies(network, self.coupling, self.basis)
        build = partial(self._errors_of, network, vacuum)
        return Batches(groups, threads=self.memory.threads).map(build).collect()

    def _errors_of(self, layers: Layers, vacuum: Array, group: RowGroup) -> Array:
        pairs = Pairs.find(group.frames, self.basis.elements, self.basis.r_max)
        edges = Edges(self.basis, self.messages, pairs)
        answer = respond(layers, self.coupling, self.basis.expand(pairs), edges, vacuum)
        return group.rows(answer, pairs) - group.targets

    def keep(self) -> None:
        """Build the features that are kept, before work on them is shared out."""
        self._molecules.fill(range(len(self.all_groups)), self._build)

    def _molecule(self, index: int) -> _Molecule:
        return self._molecules.get(index) or self._build(index)

    def _build(self, index: int) -> _Molecule:
        group = self.all_groups[index]
        pairs = Pairs.find(group.frames, self.basis.elements, self.basis.r_max)
        samples = self.basis.expand(pairs).samples(
            energy=True, force_atoms=np.arange(pairs.n_atoms), strain=group.stress
        )
        edges = Edges(self.basis, self.messages, pairs)
        return _Molecule(samples, edges, edges.slopes(strain=group.stress))

    def blocks(self) -> list[range]:
        """Numbers of the frames whose rows are added to the normal equations together."""
        n = len(self.all_groups)
        return [range(k, min(k + FRAMES_AT_ONCE, n)) for k in range(0, n, FRAMES_AT_ONCE)]

    def view(self, layers: Layers, name: str, index: int) -> FrameRows:
        """A frame as one chain sees it, all other chains fixed.

        Parameters
        ----------
        layers : Layers
        name : str
            Of the chain: "readout", "value", "query" or "key".
        index : int
            Of the frame.
        """
        molecule = self._molecule(index)
        sources, slopes = self._sources(layers, molecule)
        targets, weights = self.all_groups[index].targets, self.all_weights[index]
        samples = molecule.samples
        if name == "readout":
            one = {SCALAR: np.ones((1, 1, samples.n_samples))}
            last = self._listening(molecule, sources, slopes)
            return FrameRows(samples, last, Along(Irreps("0e"), one), targets, weights)
        gradient, gradient_slopes, silent = self._readout_gradient(layers, molecule)
        pulled = molecule.edges.pull_back(sources, gradient)
        moved = molecule.edges.pull_back_slopes(
            molecule.edge_slopes, sources, slopes, gradient, gradient_slopes
        )
        end = self._end(layers.chains()[name].out, getattr(pulled, name), getattr(moved, name))
        return FrameRows(samples, samples, end, targets - silent, weights)

    def _sources(self, layers: Layers, molecule: _Molecule) -> tuple[Sources, Sources]:
        """Outputs, queries and keys of the atoms, and their derivatives along the rows."""
        n, samples = molecule.n_atoms, molecule.samples
        rows = samples.n_rows - samples.n_sums
        values, slopes = {}, {}
        for name, chain in layers.chains().items():
            if name == "readout":
                continue
            env = left_environment(chain.cores, samples, jacobian=True)
            values[name] = flatten(env.values, chain.out, n)
            pushed = env.push_forward(samples)
            parts = [
                pushed[ir][:, :n].transpose(1, 2, 3, 0).reshape(n, rows, -1)
                if ir in pushed
                else np.zeros((n, rows, chain.out.count(ir) * ir.dim))
                for ir in chain.out.unique
            ]
            slopes[name] = np.concatenate(parts, axis=-1)
        return sources_of(layers, values, n), sources_of(layers, slopes, n, rows)

    def _listening(self, molecule: _Molecule, sources: Sources, slopes: Sources) -> Samples:
        """Leg of the last site of the readout: features and messages."""
        samples, edges, n = molecule.samples, molecule.edges, molecule.n_atoms
        heard = self.coupling.couple(edges.message(sources))
        moved = self.coupling.couple(edges.message_slopes(molecule.edge_slopes, sources, slopes))
        values = no_messages(self.coupling, samples.n_samples)
        directions: Blocks = {}
        for ir, block in values.items():
            block[..., :n] = heard[ir].transpose(1, 2, 0)
            d = np.zeros((ir.dim, samples.n_samples, samples.n_rows, len(block)))
            d[:, :n, 0] = heard[ir].transpose(2, 0, 1)
            d[:, :n, 1:] = moved[ir].transpose(3, 0, 1, 2)
            directions[ir] = d
        return Samples(
            samples.start,
            widen(samples.site, values, axis=0),
            widen(samples.directions, directions, axis=3),
            samples.n_sums,
        )

    def _readout_gradient(self, layers: Layers, molecule: _Molecule) -> tuple[Array, Array, Array]:
        """Gradient of the energy by edge ⊗ outputs, its derivatives, and the rows of silence.

        The last core of the readout couples the left bond with the same irrep of the leg to a
        scalar: with C = w delta, dE / d leg[n] = w sum_r a[r, n] left[r].
        """
        samples, n = molecule.samples, molecule.n_atoms
        *cores, last = layers.readout
        left = left_environment(cores, samples, jacobian=True)
        moving = left.push_forward(samples)
        silent = np.zeros(samples.n_rows)
        told, told_slopes = {}, {}
        n_rows = samples.n_rows - samples.n_sums
        for ir in self.coupling.leg.unique:
            told[ir] = np.zeros((n, self.coupling.leg.count(ir), ir.dim))
            told_slopes[ir] = np.zeros((n, n_rows, self.coupling.leg.count(ir), ir.dim))
        for path, block in last:
            ir, w = path[0], float(structure(path).ravel()[0])
            plain = self.basis.leg.count(ir)
            a = w * block[:, :, 0]
            gradient = np.einsum("rn,rms->nms", a, left.values[ir])
            slopes = moving[ir] @ a if ir in moving else None
            if plain:
                d = samples.directions[ir]
                silent += np.einsum("nms,msrn->r", gradient[:plain], d, optimize=True)
                if slopes is not None:
                    silent[samples.n_sums :] += np.einsum(
                        "msrn,nms->r", slopes[..., :plain], samples.site[ir], optimize=True
                    )
            if ir in told:
                told[ir] = gradient[plain:, :, :n].transpose(2, 0, 1)
                if slopes is not None:
                    told_slopes[ir] = slopes[:, :n, :, plain:].transpose(1, 2, 3, 0)
        return self.coupling.uncouple(told), self.coupling.uncouple(told_slopes), silent

    def _end(self, irreps: Irreps, values: Array, slopes: Array) -> Along:
        """What closes a chain of the first layer; atoms without neighbours told nobody."""
        alone = len(self.basis.elements)
        padded = np.concatenate([values, np.zeros((alone, values.shape[1]))])
        moved, at = {}, 0
        for ir in irreps.unique:
            size = irreps.count(ir) * ir.dim
            part = slopes[..., at : at + size].reshape(*slopes.shape[:2], -1, ir.dim)
            moved[ir] = np.zeros((ir.dim, len(padded), slopes.shape[1], irreps.count(ir)))
            moved[ir][:, : len(values)] = part.transpose(3, 0, 1, 2)
            at += size
        return Along(irreps, unflatten(padded, irreps), slopes=moved)
