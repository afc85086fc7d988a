"""What every network can show of itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from etn.network.views.wiring import WiredNetwork

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from etn.network.views.info import NetworkInfo


class Inspectable(WiredNetwork):
    """Views of a network that follow from its cores and the names of their legs.

    Chains, trees and networks on any graph inherit from it; each knows its own :meth:`wiring`,
    a chain its :meth:`flops` and :meth:`gauge_marks` as well.  A view imports no network.

    Examples
    --------
    >>> from etn.network import Chain
    >>> chain = Chain.random(["1x0e+1x1o"] * 2, max_bond=1, seed=0)
    >>> chain.info().n_parameters
    4
    """

    __slots__ = ()

    def info(self) -> NetworkInfo:
        """Sizes, memory and cost; see :func:`etn.network.views.info`."""
        from etn.network.views.info import info

        return info(self)

    def to_sympy(self, **options: Any) -> Any:
        """The contraction as an exact polynomial; see :func:`etn.network.to_sympy`."""
        from etn.network.views.symbolic import to_sympy

        return to_sympy(self, **options)

    def to_quimb(self) -> Any:
        """The dense cores as a quimb network; see :func:`etn.network.views.quimb.to_quimb`."""
        from etn.network.views.quimb import to_quimb

        return to_quimb(self)

    def draw(self, **options: Any) -> Figure:
        """A drawing by quimb; see :func:`etn.network.views.drawing.draw`."""
        from etn.network.views.drawing import draw

        return draw(self, **options)

    def _repr_html_(self) -> str:
        from etn.network.views.show import html

        return html(self)
