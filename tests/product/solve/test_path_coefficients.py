"""Free path coefficients and scales, against finite differences and projections."""

import numpy as np
import pytest

from etn.errors import SettingsError
from etn.product.cp import CPTensor
from etn.product.fusion import fused_cg
from etn.product.solve import (
    alternate,
    fit_coefficients,
    levenberg,
    random_start,
    rescale,
)
from etn.product.solve.path_coefficients import path_slopes


def test_path_slopes_are_derivatives_of_projections(cp, jacobian):
    columns = jacobian.T.reshape(-1, *cp.target.shape)
    expected = np.stack([cp.target.project(column) for column in columns], axis=1)
    assert np.allclose(path_slopes(cp.target, cp.factors), expected, atol=1e-8)


def test_coefficients_are_fitted_by_projection_within_bounds():
    cp = random_start(fused_cg(l_max=2), 10, seed=0)
    free = cp.target.project(cp.dense())
    fitted = fit_coefficients(cp, lowest=0.25).target.coefficients
    assert np.allclose(fitted, np.clip(free, 0.25, 4.0), rtol=1e-12, atol=1e-14)
    assert set(fitted) & {0.25}
    with pytest.raises(SettingsError, match="lowest"):
        fit_coefficients(cp, lowest=0.0)


def test_fitted_coefficients_keep_signs_and_zeros():
    target = fused_cg(l_max=1)
    target = target.with_coefficients([-1.0, 0.0, 2.0, 1.0, 1.0])
    fitted = fit_coefficients(random_start(target, 4, seed=0)).target.coefficients
    assert fitted[0] <= -0.5
    assert fitted[1] == 0.0
    assert 1.0 <= fitted[2] <= 4.0


def test_rescaling_takes_separable_scales_off_and_keeps_exactness():
    target = fused_cg(l_max=1)
    exact = levenberg(alternate(random_start(target, 9, seed=0)))
    scales = [(1.0, 3.0), (2.0, 0.25), (1.0, 5.0)]
    rows = [np.repeat(s, [1, 3])[:, None] for s in scales]
    skewed = target.with_coefficients(
        [scales[0][p.out] * scales[1][p.ins[0]] * scales[2][p.ins[1]] for p in target.paths]
    )
    cp = CPTensor(skewed, tuple(f * r for f, r in zip(exact.factors, rows, strict=True)))
    assert cp.relative_error < 1e-14
    found = rescale(cp)
    assert np.allclose(found.target.coefficients, 1.0, atol=1e-12)
    assert found.relative_error < 1e-13
    assert np.allclose(found.target.project(found.dense()), 1.0, atol=1e-12)
