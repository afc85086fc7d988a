"""Polynomial potentials: a baseline plus a chain over atomic features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from etn.errors import CoreError, SettingsError
from etn.native import Evaluator, compiled, is_on, why_not
from etn.network import Chain
from etn.network.storage import chain_from_arrays, chain_to_arrays
from etn.o3 import Irreps
from etn.potential.base import Arrays, Potential, no_response
from etn.potential.baseline import Baseline
from etn.potential.features.basis import Basis, bond_irreps
from etn.potential.features.floor import Floor
from etn.potential.features.inner import Inner
from etn.potential.features.pairs import Pairs
from etn.potential.response import Response, respond, vacuum_energies
from etn.potential.uncertainty import LastCore, Uncertainty
from etn.stored import conform

if TYPE_CHECKING:
    from etn.nn.model import AtomicModel


class PolynomialPotential(Potential):
    """E = sum_i [ E0 + ZBL + chain(v_i, ..., v_i) - chain(no neighbours) ].

    The chain has ``body_order - 1`` sites, all fed with the leg v_i of atom i, so the energy
    of an atom is a polynomial of that degree in its features and, through the constant channel,
    holds all lower degrees.

    Parameters
    ----------
    basis : Basis
    body_order : int
        At least 3: the central atom and two neighbours.
    max_bond : int, sequence of int or Irreps
        Multiplicities on the bonds: the same for each l, one for each l = 0, 1, ..., or as
        irreps ("5x0e+4x1o").
    baseline : Baseline, optional
        Zero by default.
    chain : Chain, optional
        A fitted chain; without it the potential is the baseline.
    uncertainty : Uncertainty, optional
        Of this chain.
    floor : Floor, optional
        Of this chain: what an atom answers at least.

    Raises
    ------
    SettingsError
        If ``body_order`` or ``max_bond`` is out of range.
    CoreError
        If the chain does not belong to the basis.

    Examples
    --------
    >>> model = PolynomialPotential(Basis(("Mo",), l_max=2), body_order=4, max_bond=(4, 3, 2))
    >>> model
    PolynomialPotential(Mo, body order 4, bonds up to 4x0e+3x1o+2x2e, not fitted)
    """

    KIND = "polynomial potential"
    WITH_UNCERTAINTY = "etn.potential.with_uncertainty"

    def __init__(
        self,
        basis: Basis,
        *,
        body_order: int = 4,
        max_bond: int | Sequence[int] | Irreps | str = (5, 4, 3, 3, 2),
        baseline: Baseline | None = None,
        chain: Chain | None = None,
        uncertainty: Uncertainty | None = None,
        floor: Floor | None = None,
    ) -> None:
        if body_order < 3:
            raise SettingsError(f"body_order: expected at least 3, got {body_order}")
        super().__init__(baseline or Baseline(dict.fromkeys(basis.elements, 0.0)))
        self.basis = basis
        self.body_order = int(body_order)
        self.max_bond = bond_irreps(max_bond, basis)
        self.chain, self.floor = chain, floor
        self._uncertainty = uncertainty
        if chain is not None and (
            chain.start != basis.start or any(leg != basis.leg for leg in chain.sites)
        ):
            raise CoreError(
                f"chain: expected start {basis.start} and site legs {basis.leg} of the basis, "
                f"got start {chain.start} and site legs {', '.join(map(str, chain.sites))}"
            )
        if chain is not None and len(chain) > self.body_order - 1:
            raise CoreError(
                f"chain: body order {self.body_order} allows {self.body_order - 1} sites, "
                f"got {len(chain)}"
            )

    def with_chain(
        self,
        chain: Chain | None,
        *,
        basis: Basis | None = None,
        uncertainty: Uncertainty | None = None,
        floor: Floor | None = None,
    ) -> PolynomialPotential:
        """The same potential with another chain, its basis, its uncertainty and its floor."""
        return PolynomialPotential(
            basis or self.basis,
            body_order=self.body_order,
            max_bond=self.max_bond,
            baseline=self.baseline,
            chain=chain,
            uncertainty=uncertainty,
            floor=floor,
        )

    def module(self, **options: Any) -> AtomicModel:
        """The potential without its baseline in torch, see :mod:`etn.nn.polynomial`."""
        from etn.nn.polynomial import to_module

        return to_module(self, **options)

    def initial_chain(self, *, seed: int) -> Chain:
        """Random chain of two sites, from which a fit grows."""
        return Chain.random(
            [self.basis.leg] * 2, start=self.basis.start, max_bond=self.max_bond, seed=seed
        )

    @property
    def elements(self) -> tuple[str, ...]:
        """Chemical symbols that the potential knows."""
        return self.basis.elements

    @property
    def r_max(self) -> float:
        """Radius of the neighbourhood of an atom, Å."""
        return self.basis.r_max

    @property
    def inner(self) -> Inner | None:
        """Where the data end."""
        return self.basis.inner

    def _respond(self, pairs: Pairs) -> Response:
        if self.chain is None:
            return no_response(pairs)
        return respond(self.chain, self.basis.expand(pairs), self._vacuum, self.floor)

    @cached_property
    def _compiled(self) -> Evaluator | None:
        if self.chain is None:
            return None
        return compiled(self.KIND, *self.with_chain(self.chain, floor=self.floor).stored())

    @cached_property
    def _vacuum(self) -> NDArray[np.float64]:
        assert self.chain is not None
        return vacuum_energies(self.chain, self.basis)

    @property
    def n_parameters(self) -> int:
        """Number of reduced entries of the chain; zero before the fit."""
        return 0 if self.chain is None else self.chain.n_parameters

    def to_arrays(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """Header and arrays for a model file; :meth:`from_arrays` is the inverse."""
        basis, arrays = self.basis.to_arrays()
        header: dict[str, Any] = {
            "basis": basis,
            "body_order": self.body_order,
            "max_bond": str(self.max_bond),
        }
        if self.chain is not None:
            header["chain"], more = chain_to_arrays(self.chain)
            arrays |= more
        if self._uncertainty is not None:
            header["uncertainty"], more = self._uncertainty.to_arrays()
            arrays |= more
        if self.floor is not None:
            arrays |= self.floor.to_arrays()
        return header, arrays

    @classmethod
    def from_arrays(
        cls, header: Mapping[str, Any], arrays: Arrays, baseline: Baseline
    ) -> PolynomialPotential:
        """What :meth:`to_arrays` described; arrays of other names are ignored."""
        basis = Basis.from_arrays(header["basis"], arrays)
        return cls(
            basis,
            body_order=conform(header["body_order"], int, "body_order"),
            max_bond=conform(header["max_bond"], str, "max_bond"),
            baseline=baseline,
            chain=chain_from_arrays(header["chain"], arrays) if "chain" in header else None,
            uncertainty=LastCore.of_file(basis, header["uncertainty"], arrays)
            if "uncertainty" in header
            else None,
            floor=Floor.from_arrays(basis.elements, arrays),
        )

    def describe(self) -> dict[str, str]:
        """Facts about basis, network and uncertainty."""
        # With validation data a shorter chain than allowed may have been the best.
        order = self.body_order if self.chain is None else len(self.chain) + 1
        facts = {
            "network": f"body order {order}, bonds up to {self.max_bond}",
            "basis": self.basis.describe(),
        }
        if self.chain is None:
            return facts
        facts["bonds"] = "  ".join(map(str, self.chain.bonds))
        facts["uncertainty"] = self.describe_uncertainty()
        facts["evaluator"] = self._describe_evaluator()
        return facts

    def _describe_evaluator(self) -> str:
        if not is_on():
            return "NumPy (ETN_NATIVE=0)"
        if self.evaluator is not None:
            return f"compiled, {self.evaluator.target}"
        return f"NumPy: {why_not() or 'the compiled one has no couplings for this potential'}"

    def diagram(self) -> str:
        """The chain, drawn in characters."""
        return "" if self.chain is None else self.chain.show()

    def __repr__(self) -> str:
        state = "not fitted" if self.chain is None else f"{self.n_parameters} parameters"
        return (
            f"PolynomialPotential({' '.join(self.elements)}, body order {self.body_order}, "
            f"bonds up to {self.max_bond}, {state})"
        )
