r"""Constants between irreducible Cartesian tensors and spherical ones, as exact fractions.

Notes
-----
A product of degrees l1, l2 to l3 contracts k pairs of indices and leaves n1 and n2 indices of its
factors free.  With J = l1+l2+l3, h = floor(J/2) and e = J mod 2,

.. math:: n_1 = h - l_2, \qquad n_2 = h - l_1, \qquad k = h - l_3.

If e = 0 (even path), l3 = n1 + n2.  If e = 1 (odd path), a Levi-Civita symbol takes one more index
from each factor and gives one back, l3 = n1 + n2 + 1.

All constants follow from tensors made of null vectors.  For null a, b, c the traces drop out, and
the product of constant 1, contracted with c, is

.. math:: (a^{l_1} \otimes b^{l_2})_{l_3} \cdot c^{l_3} = \frac{l_3!}{n_1!\, n_2!}
    (a \cdot b)^k (a \cdot c)^{n_1} (b \cdot c)^{n_2} \det(c, a, b)^e .

A null vector is a square of a spinor, with \|a\|^2 = 2 \|\alpha\|^4, |a·b| = 2 |[αβ]|^2 and
|det(a, b, c)| = 4 |[αβ][βγ][γα]|.  So the right-hand side is, even and odd alike, a multiple of the
generating function of the 3j symbols (Regge, Nuovo Cimento 10, 544 (1958)),

.. math:: [\alpha\beta]^{J - 2 l_3} [\beta\gamma]^{J - 2 l_1} [\gamma\alpha]^{J - 2 l_2}
    = \Bigl((J+1)! \prod_i (J - 2 l_i)!\Bigr)^{1/2} \sum_{m}
    \begin{pmatrix} l_1 & l_2 & l_3 \\ m_1 & m_2 & m_3 \end{pmatrix}
    \prod_i \frac{\alpha_{i1}^{l_i + m_i} \alpha_{i2}^{l_i - m_i}}
    {\sqrt{(l_i + m_i)!\, (l_i - m_i)!}} ,

and :func:`bridge_squared` collects the factors.
"""

from __future__ import annotations

from fractions import Fraction
from math import factorial, prod

from etn.errors import IrrepsError
from etn.o3.coupling import check_triangle
from etn.o3.irrep import as_int


def double_factorial(n: int) -> int:
    """Return n!! = n (n-2) (n-4) ..., with 0!! = (-1)!! = 1.

    Examples
    --------
    >>> double_factorial(7), double_factorial(-1)
    (105, 1)
    """
    return prod(range(n, 0, -2))


def free_indices(l1: int, l2: int, l3: int) -> tuple[int, int, int, int]:
    """Return (n1, n2, k, e): free indices of each factor, contracted pairs, 1 if the path is odd.

    Raises
    ------
    IrrepsError
        The degrees are negative or break the triangle rule.

    Examples
    --------
    >>> free_indices(2, 2, 2), free_indices(2, 2, 3)
    ((1, 1, 1, 0), (1, 1, 0, 1))
    """
    l1, l2, l3 = check_triangle(l1, l2, l3)
    half, odd = divmod(l1 + l2 + l3, 2)
    return half - l2, half - l1, half - l3, odd


def norm_constant(l: int) -> Fraction:
    r"""Return s_l, the inverse of the squared Frobenius norm of the tensor of a direction.

    .. math:: s_l = \frac{l!}{(2l-1)!!}, \qquad \|T^l(r)\|^2 = 1 / s_l, \qquad
        Y^{norm}_l(r) = \sqrt{s_l}\; U_l\, \mathrm{vec}\, T^l(r)

    with U_l the orthonormal packing and Y^norm the harmonics of unit norm.

    Raises
    ------
    IrrepsError
        ``l < 0``.

    Examples
    --------
    >>> norm_constant(3)
    Fraction(2, 5)
    """
    l = as_int(l, "degree l", minimum=0)
    return Fraction(factorial(l), double_factorial(2 * l - 1))


def unity_constant(l1: int, l2: int, l3: int) -> Fraction:
    r"""Return C of an even product or D of an odd one in the normalization "unity".

    .. math:: C = \frac{l_1!\, l_2!\, (2 l_3 - 1)!!\; n_1!\, n_2!}
        {l_3!\, (2 n_1 - 1)!!\, (2 n_2 - 1)!!\, (2 k - 1)!!\; h!}, \qquad
        D = \frac{(l_3 + 1)\, l_1!\, l_2!\, (2 l_3 - 1)!!\; n_1!\, n_2!}
        {l_3!\, (2 n_1 + 1)!!\, (2 n_2 + 1)!!\, (2 k + 1)!!\; (h + 1)!}

    with h = floor((l1+l2+l3)/2).  They are fixed by what the products of directions are:

    .. math:: (T^{l_1}(r) \otimes T^{l_2}(r))_{l_3} = T^{l_3}(r) \quad (even), \qquad
        (T^{l_1}(r) \otimes T^{l_2}(s))_{l_3} = T^{l_3}(r \times s, r, \dots, r)
        + O(|r - s|^2) \quad (odd).

    The odd product of a direction with itself vanishes, so its first order is what can be fixed;
    T(u, r, ..., r) is the derivative of T^l3 at r along u, divided by l3.  For l1 = l2 = l3 = 1 it
    is the cross product.

    Raises
    ------
    IrrepsError
        The degrees are negative or break the triangle rule.

    Notes
    -----
    C is the constant of Zaverkin et al. (arXiv:2405.14253, Eq. 2).  D is ours: that paper fixes no
    constant of its Eq. 3.  The closed form of D rests on :func:`odd_ratio`.

    Examples
    --------
    >>> unity_constant(1, 1, 2), unity_constant(1, 1, 1), unity_constant(2, 2, 3)
    (Fraction(3, 4), Fraction(1, 1), Fraction(5, 27))
    """
    n1, n2, k, odd = free_indices(l1, l2, l3)
    top = factorial(l1) * factorial(l2) * double_factorial(2 * l3 - 1)
    top *= factorial(n1) * factorial(n2) * (l3 + 1) ** odd
    bottom = factorial(l3) * factorial(k + l3 + odd)
    bottom *= prod(double_factorial(2 * (n + odd) - 1) for n in (n1, n2, k))
    return Fraction(top, bottom)


