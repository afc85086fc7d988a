"""CP decompositions that ship with etn, each with its checksum and certificate.

=========  =======  ===============================  ============================================
kind       paths    cp_rank for l_max = 1 ... 6      what
=========  =======  ===============================  ============================================
``exact``  all      7, 30, 88, 154, 226, 330         no error; coefficients near 1, numeric up to
                                                     l_max = 2, analytic above
``even``   even     6, 18, 32, 58, 82, 122           no error; Gaunt integrals, for features whose
                                                     parity is that of harmonics
``tdn``    all      7, 28, 63, 112, 175, 252         7 l_max^2, the rank of tensor decomposition
                                                     networks; all coefficients 1, with an error
=========  =======  ===============================  ============================================

:func:`derive <etn.product.tables.derive.derive>` makes any of them anew.
"""

from __future__ import annotations

from etn.product.tables.load import Table, available_tables, load_table

__all__ = ["Table", "available_tables", "load_table"]
