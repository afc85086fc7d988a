"""Terms in orbits: derivatives against finite differences."""

import numpy as np
import pytest

from etn.product.fusion import fused_cg
from etn.product.solve import random_start
from etn.product.solve.levenberg_marquardt import gauss_newton, gradient, split
from etn.product.solve.mttkrp import residual
from etn.product.solve.orbits import orbits_of

TARGETS = {
    "two inputs": fused_cg(l_max=1),
    "three inputs": fused_cg(ins=["0e+1e", "1e", "0e+1e"], out="0e+1e"),
    "unequal legs": fused_cg(ins=["0e+1o", "2e"], out="1o+2e", parity="none"),
}


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
@pytest.mark.parametrize(("group", "cp_rank"), [("C3", 7), ("D3", 11), ("T", 22)])
def test_gradient_and_gauss_newton_matrix_equal_finite_differences(target, group, cp_rank):
    orbits = orbits_of(target, cp_rank, group)
    rng = np.random.default_rng(0)
    shapes = [(dim, len(orbits.terms)) for dim in target.shape]
    factors = orbits.project([rng.standard_normal(shape) for shape in shapes])
    x, step = np.concatenate([f.ravel() for f in factors]), 1e-5
    weights = orbits.sizes / len(orbits.actions[0])

    def dense(y):
        # The sum over the whole group, term by term and without the code under test.
        total = np.zeros(target.shape)
        for elements in zip(*orbits.actions, strict=True):
            turned = [d @ part for d, part in zip(elements, split(y, factors), strict=True)]
            legs = "ijkl"[: len(turned)]
            terms = ",".join(f"{leg}r" for leg in legs)
            total += np.einsum(f"{terms},r->{legs}", *turned, weights)
        return total

    assert np.allclose(dense(x), residual(orbits.expand(factors), 0 * target.dense()), atol=1e-12)
    columns = [dense(x + step * unit) - dense(x - step * unit) for unit in np.eye(len(x))]
    J = np.stack([column.ravel() for column in columns], axis=1) / (2 * step)
    error = residual(orbits.expand(factors), target.dense())
    assert np.allclose(orbits.gradient(factors, error), J.T @ error.ravel(), atol=1e-7)
    assert np.allclose(orbits.gauss_newton(factors), J.T @ J, atol=1e-6)


def test_without_symmetry_the_derivatives_are_those_of_all_factors():
    target = TARGETS["three inputs"]
    cp, orbits = random_start(target, 5, seed=0), orbits_of(target, 5, "C1")
    error = residual(cp.factors, target.dense())
    assert np.allclose(orbits.gradient(cp.factors, error), gradient(cp.factors, error))
    assert np.allclose(orbits.gauss_newton(cp.factors), gauss_newton(cp.factors))
