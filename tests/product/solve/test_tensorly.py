"""Errors against those of tensorly's alternating least squares."""

import numpy as np
import pytest

from etn.product.fusion import fused_cg
from etn.product.solve import decompose

decomposition = pytest.importorskip("tensorly.decomposition")


def relative_error(target, factors):
    dense = np.einsum("kr,ir,jr->kij", *factors)
    return float(np.linalg.norm(dense - target.dense())) / target.norm


@pytest.mark.parametrize(("l_max", "cp_rank"), [(1, 7), (2, 20)])
def test_a_search_is_at_least_as_good_as_that_of_tensorly(l_max, cp_rank):
    target = fused_cg(l_max)
    errors = []
    for seed in range(3):
        weights, factors = decomposition.parafac(
            np.array(target.dense()),
            cp_rank,
            n_iter_max=100,
            init="random",
            random_state=seed,
            tol=1e-7,
        )
        errors.append(relative_error(target, [factors[0] * weights, *factors[1:]]))
    ours = decompose(target, cp_rank, starts=2, seed=0)
    assert relative_error(target, ours.factors) <= min(errors)
