"""Without the shared library."""

from __future__ import annotations

import pytest

from etn.errors import SettingsError
from etn.native import Evaluator, is_built, library
from etn.network import Chain
from etn.potential import Basis, Dataset, PolynomialPotential


def test_without_the_library_numpy_evaluates(monkeypatch, caplog):
    library.why_not.cache_clear()
    library._load.cache_clear()
    monkeypatch.setattr(library, "_find", lambda: None)
    try:
        assert not is_built()
        assert "without a C++ compiler" in caplog.text
        data = Dataset.read("etn:Mo/train", index="::60")
        basis = Basis.for_dataset(data, r_max=3.0, n_max=2, l_max=1)
        chain = Chain.random([basis.leg] * 2, start=basis.start, seed=0)
        model = PolynomialPotential(basis, body_order=3, chain=chain)
        assert model._compiled is None
        assert len(model.predict(data)) == len(data)
        with pytest.raises(SettingsError, match="native: the compiled evaluator is not there"):
            Evaluator(b"")
    finally:
        monkeypatch.undo()
        library.why_not.cache_clear()
        library._load.cache_clear()