def bridge_squared(l1: int, l2: int, l3: int, *, constant: Fraction | int = 1) -> Fraction:
    r"""Return c^2, where c > 0 is the Cartesian product divided by the 3j tensor.

    .. math:: U_3\, (U_1^T a \otimes U_2^T b)_{l_3} = c\; W(a, b), \qquad
        c^2 = K^2\; 2^e \Bigl(\frac{l_3!}{n_1!\, n_2!}\Bigr)^2
        \frac{(J+1)!\, \prod_i (J - 2 l_i)!}{\prod_i (2 l_i)!}

    for the product of constant K (C or D), with W = :func:`etn.o3.wigner_3j` and U the orthonormal
    packing.  The form is proved in the notes of this module.

    Parameters
    ----------
    l1, l2, l3
        Degrees of the path.
    constant
        The constant K of the product, 1 by default; ``unity_constant(l1, l2, l3)`` for "unity".

    Raises
    ------
    IrrepsError
        The degrees are negative or break the triangle rule.

    Notes
    -----
    With K = C of "unity", c = sqrt(s1 s2 / s3) / |3j(l1 l2 l3; 0 0 0)| with s =
    :func:`norm_constant`.  With K = D = 1, c = q sqrt(s1 s2 / s3) sqrt(l1 (l1+1) l2 (l2+1)) /
    |3j(l1 l2 l3; 1 -1 0)| with q = :func:`odd_ratio`.

    Examples
    --------
    >>> bridge_squared(1, 1, 1), bridge_squared(2, 2, 3), bridge_squared(3, 3, 3)
    (Fraction(6, 1), Fraction(252, 1), Fraction(756, 5))
    """
    n1, n2, _, odd = free_indices(l1, l2, l3)
    total = l1 + l2 + l3
    placements = Fraction(factorial(l3), factorial(n1) * factorial(n2))
    top = factorial(total + 1) * prod(factorial(total - 2 * l) for l in (l1, l2, l3))
    ratio = Fraction(2**odd * top, prod(factorial(2 * l) for l in (l1, l2, l3)))
    return (constant * placements) ** 2 * ratio


def odd_ratio(l1: int, l2: int, l3: int) -> Fraction:
    r"""Return q, which relates an odd product of constant 1 to the 3j symbol at (1, -1, 0).

    .. math:: c = q\, \sqrt{\frac{s_1 s_2}{s_3}}\,
        \frac{\sqrt{l_1 (l_1+1)\, l_2 (l_2+1)}}{|3j(l_1 l_2 l_3; 1, -1, 0)|}, \qquad
        q = \frac{l_3!\; (h+1)!\, (2 n_1 + 1)!!\, (2 n_2 + 1)!!\, (2 k + 1)!!}
        {n_1!\, n_2!\, l_1!\, l_2!\, (2 l_3 - 1)!!\; l_1 (l_1 + 1)\, l_2 (l_2 + 1)}

    Raises
    ------
    IrrepsError
        The path is even, or breaks the triangle rule.

    Notes
    -----
    c is :func:`bridge_squared`, which is proved.  The 3j symbol enters through

    .. math:: |3j(l_1 l_2 l_3; 1, -1, 0)| = \frac{2\, (h+1)!}{n_1!\, n_2!\, k!}
        \Bigl(\frac{\prod_i (J - 2 l_i)!}{(J+1)!\; l_1 (l_1+1)\, l_2 (l_2+1)}\Bigr)^{1/2}
        \qquad (J\ odd),

    which is verified exactly for all odd paths with degrees up to 12, not proved here.

    Examples
    --------
    >>> odd_ratio(1, 1, 1), odd_ratio(3, 3, 5), odd_ratio(3, 4, 6)
    (Fraction(1, 2), Fraction(125, 126), Fraction(175, 132))
    """
    n1, n2, k, odd = free_indices(l1, l2, l3)
    if not odd:
        raise IrrepsError(
            f"({l1}, {l2}, {l3}): expected an odd path, l1+l2+l3 odd; this one is even, and its "
            "constant is bridge_squared"
        )
    top = factorial(l3) * factorial(k + l3 + 1)
    top *= prod(double_factorial(2 * n + 1) for n in (n1, n2, k))
    bottom = factorial(n1) * factorial(n2) * factorial(l1) * factorial(l2)
    bottom *= double_factorial(2 * l3 - 1) * l1 * (l1 + 1) * l2 * (l2 + 1)
    return Fraction(top, bottom)
