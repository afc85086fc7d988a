"""The Python of the README runs as it stands, and the numbers beside it are true."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import etn
from etn.o3 import Irrep

README = Path(__file__).parents[1] / "README.md"


def snippets() -> dict[str, list[str]]:
    """Python blocks by the title of their section."""
    found: dict[str, list[str]] = {}
    title, block = "", None
    for line in README.read_text(encoding="utf-8").splitlines():
        if block is not None:
            if line.startswith("```"):
                found.setdefault(title, []).append("\n".join(block) + "\n")
                block = None
            else:
                block.append(line)
        elif line == "```python":
            block = []
        elif line.startswith("#"):
            title = line.lstrip("# ")
    return found


SECTIONS = snippets()
# A fit takes a minute; CI runs the command that does it.
QUICK = [title for title in SECTIONS if not title.startswith("1.")]


def run(code: str, namespace: dict[str, object]) -> int:
    """Run a block; compare each bare expression with the number in the comment behind it."""
    compared = 0
    lines = code.splitlines()
    for node in ast.parse(code).body:
        if not isinstance(node, ast.Expr):
            exec(compile(ast.Module([node], []), str(README), "exec"), namespace)
            continue
        kept = ast.parse("_ = None").body[0]
        kept.value = node.value
        exec(compile(ast.Module([kept], []), str(README), "exec"), namespace)
        comment = re.search(r"#\s*(-?[\d.]+(?: / \d+)?)(?:,|$)", lines[node.end_lineno - 1])
        if comment:
            numerator, _, denominator = comment[1].partition(" / ")
            expected = float(numerator) / float(denominator or 1)
            assert float(namespace["_"]) == pytest.approx(expected, rel=1e-8), lines[
                node.end_lineno - 1
            ]
            compared += 1
    return compared


@pytest.mark.parametrize("title", QUICK)
def test_the_snippets_run(title, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for code in SECTIONS[title]:
        run(code, {})


def test_numbers_beside_the_code_are_compared():
    assert sum(run(code, {}) for code in SECTIONS["3. A mathematics library for other codes"]) == 3
    assert sum(run(code, {}) for code in SECTIONS["4. DMRG for spin chains"]) == 2
    with pytest.raises(AssertionError):
        run("1 + 1  # 3\n", {})


def test_claims_in_words(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    run(SECTIONS["2. Build and inspect a network"][0], names)
    chain, small = names["chain"], names["small"]
    assert all(n <= 4 for bond in small.bonds for n in map(bond.count, bond.unique))
    dense = chain.to_dense()
    error = float(((dense - small.to_dense()) ** 2).sum() ** 0.5)
    assert small.discarded_weight == pytest.approx(error, rel=1e-10)
    assert abs(names["tree"].to_dense() - small.to_dense()).max() < 1e-12
    assert names["load"]("tree.etn").bonds[0, 1].count(Irrep("0e")) == 4

    names = {}
    run(SECTIONS["4. DMRG for spin chains"][0], names)
    report = names["report"]
    assert report.converged
    assert report.energy == pytest.approx(-26.83997865, abs=1e-8)
    assert report.chain.entropy(9) == pytest.approx(1.46383316, abs=1e-8)
    assert all(n <= 40 for bond in report.chain.bonds for n in map(bond.count, bond.unique))


def test_the_fit_is_written_for_this_version():
    """Not run: every name that the block imports or calls on a module exists."""
    (code, ase) = SECTIONS["1. Fit a potential and use it in ASE"]
    for node in ast.walk(ast.parse(code + ase)):
        if isinstance(node, ast.ImportFrom):
            exec(compile(ast.Module([node], []), str(README), "exec"), {})
        elif isinstance(node, ast.Attribute) and ast.unparse(node.value) == "etn":
            assert hasattr(etn, node.attr)
