"""Certificates: closed forms against samples, bounds against what samples and maximization find."""

from __future__ import annotations

import math

import numpy as np
import pytest

from etn.errors import SettingsError
from etn.o3 import Irreps, irreps_d, random_rotation
from etn.product.analytic import analytic_decomposition
from etn.product.certificate import certify
from etn.product.cp import CPTensor
from etn.product.fusion import fused_cg

N_SAMPLES = 3000


def random_cp(target, cp_rank, rng):
    return CPTensor(target, tuple(rng.normal(size=(dim, cp_rank)) for dim in target.shape))


def perturbed(l_max, size, rng, parity="none"):
    cp = analytic_decomposition(l_max, parity)
    noise = (size * rng.normal(size=factor.shape) for factor in cp.factors)
    return CPTensor(cp.target, tuple(f + n for f, n in zip(cp.factors, noise, strict=True)))


def alternating(target, cp_rank, rng, sweeps=30):
    """A short ALS of its own: the residue of a fit is not that of noise."""
    factors = list(random_cp(target, cp_rank, rng).factors)
    for _ in range(sweeps):
        for site in range(3):
            a, b = (factors[n] for n in range(3) if n != site)
            design = np.einsum("ir,jr->ijr", a, b).reshape(-1, cp_rank)
            right = np.moveaxis(target.dense(), site, -1).reshape(len(design), -1)
            factors[site] = np.linalg.lstsq(design, right)[0].T
    return CPTensor(target, tuple(factors))


def sampled_errors(cp, rng, *, improper, normalize):
    """Norms of eps(R, x, ...) and of the target's output, for random R and normal inputs."""
    R = np.array([random_rotation(rng) for _ in range(N_SAMPLES)])
    if improper:
        R *= rng.choice([-1.0, 1.0], size=(N_SAMPLES, 1, 1))
    inputs = [rng.normal(size=(N_SAMPLES, leg.dim)) for leg in cp.target.ins]
    if normalize:
        inputs = [x / np.linalg.norm(x, axis=1, keepdims=True) for x in inputs]
    turned = [
        np.einsum("nij,nj->ni", irreps_d(leg, R), x)
        for leg, x in zip(cp.target.ins, inputs, strict=True)
    ]
    after = np.einsum("nij,nj->ni", irreps_d(cp.target.out, R), cp(*inputs))
    return np.linalg.norm(cp(*turned) - after, axis=1)


CASES = {
    "fit of low rank": lambda rng: alternating(fused_cg(2), 20, rng),
    "random factors": lambda rng: random_cp(fused_cg(2), 9, rng),
    "noise on an exact one": lambda rng: perturbed(2, 0.01, rng),
    "with inversion": lambda rng: perturbed(2, 0.01, rng, "even"),
    "three inputs": lambda rng: random_cp(
        fused_cg(ins=["0e+1o", "1o", "0e+2e"], out="0e+1o+2e"), 7, rng
    ),
    "one input": lambda rng: random_cp(fused_cg(ins=["0e+1o+2e"], out="0e+1o+2e"), 5, rng),
}


@pytest.mark.parametrize("case", CASES)
def test_mean_error_is_that_of_samples(case, rng):
    cp = CASES[case](rng)
    certificate = certify(cp)
    errors = sampled_errors(cp, rng, improper=True, normalize=False)
    rms = math.sqrt((errors**2).mean()) / cp.target.norm
    assert certificate.violation > 1e-3
    assert rms == pytest.approx(certificate.mean_error, rel=0.05)


@pytest.mark.parametrize("case", CASES)
def test_no_sample_exceeds_the_bound(case, rng):
    cp = CASES[case](rng)
    errors = sampled_errors(cp, rng, improper=True, normalize=True)
    bound = certify(cp).sup_error
    assert errors.max() <= bound
    assert errors.max() > bound / 20


def test_proper_rotations_suffice_where_all_irreps_are_even(rng):
    cp = perturbed(2, 0.02, rng)
    errors = sampled_errors(cp, rng, improper=False, normalize=False)
    rms = math.sqrt((errors**2).mean()) / cp.target.norm
    assert rms == pytest.approx(certify(cp).mean_error, rel=0.05)


def test_left_out_paths_make_the_mean_an_upper_bound(rng):
    """What lies on a path that was left out counts as violation, and turns as it should."""
    whole = analytic_decomposition(2)
    target = whole.target
    part = type(target)(target.out, target.ins, target.paths[:9], target.coefficients[:9])
    cp = CPTensor(part, whole.factors)
    errors = sampled_errors(cp, rng, improper=False, normalize=False)
    assert errors.max() < 1e-12
    assert certify(cp).mean_error > 0.1


