"""The errors of etn: one base to catch, and no other class is raised on purpose."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path

import pytest

from etn import errors
from etn.errors import EtnError, EtnWarning, ToleranceError

OWN = [c for _, c in inspect.getmembers(errors, inspect.isclass) if c.__module__ == "etn.errors"]
WARNINGS = [c for c in OWN if issubclass(c, Warning)]
CLASSES = [c for c in OWN if c not in WARNINGS]
# What others want to catch: Python of attributes, indices, types and abstract methods, pydantic of
# readers of one value, ASE of properties that a calculator lacks.
OF_OTHERS = {
    "AttributeError",
    "IndexError",
    "NotImplementedError",
    "OSError",  # of a write that failed, with the name of its file
    "PropertyNotImplementedError",
    "TypeError",
    "ValueError",
}


@pytest.mark.parametrize("error", CLASSES)
def test_all_errors_have_one_base_and_are_values_errors_too(error):
    assert issubclass(error, EtnError)
    assert error is EtnError or issubclass(error, ValueError)
    assert error.__doc__.endswith((".", "\n    "))


@pytest.mark.parametrize("warning", WARNINGS)
def test_all_warnings_have_one_base(warning):
    assert issubclass(warning, EtnWarning)
    assert not issubclass(warning, EtnError)
    assert issubclass(warning, UserWarning)  # shown by default


def test_a_solver_that_falls_short_hands_over_its_best():
    best = object()
    with pytest.raises(EtnError, match=r"^1e-3 above 1e-6$") as caught:
        raise ToleranceError("1e-3 above 1e-6", best)
    assert caught.value.best is best


def test_nothing_else_is_raised_on_purpose():
    names = {c.__name__ for c in CLASSES}
    found = {}
    for path in sorted(Path(errors.__file__).parent.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Raise) and node.exc is not None:
                name = ast.unparse(getattr(node.exc, "func", node.exc))
                if name[0].isupper() and name not in names:
                    found.setdefault(name, []).append(f"{path.name}:{node.lineno}")
    assert found.keys() == OF_OTHERS, found
