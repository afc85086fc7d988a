"""Oracles of the o3 tests.

===============  ================================================================================
fixture          value
===============  ================================================================================
``e3nn_o3``      the module ``e3nn.o3``; the test is skipped where e3nn is not installed
===============  ================================================================================
"""

from __future__ import annotations

from types import ModuleType

import pytest


@pytest.fixture(scope="session")
def e3nn_o3() -> ModuleType:
    return pytest.importorskip("e3nn.o3")
