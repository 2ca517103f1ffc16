"""The documentation site: `make docs` builds it from these pages and the docstrings, with every warning an error."""

import re
import sys
from pathlib import Path

from sphinx.application import Sphinx

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

project = "mcdist"
author = "the mcdist authors"
project_copyright = "the mcdist authors, Apache-2.0"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_copybutton", "settings_table"]
exclude_patterns = ["_build"]
nitpicky = True
# Names that the reference does not describe: other libraries', since nothing is fetched while the site is built, and inner rooms'.
nitpick_ignore_regex = [("py:.*", r"(?!mcdist\.(ops|trained|types|records|run_dir|errors|proposals)\b).*")]

myst_enable_extensions = ["colon_fence", "attrs_block"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
python_maximum_signature_line_length = 88
python_use_unqualified_type_names = True
add_module_names = False
napoleon_google_docstring = True
copybutton_exclude = ".linenos, .gp"

html_theme = "furo"
html_title = "mcdist"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_favicon = "_static/mark.svg"
html_show_sourcelink = False
html_copy_source = False
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#1f6fbf", "color-brand-content": "#1f6fbf"},
    "dark_css_variables": {"color-brand-primary": "#5aa2ea", "color-brand-content": "#7ab6f0"},
    "footer_icons": [],
}


def _plain_text(app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    """`x` in a docstring is code, also in front of a letter, and |x| is a length: reStructuredText would read them otherwise."""
    code = [re.sub(r"(?<!`)`([^`]+)`(?!`)", r"``\1``\\ ", line) for line in lines]
    lines[:] = [line.replace("|", "\\|") if "``" not in line else line for line in code]
    if what in ("attribute", "property", "data") and ": " in lines[0]:
        lines[0:1] = lines[0].replace(": ", ":\n", 1).split("\n")  # napoleon takes what comes before a colon in a line for a type


def setup(app: Sphinx) -> None:
    """Docstrings are plain text with Google's sections."""
    app.connect("autodoc-process-docstring", _plain_text, priority=400)
