"""Sphinx: docs/ as HTML, with every link between pages checked. `sphinx-build -W -n docs docs/_build` (make docs)."""

from __future__ import annotations

import re

from sphinx.application import Sphinx

project = "mmprm"
author = "the mmprm authors"
copyright = "the mmprm authors"

extensions = ["myst_parser"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = "mmprm"
html_show_sphinx = False

# Pages are read on a forge as well, so that anchors are those which a forge makes of headings.
myst_heading_anchors = 3
nitpicky = True


def add_toctree(app: Sphinx, docname: str, source: list[str]) -> None:
    """Make the sidebar from the list of links of an index page: a toctree would be a block of code on a forge."""
    if docname.rpartition("/")[2] == "index":
        pages = re.findall(r"^(?:-|\|) \[[^]]+\]\((\S+)\.md\)", source[0], flags=re.MULTILINE)
        source[0] += "\n".join(["", "```{toctree}", ":hidden:", "", *pages, "```", ""])


def setup(app: Sphinx) -> None:
    app.connect("source-read", add_toctree)
