"""What a broken implementation is made of, and how its law is checked.

===============  ================================================================================
fixture          value
===============  ================================================================================
``breaks``       function: check that a law holds, and that it does not for a broken operation
``laws``         function: the names of all laws of a suite
===============  ================================================================================

Each test of a suite has a table: for every law a break that this law must notice.  A law without
one says nothing, as no implementation would fail it.  A break is the place of a function or
method, as module:name, and what is returned instead: a function of what is returned (and of the
arguments if it asks for them), or the name of one of these:

- "larger": the same, times 1.001;
- "rounded": the same, off by rounding;
- "tilted": a tensor with entries more that no rotation leaves alone;
- "fortran": the same numbers, the first axis fastest in memory.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping

import numpy as np
import pytest

from etn.tensor import Core


def _find(path):
    """The owner of what stands at a dotted path, and its name there."""
    module, _, rest = path.partition(":")
    owner = importlib.import_module(module)
    *owners, name = rest.split(".")
    for each in owners:
        owner = getattr(owner, each)
    return owner, name


def scaled(found, factor):
    if isinstance(found, Core):
        return found.scale(factor)
    if isinstance(found, Mapping):
        return type(found)({key: scaled(value, factor) for key, value in found.items()})
    return [scaled(each, factor) for each in found] if isinstance(found, list) else factor * found


def tilted(dense):
    out = dense.copy()
    out[0, 1] += 1e-3
    return out


CHANGES = {
    "larger": lambda found: scaled(found, 1.001),
    "rounded": lambda found: scaled(found, 1 + 1e-15),
    "tilted": tilted,
    "fortran": lambda found: np.asfortranarray(found) if isinstance(found, np.ndarray) else found,
}


@pytest.fixture
def breaks(monkeypatch):
    def check(suite, law, path, change):
        getattr(suite(), law)()
        change = CHANGES.get(change, change)
        owner, name = _find(path)
        original, static = getattr(owner, name), inspect.getattr_static(owner, name)
        takes_arguments = len(inspect.signature(change).parameters) > 1

        def wrong(*arguments, **options):
            found = original(*arguments, **options)
            return change(found, *arguments) if takes_arguments else change(found)

        bound = isinstance(static, classmethod | staticmethod)
        monkeypatch.setattr(owner, name, staticmethod(wrong) if bound else wrong)
        with pytest.raises(AssertionError):
            getattr(suite(), law)()

    return check


@pytest.fixture
def laws():
    def names(suite):
        return {name for name in dir(suite) if name.startswith("test")}

    return names
