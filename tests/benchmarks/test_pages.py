"""The tables of the pages are those of the results; stale results make none."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))
import pages  # noqa: E402
import stamp  # noqa: E402

sys.path.remove(str(BENCHMARKS))

PAGE = "Before.\n\n<!-- table: toy -->\n\n| 1 |\n\n<!-- /table -->\n\nAfter.\n"


class House:
    """A page with a table, made from two results in a folder of their own."""

    def __init__(self, root):
        self.root, self.page = root, root / "README.md"
        self.page.write_text(PAGE, encoding="utf-8")
        self.ran = []

    def measure(self, name, value, **change):
        made = stamp.stamp(name)
        made["depends"] |= change
        content = {"value": value, "stamp": made}
        (self.root / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")

    def tables(self, *arguments):
        """Exit code of the command."""
        sys.argv[1:] = arguments
        try:
            pages.main()
        except SystemExit as end:
            return end.code
        return 0


@pytest.fixture
def house(tmp_path, monkeypatch):
    found = House(tmp_path)
    table = pages.Table(("cp", "cp-two"), lambda one, two: f"| {one['value']} {two['value']} |")
    commands = {"cp": "cp.py --both && cp.py", "cp-two": "A=1 cp.py {data}/x"}
    monkeypatch.setattr(pages, "TABLES", {"toy": table})
    monkeypatch.setattr(pages, "COMMANDS", commands)
    monkeypatch.setattr(pages, "RESULTS", tmp_path)
    monkeypatch.setattr(pages, "pages", lambda: [found.page])
    monkeypatch.setattr(pages, "run", found.ran.append)
    monkeypatch.setattr(sys, "argv", ["pages.py"])
    found.measure("cp", 3)
    found.measure("cp-two", 4)
    return found


def test_a_table_is_written_from_its_results_and_nothing_else_changes(house, capsys):
    assert house.tables("--check") == 1
    assert "README.md: table toy differs from its results" in capsys.readouterr().out
    assert house.page.read_text() == PAGE
    assert house.tables() == 0
    assert house.page.read_text() == PAGE.replace("| 1 |", "| 3 4 |")
    assert house.tables("--check") == 0


def test_a_stale_result_makes_no_table(house, capsys):
    house.tables()
    house.measure("cp-two", 5, **{"etn/o3": "0"})
    assert house.tables() == 1
    out = capsys.readouterr().out
    assert "table toy is left as it is: cp-two is stale: etn/o3 changed since" in out
    assert out.endswith("measure: python benchmarks/pages.py --remake cp-two\n")
    assert "| 3 4 |" in house.page.read_text()
    house.measure("cp-two", 4, **{"etn/o3": "0"})
    assert house.tables("--check") == 1, "stale, though the table does not differ"


def test_a_result_without_a_stamp_is_of_unknown_age_and_no_fault_yet(house, capsys):
    (house.root / "cp.json").write_text('{"value": 7}')
    assert house.tables() == 0
    assert "| 7 4 |" in house.page.read_text()
    assert house.tables("--check") == 0
    assert "cp                          of unknown age\n" in capsys.readouterr().out


def test_a_missing_result_is_a_fault(house, capsys):
    (house.root / "cp.json").unlink()
    assert house.tables() == 1
    assert "cp is missing" in capsys.readouterr().out
    assert house.tables("--check") == 1
    assert house.page.read_text() == PAGE


def test_what_is_not_fresh_is_measured_again(house):
    assert house.tables("--remake") == 0
    assert house.ran == []
    house.measure("cp-two", 5, **{"etn/o3": "0"})
    (house.root / "cp.json").write_text('{"value": 7}')
    house.tables("--remake", "cp-two")
    assert house.ran == ["A=1 cp.py {data}/x"]
    house.ran.clear()
    house.tables("--remake")
    assert house.ran == ["cp.py --both", "cp.py", "A=1 cp.py {data}/x"]


def test_an_unknown_result_or_table_is_refused_with_the_known_ones(house, capsys):
    assert house.tables("--remake", "toy") == 2
    assert "expected any of cp, cp-two, got toy" in capsys.readouterr().err
    assert house.tables("--remake", "--check") == 2
    house.page.write_text(PAGE.replace("table: toy", "table: two"))
    assert house.tables("--check") == "README.md: expected a table of toy, got two"


@pytest.mark.parametrize(
    ("old", "new"),
    [("<!-- /table -->", ""), ("<!-- table: toy -->\n\n", "<!-- table: toy -->\n")],
)
def test_a_mark_without_partner_is_refused(house, old, new):
    house.page.write_text(PAGE.replace(old, new))
    assert "a mark of a table has no partner" in house.tables("--check")


def test_a_benchmark_runs_with_its_variables_and_the_folder_of_the_data(monkeypatch):
    seen = {}

    class Done:
        returncode = 3

    def run(words, **options):
        seen.update(options, words=words)
        return Done

    monkeypatch.setattr(pages.subprocess, "run", run)
    monkeypatch.setenv("ETN_SHARED_DATA", "/some where")
    with pytest.raises(SystemExit, match=r"cp.py {data}/x -- --y: ended with exit code 3"):
        pages.run("OMP_NUM_THREADS=1 cp.py {data}/x -- --y")
    assert seen["words"][1:] == [str(BENCHMARKS / "cp.py"), "/some where/x", "--", "--y"]
    assert seen["env"]["OMP_NUM_THREADS"] == "1"


def test_the_tables_of_the_pages_are_those_of_the_results():
    ages = dict.fromkeys(pages.measured(), "fresh")
    for page in pages.pages():
        assert pages.update(page, ages, write=False) == []


def test_every_table_stands_on_a_page_and_every_result_can_be_measured_again():
    text = "".join(page.read_text(encoding="utf-8") for page in pages.pages())
    assert sorted(name for name, _ in pages.MARKED.findall(text)) == sorted(pages.TABLES)
    assert list(pages.COMMANDS) == pages.measured()
    for name, command in pages.COMMANDS.items():
        assert f"{stamp.script(name)}.py" in command.split(" && ")[-1]
    assert {name for table in pages.TABLES.values() for name in table.results} <= set(
        pages.COMMANDS
    )
