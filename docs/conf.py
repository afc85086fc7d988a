"""Configuration of the documentation: ``python -m sphinx -W -b html docs docs/_build/html``."""

from __future__ import annotations

import re
from typing import Any

import etn

project = "etn"
author = "the etn developers"
copyright = "2026, the etn developers"
release = etn.__version__
version = release

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.mathjax",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
    "sphinx_design",
]
exclude_patterns = ["_build", "jupyter_execute", "**.ipynb_checkpoints"]

html_theme = "furo"
html_title = f"etn {release}"
html_static_path = ["_static"]
html_css_files = ["custom.css"]

# Pages with a kernel in their header run from top to bottom at every build; an error fails it.
myst_enable_extensions = ["amsmath", "colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
nb_execution_mode = "force"
nb_execution_timeout = 300
nb_execution_raise_on_error = True
nb_execution_show_tb = True
nb_merge_streams = True
nb_render_markdown_format = "myst"  # what cells make as Markdown may hold tables

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_default_options = {"members": True, "show-inheritance": True}
napoleon_google_docstring = False
napoleon_use_ivar = True
napoleon_use_rtype = False

# Prompts and outputs of doctest examples are not copied.
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

# Literals and inline mathematics, which keep their vertical bars.
_LITERAL = re.compile(r"(``.*?``|:\w+:`[^`]*`)", re.DOTALL)


def escape_bars(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Escape |x|, which docstrings write for absolute values and reST takes for a name."""
    block: int | None = None  # indentation of the directive or "::" whose block the line is in
    example = False
    prose, kept = [], {}  # lines whose bars are escaped, and all others by number
    for number, line in enumerate(lines):
        text = line.strip()
        indent = len(line) - len(line.lstrip())
        example = bool(text) and (example or text.startswith(">>>"))
        if block is not None and text and indent <= block:
            block = None
        if block is not None or example:
            kept[number] = line
        elif text.startswith(".. math::") or text.endswith("::"):
            block, kept[number] = indent, line
        prose.append("" if number in kept else line)
    parts = _LITERAL.split("\0".join(prose))  # an item may hold several lines
    parts[::2] = [part.replace("|", "\\|") for part in parts[::2]]
    escaped = "".join(parts).split("\0")
    lines[:] = [kept.get(number, line) for number, line in enumerate(escaped)]


# Several attributes of one type, as numpydoc writes them; napoleon splits parameters only.
_ATTRIBUTES = re.compile(r"(\s*)(\w+(?:, \w+)+) : (.*)")


def split_attributes(
    app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]
) -> None:
    """Give each attribute of a line ``a, b : type`` an entry of its own."""
    section, found = "", []
    for number, line in enumerate(lines):
        if re.fullmatch(r"\s*-{4,}", line):
            section = lines[number - 1].strip()
        match = _ATTRIBUTES.fullmatch(line) if section == "Attributes" else None
        if match is None:
            found.append(line)
            continue
        indent, names, kind = match.groups()
        *first, last = names.split(", ")
        for attribute in first:
            found += [f"{indent}{attribute} : {kind}", f"{indent}    See {last}."]
        found.append(f"{indent}{last} : {kind}")
    lines[:] = found


def setup(app: Any) -> None:
    app.connect("autodoc-process-docstring", split_attributes, priority=400)  # before napoleon
    app.connect("autodoc-process-docstring", escape_bars)


# Shapes in type descriptions, "(dim, cp_rank) ndarray", name attributes of several classes; they
# are no references.
suppress_warnings = ["ref.python"]
