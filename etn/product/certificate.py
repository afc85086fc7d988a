r"""What a CP decomposition is guaranteed to do: errors, symmetry and size of its factors.

Split the tensor into its component along the paths and the rest,
:math:`\hat M = P + N`, :math:`P = \sum_p \langle W^p, \hat M\rangle W^p`.  P commutes with the
group, so all that breaks the symmetry comes from N:

.. math:: \varepsilon(g; x_1, \dots) = \hat m(D_1 x_1, \dots) - D\, \hat m(x_1, \dots)
    = D\,\bigl[(g^{-1} N) - N\bigr](x_1, \dots), \qquad
    (g^{-1} N)(x_1, \dots) = D^{-1} N(D_1 x_1, \dots).

*Mean.*  For independent normal inputs a multilinear map has :math:`E\|T(x_1, \dots)\|^2 =
\|T\|_F^2`, since every input has covariance 1.  Averaging over the group,

.. math:: E\|\varepsilon\|^2 = E_g \|g^{-1} N - N\|_F^2 = 2 \|N\|_F^2 - 2 \langle N, E_g\, g^{-1} N
    \rangle = 2 \|N\|_F^2,

because :math:`E_g\, g^{-1} N` is the invariant part of N, which is zero when the paths are all
invariant tensors of the legs.  This holds for any number of inputs and any compact group; the
group is that of the irreps, O(3) with its improper half.  Where all irreps are even, inversion
does nothing, and proper rotations give the same mean.  Where paths were left out, N may hold
invariant tensors, and the formula is an upper bound.

*Supremum.*  For inputs of norm 1, :math:`\|\varepsilon\| \le 2 \|N\|_\sigma` with the spectral
norm of a tensor, the largest value of :math:`\langle z \otimes x_1 \otimes \cdots, N\rangle` over
unit vectors.  That is hard to compute and easy to bound, see
:func:`~etn.product.spectral.spectral_norm_bound`.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from etn.backend import FloatArray
from etn.errors import SettingsError
from etn.product.fused_tensor import FusedTensor
from etn.product.spectral import spectral_norm_bound, unfolding

__all__ = ["Certificate", "certify"]

EXACT = 1e-12


@dataclass(frozen=True, eq=False)
class Certificate:
    """Errors and size of a CP decomposition; ``print`` shows them as a table.

    Attributes
    ----------
    name : str
        What was decomposed.
    cp_rank : int
    relative_error : float
        Frobenius norm of the difference from the target, over that of the target.
    violation : float
        Norm of what lies outside the paths, and so breaks the symmetry, over that of the target.
    mean_error : float
        Root mean square equivariance error for normal inputs and random group elements, over the
        root mean square of the target's output: sqrt(2) times the violation.
    sup_error : float
        Upper bound on the equivariance error for inputs of norm 1 and any group element.
    trivial_bound : float
        The same bound for the whole tensor, which uses no symmetry at all.
    theorem_bound : float
        What Theorem 3.1 of Lin et al. (arXiv:2507.01131) promises for the best decomposition of
        this rank, for inputs of norm 1.
    largest_factor : float
        Largest entry by size of the factors, the norm of every term being spread evenly.
    condition : float
        Sum of the norms of the terms over the norm of their sum: how much rounding of the terms
        is amplified by cancellation between them.
    labels : tuple of str
        The paths in words.
    coefficients : (n_paths,) ndarray
        Of the tensor along the paths.
    """

    name: str
    cp_rank: int
    relative_error: float
    violation: float
    mean_error: float
    sup_error: float
    trivial_bound: float
    theorem_bound: float
    largest_factor: float
    condition: float
    labels: tuple[str, ...]
    coefficients: FloatArray

    @property
    def is_exact(self) -> bool:
        """Whether the target is met to 1e-12."""
        return self.relative_error <= EXACT

    @property
    def is_equivariant(self) -> bool:
        """Whether the symmetry is kept to 1e-12; an exact decomposition does so."""
        return self.violation <= EXACT

    @property
    def vacuous(self) -> bool:
        """Whether the theorem promises less than the bound that needs no theorem."""
        return self.theorem_bound > self.trivial_bound

    @property
    def smallest_coefficient(self) -> float:
        """Smallest size of a path coefficient."""
        return float(np.abs(self.coefficients).min())

    @property
    def largest_coefficient(self) -> float:
        """Largest size of a path coefficient."""
        return float(np.abs(self.coefficients).max())

    def __str__(self) -> str:
        """Return the table."""
        verdict = "exact" if self.is_exact else "equivariant" if self.is_equivariant else ""
        sizes = np.abs(self.coefficients)
        low, high = (self.labels[int(n)] for n in (sizes.argmin(), sizes.argmax()))
        rows = [
            ("cp_rank", f"{self.cp_rank}", verdict),
            ("relative error", f"{self.relative_error:.2e}", "Frobenius, against the target"),
            ("violation", f"{self.violation:.2e}", "norm of what breaks the symmetry"),
            ("mean error", f"{self.mean_error:.2e}", "equivariance, rms, normal inputs"),
            ("sup error", f"<= {self.sup_error:.2e}", "equivariance, inputs of norm 1"),
            ("  no theory", f"<= {self.trivial_bound:.2e}", "twice the norm of the tensor"),
            (
                "  Theorem 3.1",
                f"<= {self.theorem_bound:.2e}",
                "vacuous" if self.vacuous else "for the best of this cp_rank",
            ),
            ("largest factor", f"{self.largest_factor:.3g}", "entry of balanced factors"),
            ("condition", f"{self.condition:.3g}", "amplification of rounding"),
            ("smallest path", f"{self.smallest_coefficient:.3f}", low),
            ("largest path", f"{self.largest_coefficient:.3f}", high),
        ]
        lines = [f"{name:<15} {value:>11}  {note}".rstrip() for name, value, note in rows]
        return "\n".join([self.name, *lines])

    def __repr__(self) -> str:
        """Return rank and errors in one line."""
        return (
            f"Certificate(cp_rank {self.cp_rank}, error {self.relative_error:.2g}, "
            f"violation {self.violation:.2g}, {self.name})"
        )


class Decomposition(Protocol):
    """What a certificate has to know of a CP form, see :class:`~etn.product.CPTensor`."""

    @property
    def target(self) -> FusedTensor:
        """What is decomposed."""
        ...

    @property
    def factors(self) -> tuple[FloatArray, ...]:
        """Of the output and the inputs, each (dim, cp_rank)."""
        ...

    @property
    def cp_rank(self) -> int:
        """Number of rank-one terms."""
        ...

    def dense(self) -> FloatArray:
        """The sum of the terms."""
        ...

    def balance(self) -> Decomposition:
        """The norm of every term spread evenly over the factors."""
        ...


def certify(cp: Decomposition) -> Certificate:
    """Measure a CP decomposition.

    Parameters
    ----------
    cp : CPTensor

    Returns
    -------
    Certificate

    Raises
    ------
    SettingsError
        If the target is zero, or too large to be held densely.

    Notes
    -----
    Costs the dense tensor, its singular values along every leg, and for products of two inputs
    the norm of a matrix of d (d + 1) / 2 rows; about a second at l_max = 6.

    Examples
    --------
    >>> from etn.product.analytic import analytic_decomposition
    >>> certificate = certify(analytic_decomposition(1, "even"))
    >>> certificate.is_exact, certificate.is_equivariant, certificate.vacuous
    (True, True, True)
    >>> certificate.coefficients.round(6).tolist()
    [1.0, 1.0, 1.0, 1.0]
    """
    target = cp.target
    if target.norm == 0.0:
        raise SettingsError(
            "certify: every path coefficient of the target is 0, so that there is no relative "
            "error; expected one that is not"
        )
    dense = cp.dense()
    coefficients = target.project(dense)
    rest = dense - target.with_coefficients(coefficients).dense()
    violation = float(np.linalg.norm(rest)) / target.norm
    sizes = np.prod([np.linalg.norm(factor, axis=0) for factor in cp.factors], axis=0)
    norm = float(np.linalg.norm(dense))
    return Certificate(
        name=str(target),
        cp_rank=cp.cp_rank,
        relative_error=float(np.linalg.norm(dense - target.dense())) / target.norm,
        violation=violation,
        mean_error=math.sqrt(2.0) * violation,
        sup_error=2.0 * spectral_norm_bound(rest),
        trivial_bound=2.0 * spectral_norm_bound(dense),
        theorem_bound=_theorem_bound(target.dense(), cp.cp_rank),
        largest_factor=max(float(np.abs(factor).max()) for factor in cp.balance().factors),
        condition=float(sizes.sum()) / norm if norm > 0.0 else math.inf,
        labels=target.labels(),
        coefficients=coefficients,
    )


def _theorem_bound(target: FloatArray, cp_rank: int) -> float:
    r"""Evaluate Theorem 3.1 of Lin et al., arXiv:2507.01131, for inputs of norm 1.

    .. math:: 2 \Bigl(\sum_n \sum_{k > R_T} (\sigma^{(n)}_k)^2\Bigr)^{1/2}, \qquad
        R_T = \lfloor R^{1/3} \rfloor

    with the singular values of the unfoldings of the target: the tail of its higher-order SVD.
    """
    legs = target.ndim
    tucker_rank = next(n for n in itertools.count(1) if (n + 1) ** legs > cp_rank)
    tail = 0.0
    for leg in range(legs):
        values = np.linalg.svdvals(unfolding(target, leg))
        tail += float((values[tucker_rank:] ** 2).sum())
    return 2.0 * math.sqrt(tail)
