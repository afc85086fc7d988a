"""Products as torch modules: buffers instead of constants, compiled and exported like any other."""

from __future__ import annotations

from typing import Any, Protocol, Self

import torch

from etn.backend import Array, Kind, check_operands
from etn.errors import CoreError
from etn.product.calls import Contraction, Signature, multiply

__all__ = ["LinearModule", "ProductModule"]

PRECISIONS = (torch.float32, torch.float64)


class BilinearMap(Protocol):
    """What a module has to know of a product, see :class:`~etn.product.TensorProduct`."""

    @property
    def signature(self) -> Signature:
        """Legs, layout and weights."""
        ...

    def contraction(self, kind: Kind | None = None, batch: int = 256) -> Contraction:
        """What computes the product for arrays of a kind and a batch size."""
        ...


class LinearMap(Protocol):
    """What a module has to know of a linear map, see :class:`~etn.product.SharedLinear`."""

    @property
    def weight_numel(self) -> int:
        """Numbers of one set of weights."""
        ...

    @property
    def bias_numel(self) -> int:
        """Numbers of one set of biases."""
        ...

    def apply(self, x: Array, w: Array, b: Array | None = None) -> Array:
        """Map features."""
        ...


class ProductModule(torch.nn.Module):
    """A :class:`TensorProduct` with its constants as buffers.

    The scheme is settled when the module is made, so that ``torch.compile(fullgraph=True)`` and
    ``torch.export`` see no choice.  Forward, backward and double backward are of the same form.

    The product runs in the precision of its buffers, float32 or float64, also under autocast and
    for operands in half precision, and gives back that of its operands: halves would not hold the
    symmetry that the buffers have.  ``module.to(dtype)`` reads them anew from the exact constants,
    so that ``.double()`` is exact to float64; after ``.half()`` they are float32.

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
    >>> from etn.product import TensorProduct
    >>> tp = TensorProduct("4x0e+4x1o", "0e+1o", mode="uvu")
    >>> layer = ProductModule(tp, own_weights=True)
    >>> layer(torch.ones(7, 16), torch.ones(7, 4)).shape
    torch.Size([7, 16])
    >>> layer.double()(torch.ones(7, 16).bfloat16(), torch.ones(7, 4).bfloat16()).dtype
    torch.bfloat16
    """

    def __init__(
        self,
        product: BilinearMap,
        *,
        own_weights: bool = False,
        dtype: torch.dtype = torch.float32,
        device: Any = "cpu",
        batch: int = 256,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.product = product
        kind = Kind("torch", str(dtype).removeprefix("torch."), str(device))
        dtype, device = getattr(torch, kind.dtype), kind.device
        self.contraction = product.contraction(kind, batch)
        for key, value in self.contraction.constants.items():
            # Not part of the state: they follow from the product, and tables are large.
            tensor = torch.tensor(value, dtype=dtype, device=device)
            self.register_buffer(_buffer(key), tensor, persistent=False)
        self._keys = tuple(self.contraction.constants)
        self._settle(dtype, device)
        self.weight: torch.nn.Parameter | None = None
        n_weights = product.signature.plan.size
        if own_weights and n_weights:
            self.weight = _normal(n_weights, dtype, device, seed)

    def _settle(self, dtype: torch.dtype, device: Any) -> None:
        """Have everything computed that is computed once: compilers cannot trace its locks."""
        signature = self.product.signature
        sizes = signature.sizes
        x, y, w = (torch.zeros((0, size), dtype=dtype, device=device) for size in sizes)
        constants = {key: getattr(self, _buffer(key)) for key in self._keys}
        with torch.no_grad():
            multiply(signature, self.contraction, torch, constants, x, y, w if sizes[2] else None)

    @property
    def scheme(self) -> str:
        """The scheme that was settled on."""
        return self.contraction.name

    def forward(
        self, x: torch.Tensor, y: torch.Tensor, w: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Multiply features.

        Parameters
        ----------
        x, y : (..., dim1) and (..., dim2) tensor
        w : (..., weight_numel) tensor, optional
            The module's own by default, and 1 if it has none.

        Returns
        -------
        (..., dim3) tensor
            In the precision that ``x`` and ``y`` promote to.

        Raises
        ------
        IrrepsError
            If a last axis, or the leading axes, do not fit.
        CoreError
            If an operand is no tensor of floating-point numbers, on
            another device, or more precise than the buffers.
        """
        constants = {key: getattr(self, _buffer(key)) for key in self._keys}
        w = self.weight if w is None else w
        home = next(iter(constants.values()))
        precision = home.dtype
        # The usual case first: small products are called so often that checks count.
        usual = _same(x, home) and _same(y, home) and (w is None or _same(w, home))
        if usual and not torch.is_autocast_enabled(home.device.type):
            return multiply(self.product.signature, self.contraction, torch, constants, x, y, w)
        check_operands(home, **{"first operand": x, "second operand": y, "weights": w})
        given = torch.promote_types(x.dtype, y.dtype)
        if torch.promote_types(given, precision) != precision:
            raise CoreError(
                f"operands: expected the precision of the module, {precision}, or less, got "
                f"{given}; convert one of them with .to(dtype)"
            )
        x, y, w = x.to(precision), y.to(precision), None if w is None else w.to(precision)
        with torch.autocast(x.device.type, enabled=False):
            z = multiply(self.product.signature, self.contraction, torch, constants, x, y, w)
        return z.to(given)

    def _apply(self, fn: Any, recurse: bool = True) -> Self:
        before = {key: getattr(self, _buffer(key)) for key in self._keys}
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        for key, old in before.items():
            new = getattr(self, _buffer(key))
            if (new.dtype, new.device) == (old.dtype, old.device):
                continue
            # What was rounded once is not rounded again, and never to halves.
            dtype = new.dtype if new.dtype in PRECISIONS else torch.float32
            value = torch.tensor(self.contraction.constants[key], dtype=dtype, device=new.device)
            setattr(self, _buffer(key), value)
        return self

    def extra_repr(self) -> str:
        """Return the product and the scheme."""
        return f"{self.product!r}, computed by {self.scheme}"


class LinearModule(torch.nn.Module):
    """A :class:`~etn.product.linear.SharedLinear` with its weights and biases as parameters.

    It computes in the precision of its weights, which features must have, and follows autocast as
    ``torch.nn.Linear`` does: a matrix on multiplicities breaks no symmetry in any precision.

    Parameters
    ----------
    linear : SharedLinear
    dtype : torch.dtype, optional
        float32 by default.
    device : optional
    seed : int
        Of the weights, drawn from the normal distribution; biases start at 0.

    Examples
    --------
    >>> from etn.product import SharedLinear
    >>> layer = LinearModule(SharedLinear("4x0e+4x1o", "2x0e+2x1o"))
    >>> layer(torch.ones(7, 16)).shape
    torch.Size([7, 8])
    """

    def __init__(
        self,
        linear: LinearMap,
        *,
        dtype: torch.dtype = torch.float32,
        device: Any = "cpu",
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.linear = linear
        if not getattr(dtype, "is_floating_point", False):
            raise CoreError(f"dtype: expected one of floating point, got {dtype}")
        device = Kind("torch", device=str(device)).device
        self.weight = _normal(linear.weight_numel, dtype, device, seed)
        self.bias: torch.nn.Parameter | None = None
        if linear.bias_numel:
            self.bias = torch.nn.Parameter(
                torch.zeros(linear.bias_numel, dtype=dtype, device=device)
            )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map features (..., irreps_in.dim) to (..., irreps_out.dim).

        Raises
        ------
        IrrepsError
            If the last axis does not fit.
        CoreError
            If the features are no tensor of floating-point numbers, on another device, or of
            another precision than the weights while autocast is off.
        """
        check_operands(self.weight, features=x)
        wide = torch.float64 in (x.dtype, self.weight.dtype)
        if x.dtype != self.weight.dtype and (wide or not torch.is_autocast_enabled(x.device.type)):
            raise CoreError(
                f"features: expected the precision of the weights, {self.weight.dtype}, got "
                f"{x.dtype}; convert one of them with .to(dtype)"
            )
        return self.linear.apply(x, self.weight, self.bias)

    def extra_repr(self) -> str:
        """Return the map."""
        return repr(self.linear)


def _normal(size: int, dtype: torch.dtype, device: Any, seed: int) -> torch.nn.Parameter:
    """Normal numbers that are the same on every device and in every precision."""
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randn(size, generator=generator, dtype=torch.float64)
    return torch.nn.Parameter(drawn.to(dtype=dtype, device=device))


def _same(operand: Any, home: torch.Tensor) -> bool:
    """Whether it is a tensor of the precision and on the device of another."""
    tensor = isinstance(operand, torch.Tensor)
    return tensor and operand.dtype == home.dtype and operand.device == home.device


def _buffer(key: str) -> str:
    return f"constant_{key}"
