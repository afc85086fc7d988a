"""Shipped tables that tests may damage."""

from __future__ import annotations

import json
import shutil
from importlib.resources import files
from pathlib import Path

import pytest

from etn.product.tables import available_tables

FOLDER = Path(str(files("etn.product.tables")))


@pytest.fixture
def copy(tmp_path):
    """A copy of two shipped tables that a test may damage."""
    lines = [t for t in available_tables() if (t.kind, t.l_max) in {("even", 1), ("exact", 1)}]
    for line in lines:
        shutil.copy(FOLDER / line.file, tmp_path)
    text = json.dumps({"tables": [line._asdict() for line in lines]})
    (tmp_path / "manifest.json").write_text(text)
    return tmp_path