# The tail over the norm of the target, from an independent run of the higher-order SVD.
@pytest.mark.parametrize(("l_max", "tail"), [(1, 1.34), (2, 1.27), (3, 1.46), (4, 1.49)])
def test_theorem_is_vacuous_at_its_own_rank(l_max, tail, rng):
    target = fused_cg(l_max)
    certificate = certify(random_cp(target, 7 * l_max**2, rng).canonicalize(0))
    assert certificate.theorem_bound / (2 * target.norm) == pytest.approx(tail, abs=0.006)
    exact = analytic_decomposition(l_max)
    assert certificate.theorem_bound > certify(exact).trivial_bound


def test_theorem_takes_the_integer_cube_root(rng):
    target = fused_cg(2)
    bounds = [certify(random_cp(target, rank, rng)).theorem_bound for rank in (26, 27, 28, 729)]
    assert bounds[0] > bounds[1] * (1 + 1e-3)
    assert bounds[1] == pytest.approx(bounds[2], rel=1e-12)
    assert bounds[3] == pytest.approx(0.0, abs=1e-12)


def test_coefficients_are_projections_on_the_couplings_of_e3nn(rng):
    o3 = pytest.importorskip("e3nn.o3")
    torch = pytest.importorskip("torch")
    target = fused_cg(2)
    cp = random_cp(target, 6, rng)
    dense = cp.dense()
    starts = [0, 1, 4, 9]
    for path, found in zip(target.paths, certify(cp).coefficients, strict=True):
        (one, two), to = path.ins, path.out
        W = o3.wigner_3j(one, two, to, dtype=torch.float64).numpy()
        block = dense[
            starts[to] : starts[to + 1],
            starts[one] : starts[one + 1],
            starts[two] : starts[two + 1],
        ]
        assert found == pytest.approx(np.einsum("ijk,kij->", W, block), abs=1e-12)


def test_exact_decomposition():
    certificate = analytic_decomposition(3).certificate()
    assert certificate.is_exact
    assert certificate.is_equivariant
    assert certificate.violation <= certificate.relative_error * (1 + 1e-9)
    assert certificate.sup_error < 1e-13
    assert certificate.coefficients == pytest.approx(analytic_decomposition(3).target.coefficients)


def test_equivariant_is_not_exact():
    cp = analytic_decomposition(2)
    other = CPTensor(fused_cg(2), cp.factors)
    certificate = certify(other)
    assert certificate.is_equivariant
    assert not certificate.is_exact
    assert "equivariant" in str(certificate)


def test_violation_and_error_are_orthogonal_parts(rng):
    cp = perturbed(2, 0.05, rng)
    certificate = certify(cp)
    along = np.linalg.norm(certificate.coefficients - cp.target.coefficients) / cp.target.norm
    assert certificate.relative_error**2 == pytest.approx(along**2 + certificate.violation**2)
    assert certificate.relative_error == pytest.approx(cp.relative_error)


def test_condition_shows_cancellation():
    target = fused_cg(0)
    one = np.ones((1, 1))
    assert certify(CPTensor(target, (one, one, one))).condition == pytest.approx(1.0)
    cancelling = CPTensor(target, (np.array([[1e3, 1 - 1e3]]), np.ones((1, 2)), np.ones((1, 2))))
    assert certify(cancelling).condition == pytest.approx(1999.0)
    assert certify(cancelling).largest_factor == pytest.approx(10.0)


def test_table_and_repr():
    cp = analytic_decomposition(1)
    certificate = cp.certificate()
    lines = str(certificate).splitlines()
    assert lines[0] == str(Irreps("0e+1e")).join(["FusedTensor(", " x ", " -> ", ", 5 paths)"])
    assert lines[1].split() == ["cp_rank", "14", "exact"]
    assert "vacuous" in str(certificate)
    assert max(map(len, lines)) <= 80
    assert "\n" not in repr(certificate)
    assert repr(cp).startswith("CPTensor(cp_rank 14")


def test_zero_target_has_no_certificate():
    target = fused_cg(0, coefficients=[0.0])
    with pytest.raises(SettingsError, match="every path coefficient of the target is 0"):
        CPTensor(target, (np.ones((1, 1)),) * 3).certificate()
