"""Small data and the settings of a fit that takes a second.

===========  ====================================================================================
fixture      value
===========  ====================================================================================
``mo_data``  folder with train.xyz and test.xyz; not to be changed
``small``    settings of a small fit
===========  ====================================================================================
"""

from __future__ import annotations

from pathlib import Path
from types import MappingProxyType

import pytest

from etn.potential import Dataset


@pytest.fixture(scope="session")
def mo_data(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    Dataset.read("etn:Mo/train", index="::16").write(folder / "train.xyz")
    Dataset.read("etn:Mo/test", index="::6").write(folder / "test.xyz")
    return folder


@pytest.fixture(scope="session")
def small():
    return MappingProxyType(
        {
            "r_max": 4.0,
            "n_max": 3,
            "l_max": 1,
            "body_order": 4,
            "max_bond": 2,
            "max_sweeps": (2, 2),
            "rel_tol": 0.0,
        }
    )
