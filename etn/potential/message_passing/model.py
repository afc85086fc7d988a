"""Potentials of two layers: messages of the neighbours feed the last site of a chain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etn.errors import SettingsError
from etn.o3 import Irreps
from etn.potential.base import Arrays, Potential, no_response
from etn.potential.baseline import Baseline
from etn.potential.features.basis import Basis, bond_irreps
from etn.potential.features.floor import Floor
from etn.potential.features.inner import Inner
from etn.potential.features.pairs import Pairs
from etn.potential.message_passing.edges import Edges
from etn.potential.message_passing.layers import Layers, respond, vacuum_energies
from etn.potential.message_passing.message import MessageCoupling, Messages
from etn.potential.response import Response
from etn.stored import build, conform


class MessagePassingPotential(Potential):
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
    floor : Floor, optional
        Of these chains: what an atom answers at least.

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

    KIND = "message passing potential"
    is_local = False
    has_stresses = True

    def __init__(
        self,
        basis: Basis,
        messages: Messages | None = None,
        *,
        body_order: int = 4,
        max_bond: int | Sequence[int] | Irreps | str = (5, 4, 3, 3, 2),
        baseline: Baseline | None = None,
        layers: Layers | None = None,
        floor: Floor | None = None,
    ) -> None:
        if body_order < 3:
            raise SettingsError(f"body_order: expected at least 3, got {body_order}")
        super().__init__(baseline or Baseline(dict.fromkeys(basis.elements, 0.0)))
        self.basis = basis
        self.messages = messages or Messages()
        self.body_order = int(body_order)
        self.max_bond = bond_irreps(max_bond, basis)
        self.layers, self.floor = layers, floor
        if layers is not None:
            layers.check(basis, self.messages, self.coupling)

    @cached_property
    def coupling(self) -> MessageCoupling:
        """How messages couple to the leg of the readout's last site."""
        return self.messages.coupling(self.max_bond)

    def with_layers(
        self, layers: Layers | None, *, basis: Basis | None = None, floor: Floor | None = None
    ) -> MessagePassingPotential:
        """The same potential with other chains, their basis and their floor."""
        return MessagePassingPotential(
            basis or self.basis,
            self.messages,
            body_order=self.body_order,
            max_bond=self.max_bond,
            baseline=self.baseline,
            layers=layers,
            floor=floor,
        )

    @property
    def elements(self) -> tuple[str, ...]:
        """Chemical symbols that the potential knows."""
        return self.basis.elements

    @property
    def r_max(self) -> float:
        """Radius within which an atom hears its neighbours, Å; it feels what is within two."""
        return self.basis.r_max

    @property
    def inner(self) -> Inner | None:
        """Where the data end."""
        return self.basis.inner

    def _respond(self, pairs: Pairs) -> Response:
        if self.layers is None:
            return no_response(pairs)
        edges, expansion = Edges(self.basis, self.messages, pairs), self.basis.expand(pairs)
        return respond(self.layers, self.coupling, expansion, edges, self._vacuum, self.floor)

    @cached_property
    def _vacuum(self) -> NDArray[np.float64]:
        assert self.layers is not None
        return vacuum_energies(self.layers, self.coupling, self.basis)

    @property
    def n_parameters(self) -> int:
        """Number of reduced entries of all chains; zero before the fit."""
        return 0 if self.layers is None else self.layers.n_parameters

    def to_arrays(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """Header and arrays for a model file; :meth:`from_arrays` is the inverse."""
        basis, arrays = self.basis.to_arrays()
        chains, more = self.layers.to_arrays() if self.layers else ({}, {})
        if self.floor is not None:
            arrays |= self.floor.to_arrays()
        header = {
            "basis": basis,
            "messages": self.messages.to_header(),
            "body_order": self.body_order,
            "max_bond": str(self.max_bond),
            "chains": chains,
        }
        return header, arrays | more

    @classmethod
    def from_arrays(
        cls, header: Mapping[str, Any], arrays: Arrays, baseline: Baseline
    ) -> MessagePassingPotential:
        """What :meth:`to_arrays` described; arrays of other names are ignored."""
        basis = Basis.from_arrays(header["basis"], arrays)
        return cls(
            basis,
            build(Messages, header["messages"], "messages"),
            body_order=conform(header["body_order"], int, "body_order"),
            max_bond=conform(header["max_bond"], str, "max_bond"),
            baseline=baseline,
            layers=Layers.from_arrays(header["chains"], arrays) if header["chains"] else None,
            floor=Floor.from_arrays(basis.elements, arrays),
        )

    def describe(self) -> dict[str, str]:
        """Facts about basis, messages and chains."""
        order = self.body_order if self.layers is None else len(self.layers.readout) + 1
        facts = {
            "network": f"two layers, body order {order}, bonds up to {self.max_bond}",
            "basis": self.basis.describe(),
            "messages": str(self.messages),
        }
        for name, chain in (self.layers.chains() if self.layers else {}).items():
            facts[name] = f"{chain.n_parameters} parameters, {'  '.join(map(str, chain.bonds))}"
        return facts | {"uncertainty": "none: not for potentials of two layers yet"}

    def diagram(self) -> str:
        """The chains, drawn in characters."""
        chains = self.layers.chains() if self.layers else {}
        return "\n\n".join(f"{name}\n{chain.show()}" for name, chain in chains.items())

    def __repr__(self) -> str:
        state = "not fitted" if self.layers is None else f"{self.n_parameters} parameters"
        attention = "" if self.messages.attention is None else " with attention"
        return (
            f"MessagePassingPotential({' '.join(self.elements)}, body order {self.body_order}, "
            f"bonds up to {self.max_bond}, messages of {self.messages.outputs}{attention}, {state})"
        )
