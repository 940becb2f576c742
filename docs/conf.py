"""Sphinx: `sphinx-build -W docs build/docs` makes the pages."""

from eca_keras.version import __version__

project = "eca-keras"
author = "the eca-keras contributors"
version = release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
html_theme = "furo"
html_title = "eca-keras"
exclude_patterns = ["studies/*/results"]

# Headings of level 3 and above can be linked to, as on GitHub.
myst_heading_anchors = 3
# Links to files outside this folder stay what they are.
suppress_warnings = ["myst.xref_missing"]

autodoc_member_order = "bysource"
autodoc_typehints = "none"
# Docstrings put names in single backticks.
default_role = "code"
