"""Terms in orbits: derivatives, symmetry of the result, errors, and wrong settings."""

import numpy as np
import pytest

from etn.errors import SettingsError
from etn.o3 import Irreps, irreps_d
from etn.product.fusion import fused_cg
from etn.product.point_groups import point_group
from etn.product.solve import alternate, decompose, random_start, symmetric_search
from etn.sweep import Schedule


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
    # One of the two starts is that of before, up to rounding.
    assert two.relative_error <= cp.relative_error * (1 + 1e-6)
    assert "group T" in cp.method


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
