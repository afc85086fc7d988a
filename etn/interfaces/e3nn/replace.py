"""Replacing the products of a model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from etn.errors import EtnError, SettingsError
from etn.interfaces.e3nn.convert import e3nn_o3, legs_of
from etn.interfaces.e3nn.stand_in import E3nnProduct
from etn.product.schemes import SCHEMES

__all__ = ["Refusal", "Report", "Swap", "replace_tensor_products"]

# Largest difference, relative to the largest output, that counts as rounding.
ROUNDING = {torch.float64: 1e-12, torch.float32: 1e-5}

# Rows of the random operands that a swap is checked on.
ROWS = 8


@dataclass(frozen=True)
class Swap:
    """A product that was replaced.

    Attributes
    ----------
    name : str
        Of the module in the model.
    product : str
        What it was.
    scheme : str
        That computes it now.
    difference : float
        Largest difference of outputs relative to the largest output, on random operands.
    """

    name: str
    product: str
    scheme: str
    difference: float

    def __str__(self) -> str:
        return f"{self.name}: scheme {self.scheme}, difference {self.difference:.1e}"


@dataclass(frozen=True)
class Refusal:
    """A product that stayed as it was, and why."""

    name: str
    product: str
    reason: str

    def __str__(self) -> str:
        return f"{self.name}: kept, {self.reason}"


@dataclass(frozen=True)
class Report:
    """What :func:`replace_tensor_products` did, in the order of the modules of the model."""

    swaps: tuple[Swap, ...]
    refusals: tuple[Refusal, ...]

    def __str__(self) -> str:
        total = len(self.swaps) + len(self.refusals)
        lines = [f"{len(self.swaps)} of {total} tensor products replaced"]
        return "\n  ".join([*lines, *map(str, (*self.swaps, *self.refusals))])


def replace_tensor_products(
    model: torch.nn.Module, tol: float = 0.0, *, scheme: str = "auto", batch: int = 256
) -> Report:
    """Compute the e3nn products of a model by etn, in place, wherever that is the same function.

    Every product is compared with its replacement on random operands and weights before any is
    swapped.

    Parameters
    ----------
    model : torch.nn.Module
        In float32 or float64.  Scripted modules are not looked into: replace before scripting.
    tol : float
        Largest difference of outputs, relative to the largest output.  At 0 nothing beyond
        rounding is allowed, 1e-12 in float64 and 1e-5 in float32.  Above 0, products without
        weights may be computed by an approximate decomposition.
    scheme, batch
        See :class:`E3nnProduct`.

    Returns
    -------
    Report
        Of all products found.  What is kept: products that etn does not have, those that do more
        than the forward function of e3nn does (a forward of a subclass, hooks, ``right``,
        parametrized weights), and those whose values differ.

    Raises
    ------
    SettingsError
        If e3nn is not installed, the model itself is a product, or the tolerance or the name of
        the scheme is not valid.

    Examples
    --------
    >>> from e3nn import o3
    >>> class Layer(torch.nn.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.mix = o3.FullyConnectedTensorProduct("4x0e+2x1o", "0e+1o", "3x0e+5x1o")
    ...         self.full = o3.FullTensorProduct("4x0e+2x1o", "2x1o")
    >>> report = replace_tensor_products(Layer())
    >>> print(report)  # doctest: +SKIP
    1 of 2 tensor products replaced
      mix: scheme paths, difference 8.6e-08
      full: kept, instruction 0 (4x0e x 2x1o -> 8x1o, uvuv): etn has no such mode; ...
    >>> [swap.name for swap in report.swaps], [refusal.name for refusal in report.refusals]
    (['mix'], ['full'])
    """
    base = e3nn_o3().TensorProduct
    # What no product could take is an error of the call, and no reason to keep a product.
    if not 0.0 <= tol < 1.0:
        raise SettingsError(f"tol: expected a relative error from 0 to below 1, got {tol}")
    schemes = ("auto", *SCHEMES)
    if scheme not in schemes:
        raise SettingsError(f"scheme: expected one of {', '.join(schemes)}, got {scheme!r}")
    if isinstance(model, base):
        raise SettingsError("the model is itself a tensor product: take E3nnProduct(model)")
    found = {
        name: module
        for name, module in model.named_modules(remove_duplicate=False)
        if isinstance(module, base)
    }
    # A product that stands in several places becomes one module in all of them.
    ready: dict[int, tuple[E3nnProduct, float] | str] = {}
    for module in found.values():
        if id(module) not in ready:
            try:
                ready[id(module)] = _replacement(module, tol, scheme, batch)
            except EtnError as error:
                ready[id(module)] = str(error)
    swaps, refusals = [], []
    for name, module in found.items():
        result = ready[id(module)]
        if isinstance(result, str):
            refusals.append(Refusal(name, str(module), result))
            continue
        new, difference = result
        parent, _, own = name.rpartition(".")
        setattr(model.get_submodule(parent), own, new)
        swaps.append(Swap(name, str(module), new.scheme, difference))
    return Report(tuple(swaps), tuple(refusals))


def _replacement(
    tensor_product: Any, tol: float, scheme: str, batch: int
) -> tuple[E3nnProduct, float]:
    """The module that takes the place of a product, and the difference of the two."""
    _check_plain(tensor_product)
    dtype = tensor_product.output_mask.dtype
    if dtype not in ROUNDING:
        raise SettingsError(f"expected float32 or float64, got {dtype}")
    new = E3nnProduct(tensor_product, scheme=scheme, tol=tol, batch=batch)
    difference = _difference(tensor_product, new)
    limit = max(tol, ROUNDING[dtype])
    # The comparison that also refuses nan.
    if not difference <= limit:
        raise SettingsError(
            f"outputs differ by {difference:.1e} of the largest, allowed is {limit:.1e} (the "
            "constants of a product made in float32 keep its precision after .double(): make it "
            "in float64, or raise tol)"
        )
    return new, difference


def _check_plain(tensor_product: Any) -> None:
    """Refuse products that do more than the forward function of e3nn."""
    cls = type(tensor_product)
    if cls.forward is not e3nn_o3().TensorProduct.forward:
        raise SettingsError(f"{cls.__name__} has a forward function of its own")
    if tensor_product._did_compile_right:
        raise SettingsError("it was made with compile_right=True, and etn has no right()")
    if any(
        getattr(tensor_product, f"_{name}_hooks")
        for name in ("forward", "forward_pre", "backward", "backward_pre")
    ):
        raise SettingsError("it has hooks, which would be lost: remove them first")
    own = dict(tensor_product.named_parameters(recurse=False))
    if tensor_product.internal_weights and tensor_product.weight_numel and "weight" not in own:
        raise SettingsError("its weights are parametrized: they are no parameter of their own")


@torch.no_grad()
def _difference(tensor_product: Any, new: E3nnProduct) -> float:
    """Largest difference of outputs on random operands and weights, relative to the largest."""
    generator = torch.Generator().manual_seed(0)
    mask = tensor_product.output_mask

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64).to(mask)

    x, y = (draw(ROWS, leg.dim) for leg in legs_of(new)[:2])
    w = None
    if new.weight_numel:
        # Also for internal weights, which may still be zero.
        w = draw(*(() if new.shared_weights else (ROWS,)), new.weight_numel)
    theirs, ours = tensor_product(x, y, w), new(x, y, w)
    scale = float(theirs.abs().max())
    difference = float((ours - theirs).abs().max())
    return difference / scale if scale else difference
