"""Which leg of which core is joined to which: the one thing that all networks share.

A wiring names every leg of every core.  Equal names are contracted, names that occur once are
open.  Whatever looks at a network as a whole (its sizes, its polynomial, its drawing, its
transfer to another library) works on its wiring, so it works on every kind of network.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from etn.backend import Array, kind_of
from etn.errors import CoreError
from etn.machine import check_memory
from etn.o3 import Irreps
from etn.tensor import Core
from etn.tensor.scale import rescaled


class Wired(Protocol):
    """A network that can name its legs."""

    def wiring(self) -> Wiring:
        """Cores and the names of their legs."""
        ...


class WiredNetwork:
    """A network that names its legs and may know more of itself; views ask it.

    A kind of network overrides :meth:`wiring`, and of the others what it knows.
    """

    __slots__ = ()

    # Whether the cores stand in a line, with legs (left bond, site, right bond).
    is_line = False

    def wiring(self) -> Wiring:
        """Cores and the names of their legs."""
        raise NotImplementedError

    def flops(self) -> int | None:
        """Cost of one value from the reduced blocks; None where it is not counted."""
        return None

    def gauge_marks(self) -> tuple[str, ...]:
        """Canonical form, a mark for each core; empty where there is none to speak of.

        ``●`` is the orthogonality center, ``>`` and ``<`` are isometries towards it from the left
        and from the right, ``○`` is a core of which nothing is known.
        """
        return ()


class Wiring(WiredNetwork):
    """Cores and the names of their legs.  Immutable.

    Parameters
    ----------
    cores : sequence of Core
    labels : sequence of sequences of str
        One name for each leg of each core.  Two legs of the same name are contracted; a name
        that occurs once belongs to an open leg.

    Attributes
    ----------
    cores : tuple of Core
    labels : tuple of tuple of str
    legs : dict of str to Irreps
        What each name carries, in order of first appearance.
    open, bonds : tuple of str
        Names of the open and of the contracted legs, in the same order.

    Raises
    ------
    CoreError
        If there is no core, a core has more or fewer names than legs, a name occurs three
        times or twice on one core, or the two legs of a name carry different irreps.

    Examples
    --------
    >>> matrix, vector = Core.random(["2x0e+1x1o"] * 2, seed=0), Core.random(["2x0e+1x1o"], seed=1)
    >>> product = Wiring([matrix, vector], [("i", "j"), ("j",)])
    >>> product
    Wiring(2 cores, open i, bonds j)
    >>> product.einsum(), product.dense().shape
    ('ab,b->a', (5,))
    """

    __slots__ = ("bonds", "cores", "labels", "legs", "open")

    cores: tuple[Core, ...]
    labels: tuple[tuple[str, ...], ...]
    legs: dict[str, Irreps]
    open: tuple[str, ...]
    bonds: tuple[str, ...]

    def __init__(self, cores: Sequence[Core], labels: Sequence[Sequence[str]]) -> None:
        self.cores, self.labels = tuple(cores), tuple(map(tuple, labels))
        if not self.cores:
            raise CoreError("a network needs at least one core, got none")
        if len(self.cores) != len(self.labels):
            raise CoreError(
                f"expected the names of the legs of {len(self.cores)} cores, "
                f"got those of {len(self.labels)}"
            )
        ends: dict[str, list[tuple[int, Irreps]]] = {}
        for number, (core, names) in enumerate(zip(self.cores, self.labels, strict=True)):
            if len(names) != core.order:
                raise CoreError(f"core {number}: expected {core.order} names of legs, got {names}")
            if len(set(names)) != len(names):
                raise CoreError(f"core {number}: the legs {names} must have different names")
            for label, leg in zip(names, core.legs, strict=True):
                ends.setdefault(label, []).append((number, leg))
        for label, found in ends.items():
            _check_ends(label, found)
        self.legs = {label: found[0][1] for label, found in ends.items()}
        self.open = tuple(label for label, found in ends.items() if len(found) == 1)
        self.bonds = tuple(label for label, found in ends.items() if len(found) == 2)

    def einsum(self, output: Sequence[str] | None = None) -> str:
        """Expression of the contraction for ``opt_einsum.contract`` over the dense cores.

        Parameters
        ----------
        output : sequence of str, optional
            Order of the open legs; that of :attr:`open` if left out.

        Raises
        ------
        CoreError
            If these are not the open legs.
        """
        from opt_einsum import get_symbol

        output = self.open if output is None else tuple(output)
        if sorted(output) != sorted(self.open):
            raise CoreError(
                f"output: expected the open legs {self.open} in some order, got {output}"
            )
        symbols = {label: get_symbol(number) for number, label in enumerate(self.legs)}
        inputs = ["".join(symbols[label] for label in names) for names in self.labels]
        return f"{','.join(inputs)}->{''.join(symbols[label] for label in output)}"

    def dense(self, output: Sequence[str] | None = None) -> Array:
        """Dense tensor of the network, all bonds contracted.

        Parameters
        ----------
        output : sequence of str, optional
            Order of the open legs; that of :attr:`open` if left out.

        Returns
        -------
        array of shape (dimension of each output leg, ...)

        Raises
        ------
        CoreError
            If the output is not the open legs, the cores are of different kinds, there is no
            memory for the tensor, or its entries are beyond the range of floating point.
        """
        from opt_einsum import contract, contract_path

        expression = self.einsum(output)
        kind = self.cores[0].kind
        kind_of(*(core.kind.zeros((1,)) for core in self.cores))
        shapes = [tuple(leg.dim for leg in core.legs) for core in self.cores]
        path, steps = contract_path(expression, *shapes, shapes=True)
        n_bytes = kind.itemsize * float(steps.largest_intermediate)
        check_memory(n_bytes, f"the dense tensor of {len(self.cores)} cores")
        small, powers = zip(*(core.unscaled() for core in self.cores), strict=True)
        dense = contract(expression, *(core.to_dense() for core in small), optimize=path)
        what = "the largest entry of the dense tensor"
        return rescaled({"": dense}, sum(powers), what)[""]

    def wiring(self) -> Wiring:
        """The wiring itself."""
        return self

    def __repr__(self) -> str:
        legs = f"open {' '.join(self.open) or 'none'}, bonds {' '.join(self.bonds) or 'none'}"
        return f"Wiring({len(self.cores)} core{'s' if len(self.cores) > 1 else ''}, {legs})"


def _check_ends(label: str, ends: Sequence[tuple[int, Irreps]]) -> None:
    if len(ends) > 2:
        raise CoreError(
            f"leg {label!r}: expected on one or two cores, got it on the cores "
            f"{', '.join(str(number) for number, _ in ends)}"
        )
    (first, one), (last, other) = ends[0], ends[-1]
    if one != other:
        raise CoreError(
            f"leg {label!r}: core {first} carries {one}, core {last} carries {other}; "
            "both ends of a bond must carry the same irreps in the same order"
        )


def as_network(network: Wired) -> WiredNetwork:
    """What a view asks: the network itself, or its wiring if it knows nothing else of itself.

    Raises
    ------
    CoreError
        If it is no network.
    """
    if isinstance(network, WiredNetwork):
        return network
    method: Any = getattr(network, "wiring", None)
    if not callable(method):
        raise CoreError(f"expected a Wiring or a network with a method wiring(), got {network!r}")
    wiring = method()
    assert isinstance(wiring, Wiring)
    return wiring


def as_wiring(network: Wired) -> Wiring:
    """Wiring of any network: its own, or what its method ``wiring`` says.

    Raises
    ------
    CoreError
        If it is none of them.
    """
    return as_network(network).wiring()
