"""Potentials of two layers: messages of the neighbours feed the last site of a chain."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from etn.data.frame import Frame
from etn.data.labels import voigt
from etn.data.metrics import Metrics, Prediction, compute_metrics
from etn.errors import SettingsError
from etn.io import load as load_file
from etn.io import save as save_file
from etn.network.storage import chain_from_arrays, chain_to_arrays
from etn.o3 import Irreps
from etn.potential.baseline import Baseline
from etn.potential.features.basis import Basis
from etn.potential.features.batching import frame_batches
from etn.potential.features.pairs import Pairs
from etn.potential.message_passing.edges import Edges
from etn.potential.message_passing.layers import Layers, respond, vacuum_energies
from etn.potential.message_passing.message import MessageCoupling, Messages
from etn.potential.polynomial import bond_irreps

if TYPE_CHECKING:
    from etn.data.dataset import Dataset
    from etn.interfaces.ase import EtnCalculator
    from etn.potential.uncertainty import Uncertainty

KIND = "message passing potential"


class MessagePassingPotential:
    r"""E = sum_i [ E0 + ZBL + readout(v_i, ..., v_i, v_i ⊕ A_i) - readout(no neighbours) ].

    .. math:: A_i = \sum_j q_i \cdot k_j\; [\, g_n(r_{ij}) Y_l(\hat r_{ij}) \otimes u_j \,],
        \qquad u_j = \mathrm{value}(v_j, \dots, v_j)

    The readout is the chain of a :class:`~etn.potential.PolynomialPotential`, of which the last
    site reads messages beside the features.  Outputs u, queries q and keys k are the last bonds
    of three more chains over the features of an atom; without attention q · k is 1.  Messages
    enter one site only, and each chain enters a message once: the energy is linear in every core
    of every chain, and each update of a fit is an exact linear solve.  An atom feels what is
    within 2 ``r_max`` of it.

    Parameters
    ----------
    basis : Basis
        Features v of both layers.
    messages : Messages
        The first layer.
    body_order : int
        Of the readout, at least 3.
    max_bond : int, sequence of int or Irreps
        Multiplicities on the bonds of the readout.
    baseline : Baseline, optional
        Zero by default.
    layers : Layers, optional
        Fitted chains; without them the potential is the baseline.

    Raises
    ------
    SettingsError
        If a setting is out of range.
    CoreError
        If the chains do not belong to basis and messages.

    Examples
    --------
    >>> MessagePassingPotential(Basis(("Cu",), r_max=3.0, l_max=2), Messages("1x0e+1x1o"),
    ...                         max_bond=3)
    MessagePassingPotential(Cu, body order 4, bonds up to 3x0e+3x1o+3x2e, messages of 1x0e+1x1o,
    not fitted)
    """

    def __init__(
        self,
        basis: Basis,
        messages: Messages | None = None,
        *,
        body_order: int = 4,
        max_bond: int | Sequence[int] | Irreps | str = (5, 4, 3, 3, 2),
        baseline: Baseline | None = None,
        layers: Layers | None = None,
    ) -> None:
        if body_order < 3:
            raise SettingsError(f"body_order: expected at least 3, got {body_order}")
        self.basis = basis
        self.messages = messages or Messages()
        self.body_order = int(body_order)
        self.max_bond = bond_irreps(max_bond, basis)
        self.baseline = baseline or Baseline(dict.fromkeys(basis.elements, 0.0))
        self.layers = layers
        if layers is not None:
            layers.check(basis, self.messages, self.coupling)

    @cached_property
    def coupling(self) -> MessageCoupling:
        """How messages couple to the leg of the readout's last site."""
        return self.messages.coupling(self.max_bond)

    def with_layers(self, layers: Layers) -> MessagePassingPotential:
        """The same potential with other chains."""
        return MessagePassingPotential(
            self.basis,
            self.messages,
            body_order=self.body_order,
            max_bond=self.max_bond,
            baseline=self.baseline,
            layers=layers,
        )

    @property
    def elements(self) -> tuple[str, ...]:
        """Chemical symbols that the potential knows."""
        return self.basis.elements

    @property
    def has_uncertainty(self) -> bool:
        """Whether error bars are known: never, so far."""
        return False

    @property
    def uncertainty(self) -> Uncertainty:
        """Error bars and extrapolation grades, which potentials of two layers do not have yet.

        Raises
        ------
        SettingsError
            Always.
        """
        raise SettingsError(
            "uncertainty: potentials of two layers have no error bars yet; use a "
            "PolynomialPotential where they are needed"
        )

    @property
    def n_parameters(self) -> int:
        """Number of reduced entries of all chains; zero before the fit."""
        return 0 if self.layers is None else self.layers.n_parameters

    @cached_property
    def _vacuum(self) -> NDArray[np.float64]:
        assert self.layers is not None
        return vacuum_energies(self.layers, self.coupling, self.basis)

    def predict(self, frames: Sequence[Frame]) -> list[Prediction]:
        """Energies, atomic energies, forces and stress of frames.

        Parameters
        ----------
        frames : sequence of Frame, or Dataset

        Returns
        -------
        list of Prediction
            ``stress`` is None where the cell has no volume.

        Raises
        ------
        DataError
            If a frame holds an unknown element or coincident atoms.
        """
        return [p for batch in frame_batches(frames) for p in self._predict(batch)]

    def _predict(self, frames: Sequence[Frame]) -> Iterator[Prediction]:
        basis = self.basis
        pairs = Pairs.find(frames, basis.elements, basis.r_max)
        energies, forces, strain = self.baseline.evaluate(pairs, basis.elements, basis.r_max)
        if self.layers is not None:
            edges = Edges(basis, self.messages, pairs)
            response = respond(self.layers, self.coupling, basis.expand(pairs), edges, self._vacuum)
            energies = energies + response.energies
            forces, strain = forces + response.forces, strain + response.strain
        for k, frame in enumerate(frames):
            own = pairs.frame == k
            stress = voigt(strain[k]) / frame.volume if frame.volume > 0 else None
            yield Prediction(float(energies[own].sum()), energies[own], forces[own], stress)

    def evaluate(self, dataset: Dataset) -> Metrics:
        """Errors against the labels of a data set."""
        return compute_metrics(self.predict(dataset), dataset)

    def save(self, path: str | os.PathLike[str], *, note: Mapping[str, Any] | None = None) -> None:
        """Write the model file, atomically.

        Parameters
        ----------
        path : path-like
        note : mapping, optional
            JSON-able remarks to keep in the file.
        """
        messages = {
            name: str(value) if isinstance(value, Irreps) else value
            for name, value in vars(self.messages).items()
        }
        basis, arrays = self.basis.to_arrays()
        header: dict[str, Any] = {
            "basis": basis,
            "messages": messages,
            "baseline": {"e0": dict(self.baseline.e0), "zbl": self.baseline.zbl},
            "body_order": self.body_order,
            "max_bond": str(self.max_bond),
            "note": dict(note or {}),
            "chains": {},
        }
        for name, chain in (self.layers.chains() if self.layers else {}).items():
            header["chains"][name], more = chain_to_arrays(chain, name=name)
            arrays |= more
        save_file(path, kind=KIND, header=header, arrays=arrays)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> MessagePassingPotential:
        """Read what :meth:`save` wrote; predictions are the same to the last bit.

        Raises
        ------
        ModelFileError
            If the file is missing, damaged, of a newer format or of another kind.
        """
        stored = load_file(path, kind=KIND)
        header, arrays = stored.header, stored.arrays
        chains = {
            name: chain_from_arrays(chain, arrays, name=name)
            for name, chain in header["chains"].items()
        }
        return cls(
            Basis.from_arrays(header["basis"], arrays),
            Messages(**header["messages"]),
            body_order=header["body_order"],
            max_bond=header["max_bond"],
            baseline=Baseline(**header["baseline"]),
            layers=Layers(**chains) if chains else None,
        )

    def calculator(self, **options: Any) -> EtnCalculator:
        """ASE calculator of this potential."""
        from etn.interfaces.ase import EtnCalculator

        return EtnCalculator(self, **options)

    def __repr__(self) -> str:
        state = "not fitted" if self.layers is None else f"{self.n_parameters} parameters"
        attention = "" if self.messages.attention is None else " with attention"
        return (
            f"MessagePassingPotential({' '.join(self.elements)}, body order {self.body_order}, "
            f"bonds up to {self.max_bond}, messages of {self.messages.outputs}{attention}, {state})"
        )
