"""Terms in orbits: derivatives, symmetry of the result, errors, and wrong settings."""

import numpy as np
import pytest

from etn.errors import SettingsError
from etn.o3 import Irreps, irreps_d
from etn.product.fusion import fused_cg
from etn.product.point_groups import axes, images, point_group
from etn.product.solve import alternate, decompose, random_start, symmetric_search
from etn.product.solve.levenberg_marquardt import gauss_newton, gradient, split
from etn.product.solve.mttkrp import residual
from etn.product.solve.orbits import orbits_of
from etn.sweep import Schedule

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


def permuted(factors, actions):
    """Whether D(g) on all legs gives the same rank-one terms in another order."""

    def terms(columns):
        return np.einsum("ir,jr,kr->rijk", *columns)

    one = terms(factors)
    two = terms([d @ f for d, f in zip(actions, factors, strict=True)])
    apart = np.linalg.norm((one[:, None] - two).reshape(len(one), len(one), -1), axis=2)
    nearest = apart.argmin(axis=1)
    assert apart.min(axis=1).max() < 1e-10
    return sorted(nearest) == list(range(len(one)))


@pytest.mark.parametrize(
    ("group", "cp_rank"), [("C2", 6), ("C3", 7), ("D2", 10), ("D3", 11), ("T", 22), ("O", 18)]
)
def test_every_element_permutes_the_terms(group, cp_rank):
    target = fused_cg(l_max=2)
    cp = symmetric_search(target, cp_rank, group=group, seed=1, max_steps=20)
    assert cp.cp_rank == cp_rank
    assert cp.relative_error < 0.97
    leg = Irreps("0e+1e+2e")
    for element in point_group(group):
        assert permuted(cp.factors, [irreps_d(leg, element)] * 3)
    # Nor is the symmetry that of any factors.
    with pytest.raises(AssertionError):
        permuted(random_start(target, cp_rank, seed=0).factors, [irreps_d(leg, element)] * 3)


def test_orbits_beat_sweeps_over_all_factors():
    target = fused_cg(l_max=3)
    swept = alternate(
        random_start(target, 48, seed=0), schedule=Schedule(max_sweeps=200, rel_tol=1e-6)
    )
    found = symmetric_search(target, 48, group="T", seed=0)
    assert found.relative_error < 0.95 * swept.relative_error


def test_rank_28_of_l_max_2_has_an_error_far_below_that_of_searches_without_symmetry():
    # Those end at 0.0106 and above, with columns nearly as long.
    found = symmetric_search(fused_cg(l_max=2), 28, group="D3", seed=0, max_factor=3.0)
    assert found.relative_error < 0.004


def test_decompose_releases_the_symmetry():
    target = fused_cg(l_max=2)
    symmetric = symmetric_search(target, 12, group="T", seed=3, max_factor=8.0)
    cp = decompose(target, 12, method="symmetric", group="T", starts=1, seed=3)
    assert cp.relative_error < symmetric.relative_error
    two = decompose(target, 12, method="symmetric", group="T", starts=2, seed=2)
    assert two.relative_error <= cp.relative_error
    assert "group T" in cp.method


def test_without_symmetry_the_derivatives_are_those_of_all_factors():
    target = TARGETS["three inputs"]
    cp, orbits = random_start(target, 5, seed=0), orbits_of(target, 5, "C1")
    error = residual(cp.factors, target.dense())
    assert np.allclose(orbits.gradient(cp.factors, error), gradient(cp.factors, error))
    assert np.allclose(orbits.gauss_newton(cp.factors), gauss_newton(cp.factors))


def test_orders_and_axes_of_point_groups():
    # Orders, and numbers of vertices, faces or edges, from any table of point groups.
    orbits = {"C5": [1], "D2": [2, 2, 2], "D3": [2, 3], "D4": [2, 4, 4], "T": [4, 6]}
    orbits |= {"O": [6, 8, 12], "I": [12, 20, 30]}
    orders = {"C5": 5, "D2": 4, "D3": 6, "D4": 8, "T": 12, "O": 24, "I": 60, "Ti": 24, "C3i": 6}
    for name, order in orders.items():
        group = point_group(name)
        assert group.shape == (order, 3, 3)
        products = (group[:, None] @ group).reshape(-1, 1, 9)
        assert np.abs(products - group.reshape(1, -1, 9)).max(axis=2).min(axis=1).max() < 1e-12
    for name, sizes in orbits.items():
        group = point_group(name)
        assert [len(images(group, axis)) for axis in axes(group)] == sizes


@pytest.mark.parametrize("name", ["", "C", "C0", "T2", "Q", "D3x", "Oh"])
def test_unknown_groups(name):
    with pytest.raises(SettingsError, match=r"group: expected C1 to C99, .* got"):
        decompose(fused_cg(l_max=1), 12, method="symmetric", group=name)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"cp_rank": 9, "group": "T"}, "orbits of T, which are 4, 6, 12, got 9"),
        ({"cp_rank": 12, "group": "Ti"}, "rotations only"),
        ({"cp_rank": 12}, "group: expected one with method symmetric"),
        ({"cp_rank": 12, "group": "T", "method": "als"}, "none without, got 'T'"),
        ({"tol": 1e-3, "group": "T"}, "cp_rank: method symmetric needs one"),
        ({"cp_rank": 12, "group": "T", "coefficients": "free"}, "symmetric keeps them fixed"),
        ({"cp_rank": 4, "group": "T", "starts": [random_start(fused_cg(1), 4, 0)]}, "number"),
    ],
)
def test_settings_that_do_not_fit(arguments, message):
    with pytest.raises(SettingsError, match=message):
        decompose(fused_cg(l_max=1), **{"method": "symmetric"} | arguments)


def test_too_many_unknowns():
    with pytest.raises(SettingsError, match=r"10098 unknowns .* take a larger group"):
        symmetric_search(fused_cg(l_max=2), 374, group="C1")
