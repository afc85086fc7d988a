r"""Tensor products of e3nn as products of etn: the same functions, by the schemes of etn.

Irreps are written alike, ``Irreps(str(theirs))`` and ``e3nn.o3.Irreps(str(ours))`` convert them,
and features lie in the layout ``"mul_ir"``.  The 3j tensors are equal, signs included, so the
coefficient of path p is what e3nn keeps as ``instructions[p].path_weight``,

.. math:: \alpha_p^2 = v_{out}\, c_p\, n_p / x_p,

with v_out the ``out_var`` and c_p the path weight that the user gave, and

- n_p by ``irrep_normalization``: ``"component"`` 2 l_out + 1, ``"norm"`` (2 l_1 + 1)(2 l_2 + 1),
  ``"none"`` 1;
- x_p by ``path_normalization``: ``"element"`` the sum of v_1 v_2 fan-in over all paths to the same
  output, ``"path"`` v_1 v_2 fan-in of p times the number of these paths, ``"none"`` 1.

The defaults of e3nn are what etn calls ``coefficients="component"``.

An e3nn product has weights of its own for every path, and so does what it becomes here
(``weights="per_path"``, or ``"none"``).  One set of weights for all paths makes a smaller class of
functions; whoever wants that builds a :class:`etn.product.TensorProduct` with
``weights="shared"`` and trains it anew.

e3nn is an optional dependency: ``pip install e3nn``.
"""

from etn.interfaces.e3nn.convert import from_e3nn
from etn.interfaces.e3nn.replace import Refusal, Report, Swap, replace_tensor_products
from etn.interfaces.e3nn.stand_in import E3nnProduct

__all__ = ["E3nnProduct", "Refusal", "Report", "Swap", "from_e3nn", "replace_tensor_products"]
