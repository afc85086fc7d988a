"""The tests mirror the package: every module etn/a/b.py has its tests in tests/a/test_b.py."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# Modules without a test file of their own, each with the reason.
EXCEPTIONS: dict[str, str] = {}


def modules(root: Path) -> list[str]:
    """Modules of the package by path, those that are the face of a folder left out."""
    found = sorted((root / "etn").rglob("*.py"))
    return [str(p.relative_to(root / "etn").as_posix()) for p in found if p.stem != "__init__"]


def has_tests(root: Path, module: str) -> bool:
    """Whether tests/FOLDER/test_NAME.py is there; the name of the folder may come before NAME."""
    path = Path(module)
    names = [f"test_{path.stem}.py", f"test_{path.parent.name}_{path.stem}.py"]
    return any((root / "tests" / path.parent / name).is_file() for name in names)


def faults(root: Path, exceptions: set[str]) -> list[str]:
    """What is missing, and exceptions that are none."""
    there = modules(root)
    found = [
        f"etn/{module}: expected tests in tests/{Path(module).parent.as_posix()}/"
        f"test_{Path(module).stem}.py, or a reason in EXCEPTIONS"
        for module in there
        if module not in exceptions and not has_tests(root, module)
    ]
    for module in sorted(exceptions):
        if module not in there:
            found.append(f"{module}: an exception, but there is no such module any more")
        elif has_tests(root, module):
            found.append(f"{module}: an exception, but it has a test file now")
    return found


def test_every_module_has_its_tests():
    assert faults(ROOT, set(EXCEPTIONS)) == []


def test_exceptions_have_reasons():
    for module, reason in EXCEPTIONS.items():
        assert reason.endswith("."), module
        assert len(reason.split()) > 3, module


@pytest.fixture
def house(tmp_path):
    """A package of four modules, one of them without tests."""
    for path in (
        "etn/__init__.py", "etn/top.py", "etn/a/__init__.py", "etn/a/one.py", "etn/a/b/two.py",
        "etn/a/three.py", "tests/test_top.py", "tests/a/test_one.py", "tests/a/b/test_b_two.py",
        "tests/test_three.py", "tests/a/b/test_three.py",
    ):  # fmt: skip
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()
    return tmp_path


def test_a_missing_test_file_is_named(house):
    (fault,) = faults(house, set())
    assert fault.startswith("etn/a/three.py: expected tests in tests/a/test_three.py, or a reason")
    assert faults(house, {"a/three.py"}) == []


def test_exceptions_that_are_none_are_named(house):
    wrong = faults(house, {"a/three.py", "a/one.py", "gone.py"})
    assert wrong == [
        "a/one.py: an exception, but it has a test file now",
        "gone.py: an exception, but there is no such module any more",
    ]
