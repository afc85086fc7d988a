"""Values on open legs and weights on results: checked, and their axes named."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from etn.backend import Array, Kind, as_block, is_finite, kind_of
from etn.errors import CoreError
from etn.network.graphs.einsum import Labels, Operand
from etn.network.graphs.formula import listed
from etn.o3 import Irreps

SAMPLES = "(samples)"
"""Label of the axis that inputs share; not a word, so that no formula can use it."""


def feed(inputs: Mapping[str, Array], legs: Mapping[str, Irreps], kind: Kind) -> dict[str, Operand]:
    """Inputs with the labels of their axes.

    Parameters
    ----------
    inputs : mapping of label to array of shape (leg.dim,) or (samples, leg.dim)
    legs : mapping of label to Irreps
    kind : Kind
        That of the cores.

    Raises
    ------
    CoreError
        If an input has another shape, number of samples or kind, or a value is not finite.

    Examples
    --------
    >>> import numpy as np
    >>> feed({"x": np.ones((5, 4))}, {"x": Irreps("1x0e+1x1o")}, Kind())["x"].labels
    ('(samples)', 'x')
    """
    fed: dict[str, Operand] = {}
    first: tuple[str, int] | None = None
    for label, values in inputs.items():
        array, leg = checked(f"input {label}", values, kind), legs[label]
        shape = tuple(array.shape)
        if len(shape) not in (1, 2) or shape[-1] != leg.dim:
            raise CoreError(
                f"input {label}: expected shape ({leg.dim},) or (samples, {leg.dim}) "
                f"from the leg {leg}, got {shape}"
            )
        if len(shape) == 2:
            first = first or (label, shape[0])
            if shape[0] != first[1]:
                raise CoreError(
                    f"input {label}: expected {first[1]} samples as of input {first[0]}, "
                    f"got {shape[0]}"
                )
        fed[label] = Operand((SAMPLES, label)[-len(shape) :], array)
    return fed


def feed_result(
    cotangent: Array,
    labels: Labels,
    fed: Mapping[str, Operand],
    legs: Mapping[str, Irreps],
    kind: Kind,
) -> Operand:
    """Weights on the entries of a result, with its labels.

    Parameters
    ----------
    cotangent : array, shaped as the result
    labels : tuple of str
        Axes of the result, see :func:`remaining`.
    fed : mapping of label to Operand
        The inputs that the result is for.

    Raises
    ------
    CoreError
        If the array has another shape or kind, or a value is not finite.
    """
    array = checked("cotangent", cotangent, kind)
    sizes = {label: leg.dim for label, leg in legs.items()}
    for operand in fed.values():
        sizes |= dict(zip(operand.labels, operand.array.shape, strict=True))
    shape = tuple(sizes[label] for label in labels)
    if tuple(array.shape) != shape:
        raise CoreError(
            f"cotangent: expected the shape {shape} of the result, axes {listed(labels)}; "
            f"got {tuple(array.shape)}"
        )
    return Operand(labels, array)


def check_open(labels: Iterable[str], open_legs: Labels, legs: Mapping[str, Irreps]) -> None:
    """Raise a :class:`CoreError` unless all labels are open legs."""
    for label in labels:
        if label not in open_legs:
            found = "a contracted bond" if label in legs else "unknown"
            raise CoreError(
                f"leg {label!r} is {found}: expected one of the open legs, {listed(open_legs)}"
            )


def checked(name: str, values: Array, kind: Kind) -> Array:
    """The values as an array, if it is finite and of this kind.

    Raises
    ------
    CoreError
        If it is not.
    """
    array = as_block(values)
    found = kind_of(array)
    if found != kind:
        raise CoreError(
            f"{name}: expected {kind} as the cores, got {found}; "
            "convert one of them with .to(backend=, dtype=, device=)"
        )
    if not is_finite(array):
        raise CoreError(f"{name}: expected finite values, got inf or nan")
    return array


def remaining(open_legs: Labels, fed: Mapping[str, Operand]) -> Labels:
    """Axes of the result: the samples if there are any, and the legs that are not fed."""
    samples = {label for operand in fed.values() for label in operand.labels if label == SAMPLES}
    return (*samples, *(label for label in open_legs if label not in fed))
