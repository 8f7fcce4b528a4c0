"""The site of the documentation (Sphinx): make site. Every warning, such as a broken link, is an error."""

project = "depthwise"
copyright = "the depthwise authors, Apache-2.0"
extensions = ["myst_parser"]
exclude_patterns = ["README.md"]  # index.md includes it
suppress_warnings = ["toc.not_included"]  # the networks' pages are reached from their table
myst_heading_anchors = 3  # links to headings, as GitHub makes them
html_theme = "furo"
html_title = "depthwise"
html_show_sourcelink = False
html_copy_source = False
