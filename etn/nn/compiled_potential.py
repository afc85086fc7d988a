"""Neural potentials with a compiled network: the same numbers in less time."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from etn.errors import SettingsError
from etn.nn.compiled import check_compilable, compiled_outcome
from etn.nn.potential import NeuralPotential

if TYPE_CHECKING:
    from collections.abc import Callable

    from etn.nn.graph import Batch
    from etn.nn.model import Outcome
    from etn.potential.base import Potential

__all__ = ["CompiledPotential"]


class CompiledPotential(NeuralPotential):
    """A neural potential that ``torch.compile`` makes faster when it first predicts.

    That takes a minute or more.  What is below the network is computed as it was.  A file of it
    is that of the potential; copies that are pickled compile anew.

    Parameters
    ----------
    potential : NeuralPotential
    backend : str
        Of ``torch.compile``; "eager" only traces the graph.

    Raises
    ------
    SettingsError
        If it is no neural potential, or one that predicts forces; from the first prediction, if
        the network cannot be compiled.

    Examples
    --------
    >>> from etn.nn import AtomicModel, TensorNet
    >>> CompiledPotential(NeuralPotential(AtomicModel(TensorNet(("Mo",), channels=4)))).elements
    ('Mo',)
    """

    def __init__(self, potential: Potential, *, backend: str = "inductor") -> None:
        if not isinstance(potential, NeuralPotential):
            raise SettingsError(
                f"compiled: expected a neural potential, got a {potential.KIND}, which is not "
                "compiled; use it as it is"
            )
        check_compilable(potential.network)
        known = potential.uncertainty if potential.has_uncertainty else None
        super().__init__(
            potential.model, potential.baseline, below=potential.below, share=potential.share,
            uncertainty=known,
        )  # fmt: skip
        self.backend = backend

    @cached_property
    def _run(self) -> Callable[[Batch], Outcome]:
        return compiled_outcome(self.model, backend=self.backend)

    def _outcome(self, batch: Batch) -> Outcome:
        return self._run(batch)

    def __getstate__(self) -> dict[str, Any]:
        """Without what is compiled, which cannot be written."""
        return {name: value for name, value in self.__dict__.items() if name != "_run"}
