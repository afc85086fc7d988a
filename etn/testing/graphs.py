"""Laws of networks on any graph."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from etn.backend import FloatArray as Array
from etn.backend import to_numpy
from etn.network.files import load, save
from etn.network.graphs.network import Network
from etn.o3.rotation import irreps_d
from etn.tensor import Core
from etn.testing.suite import Laws, assert_c_order, orthogonals, steps


class NetworkLaws(Laws):
    """What holds for every network; keep them small, the open legs are left open.

    Subclass it in a test module, with a name that starts with Test, and provide
    :meth:`make_network`.

    Attributes
    ----------
    n_samples : int
        Number of vectors on each leg that is fed.

    Examples
    --------
    >>> class TestMyRings(NetworkLaws):
    ...     def make_network(self, rng):
    ...         one, two = (Core.random(["2x0e+1x1o"] * 3, seed=rng) for _ in range(2))
    ...         return Network("one[a x b] two[b y a]", one=one, two=two)
    >>> TestMyRings().check()
    """

    n_samples: int = 3

    def make_network(self, rng: np.random.Generator) -> Network:
        """A network, drawn at random."""
        raise NotImplementedError

    def _networks(self) -> Iterator[tuple[Network, np.random.Generator]]:
        for rng in self.generators():
            yield self.make_network(rng), rng

    def _fed(self) -> Iterator[tuple[Network, dict[str, Array], np.random.Generator]]:
        """Every network with samples on none, on some and on all of its open legs."""
        for network, rng in self._networks():
            for n in sorted({0, (len(network.open) + 1) // 2, len(network.open)}):
                labels = sorted(rng.permutation(network.open)[:n].tolist())
                shapes = {label: (self.n_samples, network.legs[label].dim) for label in labels}
                yield network, {at: rng.normal(size=shape) for at, shape in shapes.items()}, rng

    def test_contraction_is_an_einsum_over_dense_cores(self) -> None:
        """One sum over all labels, and over no sample."""
        for network, inputs, _ in self._fed():
            index = {label: n for n, label in enumerate(network.legs, start=1)}
            operands: list[object] = []
            for name, core in network.cores.items():
                operands += [to_numpy(core.to_dense()), [index[i] for i in network.labels[name]]]
            for label, values in inputs.items():
                operands += [values, [0, index[label]]]
            out = [0] * bool(inputs) + [index[i] for i in network.open if i not in inputs]
            expected = np.einsum(*operands, out, optimize="greedy")  # type: ignore[call-overload]
            self.close(_contract(network, inputs), expected, scale=self._scale(network, inputs))

    def test_feeding_is_contracting_afterwards(self) -> None:
        """Samples on a leg, or one vector, contracted with the tensor of the open legs."""
        for network, inputs, _ in self._fed():
            whole, scale = _contract(network, {}), self._scale(network, inputs)
            rows = []
            for sample in range(self.n_samples):
                one = {label: values[sample] for label, values in inputs.items()}
                row = whole
                # From the last leg on, so that the axes before it keep their places.
                for axis in range(len(network.open) - 1, -1, -1):
                    if network.open[axis] in one:
                        row = np.tensordot(row, one[network.open[axis]], (axis, 0))
                self.close(_contract(network, one), row, scale=scale)
                rows.append(row)
            expected = np.stack(rows) if inputs else whole
            self.close(_contract(network, inputs), expected, scale=scale)

    def test_rotating_the_inputs_rotates_the_result(self) -> None:
        """For proper and improper rotations, and for the inversion."""
        for network, inputs, rng in self._fed():
            before, scale = _contract(network, inputs), self._scale(network, inputs)
            rest = [label for label in network.open if label not in inputs]
            for R in orthogonals(rng):
                turned = {at: x @ irreps_d(network.legs[at], R).T for at, x in inputs.items()}
                expected = before
                for axis, label in enumerate(rest, start=bool(inputs)):
                    D = irreps_d(network.legs[label], R)
                    expected = np.moveaxis(np.tensordot(D, expected, (1, axis)), 0, axis)
                self.close(_contract(network, turned), expected, scale=scale)

    def test_the_order_of_the_cores_changes_nothing(self) -> None:
        """Nor does the order of the nodes change what is open, once the arrow states it."""
        for network, inputs, rng in self._fed():
            names = rng.permutation(list(network.cores)).tolist()
            nodes = (f"{name}[{' '.join(network.labels[name])}]" for name in names)
            other = Network(f"{' '.join(nodes)} -> {' '.join(network.open)}", **network.cores)
            scale = self._scale(network, inputs)
            self.close(_contract(other, inputs), _contract(network, inputs), scale=scale)

    def test_gradients_are_adjoint_to_contraction(self) -> None:
        """<gradient, a> = <cotangent, network with a at the node>, as it is linear in each."""
        for network, inputs, rng in self._fed():
            cotangent = rng.normal(size=_contract(network, inputs).shape)
            scale = self._scale(network, inputs) * float(np.linalg.norm(cotangent))
            for name, core in network.cores.items():
                direction = _random_like(core, rng)
                there = _contract(network.replace(name, direction), inputs)
                gradient = _gradient(network, cotangent, name, inputs)
                assert gradient.legs == core.legs
                unit = scale * direction.norm() / max(core.norm(), 1e-300)
                self.close(_vdot(gradient, direction), np.vdot(cotangent, there), scale=unit)

    def test_gradients_are_finite_differences(self) -> None:
        """Of sum(sin(contract)), along a direction of each core; to 1e6 tolerances, in float64."""
        for network, inputs, rng in self._fed():
            cotangent = np.cos(_contract(network, inputs))
            for name, core in network.cores.items():
                direction, step = _random_like(core, rng), 1e-4
                size = np.linalg.norm(_contract(network.replace(name, direction), inputs))
                # With a change of unit norm the difference is off by at most step^2 / 6.
                direction = direction.scale(1.0 / max(float(size), 1e-3))
                ends = (
                    np.sin(_contract(network.replace(name, _moved(core, direction, h)), inputs))
                    for h in (step, -step)
                )
                slope = np.subtract(*(end.sum() for end in ends)) / (2 * step)
                got = _vdot(_gradient(network, cotangent, name, inputs), direction)
                self.close(got, slope, scale=1.0, tolerance=1e6 * self.tolerance)

    def test_input_gradients_are_adjoint_to_contraction(self) -> None:
        """<gradient, v> = <cotangent, network fed with v on the leg>."""
        for network, inputs, rng in self._fed():
            cotangent = rng.normal(size=_contract(network, inputs).shape)
            kind = network.kind
            arrays = {label: kind.array(values) for label, values in inputs.items()}
            for label, values in inputs.items():
                gradient = network.input_gradient(kind.array(cotangent), label, **arrays)
                other = rng.normal(size=values.shape)
                there = _contract(network, {**inputs, label: other})
                scale = self._scale(network, {**inputs, label: other})
                scale *= float(np.linalg.norm(cotangent))
                got = np.vdot(to_numpy(gradient), other)
                self.close(got, np.vdot(cotangent, there), scale=scale)

    def test_up_to_three_open_legs_are_a_core(self) -> None:
        """The contraction is equivariant: its projection leaves nothing out."""
        for network, _ in self._networks():
            if 1 <= len(network.open) <= 3:
                dense = network.contract()
                legs = [network.legs[label] for label in network.open]
                scale = self._scale(network, {})
                self.close(Core.from_dense(dense, legs).residual, 0.0, scale=scale)
                self.close(network.to_core().to_dense(), dense, scale=scale)

    def test_blocks_stand_in_c_order(self) -> None:
        """In gradients too, and the same before the network is saved as once it is loaded."""
        for network, inputs, rng in self._fed():
            cotangent = rng.normal(size=_contract(network, inputs).shape)
            for name, core in network.cores.items():
                assert_c_order(core, _gradient(network, cotangent, name, inputs))
        for network, _ in self._networks():
            assert_c_order(*network.wiring().cores)
            with tempfile.TemporaryDirectory() as folder:
                save(network, Path(folder) / "network.etn")
                again = load(Path(folder) / "network.etn")
            assert isinstance(again, Network)
            for name, core in network.cores.items():
                assert steps(again.cores[name]) == steps(core)

    def test_the_wiring_is_the_same_network(self) -> None:
        """Same open legs, same tensor."""
        for network, _ in self._networks():
            dense = network.wiring().dense(network.open)
            self.close(dense, network.contract(), scale=self._scale(network, {}))

    def _scale(self, network: Network, inputs: dict[str, Array]) -> float:
        """Bound on the entries of the result: the product of all norms."""
        norms = [core.norm() for core in network.cores.values()]
        norms += [float(np.linalg.norm(values)) for values in inputs.values()]
        return float(np.prod(norms)) + 1e-300


def _contract(network: Network, inputs: dict[str, Array]) -> Array:
    arrays = {label: network.kind.array(values) for label, values in inputs.items()}
    return to_numpy(network.contract(**arrays))


def _gradient(network: Network, cotangent: Array, name: str, inputs: dict[str, Array]) -> Core:
    arrays = {label: network.kind.array(values) for label, values in inputs.items()}
    return network.gradient(network.kind.array(cotangent), name, **arrays)


def _random_like(core: Core, rng: np.random.Generator) -> Core:
    return core.from_vector(core.kind.array(rng.normal(size=core.n_parameters)))


def _moved(core: Core, direction: Core, step: float) -> Core:
    return core.from_vector(core.to_vector() + step * direction.to_vector())


def _vdot(one: Core, two: Core) -> float:
    return float(np.vdot(to_numpy(one.to_vector()), to_numpy(two.to_vector())))
