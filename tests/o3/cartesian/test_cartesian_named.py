from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest
import sympy

from etn.errors import IrrepsError
from etn.o3 import Irreps, random_rotation, spherical_harmonics
from etn.o3.cartesian.decomposition import decompose
from etn.o3.cartesian.named import (
    TENSORS,
    from_voigt,
    isotropic_elastic,
    physical,
    to_voigt,
    voigt_moduli,
)


def assert_close(actual: npt.ArrayLike, expected: npt.ArrayLike, tolerance: float) -> None:
    np.testing.assert_allclose(actual, expected, rtol=0, atol=tolerance)


# Independent components in a triclinic crystal (Nye), and the degrees in each tensor.
KNOWN = {
    "dipole": (3, "1o"),
    "quadrupole": (5, "2e"),
    "octupole": (7, "3o"),
    "polarizability": (6, "0e+2e"),
    "hyperpolarizability": (10, "1o+3o"),
    "second_hyperpolarizability": (15, "0e+2e+4e"),
    "born_charge": (9, "0e+1e+2e"),
    "shielding": (9, "0e+1e+2e"),
    "dielectric": (6, "0e+2e"),
    "gyration": (6, "0o+2o"),
    "magnetoelectric": (9, "0o+1o+2o"),
    "stress": (6, "0e+2e"),
    "strain": (6, "0e+2e"),
    "piezoelectric": (18, "2x1o+2o+3o"),
    "photoelastic": (36, "2x0e+1e+3x2e+3e+4e"),
    "elastic": (21, "2x0e+2x2e+4e"),
    "third_order_elastic": (56, "3x0e+3x2e+3e+2x4e+6e"),
}


def test_every_name_is_known() -> None:
    assert set(KNOWN) == set(TENSORS)


@pytest.mark.parametrize("name", KNOWN)
def test_irreps(name: str) -> None:
    components, irreps = KNOWN[name]
    found = physical(name)
    assert found.dim == components
    assert found.irreps == Irreps(irreps)


def test_unknown_name() -> None:
    with pytest.raises(IrrepsError, match=r"one of dipole, quadrupole.* got 'elasticity'"):
        physical("elasticity")


# Voigt's notation


def test_voigt_equals_ase(rng: np.random.Generator) -> None:
    stress = pytest.importorskip("ase.stress")
    for voigt in rng.normal(size=(3, 6)):
        tensor = from_voigt(voigt)
        assert np.array_equal(tensor, stress.voigt_6_to_full_3x3_stress(voigt))
        assert np.array_equal(to_voigt(tensor), stress.full_3x3_to_voigt_6_stress(tensor))
        tensor = from_voigt(voigt, engineering=True)
        # What ASE calls the full strain is the deformation, 1 + strain.
        deformation = stress.voigt_6_to_full_3x3_strain(voigt)
        assert_close(np.eye(3) + tensor, deformation, 1e-15)
        again = to_voigt(tensor, engineering=True)
        assert_close(again, stress.full_3x3_to_voigt_6_strain(deformation), 1e-14)


def test_elastic_matrix_acts_as_the_tensor(rng: np.random.Generator) -> None:
    C, strain = rng.normal(size=(4, 6, 6)), rng.normal(size=(4, 6))
    C = C + C.swapaxes(1, 2)
    tensor = from_voigt(C, pairs=2)
    assert tensor.shape == (4, 3, 3, 3, 3)
    assert physical("elastic").to_irreps(tensor).shape == (4, 21)
    stress = np.einsum("bijkl,bkl->bij", tensor, from_voigt(strain, engineering=True))
    assert_close(to_voigt(stress), np.einsum("bij,bj->bi", C, strain), 1e-13)


def test_compliance_is_the_inverse(rng: np.random.Generator) -> None:
    half = rng.normal(size=(6, 6))
    C = half @ half.T + np.eye(6)
    stiffness = from_voigt(C, pairs=2)
    compliance = from_voigt(np.linalg.inv(C), pairs=2, engineering=True)
    one = np.einsum("ij,kl->ikjl", np.eye(3), np.eye(3))
    one = (one + one.swapaxes(2, 3)) / 2
    assert_close(np.einsum("ijkl,klmn->ijmn", stiffness, compliance), one, 1e-12)
    assert_close(to_voigt(compliance, pairs=2, engineering=True), np.linalg.inv(C), 1e-15)


@pytest.mark.parametrize("engineering", [False, True])
@pytest.mark.parametrize("pairs", [1, 2])
def test_voigt_round_trip(pairs: int, engineering: bool, rng: np.random.Generator) -> None:
    torch = pytest.importorskip("torch")
    voigt = rng.normal(size=(2, 3, *(6,) * pairs))
    tensor = from_voigt(voigt, pairs, engineering=engineering)
    assert_close(to_voigt(tensor, pairs, engineering=engineering), voigt, 1e-15)
    values = torch.tensor(voigt, dtype=torch.float32, requires_grad=True)
    dense = from_voigt(values, pairs, engineering=engineering)
    assert_close(dense.detach(), tensor, 1e-6)
    again = to_voigt(dense, pairs, engineering=engineering)
    assert again.dtype == torch.float32
    (gradient,) = torch.autograd.grad(again.sum(), values)
    assert_close(gradient, np.ones_like(voigt), 1e-6)


def test_piezoelectric_tensor(rng: np.random.Generator) -> None:
    voigt = rng.normal(size=(3, 6))
    tensor = from_voigt(voigt)
    assert tensor[1, 0, 2] == voigt[1, 4]
    assert physical("piezoelectric").to_irreps(tensor).shape == (18,)


