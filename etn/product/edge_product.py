r"""Products on the edges of a graph, summed at the nodes: one message-passing step.

.. math:: z_n = \sum_{e:\, \text{dst}(e) = n} \text{product}(x_{\text{src}(e)}, y_e, w_e)
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from etn.backend import check_operands
from etn.errors import IrrepsError

__all__ = ["edge_product"]


def edge_product(
    product: Callable[..., torch.Tensor],
    x: torch.Tensor,
    y: torch.Tensor,
    w: torch.Tensor | None,
    src: torch.Tensor,
    dst: torch.Tensor,
    n_nodes: int,
) -> torch.Tensor:
    """Gather, multiply, and sum over the edges that end in each node.

    Parameters
    ----------
    product : TensorProduct or ProductModule
    x : (n_sources, dim1) tensor
        Features of nodes.
    y : (n_edges, dim2) tensor
        Features of edges, such as harmonics of their directions.
    w : (n_edges, weight_numel) or (weight_numel,) tensor, optional
    src, dst : (n_edges,) int64 tensor
        Nodes where an edge begins and ends.
    n_nodes : int
        Number of nodes in the result; those where no edge ends are 0.

    Returns
    -------
    (n_nodes, dim3) tensor
        Differentiable to any order.

    Raises
    ------
    IrrepsError
        If there is not one source and one destination for each edge.
    CoreError
        If features or weights are no tensors of floating-point numbers, or on several devices.

    Examples
    --------
    >>> from etn.product import TensorProduct
    >>> tp = TensorProduct("2x0e", "0e")
    >>> x, y = torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.ones(3, 1)
    >>> src, dst = torch.tensor([0, 1, 1]), torch.tensor([1, 1, 0])
    >>> edge_product(tp, x, y, None, src, dst, 2)
    tensor([[3., 4.],
            [4., 6.]])
    """
    check_operands(x, x=x, y=y, w=w)
    if x.ndim == 0 or y.ndim == 0:
        raise IrrepsError(
            f"x, y: expected an axis of nodes and one of edges, got shapes {tuple(x.shape)} and "
            f"{tuple(y.shape)}"
        )
    n_edges = y.shape[0]
    for name, index in (("src", src), ("dst", dst)):
        if tuple(index.shape) != (n_edges,) or index.dtype != torch.int64:
            raise IrrepsError(
                f"{name}: expected int64 of shape ({n_edges},), one node an edge, got "
                f"{index.dtype} of shape {tuple(index.shape)}"
            )
    messages = product(x[src], y, w)
    return messages.new_zeros((n_nodes, messages.shape[-1])).index_add(0, dst, messages)
