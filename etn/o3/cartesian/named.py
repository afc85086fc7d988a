r"""Tensors of physics by name, and Voigt's notation.

Notes
-----
Voigt numbers the pairs of a symmetric index pair xx, yy, zz, yz, xz, xy.  Stress, elastic and
piezoelectric tensors are copied into that order; strain and compliance come with a factor 2 for
every shear pair, so that sigma_a = sum_b C_ab eps_b holds in both notations.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from etn.backend import Array, as_block, like, to_numpy
from etn.errors import IrrepsError
from etn.o3.cartesian.decomposition import CartesianDecomposition, decompose


class TensorKind(NamedTuple):
    """Index symmetries of a physical tensor; arguments of :func:`etn.o3.cartesian.decompose`."""

    formula: str
    pseudo: bool = False
    keep: str | None = None


TENSORS: Mapping[str, TensorKind] = MappingProxyType(
    {
        "dipole": TensorKind("i"),
        "quadrupole": TensorKind("ij=ji", keep="2e"),
        "octupole": TensorKind("ijk=jik=jki", keep="3o"),
        "polarizability": TensorKind("ij=ji"),
        "hyperpolarizability": TensorKind("ijk=jik=jki"),
        "second_hyperpolarizability": TensorKind("ijkl=jikl=jkli"),
        "born_charge": TensorKind("ij"),
        "shielding": TensorKind("ij"),
        "dielectric": TensorKind("ij=ji"),
        "gyration": TensorKind("ij=ji", pseudo=True),
        "magnetoelectric": TensorKind("ij", pseudo=True),
        "stress": TensorKind("ij=ji"),
        "strain": TensorKind("ij=ji"),
        "piezoelectric": TensorKind("ijk=ikj"),
        "photoelastic": TensorKind("ijkl=jikl=ijlk"),
        "elastic": TensorKind("ijkl=jikl=klij"),
        "third_order_elastic": TensorKind("ijklmn=jiklmn=klijmn=mnklij"),
    }
)
"""Index symmetries by name.

