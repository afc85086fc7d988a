"""One product of e3nn as one of etn."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from etn.errors import SettingsError
from etn.o3 import Irreps
from etn.product.modes import MODES, Mode
from etn.product.tensor_product import TensorProduct

__all__ = ["from_e3nn"]


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
        with ``tensor_product.weight``, or what is handed to ``tensor_product``.

    Raises
    ------
    SettingsError
        If it is no product of e3nn, or etn has no such product; the message names the instruction.

    Examples
    --------
    >>> import torch
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
    if not isinstance(tensor_product, e3nn_o3().TensorProduct):
        raise SettingsError(
            f"expected an e3nn.o3.TensorProduct, got {type(tensor_product).__name__}"
        )
    used = {n: ins for n, ins in enumerate(tensor_product.instructions) if 0 not in ins.path_shape}
    if not used:
        raise SettingsError(f"{tensor_product}: no instruction couples anything, the output is 0")
    mode, weighted = _common(tensor_product, used)
    one, two, out = (Irreps(str(leg)) for leg in legs_of(tensor_product))
    return TensorProduct(
        one,
        two,
        out,
        mode=mode,
        weights="per_path" if weighted else "none",
        scheme=scheme,
        coefficients=[float(ins.path_weight) for ins in used.values()],
        paths=[(ins.i_in1, ins.i_in2, ins.i_out) for ins in used.values()],
        layout="mul_ir",
        tol=tol,
    )


def _common(tensor_product: Any, used: Mapping[int, Any]) -> tuple[Mode, bool]:
    """The mode of all instructions, and whether they have weights."""
    common = set(MODES)
    weighted = None
    for n, ins in used.items():
        one, two, out = (
            leg[term]
            for leg, term in zip(
                legs_of(tensor_product), (ins.i_in1, ins.i_in2, ins.i_out), strict=True
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


def legs_of(product: Any) -> tuple[Any, Any, Any]:
    """First operand, second operand and output."""
    return product.irreps_in1, product.irreps_in2, product.irreps_out


def e3nn_o3() -> Any:
    """The module ``e3nn.o3``, or an error that says how to get it."""
    try:
        from e3nn import o3
    except ImportError as error:
        raise SettingsError("this needs e3nn, which is not installed: pip install e3nn") from error
    return o3
