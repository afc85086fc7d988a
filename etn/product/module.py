"""Products as torch modules: buffers instead of constants, compiled and exported like any other."""

from __future__ import annotations

from typing import Any

import torch

from etn.backend import Kind
from etn.product.base import TensorProduct, multiply

__all__ = ["ProductModule"]


class ProductModule(torch.nn.Module):
    """A :class:`TensorProduct` with its constants as buffers.

    The scheme is settled when the module is made, so that ``torch.compile(fullgraph=True)`` and
    ``torch.export`` see no choice.  Forward, backward and double backward are of the same form.

    Under autocast the product runs in the precision of its buffers, float32 or float64, and gives
    back that of its operands: halves would not hold the symmetry that the buffers have.

    Parameters
    ----------
    product : TensorProduct
    own_weights : bool
        Hold one set of weights as a parameter, drawn from the normal distribution; forward then
        takes two operands.
    dtype : torch.dtype, optional
        float32 by default.
    device : optional
    batch : int
        Size of the batch that an automatic choice of the scheme is measured with.
    seed : int
        Of the weights.

    Examples
    --------
    >>> tp = TensorProduct("4x0e+4x1o", "0e+1o", mode="uvu")
    >>> layer = ProductModule(tp, own_weights=True)
    >>> layer(torch.ones(7, 16), torch.ones(7, 4)).shape
    torch.Size([7, 16])
    """

    def __init__(
        self,
        product: TensorProduct,
        *,
        own_weights: bool = False,
        dtype: torch.dtype = torch.float32,
        device: Any = "cpu",
        batch: int = 256,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.product = product
        name = str(dtype).removeprefix("torch.")
        self.contraction = product.contraction(Kind("torch", name, str(device)), batch)
        for key, value in self.contraction.constants.items():
            # Not part of the state: they follow from the product, and tables are large.
            tensor = torch.tensor(value, dtype=dtype, device=device)
            self.register_buffer(f"constant_{key}", tensor, persistent=False)
        self._keys = tuple(self.contraction.constants)
        self.weight: torch.nn.Parameter | None = None
        if own_weights and product.weight_numel:
            generator = torch.Generator().manual_seed(seed)
            drawn = torch.randn(product.weight_numel, generator=generator, dtype=torch.float64)
            self.weight = torch.nn.Parameter(drawn.to(dtype=dtype, device=device))

    @property
    def scheme(self) -> str:
        """The scheme that was settled on."""
        return self.contraction.name

    def forward(
        self, x: torch.Tensor, y: torch.Tensor, w: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Multiply (..., dim1) and (..., dim2), with weights (..., weight_numel)."""
        constants = {key: getattr(self, f"constant_{key}") for key in self._keys}
        w = self.weight if w is None else w
        dtype = next(iter(constants.values())).dtype
        with torch.autocast(x.device.type, enabled=False):
            z = multiply(
                self.product,
                self.contraction,
                torch,
                constants,
                x.to(dtype),
                y.to(dtype),
                None if w is None else w.to(dtype),
            )
        return z.to(torch.result_type(x, y)) if x.dtype != dtype else z

    def extra_repr(self) -> str:
        """Return the product and the scheme."""
        return f"{self.product!r}, computed by {self.scheme}"
