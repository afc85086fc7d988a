"""Networks of cores on any graph, written as a formula."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from etn.backend import Array, Kind, is_finite
from etn.errors import CoreError
from etn.network.graphs.einsum import Cost, Labels, Operand, contract, letters, path_info
from etn.network.graphs.formula import join, listed, open_trace, parse, words
from etn.network.graphs.inputs import SAMPLES, check_open, feed, feed_result, remaining
from etn.network.views.inspectable import Inspectable
from etn.network.views.wiring import Wiring
from etn.o3 import Irreps
from etn.tensor import Core
from etn.tensor.core import Path
from etn.tensor.scale import rescaled


class Network(Inspectable):
    r"""A contraction of cores on any graph, closed loops included.  Immutable.

    .. math:: T_{\text{open}} = \sum_{\text{bonds}} \prod_n A^{(n)}_{\text{labels of } n}

    Parameters
    ----------
    formula : str
        The cores by name, each with the labels of its legs, and after an arrow the order of the
        open legs: ``"left[a x1 b] right[b x2 out] -> a x1 x2 out"``.  Names and labels are words
        (letters, digits, ``_``), set apart by spaces or commas.  A label that occurs twice is
        contracted, also if both are on one core (a trace); a label that occurs once is an open
        leg.  Without an arrow the open legs stand in order of appearance.
    **cores : Core
        The core of every name.  One core may stand under several names: each is a node of its
        own, with its own parameters and its own gradient.

    Attributes
    ----------
    cores : dict of str to Core
    labels : dict of str to tuple of str
        Labels of the legs of each core.
    legs : dict of str to Irreps
        What each label carries.
    open, bonds : tuple of str
        Labels that stay and labels that are summed.
    kind : Kind
        Library, precision and device of all cores.

    Raises
    ------
    CoreError
        If the formula cannot be read, a core is missing or has another number of legs, a label
        occurs three times, the arrow leaves out an open leg, or the cores are of different kinds.
    IrrepsError
        If the two legs of a label carry different irreps.

    Notes
    -----
    A label cannot occur three times: a copied index is equivariant only for scalars.  Legs meet in
    a core, and samples (atoms, neighbours, edges) have an axis of their own, see :meth:`contract`.

    Examples
    --------
    A chain of two sites:

    >>> import numpy as np
    >>> left = Core.random(["2x0e", "1x0e+1x1o", "2x0e+1x1o"], seed=0)
    >>> right = Core.random(["2x0e+1x1o", "1x0e+1x1o", "1x1o"], seed=1)
    >>> chain = Network("left[a x1 b] right[b x2 out]", left=left, right=right)
    >>> chain
    Network(left[a x1 b] right[b x2 out] -> a x1 x2 out, 9 parameters)
    >>> chain.contract().shape
    (2, 4, 4, 3)

    Values on some legs, and the derivative with respect to a core:

    >>> y = chain.contract(x1=np.ones((5, 4)), x2=np.ones((5, 4)))
    >>> y.shape
    (5, 2, 3)
    >>> chain.gradient(y, "left", x1=np.ones((5, 4)), x2=np.ones((5, 4)))
    Core(2x0e ⊗ 1x0e+1x1o → 2x0e+1x1o, 6 parameters)

    A ring; its open legs are three, so it is a core itself:

    >>> step = Core.random(["1x0e+1x1o"] * 3, seed=2)
    >>> ring = Network("one[a x b] two[b y c] three[c z a]", one=step, two=step, three=step)
    >>> ring.to_core()
    Core(1x0e+1x1o ⊗ 1x0e+1x1o → 1x0e+1x1o, 4 parameters)
    """

    __slots__ = ("bonds", "cores", "kind", "labels", "legs", "open")

    cores: dict[str, Core]
    labels: dict[str, Labels]
    legs: dict[str, Irreps]
    open: Labels
    bonds: Labels
    kind: Kind

    def __init__(self, formula: str, /, **cores: Core) -> None:
        self.labels, order = parse(formula)
        missing = [name for name in self.labels if name not in cores]
        unknown = [name for name in cores if name not in self.labels]
        if missing or unknown:
            raise CoreError(
                f"expected a core for each name of the formula, {listed(self.labels)}; "
                f"missing: {listed(missing)}, not in the formula: {listed(unknown)}"
            )
        self.cores = {name: cores[name] for name in self.labels}
        ends = join(self.cores, self.labels)
        self.legs = {label: found[0].leg for label, found in ends.items()}
        self.bonds = tuple(label for label, found in ends.items() if len(found) == 2)
        self.open = tuple(label for label, found in ends.items() if len(found) == 1)
        if order is not None and sorted(order) != sorted(self.open):
            raise CoreError(
                f"expected after the arrow the open legs in some order, {listed(self.open)}; "
                f"got {listed(order)}"
            )
        self.open = self.open if order is None else order
        self.kind = next(iter(self.cores.values())).kind
        for name, core in self.cores.items():
            if core.kind != self.kind:
                raise CoreError(
                    f"core {name}: expected {self.kind} as the first core, got {core.kind}; "
                    "convert one of them with .to(backend=, dtype=, device=)"
                )

    @property
    def formula(self) -> str:
        """The formula, with the order of the open legs."""
        nodes = (f"{name}[{' '.join(labels)}]" for name, labels in self.labels.items())
        return " ".join([*nodes, *(["->"] if self.open else []), *self.open])

    @property
    def n_parameters(self) -> int:
        """Number of reduced entries of all cores, counted at every node."""
        return sum(core.n_parameters for core in self.cores.values())

    def contract(self, /, **inputs: Array) -> Array:
        """Dense tensor over the open legs that are not fed.

        Parameters
        ----------
        **inputs : array of shape (leg.dim,) or (samples, leg.dim)
            Values on open legs, of the kind of the cores.  All inputs with two axes share the
            samples: sample by sample they are contracted, and the result has one row a sample.
            Memory grows with the samples (see :meth:`report`): feed them in portions.

        Returns
        -------
        array of shape ([samples,] dimension of each leg that stays open, ...)
            Open legs in the order of :attr:`open`.  torch tensors carry their gradients.

        Raises
        ------
        CoreError
            If a label is no open leg, or an input has another shape, another number of samples,
            another kind than the cores, or a value that is not finite.

        Examples
        --------
        Messages from neighbours, pooled over them.  Each edge is a sample, the sum over the
        edges of an atom stands outside:

        >>> import numpy as np
        >>> core = Core.random(["2x0e+1x1o", "1x0e+1x1o+1x2e", "2x0e+1x1o"], seed=0)
        >>> layer = Network("message[h y out]", message=core)
        >>> sender, receiver = np.array([1, 2, 0, 2]), np.array([0, 0, 1, 1])
        >>> h, y = np.ones((3, 5)), np.ones((4, 9))
        >>> messages = layer.contract(h=h[sender], y=y)
        >>> pooled = np.eye(3)[:, receiver] @ messages
        >>> pooled.shape
        (3, 5)
        """
        fed = self._fed(inputs)
        small = {name: core.unscaled() for name, core in self.cores.items()}
        nodes = [Operand(self.labels[name], core.to_dense()) for name, (core, _) in small.items()]
        result = contract([*nodes, *fed.values()], remaining(self.open, fed))
        what, power = "the largest entry of the result", sum(power for _, power in small.values())
        result = rescaled({"": result}, power, what)[""]
        if not is_finite(result):
            raise CoreError(f"{what} is beyond the range of {self.kind.dtype}: scale the inputs")
        return result

    def gradient(self, cotangent: Array, core: str, /, **inputs: Array) -> Core:
        """Derivative of ``sum(cotangent * contract(**inputs))`` by the reduced blocks of a core.

        The rest of the network is contracted, which is the derivative by the dense core, and
        projected on the blocks; nothing is recorded, so this works on NumPy as well.

        Parameters
        ----------
        cotangent : array, shaped as the result of :meth:`contract`
        core : str
            Name of the node.  A core that stands at several nodes has the sum of their gradients.
        **inputs : array
            As for :meth:`contract`.

        Returns
        -------
        Core
            With the legs of the core; its blocks are the derivatives by the blocks.

        Raises
        ------
        CoreError
            If there is no such core, or an array does not fit.

        Examples
        --------
        >>> import numpy as np
        >>> matrix = Core(["1o", "1o"], {tuple(Irreps("1o").unique * 2): np.array([[2.0]])})
        >>> scale = Network("scale[x y]", scale=matrix)
        >>> x = np.array([1.0, 2.0, 3.0])
        >>> scale.gradient(x, "scale", x=x).to_vector()
        array([14.])
        """
        if core not in self.cores:
            raise CoreError(f"expected one of the cores {listed(self.cores)}, got {core!r}")
        fed = self._fed(inputs)
        operands = [*self._nodes(without=core), *fed.values(), self._cotangent(cotangent, fed)]
        output, loops = open_trace(self.labels[core])
        # The two legs of a trace are joined by an identity, which is the derivative by them.
        operands += [Operand(pair, self.kind.eye(self.legs[pair[0]].dim)) for pair in loops]
        node = self.cores[core]
        return Core.trusted(node.legs, node.pull_back(contract(operands, output)), self.kind)

    def input_gradient(self, cotangent: Array, label: str, /, **inputs: Array) -> Array:
        """Derivative of ``sum(cotangent * contract(**inputs))`` by the values on a leg.

        With it gradients pass from layer to layer where the result of one network feeds another.

        Parameters
        ----------
        cotangent : array, shaped as the result of :meth:`contract`
        label : str
            A leg that is fed.
        **inputs : array
            As for :meth:`contract`.

        Returns
        -------
        array, shaped as the input

        Raises
        ------
        CoreError
            If the leg is not fed, or an array does not fit.
        """
        fed = self._fed(inputs)
        if label not in fed:
            raise CoreError(f"expected one of the legs fed, {listed(fed)}; got {label!r}")
        others = [operand for other, operand in fed.items() if other != label]
        operands = [*self._nodes(), *others, self._cotangent(cotangent, fed)]
        return contract(operands, fed[label].labels)

    def to_core(self) -> Core:
        """The contraction as one core, with the legs in the order of :attr:`open`.

        Raises
        ------
        CoreError
            If there is no open leg, or more than three are.
        """
        if not 1 <= len(self.open) <= 3:
            raise CoreError(
                f"a core has one to three legs, this network has {len(self.open)} open ones "
                f"({listed(self.open)}): use contract()"
            )
        return Core.from_dense(self.contract(), [self.legs[label] for label in self.open]).core

    def report(self, fed: str | Sequence[str] = (), *, samples: int | None = None) -> Cost:
        """What :meth:`contract` costs; nothing is contracted.

        Parameters
        ----------
        fed : str or sequence of str
            Open legs that get values, as ``"x1 x2"``.
        samples : int, optional
            Number of samples of the values; one vector on each leg if left out.

        Returns
        -------
        Cost
            Prints as a report; see its attributes for the numbers.

        Raises
        ------
        CoreError
            If a label is no open leg.

        Examples
        --------
        >>> core = Core.random(["2x0e+1x1o"] * 3, seed=0)
        >>> cost = Network("core[x y z]", core=core).report("x y", samples=1000)
        >>> cost.n_parameters, cost.n_dense
        (14, 125)
        >>> cost.flops, cost.largest_intermediate
        (275000, 25000)
        """
        fed = words(fed) if isinstance(fed, str) else tuple(fed)
        check_open(fed, self.open, self.legs)
        axes = () if samples is None else (SAMPLES,)
        inputs = [*self.labels.values(), *((*axes, label) for label in fed)]
        rest = tuple(label for label in self.open if label not in fed)
        sizes = {label: leg.dim for label, leg in self.legs.items()} | {SAMPLES: samples or 1}
        meanings = {label: f"{label} ({leg})" for label, leg in self.legs.items()}
        meanings[SAMPLES] = f"{samples} samples"
        return Cost(
            legend={letter: meanings[label] for label, letter in letters(inputs).items()},
            n_parameters=self.n_parameters,
            n_dense=sum(math.prod(leg.dim for leg in core.legs) for core in self.cores.values()),
            path=path_info(inputs, (*axes, *rest) if fed else rest, sizes),
        )

    def replace(self, name: str, core: Core) -> Network:
        """The network with another core at a node; the other cores are those of this network.

        Raises
        ------
        CoreError
            If there is no such node, or the core does not fit there.
        IrrepsError
            If its legs carry other irreps than those they meet.
        """
        if name not in self.cores:
            raise CoreError(f"expected one of the cores {listed(self.cores)}, got {name!r}")
        return Network(self.formula, **{**self.cores, name: core})

    def to(
        self, backend: str | None = None, *, dtype: str | None = None, device: str | None = None
    ) -> Network:
        """The same network in another library, precision or place; see :meth:`Core.to`."""
        cores = {n: c.to(backend, dtype=dtype, device=device) for n, c in self.cores.items()}
        return Network(self.formula, **cores)

    def wiring(self) -> Wiring:
        """Cores and labels, for drawings and other libraries; a trace is closed by an identity."""
        cores, labels = list(self.cores.values()), list(self.labels.values())
        for number in range(len(cores)):
            labels[number], loops = open_trace(labels[number])
            for pair in loops:
                leg = self.legs[pair[0]]
                blocks: dict[Path, Array] = {
                    (ir, ir): self.kind.eye(leg.count(ir)) for ir in leg.unique
                }
                cores.append(Core([leg, leg], blocks))
                labels.append(pair)
        return Wiring(cores, labels)

    def _nodes(self, *, without: str | None = None) -> list[Operand]:
        return [
            Operand(self.labels[name], core.to_dense())
            for name, core in self.cores.items()
            if name != without
        ]

    def _fed(self, inputs: Mapping[str, Array]) -> dict[str, Operand]:
        check_open(inputs, self.open, self.legs)
        return feed(inputs, self.legs, self.kind)

    def _cotangent(self, values: Array, fed: Mapping[str, Operand]) -> Operand:
        return feed_result(values, remaining(self.open, fed), fed, self.legs, self.kind)

    def __repr__(self) -> str:
        kind = "" if self.kind == Kind() else f", {self.kind}"
        return f"Network({self.formula}, {self.n_parameters} parameters{kind})"
