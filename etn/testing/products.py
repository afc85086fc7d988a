"""Laws of tensor products."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import numpy as np

from etn.backend import FloatArray as Array
from etn.backend import Kind, to_numpy
from etn.o3 import Irreps
from etn.o3.rotation import irreps_d
from etn.product import TensorProduct, change_layout
from etn.product.channel_coupling import filled
from etn.testing.suite import Laws, orthogonals

_SUMS = {
    "uvw": "kij,bui,bvj,buvw->bwk",
    "uvu": "kij,bui,bvj,buv->buk",
    "uvv": "kij,bui,bvj,buv->bvk",
    "uuw": "kij,bui,buj,buw->bwk",
    "uuu": "kij,bui,buj,bu->buk",
}


class ProductLaws(Laws):
    """What holds for every product, whatever its scheme.

    Subclass it in a test module, with a name that starts with Test, and provide
    :meth:`make_product`.

    Attributes
    ----------
    batch : int
        Entries of the random operands.
    error : float
        Allowed deviation from the exact product, relative to its norm; above zero for schemes
        that are not exact.

    Examples
    --------
    >>> class TestMyProduct(ProductLaws):
    ...     def make_product(self, **changes):
    ...         return TensorProduct("2x0e+2x1o", "0e+1o", mode="uvu", **changes)
    >>> TestMyProduct().check()
    """

    batch: int = 5
    error: float = 0.0

    def make_product(self, **changes: Any) -> TensorProduct:
        """The product, with options replaced by those given."""
        raise NotImplementedError

    def representation(self, leg: Irreps, matrix: Array) -> Array:
        """Matrix of a leg in layout ``mul_ir`` for an orthogonal matrix; spherical components."""
        return irreps_d(leg, matrix)

    def test_product_is_the_sum_over_paths_and_channels(self) -> None:
        """Every path in turn, as the definition of the mode says."""
        product = self.make_product()
        for rng in self.generators():
            x, y, w = self._operands(product, rng)
            self._near(product(x, y, w), _definition(product, x, y, w))

    def test_rotations_and_inversion_pass_through(self) -> None:
        """f(D1 x, D2 y) = D3 f(x, y)."""
        product = self.make_product(layout="mul_ir")
        for rng in self.generators():
            x, y, w = self._operands(product, rng)
            for matrix in orthogonals(rng):
                one, two, out = (self.representation(leg, matrix) for leg in _legs(product))
                self._near(product(x @ one.T, y @ two.T, w), product(x, y, w) @ out.T)

    def test_product_is_linear_in_each_operand_and_in_shared_weights(self) -> None:
        """f(a x + x', y) = a f(x, y) + f(x', y), and so for y."""
        product = self.make_product()
        for rng in self.generators():
            x, y, w = self._operands(product, rng)
            x2, y2, w2 = self._operands(product, rng)
            z, scale = product(x, y, w), 1.7
            self.close(product(scale * x + x2, y, w), scale * z + product(x2, y, w))
            self.close(product(x, scale * y + y2, w), scale * z + product(x, y2, w))
            if w is not None and w2 is not None and product.weights != "per_l":
                both = product(x, y, scale * w + w2)
                self.close(both, scale * z + product(x, y, w2))

    def test_layouts_hold_the_same_numbers(self) -> None:
        """The product of reordered operands is the reordered product."""
        product = self.make_product(layout="ir_mul")
        other = self.make_product(layout="mul_ir")
        for rng in self.generators():
            x, y, w = self._operands(product, rng)
            one, two = (
                change_layout(a, leg, "ir_mul", "mul_ir")
                for a, leg in zip((x, y), _legs(product), strict=False)
            )
            expected = change_layout(product(x, y, w), product.irreps_out, "ir_mul", "mul_ir")
            self.close(other(one, two, w), expected)

    def test_leading_axes_are_broadcast(self) -> None:
        """Operands of any leading shape, one set of weights for all, and no entries at all."""
        product = self.make_product()
        for rng in self.generators():
            x, y, w = self._operands(product, rng)
            wide = product(x[:, None], y[None], None if w is None else w[:, None])
            assert wide.shape == (self.batch, self.batch, product.irreps_out.dim)
            steps = range(self.batch)
            rows = [product(x, y[k], w) for k in steps]
            self.close(wide, np.stack(rows, axis=1))
            if w is not None:
                same = np.broadcast_to(w[0], w.shape)
                self.close(product(x, y, w[0]), product(x, y, same))
            empty = product(x[:0], y[:0], None if w is None else w[:0])
            assert empty.shape == (0, product.irreps_out.dim)

    def test_torch_and_single_precision_agree(self) -> None:
        """The same numbers from torch, and from float32 up to its precision."""
        product = self.make_product()
        kinds = [Kind(dtype="float32")]
        if find_spec("torch"):
            kinds += [Kind("torch", "float64"), Kind("torch", "float32")]
        for rng in self.generators():
            operands = self._operands(product, rng)
            expected = product(*operands)
            for kind in kinds:
                z = product(*(a if a is None else kind.array(a) for a in operands))
                assert str(z.dtype).endswith(kind.dtype)
                allowed = self.tolerance if kind.dtype == "float64" else self.single_tolerance
                self.close(to_numpy(z), expected, tolerance=allowed)

    def _near(self, got: Array, expected: Array) -> None:
        """Close, relative to the norm where the scheme has an error."""
        if self.error == 0.0:
            self.close(got, expected)
        else:
            distance = float(np.linalg.norm(got - expected))
            assert distance <= self.error * float(np.linalg.norm(expected))

    def _operands(
        self, product: TensorProduct, rng: np.random.Generator
    ) -> tuple[Array, Array, Array | None]:
        size = product.weight_numel
        return (
            rng.normal(size=(self.batch, product.irreps_in1.dim)),
            rng.normal(size=(self.batch, product.irreps_in2.dim)),
            rng.normal(size=(self.batch, size)) if size else None,
        )


def _legs(product: TensorProduct) -> tuple[Irreps, Irreps, Irreps]:
    """Legs whose terms are those of the coupling: without the empty ones."""
    return filled(product.irreps_in1), filled(product.irreps_in2), filled(product.irreps_out)


def _definition(product: TensorProduct, x: Array, y: Array, w: Array | None) -> Array:
    """The product by its formula, one path after another."""
    x, y = (
        change_layout(a, leg, product.layout, "mul_ir")
        for a, leg in zip((x, y), _legs(product), strict=False)
    )
    first, second, out = _legs(product)
    z = np.zeros((len(x), out.dim))
    blocks = {} if w is None else product.weight_plan.split(w)
    sums = _SUMS[product.mode]
    for n, (path, alpha) in enumerate(zip(product.fused.paths, product.coefficients, strict=True)):
        (i, j), k = path.ins, path.out
        one, two = x[:, first.slices()[i]], y[:, second.slices()[j]]
        one = one.reshape(len(x), first[i].mul, -1)
        two = two.reshape(len(x), second[j].mul, -1)
        sizes = {"u": first[i].mul, "v": second[j].mul, "w": out[k].mul}
        letters = sums.split("->")[0].split(",")[-1]
        plain = np.ones((len(x), *(sizes[c] for c in letters[1:])))
        weights = blocks.get(f"path {n}", blocks.get("channels", plain))
        scale = np.full(len(x), alpha)
        for name, term in (("in1", i), ("in2", j), ("out", k)):
            scale = scale * (blocks[name][:, term] if name in blocks else 1.0)
        part = np.einsum(sums, product.fused.path_tensor(path), one, two, weights)
        z[:, out.slices()[k]] += (scale[:, None, None] * part).reshape(len(x), -1)
    return change_layout(z, out, "mul_ir", product.layout)
