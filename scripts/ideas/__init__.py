"""The figures and numbers of docs/ideas, one module per idea; `scripts/make_ideas.py` puts them into the pages.

Each module has `numbers()`, which computes what is shown, `draw(figure, numbers)` and `text(numbers)`, the page's
generated part in Markdown.
"""
