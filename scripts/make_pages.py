"""Make docs/models: a page and a drawing for each paper, the picture of the zoo, the index in README.md.

    python scripts/make_pages.py           # write
    python scripts/make_pages.py --check   # exit 1 when something is out of date

Numbers come from the registry, words from scripts/pages/ideas.toml and the docstrings of the papers' files.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from make_docs import PART
from pages import zoo_picture
from pages.family import ROOT, WORDS, members, page

from depthwise.models.create import create_model
from depthwise.models.registry import PAPERS, model_info
from depthwise.report.block_drawing import draw_blocks, panel_of
from depthwise.report.drawing import draw_network, rounded
from depthwise.report.pieces import pieces_of

FOLDER = ROOT / "docs/models"


def drawing(paper: str) -> str:
    """Return a paper's blocks, or one of its networks where it has none, as an SVG file."""
    words = WORDS[paper]
    if "blocks" in words:
        return draw_blocks(words["title"], [panel_of(*block) for block in words["blocks"]])
    spec = model_info(words["network"])
    with torch.device("meta"):
        model = create_model(spec.name)
    shape = (spec.in_channels, spec.image_size, spec.image_size)
    return draw_network(spec.name, shape, pieces_of(model, spec.image_size, spec.in_channels))


def index() -> str:
    """Return a line for each paper."""
    lines = [
        "| network | year | names | parameters | multiply-adds | paper's top-1 | best public top-1 |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for paper in PAPERS:
        rows = members(paper)
        specs = [row.spec for row in rows]
        cells = (
            f"[{WORDS[paper]['title']}]({paper}.md)",
            _range([str(spec.year) for spec in specs]),
            str(len(rows)),
            _range([rounded(params) for params in sorted(spec.params for spec in specs)]),
            _range([rounded(macs) for macs in sorted(spec.macs for spec in specs)]),
            _range([f"{top1:.1f} %" for top1 in sorted(spec.top1 for spec in specs if spec.top1)]),
            _range([f"{top1:.1f} %" for top1 in sorted(r.public.top1 for r in rows if r.public and r.public.top1)]),
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _range(values: Sequence[str]) -> str:
    if not values:
        return "-"
    return values[0] if values[0] == values[-1] else f"{values[0]} to {values[-1]}"


def files() -> dict[Path, str]:
    """Return every file with what it should hold."""
    readme = FOLDER / "README.md"
    made = {readme: PART.sub(lambda part: f"{part[1]}{index()}\n{part[3]}", readme.read_text(encoding="utf-8"))}
    made[FOLDER / "zoo.svg"] = zoo_picture.draw()
    for paper in PAPERS:
        made[FOLDER / f"{paper}.md"] = page(paper)
        made[FOLDER / f"{paper}.svg"] = drawing(paper)
    return made


def main(*, is_check: bool) -> int:
    """Write every file anew, or tell which are out of date; return the exit status."""
    made = files()
    stale = [path for path, text in made.items() if not path.exists() or path.read_text(encoding="utf-8") != text]
    left = [path for path in sorted(FOLDER.iterdir()) if path not in made]
    if not is_check:
        for path in stale:
            path.write_text(made[path], encoding="utf-8")
    named = ", ".join(str(path.relative_to(ROOT)) for path in stale)
    if stale:
        print(f"{'out of date' if is_check else 'written'}: {named}" + "; run: make format" * is_check)
    if left:
        print(f"nothing makes: {', '.join(str(path.relative_to(ROOT)) for path in left)}; delete it")
    return int(bool(left) or (is_check and bool(stale)))


if __name__ == "__main__":
    sys.exit(main(is_check="--check" in sys.argv[1:]))
