"""Drawings: what they show, how wide they are, and that HTML is well-formed and escaped."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest

from etn.network import Chain
from etn.network.views.show import chain_diagram, elide, html
from etn.network.views.wiring import Wiring
from etn.o3 import Irreps
from etn.tensor import Core


def draw(chain: Chain, max_width: int | None = None) -> str:
    bonds = (chain.start, *chain.bonds, chain.out)
    return chain_diagram(chain.sites, bonds, chain.center, max_width=max_width)


def test_a_short_chain_is_one_line():
    chain = Chain.random(["2x0e+1x1o"] * 3, max_bond=2, seed=0).canonicalize(1)
    above, line, stems, below = draw(chain, 80).splitlines()
    assert above.split() == ["1x0e", "2x0e+1x1o", "2x0e+1x1o", "1x0e"]
    assert re.findall("[><●]", line) == [">", "●", "<"]
    assert below.split() == ["2x0e+1x1o"] * 3
    assert [i for i, mark in enumerate(line) if mark != "─"] == [
        i for i, mark in enumerate(stems) if mark == "│"
    ]


def test_a_wide_chain_stacks_the_terms():
    chain = Chain.random(["2x0e+1x1o"] * 3, max_bond=2, seed=0).canonicalize(1)
    # The one-line drawing has 3 marks and 4 wires of 11.
    assert draw(chain, 47) == draw(chain, 80)
    stacked = draw(chain, 46).splitlines()
    assert [line.split() for line in stacked] == [
        ["2x0e", "2x0e"],
        ["1x0e", "1x1o", "1x1o", "1x0e"],
        ["──────>──────●──────<──────"],
        ["│", "│", "│"],
        ["2x0e"] * 3,
        ["1x1o"] * 3,
    ]


@pytest.mark.parametrize("max_width", [52, 60, 79, 80, 100, 133])
@pytest.mark.parametrize("center", [None, 0, 2, 50, 99])
def test_a_long_chain_shows_its_ends_within_the_width(max_width, center):
    chain = Chain.random(["2x0e+1x1o"] * 100, max_bond=2, seed=0)
    chain = Chain(chain.cores, center=center)
    text = draw(chain, max_width)
    lines = text.splitlines()
    assert max(map(len, lines)) <= max_width
    wire = next(line for line in lines if "─" in line)
    # As wide as it can be: another site takes 7 columns, and the note up to 9 more.
    assert len(wire) > max_width - 16
    first, last = map(int, re.search(r"… sites (\d+) to (\d+)", wire).groups())
    shown = len(re.findall(r"[<>○]|(?<!, )●", wire))
    assert shown == first + 99 - last
    assert abs(first - (99 - last)) <= 1
    assert text.count("│") == shown
    assert ("●" in wire) == (center is not None)
    if center is not None and first <= center <= last:
        assert f"● {center} …" in wire
    if center == 99:
        assert wire.count(">") == shown - 1


def test_two_sites_are_never_elided():
    chain = Chain.random(["2x0e+1x1o"] * 2, seed=0)
    assert "…" not in draw(chain, 5)


def test_the_width_is_that_of_the_terminal(monkeypatch):
    chain = Chain.random(["2x0e+1x1o"] * 100, max_bond=2, seed=0)
    for columns in (60, 120):
        monkeypatch.setenv("COLUMNS", str(columns))
        widest = max(map(len, draw(chain).splitlines()))
        assert columns - 16 < widest <= columns


def test_a_leg_without_irreps():
    text = chain_diagram([Irreps("")] * 2, [Irreps("0e")] * 3, None, max_width=10)
    assert text.count("○") == 2


def test_elision_keeps_the_number_of_items():
    for n in range(12):
        head, hidden, tail = elide(range(n), 6)
        assert [*head, *range(len(head), len(head) + hidden), *tail] == list(range(n))
        assert len(head) + len(tail) <= 6


class Table(HTMLParser):
    """Rows of a table; fails where tags do not match."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.stack: list[str] = []
        self.feed(text)
        assert not self.stack

    def handle_starttag(self, tag, attrs):
        assert not attrs
        self.stack.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        assert self.stack.pop() == tag

    def handle_data(self, data):
        if self.stack[-1] in ("td", "th"):
            self.rows[-1][-1] += data


def test_the_table_of_a_chain():
    chain = Chain.random(["2x0e+1x1o"] * 3, max_bond=2, seed=0).canonicalize(1)
    head, *rows, total = Table(html(chain)).rows
    assert head == ["core", "gauge", "leg", "leg", "leg", "parameters", "entries"]
    assert [row[1] for row in rows] == [">", "●", "<"]
    assert rows[1][2:5] == ["b1: 2x0e+1x1o", "x1: 2x0e+1x1o", "b2: 2x0e+1x1o"]
    assert [row[5] for row in rows] == ["5", "14", "5"]
    assert total == ["total", "", "", "", "", "24", "175"]
    assert "orthogonality center: 1" in html(chain)
    assert "not canonical" in html(Chain(chain.cores))


def test_the_table_of_a_wiring_is_escaped_and_even():
    cores = [Core.random(["1x0e"] * order, seed=0) for order in (1, 2)]
    wiring = Wiring(cores, [("<b>&",), ("<b>&", "y")])
    rows = Table(html(wiring)).rows
    assert {len(row) for row in rows} == {5}
    assert rows[1] == ["0", "<b>&: 1x0e", "", "1", "1"]
    assert "<b>" not in html(wiring)


def test_the_table_of_a_long_chain_is_elided():
    chain = Chain.random(["2x0e+1x1o"] * 100, max_bond=2, seed=0)
    rows = Table(html(chain)).rows
    assert len(rows) == 23
    assert {len(row) for row in rows} == {7}
    assert ["…", "80 more"] in [row[:2] for row in rows]
    assert rows[-1][5] == f"{chain.n_parameters:,}"
