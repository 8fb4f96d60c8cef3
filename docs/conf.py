"""The site made of these pages. Build: ``make docs``, which is strict: a warning is an error."""

import tomllib
from pathlib import Path

project = "Tintype"
author = "The Tintype authors"
project_copyright = "The Tintype authors, Apache-2.0"
pyproject = Path(__file__).parents[1] / "pyproject.toml"
release = version = tomllib.loads(pyproject.read_text())["project"]["version"]
del pyproject

extensions = ["myst_parser"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build"]
nitpicky = True  # a reference that leads nowhere is a warning
suppress_warnings = ["misc.highlighting_failure"]  # excerpts with "…" are no whole JSON; tests look at them

myst_heading_anchors = 4  # links into pages are written as GitHub writes them
myst_links_external_new_tab = False

html_theme = "furo"  # system fonts, no script or style from elsewhere
html_title = f"Tintype {release}"
html_show_sphinx = False
html_copy_source = False
html_use_index = False
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_theme_options = {"navigation_with_keys": True, "top_of_page_buttons": []}
