"""Check built pages: no markup left raw, every public name in the reference.

    python .ci/check_pages.py docs/_build/html

Sphinx warns of what it cannot parse; it does not warn of Markdown that a page shows as plain text.
"""

from __future__ import annotations

import re
import sys
from html.parser import HTMLParser
from importlib import import_module
from pathlib import Path
from types import ModuleType

# Packages whose public names the reference has, each in a page of its concept.
PACKAGES = (
    "backend", "data", "errors", "io", "native", "network", "o3", "plot", "potential",
    "potential.message_passing", "product", "sweep", "tensor", "testing",
)  # fmt: skip
# Tables (whose "---" typography makes a dash), fences, links and roles that no parser has seen, and
# what the theme complains of.
RAW = re.compile(
    r"\|\s*:?(?:-{3}|[–—]).*|^\s*(?:`{3}|:{3})|\]\([^)\s]+\)|\{\w+\}`|^ERROR: .*", re.MULTILINE
)
# Code shows markup on purpose, mathematics is set by the browser.
LITERAL = {"code", "pre", "script", "style", "title"}


class Text(HTMLParser):
    """Text of a page outside of code and mathematics."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[tuple[str, bool]] = []
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in {"br", "hr", "img", "input", "link", "meta", "path", "use", "wbr"}:
            return
        names = (dict(attrs).get("class") or "").split()
        inside = bool(self.open) and self.open[-1][1]
        self.open.append((tag, inside or tag in LITERAL or "math" in names))

    def handle_endtag(self, tag: str) -> None:
        while self.open and any(tag == name for name, _ in self.open):
            if self.open.pop()[0] == tag:
                break

    def handle_data(self, data: str) -> None:
        if not (self.open and self.open[-1][1]):
            self.found.append(data)


def raw_markup(page: Path) -> list[str]:
    """Pieces of markup in the text of a page."""
    parser = Text()
    parser.feed(page.read_text(encoding="utf-8"))
    text = "".join(parser.found)
    return [text[m.start() : m.start() + 60].split("\n")[0].strip() for m in RAW.finditer(text)]


def missing_names(folder: Path) -> list[str]:
    """Public names that no page of the reference describes, under this or another name."""
    described = set()
    for page in (folder / "api").glob("*.html"):
        described |= set(re.findall(r'id="(etn\.[\w.]*)"', page.read_text(encoding="utf-8")))
    objects = [found(name) for name in described]
    missing = []
    for package in map("etn.{}".format, PACKAGES):
        module = import_module(package)
        for name in getattr(module, "__all__", ()):
            value = getattr(module, name)
            if isinstance(value, ModuleType) or f"{package}.{name}" in described:
                continue
            if not any(value is one for one in objects):
                missing.append(f"{package}.{name}")
    return missing


def found(name: str) -> object:
    """What a full name stands for; None for what is no member of a module."""
    module, _, last = name.rpartition(".")
    try:
        return getattr(import_module(module), last)
    except (ImportError, AttributeError):
        return None


def main() -> int:
    """Print what is wrong; the exit code says whether anything is."""
    folder = Path(sys.argv[1])
    pages = sorted(folder.rglob("*.html"))
    faults = [f"{page}: {what}" for page in pages for what in raw_markup(page)]
    faults += [f"not in the reference: {name}" for name in missing_names(folder)]
    print("\n".join(faults) or "pages: no raw markup, every public name in the reference")
    return bool(faults)


if __name__ == "__main__":
    sys.exit(main())
