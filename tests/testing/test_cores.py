"""The laws of cores: kept by cores, and each broken by a wrong operation."""

from __future__ import annotations

import numpy as np
import pytest

from etn.tensor import Core, Spectrum
from etn.testing import CoreLaws


class Laws(CoreLaws):
    seeds = (0,)

    def make_core(self, rng):
        return Core.random(["2x0e+1x1o", "3x0e+2x1o", "2x0e+2x1o"], seed=rng)


def other_blocks(core):
    """A core with one reduced entry changed."""
    vector = core.to_vector().copy()
    vector[0] += 1e-3
    return core.from_vector(vector)


def larger_spectrum(found):
    spectrum = Spectrum({ir: 1.001 * values for ir, values in found.spectrum.items()})
    return found._replace(spectrum=spectrum)


def longer_bond(found):
    return found._replace(bond={ir: 1.001 * m for ir, m in found.bond.items()})


def asymmetric_bond(found):
    bond = {ir: np.triu(m) + 0.9 * np.tril(m, -1) for ir, m in found.bond.items()}
    return found._replace(bond=bond)


HERE = "etn.testing.cores"
# For each law: what is broken, and how.
BREAKS = {
    "test_blocks_stand_in_c_order": ("etn.backend:Kind.c_order", "fortran"),
    "test_dense_core_is_the_sum_over_paths": ("etn.tensor:Core.to_dense", "tilted"),
    "test_norm_is_the_dense_norm": ("etn.tensor:Core.norm", "larger"),
    "test_dense_round_trip": (
        "etn.tensor:Core.from_dense",
        lambda found: found._replace(core=other_blocks(found.core)),
    ),
    "test_residual_is_the_part_that_is_not_equivariant": (
        "etn.tensor:Core.from_dense",
        lambda found: found._replace(residual=1.001 * found.residual),
    ),
    "test_vector_round_trip": ("etn.tensor:Core.from_vector", "rounded"),
    "test_rotations_and_inversion_leave_the_core_alone": ("etn.tensor:Core.to_dense", "tilted"),
    "test_qr_splits_off_every_leg": (f"{HERE}:qr", longer_bond),
    "test_polar_factors_are_an_isometry_and_a_positive_matrix": (
        f"{HERE}:polar",
        asymmetric_bond,
    ),
    "test_singular_values_are_those_of_the_dense_matrix": (
        f"{HERE}:svd",
        larger_spectrum,
    ),
    "test_the_discarded_norm_is_the_dense_error": (
        f"{HERE}:svd",
        lambda found: found._replace(discarded=1.001 * found.discarded + 1e-3),
    ),
    "test_isometry_error_is_that_of_the_dense_core": (
        f"{HERE}:isometry_error",
        lambda error: error + 1e-3,
    ),
    "test_a_gradient_is_pulled_back_to_the_blocks": (
        "etn.tensor:Core.pull_back",
        "larger",
    ),
    "test_numpy_and_torch_agree": (
        "etn.tensor:Core.to_vector",
        lambda found: found if isinstance(found, np.ndarray) else 1.001 * found,
    ),
}


def test_every_law_has_a_break(laws):
    assert laws(CoreLaws) == BREAKS.keys()


@pytest.mark.parametrize("law", BREAKS)
def test_right_cores_keep_the_law_and_wrong_ones_do_not(law, breaks):
    breaks(Laws, law, *BREAKS[law])