def test_voigt_refusals(rng: np.random.Generator) -> None:
    T = rng.normal(size=(3, 3, 3, 3))
    with pytest.raises(IrrepsError, match="expected axes -2 and -1 to be symmetric"):
        to_voigt(T, pairs=2)
    half = T + T.swapaxes(2, 3)
    with pytest.raises(IrrepsError, match="expected axes -4 and -3 to be symmetric"):
        to_voigt(half, pairs=2)
    assert to_voigt(T, pairs=2, check=False)[0, 3] == T[0, 0, 1, 2]
    with pytest.raises(IrrepsError, match=r"expected shape \(..., 3, 3, 3, 3\), got \(3, 3\)"):
        to_voigt(np.zeros((3, 3)), pairs=2)
    with pytest.raises(IrrepsError, match=r"expected shape \(..., 6, 6\), got \(6,\)"):
        from_voigt(np.zeros(6), pairs=2)
    with pytest.raises(IrrepsError, match="pairs: expected 1"):
        from_voigt(np.zeros((6, 6, 6)), pairs=3)


# Elasticity


def test_isotropic_elastic_tensor(rng: np.random.Generator) -> None:
    lame, shear = rng.uniform(1, 2, size=(2, 5))
    C = isotropic_elastic(lame, shear)
    components = physical("elastic").to_irreps(C)
    assert_close(components[:, 2:], 0, 1e-13)
    K, G = voigt_moduli(C)
    assert_close(K, lame + 2 * shear / 3, 1e-14)
    assert_close(G, shear, 1e-14)
    # The two isotropic projectors 1/3 dd and 1 - 1/3 dd have norms 1 and sqrt(5).
    assert_close((components**2).sum(1), 9 * K**2 + 20 * G**2, 1e-12)


def test_scalars_are_the_voigt_moduli(rng: np.random.Generator) -> None:
    elastic = physical("elastic")
    components = rng.normal(size=21)
    C = elastic.from_irreps(components)
    K, G = voigt_moduli(C)
    scalars = np.where(np.arange(21) < 2, components, 0.0)
    assert_close(elastic.from_irreps(scalars), isotropic_elastic(K - 2 * G / 3, G), 1e-14)


def test_moduli_of_copper() -> None:
    # C11, C12, C44 of copper in GPa, and the Voigt averages of a cubic crystal (Hill 1952).
    c11, c12, c44 = 168.4, 121.4, 75.4
    C = np.zeros((6, 6))
    C[:3, :3] = c12
    C[range(6), range(6)] = [c11] * 3 + [c44] * 3
    K, G = voigt_moduli(from_voigt(C, pairs=2))
    assert pytest.approx((c11 + 2 * c12) / 3) == K
    assert pytest.approx((c11 - c12 + 3 * c44) / 5) == G


def test_moduli_are_averages_over_orientations(rng: np.random.Generator) -> None:
    C = physical("elastic").from_irreps(rng.normal(size=21))
    R = random_rotation(rng)
    turned = np.einsum("ai,bj,ck,dl,ijkl->abcd", R, R, R, R, C)
    assert_close(voigt_moduli(turned), voigt_moduli(C), 1e-13)


def test_moduli_need_a_tensor() -> None:
    with pytest.raises(IrrepsError, match="from_voigt"):
        voigt_moduli(np.zeros((6, 6)))


# Multipoles


@pytest.mark.parametrize("l", range(1, 6))
def test_gradients_of_the_coulomb_potential(l: int) -> None:
    """The l-th derivatives of 1/r are (-1)^l l! T^l(r) / r^(l+1): one irrep, the harmonics."""
    symbols = sympy.symbols("x y z")
    r = np.array([0.7, -0.4, 1.1])
    length = float(np.linalg.norm(r))
    potential = 1 / sympy.sqrt(sum(s**2 for s in symbols))
    values = {}
    for a in range(l + 1):
        for b in range(l + 1 - a):
            exponents = (a, b, l - a - b)
            derivative = potential
            for symbol, times in zip(symbols, exponents, strict=True):
                derivative = sympy.diff(derivative, symbol, times) if times else derivative
            values[exponents] = float(derivative.evalf(30, dict(zip(symbols, r, strict=True))))
    tensor = np.empty((3,) * l)
    for place in np.ndindex(tensor.shape):
        tensor[place] = values[place.count(0), place.count(1), place.count(2)]
    letters = "abcdefgh"[:l]
    swaps = [letters[:k] + letters[k + 1] + letters[k] + letters[k + 2 :] for k in range(l - 1)]
    found = decompose("=".join([letters, *swaps]))
    components = found.to_irreps(tensor)
    scale = abs(components).max()
    assert_close(components[: -(2 * l + 1)] / scale, 0, 1e-10)
    Y = spherical_harmonics(l, r)[l * l :] * math.sqrt(4 * math.pi / (2 * l + 1))
    norm = math.sqrt(math.prod((2 * k - 1) / k for k in range(1, l + 1)))
    expected = (-1) ** l * math.factorial(l) / length ** (l + 1) * norm * Y
    assert_close(components[-(2 * l + 1) :] / scale, expected / scale, 1e-10)
    multipole = decompose("=".join([letters, *swaps]), keep=[(1, found.paths[-1].ir)])
    assert_close(multipole.to_irreps(tensor), components[-(2 * l + 1) :], 1e-12 * scale)