Static (hyper)polarizabilities are symmetric in all indices (Kleinman).  Multipoles are traceless.
The first index of the piezoelectric tensor is that of the field, and the last two are the strain's.
"""


@cache
def physical(name: str) -> CartesianDecomposition:
    """Return the decomposition of a tensor of physics.

    Parameters
    ----------
    name
        A key of :data:`TENSORS`.

    Returns
    -------
    CartesianDecomposition

    Raises
    ------
    IrrepsError
        There is no such name.

    Notes
    -----
    Source of the symmetries: Nye, Physical Properties of Crystals (1957).

    Examples
    --------
    >>> physical("elastic").irreps
    2x0e+2x2e+1x4e
    >>> physical("piezoelectric").irreps
    2x1o+1x2o+1x3o
    >>> physical("gyration").irreps
    1x0o+1x2o
    """
    if name not in TENSORS:
        raise IrrepsError(
            f"physical tensor: expected one of {', '.join(TENSORS)}, got {name!r}; decompose() "
            "takes any index symmetry"
        )
    kind = TENSORS[name]
    return decompose(kind.formula, pseudo=kind.pseudo, keep=kind.keep)


# Voigt's pairs, and the number of each pair of indices.
_FIRST, _SECOND = [0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]
_NUMBER = np.array([[0, 5, 4], [5, 1, 3], [4, 3, 2]])
_SHEAR = np.array([1.0, 1.0, 1.0, 2.0, 2.0, 2.0])
_SHEAR.setflags(write=False)


def _check_pairs(pairs: int) -> None:
    if pairs not in (1, 2):
        raise IrrepsError(f"pairs: expected 1 (6 numbers) or 2 (6 x 6), got {pairs!r}")


def to_voigt(
    tensor: Array,
    pairs: int = 1,
    *,
    engineering: bool = False,
    check: bool = True,
    tolerance: float = 1e-6,
) -> Array:
    """Write symmetric index pairs as one index xx, yy, zz, yz, xz, xy each.

    Parameters
    ----------
    tensor
        Shape (..., 3, 3) for one pair (stress; piezoelectric with a leading 3), (..., 3, 3, 3, 3)
        for two (elastic); NumPy or torch.
    pairs
        Number of pairs, the last axes of the tensor.
    engineering
        Double the shear components, once for every pair: strain, compliance.
    check
        Refuse a tensor that is not symmetric inside the pairs.  Unchecked, the components yz, xz
        and xy are taken as they are.
    tolerance
        Largest asymmetry, relative to the largest component.

    Returns
    -------
    array, shape (..., 6) or (..., 6, 6)

    Raises
    ------
    IrrepsError
        Another shape or number of pairs, or an asymmetric tensor.

    Examples
    --------
    >>> to_voigt([[1.0, 6.0, 5.0], [6.0, 2.0, 4.0], [5.0, 4.0, 3.0]])
    array([1., 2., 3., 4., 5., 6.])
    >>> to_voigt(isotropic_elastic(1.0, 2.0), pairs=2)[0]
    array([5., 1., 1., 0., 0., 0.])
    """
    tensor = as_block(tensor, "tensor")
    _check_pairs(pairs)
    if tensor.ndim < 2 * pairs or tuple(tensor.shape[-2 * pairs :]) != (3,) * 2 * pairs:
        wanted = ", ".join(["3"] * 2 * pairs)
        raise IrrepsError(f"tensor: expected shape (..., {wanted}), got {tuple(tensor.shape)}")
    for pair in range(pairs if check else 0):
        values = to_numpy(tensor)
        axes = (-2 * pair - 1, -2 * pair - 2)
        residual = abs(values - np.swapaxes(values, *axes)).max(initial=0.0)
        scale = abs(values).max(initial=0.0)
        if not residual <= tolerance * scale:  # also true of NaN
            raise IrrepsError(
                f"tensor: expected axes {axes[1]} and {axes[0]} to be symmetric, got a difference "
                f"of {residual:.2e} with components up to {scale:.2e} (relative tolerance "
                f"{tolerance:.0e}); symmetrize it, or pass check=False"
            )
    if pairs == 1:
        found = tensor[..., _FIRST, _SECOND]
    else:
        rows = [[i] * 6 for i in _FIRST], [[j] * 6 for j in _SECOND]
        found = tensor[..., rows[0], rows[1], [_FIRST] * 6, [_SECOND] * 6]
    return found * like(_factors(pairs), found) if engineering else found


def from_voigt(voigt: Array, pairs: int = 1, *, engineering: bool = False) -> Array:
    """Return the tensor with index pairs from Voigt's notation: the inverse of :func:`to_voigt`.

    Parameters
    ----------
    voigt
        Shape (..., 6) for one pair, (..., 6, 6) for two; NumPy or torch.
    pairs
        Number of pairs.
    engineering
        Whether shear components are doubled, once for every pair: strain, compliance.

    Returns
    -------
    array, shape (..., 3, 3) or (..., 3, 3, 3, 3)

    Raises
    ------
    IrrepsError
        Another shape or number of pairs.

    Examples
    --------
    >>> from_voigt([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    array([[1., 6., 5.],
           [6., 2., 4.],
           [5., 4., 3.]])
    """
    voigt = as_block(voigt, "voigt")
    _check_pairs(pairs)
    if voigt.ndim < pairs or tuple(voigt.shape[-pairs:]) != (6,) * pairs:
        wanted = ", ".join(["6"] * pairs)
        raise IrrepsError(f"voigt: expected shape (..., {wanted}), got {tuple(voigt.shape)}")
    if engineering:
        voigt = voigt / like(_factors(pairs), voigt)
    if pairs == 1:
        return voigt[..., _NUMBER.tolist()]
    return voigt[..., _NUMBER[:, :, None, None].tolist(), _NUMBER.tolist()]


@cache
def _factors(pairs: int) -> npt.NDArray[np.float64]:
    factors = _SHEAR if pairs == 1 else np.outer(_SHEAR, _SHEAR)
    factors.setflags(write=False)
    return factors


def isotropic_elastic(lame: npt.ArrayLike, shear: npt.ArrayLike) -> npt.NDArray[np.float64]:
    r"""Return the elastic tensor of an isotropic body.

    .. math:: C_{ijkl} = \lambda\, \delta_{ij} \delta_{kl}
        + \mu\, (\delta_{ik} \delta_{jl} + \delta_{il} \delta_{jk})

    Parameters
    ----------
    lame
        Lamé's first parameter lambda, shape (...,).
    shear
        Shear modulus mu, shape (...,).

    Returns
    -------
    ndarray of float64, shape (..., 3, 3, 3, 3)

    Raises
    ------
    CoreError
        Numbers that are not real.

    Examples
    --------
    >>> C = isotropic_elastic(2.0, 0.5)
    >>> float(C[0, 0, 0, 0]), float(C[0, 0, 1, 1]), float(C[0, 1, 0, 1])
    (3.0, 2.0, 0.5)
    """
    one = np.eye(3)
    volume = np.einsum("ij,kl->ijkl", one, one)
    shape = np.einsum("ik,jl->ijkl", one, one) + np.einsum("il,jk->ijkl", one, one)
    first, second = (
        to_numpy(as_block(values, name)).astype(np.float64)[..., None, None, None, None]
        for name, values in (("lame", lame), ("shear", shear))
    )
    return first * volume + second * shape


class Moduli(NamedTuple):
    """Elastic moduli in the unit of the elastic tensor, shape (...,) each."""

    bulk: Array
    shear: Array


def voigt_moduli(elastic: Array) -> Moduli:
    r"""Return Voigt's averages of an elastic tensor over all orientations.

    .. math:: K = \tfrac19 C_{iijj}, \qquad
        G = \tfrac1{30} (3\, C_{ijij} - C_{iijj})

    They are the content of the two scalars of the tensor: its isotropic part is
    ``isotropic_elastic(K - 2 G / 3, G)``.

    Parameters
    ----------
    elastic
        Shape (..., 3, 3, 3, 3); NumPy or torch.

    Returns
    -------
    Moduli

    Raises
    ------
    IrrepsError
        Another shape.

    Notes
    -----
    Source: Hill, Proc. Phys. Soc. A 65, 349 (1952).

    Examples
    --------
    >>> K, G = voigt_moduli(isotropic_elastic(2.0, 0.5))
    >>> round(float(K), 12), round(float(G), 12)
    (2.333333333333, 0.5)
    """
    elastic = as_block(elastic, "elastic")
    if tuple(elastic.shape[-4:]) != (3, 3, 3, 3):
        raise IrrepsError(
            f"elastic: expected shape (..., 3, 3, 3, 3), got {tuple(elastic.shape)}; from_voigt("
            "C, pairs=2) makes it of a 6 x 6 matrix"
        )
    volume = sum(elastic[..., i, i, j, j] for i in range(3) for j in range(3))
    shape = sum(elastic[..., i, j, i, j] for i in range(3) for j in range(3))
    return Moduli(volume / 9, (3 * shape - volume) / 30)
