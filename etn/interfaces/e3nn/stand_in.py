"""A torch module that stands in the place of a product of e3nn."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch

from etn.errors import SettingsError
from etn.interfaces.e3nn.convert import from_e3nn, legs_of
from etn.product.module import ProductModule

__all__ = ["E3nnProduct"]


class E3nnProduct(ProductModule):
    """A product of e3nn computed by etn, to stand in its place in a model.

    It is called as the original is, ``tp(x, y, weight=None)``, and keeps ``irreps_in1``,
    ``irreps_in2``, ``irreps_out`` (of e3nn), ``instructions``, ``weight_numel``,
    ``shared_weights``, ``internal_weights``, ``output_mask`` and the precision and device.

    Internal weights are the very parameter of the original, under the same name, so that
    optimizers go on with it.  Checkpoints of the original load; constants that e3nn keeps in them
    are passed over.  Checkpoints saved from here lack these, so e3nn loads them with
    ``strict=False``.  It cannot be scripted; ``torch.compile`` and ``torch.export`` take it.

    Parameters
    ----------
    tensor_product : e3nn.o3.TensorProduct
    scheme, tol
        See :func:`from_e3nn`.
    batch : int
        Size of the batch that an automatic choice of the scheme is measured with.

    Raises
    ------
    SettingsError
        See :func:`from_e3nn`.

    Examples
    --------
    >>> from e3nn import o3
    >>> theirs = o3.FullyConnectedTensorProduct("4x0e+2x1o", "0e+1o", "3x0e+5x1o")
    >>> ours = E3nnProduct(theirs)
    >>> ours.weight is theirs.weight, ours(torch.ones(7, 10), torch.ones(7, 4)).shape
    (True, torch.Size([7, 18]))
    """

    output_mask: torch.Tensor

    def __init__(
        self, tensor_product: Any, *, scheme: str = "auto", tol: float = 0.0, batch: int = 256
    ) -> None:
        product = from_e3nn(tensor_product, scheme=scheme, tol=tol)
        mask = tensor_product.output_mask
        super().__init__(product, dtype=mask.dtype, device=mask.device, batch=batch)
        self.register_buffer("output_mask", mask)
        self.irreps_in1, self.irreps_in2, self.irreps_out = legs_of(tensor_product)
        self.instructions = tensor_product.instructions
        self.weight_numel: int = tensor_product.weight_numel
        self.shared_weights: bool = tensor_product.shared_weights
        self.internal_weights: bool = tensor_product.internal_weights
        if self.internal_weights and self.weight_numel:
            self.weight = tensor_product.weight
        self.register_load_state_dict_pre_hook(  # type: ignore[no-untyped-call]
            _pass_over_constants
        )
        self.train(tensor_product.training)

    def forward(
        self,
        x: torch.Tensor,
        y: torch.Tensor,
        weight: torch.Tensor | Sequence[torch.Tensor] | None = None,
    ) -> torch.Tensor:
        """Multiply (..., irreps_in1.dim) and (..., irreps_in2.dim).

        Parameters
        ----------
        x, y : tensor
        weight : tensor or list of tensors, optional
            Of shape (weight_numel,) with shared weights, else (..., weight_numel); or one of shape
            ``(..., *path_shape)`` for each weighted instruction.  Needed without internal weights.

        Raises
        ------
        SettingsError
            If weights are needed and not given, or their axes do not fit ``shared_weights``.
        """
        if not self.weight_numel:
            return super().forward(x, y)
        if weight is None:
            if self.weight is None:
                raise SettingsError(
                    f"weight: expected {self.weight_numel} numbers, since this product has no "
                    "internal weights, got None"
                )
            return super().forward(x, y)
        if not isinstance(weight, torch.Tensor):
            weight = self._flat(weight)
        if (weight.ndim == 1) != self.shared_weights:
            wanted = "one axis, for shared" if self.shared_weights else "a batch axis, for unshared"
            raise SettingsError(f"weight: expected {wanted} weights, got {tuple(weight.shape)}")
        return super().forward(x, y, weight)

    def _flat(self, weights: Sequence[torch.Tensor]) -> torch.Tensor:
        shapes = [ins.path_shape for ins in self.instructions if ins.has_weight]
        pieces = [
            w.reshape((*w.shape[: w.ndim - len(shape)], math.prod(shape)))
            for w, shape in zip(weights, shapes, strict=True)
        ]
        return torch.cat(pieces, dim=-1)


def _pass_over_constants(
    module: torch.nn.Module, state: dict[str, Any], prefix: str, *_: Any
) -> None:
    """Drop what the state of an e3nn product holds besides weights."""
    for key in list(state):
        own = key.removeprefix(prefix) if key.startswith(prefix) else ""
        empty_weight = own == "weight" and getattr(module, "weight", None) is None
        if own.startswith("_compiled_main_") or empty_weight:
            del state[key]
