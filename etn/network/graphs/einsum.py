"""Contraction of labelled dense arrays, and what it costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import count
from typing import Any, NamedTuple

from etn.backend import Array, kind_of
from etn.machine import check_memory

Labels = tuple[str, ...]

FEED = "feed its open legs, in fewer samples at once; report() has the steps"


class Operand(NamedTuple):
    """A dense array with a label for each axis."""

    labels: Labels
    array: Array


@dataclass(frozen=True)
class Cost:
    """What a contraction of dense cores costs; printed, it is a report of every step.

    Attributes
    ----------
    legend : dict of str to str
        What the letters in the steps stand for.
    n_parameters : int
        Reduced entries of all cores.
    n_dense : int
        Entries of all cores once expanded over m.
    path : opt_einsum.contract.PathInfo
        The order of the contraction.
    """

    legend: dict[str, str]
    n_parameters: int
    n_dense: int
    path: Any

    @property
    def flops(self) -> int:
        """Multiplications and additions, two arrays at a time."""
        return int(self.path.opt_cost)

    @property
    def naive_flops(self) -> int:
        """Multiplications and additions of one sum over all labels at once."""
        return int(self.path.naive_cost)

    @property
    def largest_intermediate(self) -> int:
        """Entries of the largest array that is made, the result included."""
        return int(self.path.largest_intermediate)

    def __str__(self) -> str:
        ratio = self.n_dense / max(1, self.n_parameters)
        return "\n".join(
            [
                f"{self.n_parameters} parameters, {self.n_dense} dense entries ({ratio:.1f} x)",
                *(f"{letter:>4} = {meaning}" for letter, meaning in self.legend.items()),
                str(self.path),
            ]
        )


def contract(operands: Sequence[Operand], output: Labels) -> Array:
    """Sum over all labels that are not in the output, two arrays at a time.

    The order is found by opt_einsum, once for each set of labels and shapes.

    Parameters
    ----------
    operands : sequence of Operand
        A label may occur on any number of operands, and twice on one (a trace).
    output : tuple of str
        Labels of the result.

    Returns
    -------
    array of the kind of the operands, one axis a label

    Raises
    ------
    CoreError
        If the operands differ in library, precision or device, or there is no memory for an array
        on the way.

    Examples
    --------
    >>> import numpy as np
    >>> operands = [Operand(("i", "j"), np.ones((2, 3))), Operand(("j", "k"), np.ones((3, 4)))]
    >>> contract(operands, ("k", "i")).shape
    (4, 2)
    """
    kind = kind_of(*(operand.array for operand in operands))
    shapes = tuple(tuple(operand.array.shape) for operand in operands)
    expression = _expression(tuple(operand.labels for operand in operands), output, shapes)
    # NumPy gives the result of a full contraction as a number, not as an array.
    return kind.array(expression(*(operand.array for operand in operands)))


def path_info(inputs: Sequence[Labels], output: Labels, sizes: Mapping[str, int]) -> Any:
    """The steps that :func:`contract` takes for axes of these sizes."""
    from opt_einsum import contract_path

    shapes = [tuple(sizes[label] for label in labels) for labels in inputs]
    return contract_path(_equation(inputs, output), *shapes, shapes=True)[1]


def letters(inputs: Sequence[Labels]) -> dict[str, str]:
    """The letter of each label in the steps: itself if it is one, else the next free letter.

    Examples
    --------
    >>> letters([("b", "x1"), ("x1", "out")])
    {'b': 'b', 'x1': 'a', 'out': 'c'}
    """
    from opt_einsum import get_symbol

    labels = dict.fromkeys(label for labels in inputs for label in labels)
    own = {label for label in labels if len(label) == 1}
    free = (symbol for symbol in map(get_symbol, count()) if symbol not in own)
    return {label: label if label in own else next(free) for label in labels}


@lru_cache(maxsize=512)
def _expression(
    inputs: tuple[Labels, ...], output: Labels, shapes: tuple[tuple[int, ...], ...]
) -> Any:
    from opt_einsum import contract_expression, contract_path

    equation = _equation(inputs, output)
    path, steps = contract_path(equation, *shapes, shapes=True)
    check_memory(8.0 * float(steps.largest_intermediate), "an array of this contraction", FEED)
    return contract_expression(equation, *shapes, optimize=path)


def _equation(inputs: Sequence[Labels], output: Labels) -> str:
    letter = letters(inputs)
    *operands, result = ("".join(letter[label] for label in labels) for labels in (*inputs, output))
    return f"{','.join(operands)}->{result}"
