"""The fused Clebsch-Gordan tensor against e3nn, sympy and its own definition."""

from __future__ import annotations

import numpy as np
import pytest

from etn.errors import IrrepsError, SettingsError
from etn.o3 import Irreps, clebsch_gordan, irreps_d, random_rotation
from etn.product import (
    FusedTensor,
    fused_cg,
)

L_MAX = range(1, 7)


@pytest.mark.parametrize("l_max", L_MAX)
def test_blocks_are_those_of_e3nn(l_max: int) -> None:
    """Every block is e3nn's wigner_3j with its output leg in front, and nothing else is there."""
    e3nn = pytest.importorskip("e3nn.o3")
    torch = pytest.importorskip("torch")
    dense = np.array(fused_cg(l_max).dense())
    for l1 in range(l_max + 1):
        for l2 in range(l_max + 1):
            for l3 in range(abs(l1 - l2), min(l1 + l2, l_max) + 1):
                parts = tuple(slice(l * l, (l + 1) ** 2) for l in (l3, l1, l2))
                expected = e3nn.wigner_3j(l1, l2, l3, dtype=torch.float64).numpy()
                assert np.abs(dense[parts] - expected.transpose(2, 0, 1)).max() <= 1e-12
                dense[parts] = 0.0
    assert not dense.any()


def test_non_zero_entries_are_the_published_ones() -> None:
    counts = [16, 137, 611, 2052, 5265, 11896]
    for l_max, count in zip(L_MAX, counts, strict=True):
        fused = fused_cg(l_max)
        sparse = fused.sparse()
        dense = np.zeros(fused.shape)
        dense[tuple(sparse.places)] = sparse.values
        assert sparse.values.shape == (count,)
        assert np.array_equal(dense, fused.dense())


def test_exact_tensor_squares_to_rational_numbers() -> None:
    """Entries are those of the float tensor, and sums of squares are exact."""
    sympy = pytest.importorskip("sympy")
    fused = fused_cg(2, parity="even")
    exact = fused.exact()
    flat = np.array([float(entry) for entry in sympy.flatten(exact)])
    assert np.abs(flat.reshape(fused.shape) - fused.dense()).max() < 1e-15
    assert sympy.simplify(sum(entry**2 for entry in sympy.flatten(exact))) == len(fused.paths)


@pytest.mark.parametrize("legs", [
    (("0e+1o+2e", "1o+1e"), "0o+1o+1e+2e"),
    (("0e+1o", "0e+1o", "1e+2e"), "0e+1o+1e"),
])  # fmt: skip
def test_tensor_is_invariant_under_rotations_and_inversion(
    legs: tuple[tuple[str, ...], str],
) -> None:
    fused = fused_cg(ins=legs[0], out=legs[1])
    rng = np.random.default_rng(0)
    for matrix in (random_rotation(rng), random_rotation(rng, reflect=True), -np.eye(3)):
        turned = fused.dense()
        for axis, leg in enumerate(fused.legs):
            turned = np.moveaxis(np.tensordot(irreps_d(leg, matrix), turned, (1, axis)), 0, axis)
        assert np.abs(turned - fused.dense()).max() < 1e-13


def test_projection_takes_out_what_is_not_invariant() -> None:
    rng = np.random.default_rng(0)
    fused = fused_cg(2).with_coefficients(rng.normal(size=15))
    noise = rng.normal(size=fused.shape)
    nearest = fused.with_coefficients(fused.project(noise))
    rest = noise - nearest.dense()
    assert np.allclose(fused.project(fused.dense()), fused.coefficients, atol=1e-14)
    assert np.abs(fused.project(rest)).max() < 1e-14
    assert np.isclose(np.linalg.norm(noise) ** 2, nearest.norm**2 + np.linalg.norm(rest) ** 2)


def test_coefficients_by_name_and_by_label() -> None:
    isometric = fused_cg(ins=["1o", "1o"], out="2e", coefficients="cg")
    assert np.allclose(isometric.dense(), clebsch_gordan(1, 1, 2).transpose(2, 0, 1), atol=1e-16)
    named = fused_cg(1, coefficients={"1e x 1e -> 1e": 3.0})
    assert named.coefficients.tolist() == [1.0, 1.0, 1.0, 1.0, 3.0]
    assert fused_cg(1).select([(1, 1, 1), (0, 0, 0)]).labels() == (
        "1e x 1e -> 1e",
        "0e x 0e -> 0e",
    )


def test_bad_input_says_what_was_expected() -> None:
    with pytest.raises(SettingsError, match="either l_max, or the irreps"):
        fused_cg()
    with pytest.raises(SettingsError, match="parity: expected none or even"):
        fused_cg(1, parity="odd")  # type: ignore[arg-type]
    with pytest.raises(IrrepsError, match="expected each irrep once, got 2x0e"):
        fused_cg(ins=["2x0e", "0e"])
    with pytest.raises(IrrepsError, match="there is no path"):
        fused_cg(ins=["1o", "1o"], out="1o")
    with pytest.raises(SettingsError, match="expected 5 finite numbers"):
        fused_cg(1, coefficients=[1.0, np.nan, 1.0, 1.0, 1.0])
    with pytest.raises(SettingsError, match="expected 3j, cg, numbers or a mapping"):
        fused_cg(1, coefficients="ones")  # type: ignore[arg-type]
    with pytest.raises(IrrepsError, match="expected a tensor of shape"):
        fused_cg(1).project(np.zeros((4, 4)))
    with pytest.raises(SettingsError, match="two inputs"):
        fused_cg(1, inputs=3).exact()
    with pytest.raises(IrrepsError, match="at least one input"):
        FusedTensor(Irreps("0e"), (), (), np.zeros(0))


def test_a_dense_tensor_beyond_memory_is_refused_before_it_is_made() -> None:
    with pytest.raises(SettingsError, match=r"it would take .* GB"):
        fused_cg(ins=["300e", "300e"], out="+".join(f"{l}e" for l in range(100))).dense()
