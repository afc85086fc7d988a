r"""Tensor products of e3nn as products of etn: the same functions, by the schemes of etn.

Irreps are written alike, ``Irreps(str(theirs))`` and ``e3nn.o3.Irreps(str(ours))`` convert them,
and features lie in the layout ``"mul_ir"``.  The 3j tensors are equal, signs included, so the
coefficient of path p is what e3nn keeps as ``instructions[p].path_weight``,

.. math:: \alpha_p^2 = v_{out}\, c_p\, n_p / x_p,

with v_out the ``out_var`` and c_p the path weight that the user gave, and

- n_p by ``irrep_normalization``: ``"component"`` 2 l_out + 1, ``"norm"`` (2 l_1 + 1)(2 l_2 + 1),
  ``"none"`` 1;
- x_p by ``path_normalization``: ``"element"`` the sum of v_1 v_2 fan-in over all paths to the same
  output, ``"path"`` v_1 v_2 fan-in of p times the number of these paths, ``"none"`` 1.

The defaults of e3nn are what etn calls ``coefficients="component"``.

An e3nn product has weights of its own for every path, and so does what it becomes here
(``weights="per_path"``, or ``"none"``).  One set of weights for all paths makes a smaller class of
functions; whoever wants that builds a :class:`etn.product.TensorProduct` with
``weights="shared"`` and trains it anew.

e3nn is an optional dependency: ``pip install e3nn``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from etn.errors import EtnError, SettingsError
from etn.o3 import Irreps
from etn.product.base import TensorProduct
from etn.product.modes import MODES, Mode
from etn.product.module import ProductModule

__all__ = ["E3nnProduct", "Refusal", "Report", "Swap", "from_e3nn", "replace_tensor_products"]

# Largest difference, relative to the largest output, that counts as rounding.
ROUNDING = {torch.float64: 1e-12, torch.float32: 1e-5}

# Rows of the random operands that a swap is checked on.
ROWS = 8


def from_e3nn(tensor_product: Any, *, scheme: str = "auto", tol: float = 0.0) -> TensorProduct:
    """The product that is the same function as one of e3nn.

    Parameters
    ----------
    tensor_product : e3nn.o3.TensorProduct
        Or a subclass.  All instructions have one mode of etn, and all have weights or none has.
        Mode ``uvuv`` is ``uvu`` or ``uvv`` where one operand has a single channel.
    scheme, tol
        See :class:`etn.product.TensorProduct`; a tolerance matters only without weights.

    Returns
    -------
    TensorProduct
        In the layout ``"mul_ir"``.  Its flat weights are those of e3nn, number by number: call it
        with ``tensor_product.weight``, or what is handed to ``tensor_product``.  Terms of
        multiplicity zero are left out of its irreps.

    Raises
    ------
    SettingsError
        If it is no product of e3nn, or etn has no such product; the message names the instruction.

    Examples
    --------
    >>> from e3nn import o3
    >>> theirs = o3.FullyConnectedTensorProduct("4x0e+2x1o", "0e+1o", "3x0e+5x1o")
    >>> ours = from_e3nn(theirs)
    >>> ours
    TensorProduct(4x0e+2x1o x 1x0e+1x1o -> 3x0e+5x1o, uvw, per_path: 48 weights, 4 paths, \
scheme auto)
    >>> x, y = torch.ones(7, 10), torch.ones(7, 4)
    >>> torch.allclose(ours(x, y, theirs.weight), theirs(x, y), atol=1e-5)
    True
    """
    if not isinstance(tensor_product, _o3().TensorProduct):
        raise SettingsError(
            f"expected an e3nn.o3.TensorProduct, got {type(tensor_product).__name__}"
        )
    used = {n: ins for n, ins in enumerate(tensor_product.instructions) if 0 not in ins.path_shape}
    if not used:
        raise SettingsError(f"{tensor_product}: no instruction couples anything, the output is 0")
    mode, weighted = _common(tensor_product, used)
    legs, places = zip(
        *(_without_empty(leg) for leg in _legs(tensor_product)),
        strict=True,
    )
    return TensorProduct(
        *legs,
        mode=mode,
        weights="per_path" if weighted else "none",
        scheme=scheme,
        coefficients=[float(ins.path_weight) for ins in used.values()],
        paths=[
            (places[0][ins.i_in1], places[1][ins.i_in2], places[2][ins.i_out])
            for ins in used.values()
        ],
        layout="mul_ir",
        tol=tol,
    )


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
        self.irreps_in1, self.irreps_in2, self.irreps_out = _legs(tensor_product)
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
            (..., *path_shape) for each weighted instruction.  Needed without internal weights.

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
    base = _o3().TensorProduct
    # What no product could take is an error of the call, and no reason to keep a product.
    if not 0.0 <= tol < 1.0:
        raise SettingsError(f"tol: expected a relative error from 0 to below 1, got {tol}")
    schemes = ("auto", *TensorProduct._allowed)
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
    kind = type(tensor_product)
    if kind.forward is not _o3().TensorProduct.forward:
        raise SettingsError(f"{kind.__name__} has a forward function of its own")
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

    x, y = (draw(ROWS, leg.dim) for leg in _legs(new)[:2])
    w = None
    if new.weight_numel:
        # Also for internal weights, which may still be zero.
        w = draw(*(() if new.shared_weights else (ROWS,)), new.weight_numel)
    theirs, ours = tensor_product(x, y, w), new(x, y, w)
    scale = float(theirs.abs().max())
    difference = float((ours - theirs).abs().max())
    return difference / scale if scale else difference


def _common(tensor_product: Any, used: Mapping[int, Any]) -> tuple[Mode, bool]:
    """The mode of all instructions, and whether they have weights."""
    common = set(MODES)
    weighted = None
    for n, ins in used.items():
        one, two, out = (
            leg[term]
            for leg, term in zip(
                _legs(tensor_product), (ins.i_in1, ins.i_in2, ins.i_out), strict=True
            )
        )
        where = f"instruction {n} ({one} x {two} -> {out}, {ins.connection_mode})"
        modes = _modes(ins.connection_mode, one.mul, two.mul)
        if not modes:
            raise SettingsError(f"{where}: etn has no such mode; it has {', '.join(MODES)}")
        if not common & modes:
            raise SettingsError(
                f"{where}: those before it have mode {'/'.join(sorted(common))}; one product has "
                "one mode, so make one of each and add them"
            )
        common &= modes
        if weighted is None:
            weighted = bool(ins.has_weight)
        if weighted != ins.has_weight:
            raise SettingsError(
                f"{where}: it has {'' if ins.has_weight else 'no '}weights, unlike those before "
                "it; in one product all paths have weights or none has"
            )
    return next(mode for mode in MODES if mode in common), bool(weighted)


def _modes(mode: str, channels1: int, channels2: int) -> set[Mode]:
    """Modes of etn that are the same for these channels."""
    if mode != "uvuv":
        return {known for known in MODES if known == mode}
    found: set[Mode] = set()
    if channels2 == 1:
        found.add("uvu")
    if channels1 == 1:
        found.add("uvv")
    return found


def _legs(product: Any) -> tuple[Any, Any, Any]:
    return product.irreps_in1, product.irreps_in2, product.irreps_out


def _without_empty(leg: Any) -> tuple[Irreps, dict[int, int]]:
    """Irreps without terms of multiplicity zero, and the new numbers of the terms."""
    kept = [n for n, term in enumerate(leg) if term.mul]
    irreps = Irreps([(leg[n].mul, str(leg[n].ir)) for n in kept])
    return irreps, {n: place for place, n in enumerate(kept)}


def _pass_over_constants(
    module: torch.nn.Module, state: dict[str, Any], prefix: str, *_: Any
) -> None:
    """Drop what the state of an e3nn product holds besides weights."""
    for key in list(state):
        own = key.removeprefix(prefix) if key.startswith(prefix) else ""
        empty_weight = own == "weight" and getattr(module, "weight", None) is None
        if own.startswith("_compiled_main_") or empty_weight:
            del state[key]


def _o3() -> Any:
    try:
        from e3nn import o3
    except ImportError as error:
        raise SettingsError("this needs e3nn, which is not installed: pip install e3nn") from error
    return o3
