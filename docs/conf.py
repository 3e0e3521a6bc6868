"""Sphinx: `sphinx-build -W -b html docs docs/_build` makes the pages; they read as plain Markdown on a forge too."""

project = "mmprm"
copyright = "2026, the mmprm developers"
extensions = ["myst_parser"]
exclude_patterns = ["_build"]
myst_heading_anchors = 3
html_theme = "furo"
html_title = "mmprm"
nitpicky = True
