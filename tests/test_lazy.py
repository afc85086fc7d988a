"""Names that load on first use: when a module is loaded, and what a package says of itself."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest

from etn.lazy import attach


@pytest.fixture
def package(monkeypatch, tmp_path):
    """A package of its own, and the module in which its names are defined."""
    (tmp_path / "lazy_home.py").write_text("loads = []\nvalue = object()\nother = 3\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "lazy_home", raising=False)
    made = ModuleType("lazy_package")
    made.own = 1
    monkeypatch.setitem(sys.modules, "lazy_package", made)
    homes, modules = {"lazy_home": "value gone"}, {"home": "lazy_home"}
    made.__getattr__, made.__dir__ = attach("lazy_package", homes, modules)
    yield made
    sys.modules.pop("lazy_home", None)


def test_a_name_loads_its_module_when_it_is_used(package):
    assert package.own == 1
    assert "lazy_home" not in sys.modules
    assert package.value is sys.modules["lazy_home"].value
    assert package.home is sys.modules["lazy_home"]


def test_a_name_that_was_used_is_found_without_asking_again(package):
    value = package.value
    assert vars(package)["value"] is value
    sys.modules["lazy_home"].value = "another"
    assert package.value is value


def test_all_names_are_listed_before_they_are_loaded(package):
    assert {"own", "value", "home", "gone"} <= set(dir(package))
    assert dir(package) == sorted(dir(package))
    assert "lazy_home" not in sys.modules


def test_unknown_names_are_those_of_the_package(package):
    with pytest.raises(AttributeError, match="module 'lazy_package' has no attribute 'valeu'"):
        _ = package.valeu
    assert not hasattr(package, "other")
    with pytest.raises(AttributeError, match="gone"):
        _ = package.gone
