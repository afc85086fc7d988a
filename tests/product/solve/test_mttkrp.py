"""Products with all factors but one, against explicit designs."""

import numpy as np

from etn.product.cp import khatri_rao
from etn.product.solve.mttkrp import gram, mttkrp


def test_mttkrp_and_gram_equal_the_explicit_design(cp):
    for site, factor in enumerate(cp.factors):
        design = khatri_rao([f for k, f in enumerate(cp.factors) if k != site])
        unfolded = np.moveaxis(cp.target.dense(), site, 0).reshape(len(factor), -1)
        assert np.allclose(mttkrp(cp.target.dense(), cp.factors, site), unfolded @ design)
        assert np.allclose(gram(cp.factors, without=[site]), design.T @ design)
