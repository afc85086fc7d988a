"""A result is stale when the code or the default settings behind its numbers have changed."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))
import common  # noqa: E402
import stamp  # noqa: E402

sys.path.remove(str(BENCHMARKS))

CODE = '''"""What it is."""

def half(x):
    """Half of x."""
    return x / 2  # exact
'''
SOURCES = {"etn/a/one.py": CODE, "etn/a/b/two.py": "x = 0\n", "etn/ab.py": "y = 1\n"}


def digest(**changes):
    """Digest of the folder etn/a after changes to its modules."""
    names = {"one": "etn/a/one.py", "two": "etn/a/b/two.py", "other": "etn/ab.py"}
    return stamp.digest("etn/a", SOURCES | {names[key]: text for key, text in changes.items()})


@pytest.fixture
def house(monkeypatch):
    """A benchmark `toy` that depends on a folder and on settings."""
    monkeypatch.setitem(stamp.DEPENDS, "toy", ("etn/a", "Knobs"))
    monkeypatch.setitem(stamp.DEFAULTS, "Knobs", {"ridge": 1e-3})
    sources = SOURCES | {"benchmarks/toy.py": "N = 3\n"}
    content = {"stamp": {"commit": "0123456789abc", "depends": stamp.depends("toy-one", sources)}}
    return sources, content


@pytest.mark.parametrize(
    "text",
    [
        CODE.replace("  # exact", ""),
        CODE.replace("What it is.", "Halves."),
        CODE.replace("Half of x.", "The half."),
        CODE.replace("x / 2", "(x / 2)"),
        CODE.replace("    ", "  "),
        "def half(x):\n    return x / 2\n",
    ],
)
def test_comments_docstrings_and_layout_do_not_count(text):
    assert digest(one=text) == digest()


@pytest.mark.parametrize(
    "changes",
    [
        {"one": CODE.replace("2", "3")},
        {"one": CODE.replace("half(x)", "half(x, *, y=0)")},
        {"one": CODE.replace("    return", "    'no docstring, second'\n    return")},
        *({"two": f"x = {value}\n"} for value in ("False", "None", "0.0", "''", "[]", "-0")),
        {"two": "y = 0\n"},
    ],
)
def test_everything_else_counts(changes):
    assert digest(**changes) != digest()


def test_constants_that_are_equal_or_empty_differ():
    values = ("0", "False", "0.0", "None", "''", "b''", "()", "[]", "...", "1", "True", "{**x}")
    patterns = ("None", "False", "True", "0")
    codes = [f"x = {value}" for value in values]
    codes += [f"match x:\n case {value}: pass" for value in patterns]
    codes += ["import a", "from . import a", "from .. import a"]
    assert len({stamp.digest("m", {"m": code}) for code in codes}) == len(codes)


def test_a_folder_is_all_below_it_and_nothing_beside_it():
    assert digest(other="y = 2\n") == digest()
    moved = {"etn/a/one.py": CODE, "etn/a/two.py": "x = 0\n"}
    assert stamp.digest("etn/a", moved) != digest()
    with pytest.raises(SystemExit, match=r"etn/c: expected a module or a folder"):
        stamp.digest("etn/c", SOURCES)


def test_a_fresh_result_becomes_stale_by_code_script_and_settings(house, monkeypatch):
    sources, content = house
    assert stamp.age("toy-one", content, sources) == "fresh"
    assert stamp.age("toy-one", content, sources | {"etn/ab.py": "y = 2\n"}) == "fresh"
    for path, part in (("etn/a/one.py", "etn/a"), ("benchmarks/toy.py", "benchmarks/toy.py")):
        found = stamp.age("toy-one", content, sources | {path: "z = 9\n"})
        assert found == f"stale: {part} changed since 012345678"
    monkeypatch.setitem(stamp.DEFAULTS, "Knobs", {"ridge": 2e-3})
    assert stamp.age("toy-one", content, sources) == "stale: Knobs changed since 012345678"


def test_a_result_that_depends_on_more_than_its_stamp_knows_is_stale(house, monkeypatch):
    sources, content = house
    monkeypatch.setitem(stamp.DEPENDS, "toy", ("etn/a", "Knobs", "etn/ab.py"))
    assert stamp.age("toy", content, sources) == "stale: etn/ab.py changed since 012345678"


def test_each_fit_that_was_measured_by_itself_counts(house):
    sources, content = house
    old = {"stamp": {"commit": None, "depends": {**content["stamp"]["depends"], "Knobs": "0"}}}
    assert stamp.age("toy", {"fits": [content, content]}, sources) == "fresh"
    assert stamp.age("toy", {"fits": [content, {}]}, sources) == "of unknown age"
    found = stamp.age("toy", {"fits": [content, {}, old]}, sources)
    assert found == "stale: Knobs changed since a tree without git"
    assert stamp.age("toy", {"fits": [{}], **content}, sources) == "fresh"
    assert stamp.age("toy", {}, sources) == "of unknown age"
    assert stamp.age("toy", {"fits": []}, sources) == "of unknown age"


def test_results_are_written_with_a_stamp(tmp_path):
    path = common.write("fit-toy", {"fits": [{"n": 1}]}, out=tmp_path / "toy.json")
    content = json.loads(path.read_text(encoding="utf-8"))
    assert stamp.age("fit-toy", content) == "fresh"
    assert set(content["stamp"]) == {"etn", "commit", "clean", "depends"}
    entry = {"stamp": stamp.stamp("sizes")}
    path = common.write("sizes", {"fits": [entry, {"n": 1}]}, out=tmp_path / "toy.json")
    content = json.loads(path.read_text(encoding="utf-8"))
    assert "stamp" not in content
    assert stamp.age("sizes", content) == "of unknown age"
    with pytest.raises(SystemExit, match=r"result 'mine-fit': expected a name that begins with"):
        common.result_name("mine-fit")


def test_digests_are_the_same_in_another_process():
    code = "import stamp; print(stamp.depends('fit'))"
    found = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": f"{BENCHMARKS}:{BENCHMARKS.parent}", "PYTHONHASHSEED": "1"},
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    assert found.stdout.strip() == str(stamp.depends("fit"))


def test_every_benchmark_says_what_it_depends_on():
    scripts = {path.stem for path in BENCHMARKS.glob("*.py")}
    parts = {"common", "evaluated", "pages", "peers", "per_path", "prose", "published", "stamp"}
    parts |= {"trained"}
    assert scripts - parts == set(stamp.DEPENDS)
    for name in stamp.DEPENDS:
        assert all(stamp.depends(name).values())


@pytest.mark.parametrize("name", stamp.DEPENDS)
def test_what_a_benchmark_imports_is_among_what_it_depends_on(name):
    parts = [*stamp.depends(name), "etn/testing", "etn/surface.py", "benchmarks/common.py"]
    parts += ["benchmarks/stamp.py", *["etn/run/sizes.py"] * ("SIZES" in parts)]
    for node in ast.walk(ast.parse(stamp.SOURCES[f"benchmarks/{name}.py"])):
        if isinstance(node, ast.ImportFrom) and node.module:
            path = node.module.replace(".", "/")
            known = [f"{path}.py", f"benchmarks/{path}.py"]
            if path.startswith("etn/") or known[1] in stamp.SOURCES:
                assert any(
                    path == part or path.startswith(f"{part}/") or part in known for part in parts
                ), f"{name}: {node.module}"
