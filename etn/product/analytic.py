r"""Exact decompositions in closed form: products of functions on the sphere.

An input is read as a function A(r) = sum a_lm Y_lm(r), and the output as the harmonics of a
function made of two of them.  A cubature rule turns the integral into a sum of rank-one terms:

.. math:: \int Y_k\, A B\, d\Omega, \qquad \int Y_k\; r \cdot (\nabla A \times \nabla B)\, d\Omega

The first couples l1 + l2 + l3 even (Gaunt integrals), with one term a point; the second, the
Poisson bracket of the sphere, couples l1 + l2 + l3 odd, with two terms a point.  The first
integrand has degree 3 l_max.  The bracket lowers the degree by one, so that its rule is smaller.
All coefficients of these paths differ from zero; scales of the irreps even out most of the rest.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from etn.backend import FloatArray
from etn.errors import SettingsError
from etn.o3 import spherical_harmonics, spherical_harmonics_with_gradients
from etn.o3.irrep import as_int
from etn.product.cp import CPTensor, Factors
from etn.product.cubature import cubature
from etn.product.fused_tensor import FusedTensor
from etn.product.fusion import fused_cg
from etn.product.solve import rescale

__all__ = ["analytic_decomposition", "bracket_factors", "gaunt_factors"]

Rule = Literal["compact", "lebedev"]


def gaunt_factors(l_max: int, rule: Rule = "compact") -> Factors:
    r"""Factors of the tensor of Gaunt integrals, one term a cubature point.

    .. math:: G_{kij} = \int Y_k Y_i Y_j \, d\Omega = \sum_p w_p Y_k(r_p) Y_i(r_p) Y_j(r_p)

    Parameters
    ----------
    l_max : int
    rule : {"compact", "lebedev"}
        See :func:`~etn.product.cubature.cubature`; its degree is 3 l_max.

    Returns
    -------
    tuple of three ((l_max + 1)**2, n_points) ndarray

    Raises
    ------
    SettingsError
        If no rule reaches the degree.

    Notes
    -----
    Source: Luo, Chen, Krishnapriyan, "Enabling efficient equivariant operations in the Fourier
    basis via Gaunt tensor products", arXiv:2401.10216 (there with Fourier transforms).

    Examples
    --------
    >>> first, second, third = gaunt_factors(1)
    >>> G = np.einsum("kr,ir,jr->kij", first, second, third)
    >>> bool(np.isclose(G[0, 0, 0], 1 / np.sqrt(4 * np.pi))), bool(abs(G[1, 2, 1]) < 1e-15)
    (True, True)
    """
    points, weights = cubature(3 * as_int(l_max, "l_max", minimum=0), rule)
    factor = spherical_harmonics(l_max, points).T * np.cbrt(weights)
    return (factor, factor, factor)


def bracket_factors(l_max: int, rule: Rule = "compact") -> Factors:
    r"""Factors of the tensor of the spherical Poisson bracket, two terms a cubature point.

    .. math:: B_{kij} = \int Y_k\; r \cdot (\nabla Y_i \times \nabla Y_j)\, d\Omega
        = \sum_p w_p Y_k \bigl(\partial_u Y_i\, \partial_v Y_j - \partial_v Y_i\,
        \partial_u Y_j\bigr)(r_p)

    with u, v, r a right-handed frame at the point.

    Parameters
    ----------
    l_max : int
        At least 1: without it there is no such path.
    rule : {"compact", "lebedev"}
        See :func:`~etn.product.cubature.cubature`; its degree is 3 l_max - 1.

    Returns
    -------
    tuple of three ((l_max + 1)**2, 2 n_points) ndarray

    Raises
    ------
    SettingsError
        If no rule reaches the degree.

    Examples
    --------
    >>> first, second, third = bracket_factors(1)
    >>> B = np.einsum("kr,ir,jr->kij", first, second, third)
    >>> bool(abs(B + B.transpose(0, 2, 1)).max() < 1e-14), bool(abs(B[1, 2, 3]) > 0.1)
    (True, True)
    """
    points, weights = cubature(3 * as_int(l_max, "l_max", minimum=1) - 1, rule)
    values, gradients = spherical_harmonics_with_gradients(l_max, points)
    u, v = _frames(points)
    scale = np.cbrt(weights)[:, None]
    along_u = scale * np.einsum("pa,pai->pi", u, gradients)
    along_v = scale * np.einsum("pa,pai->pi", v, gradients)
    output = np.concatenate([scale * values, -scale * values])
    first = np.concatenate([along_u, along_v])
    second = np.concatenate([along_v, along_u])
    return (output.T, first.T, second.T)


def analytic_decomposition(
    l_max: int, parity: Literal["none", "even"] = "none", rule: Rule = "compact"
) -> CPTensor:
    """Decompose the fused tensor of all paths exactly, with path coefficients close to 1.

    Parameters
    ----------
    l_max : int
        Up to 43, where Lebedev's rules end.
    parity : {"none", "even"}
        As in :func:`etn.product.fused_cg`: all paths, or those of l1 + l2 + l3 even.
    rule : {"compact", "lebedev"}
        Which cubature; the compact rules need fewer terms up to l_max = 6.

    Returns
    -------
    CPTensor
        Its target carries the coefficients, all positive.

    Raises
    ------
    SettingsError
        If the parity is unknown, or no rule reaches the degree.

    Examples
    --------
    >>> [analytic_decomposition(l, "even").cp_rank for l in range(1, 7)]
    [6, 18, 32, 58, 82, 122]
    >>> [analytic_decomposition(l).cp_rank for l in range(1, 7)]
    [14, 42, 88, 154, 226, 330]
    >>> analytic_decomposition(3).relative_error < 1e-13
    True
    """
    if parity not in ("none", "even"):
        raise SettingsError(f"parity: expected none or even, got {parity!r}")
    target = fused_cg(l_max, parity=parity)
    sums = np.array([path.out + sum(path.ins) for path in target.paths])
    cp = _evened_out(target, gaunt_factors(l_max, rule), sums % 2 == 0)
    if parity == "none" and l_max > 0:
        odd = _evened_out(target, bracket_factors(l_max, rule), sums % 2 == 1)
        whole = target.with_coefficients(cp.target.coefficients + odd.target.coefficients)
        factors = (
            np.concatenate(pair, axis=1) for pair in zip(cp.factors, odd.factors, strict=True)
        )
        cp = replace(cp, target=whole, factors=tuple(factors))
    return replace(cp, method=f"analytic, {rule} cubature")


def _evened_out(target: FusedTensor, factors: Factors, paths: NDArray[np.bool_]) -> CPTensor:
    """A decomposition of some of the paths, rescaled by itself."""
    cp = CPTensor(target, factors)
    # What rounding leaves on the other paths is not to be scaled.
    coefficients = np.where(paths, target.project(cp.dense()), 0.0)
    return rescale(replace(cp, target=target.with_coefficients(coefficients)))


def _frames(points: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Unit vectors u, v at each point such that (u, v, r) is right-handed."""
    # The axis farther from the point, so that the cross product never vanishes.
    aside = np.where(np.abs(points[:, :1]) < 0.6, [[1.0, 0.0, 0.0]], [[0.0, 1.0, 0.0]])
    u = np.cross(aside, points)
    u /= np.linalg.norm(u, axis=1, keepdims=True)
    return u, np.cross(points, u)
