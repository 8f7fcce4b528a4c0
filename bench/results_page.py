"""What pages and recipes say of bench/results/results.json: made from it, and compared with it."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import record
from results import ROWS, Published, Row

ROOT = Path(__file__).parents[1]
NOT_YET = "not yet run"
MEASURED = "# Measured, "
"""How a recipe's line about a measurement begins."""
CELLS = {"finetune": "finetune", "linear-probe": "linear-probe", "scratch-224": "scratch"}
"""Recipes that bench/elpv.py runs on solar cells, with its names for them."""
NOT_RUN = "# Not run to its end here."
FIGURE = re.compile(r"`?(\w+)`? (\d+\.\d+) % of [\d,]+ test pictures")
"""The form of a test accuracy in prose and recipes, after its row's name."""
SLOPE_EPOCHS = 3
PICTURES_SIDE = 28
"""Fashion-MNIST's, px: the input's where nothing else is asked for."""
NOT_OWN = ("recipe", "model", "set", "most_epochs", "augmentation", "minutes", "threads", "versions")
"""What a plan's request has beside settings that differ from the recipe's."""
Found = dict[str, dict[str, Any]]


def read() -> Found:
    """Return the committed rows with a finished run, by name; none where there is no file."""
    path = record.RESULTS / "results.json"
    rows = json.loads(path.read_text(encoding="utf-8"))["rows"] if path.exists() else []
    return {row["name"]: row for row in rows if row["runs"]}


def top1_of(found: dict[str, Any]) -> float:
    """Return the mean test accuracy over the seeds."""
    return float(mean(run["top1"] for run in found["runs"]))


def minutes_of(found: dict[str, Any]) -> float:
    """Return the mean minutes of a run's training and validation."""
    return float(mean(run["minutes"] for run in found["runs"]))


def slope_of(found: dict[str, Any]) -> float | None:
    """Return by how many points validation accuracy rose per epoch at the end, mean of the seeds; None: one epoch."""
    slopes = []
    for run in found["runs"]:
        last = run["last_valid_top1"][-SLOPE_EPOCHS - 1 :]
        slopes += [100 * (last[-1] - last[0]) / (len(last) - 1)] if len(last) > 1 else []
    return mean(slopes) if slopes else None


def table() -> str:
    """Return the table of all rows, and what it was measured with."""
    found = read()
    head = [
        "| family | network | px | parameters | multiply-adds | epochs | min | test top-1 | published | if below it |",
        "|---|---|---:|---:|---:|---:|---:|---|---|---|",
    ]
    return "\n".join([*head, *(_line(row, found.get(row.title)) for row in ROWS), "", _witness(found)])


def _line(row: Row, found: dict[str, Any] | None) -> str:
    published = f"{100 * row.published.top1:.1f} % ({row.published.network})" if row.published else "-"
    options = "".join(f", {option}" for option in row.settings.get("set", ()))
    name = f"`{row.network}`{options}" + (f" (recipe {row.recipe})" if row.name else "")
    if found is None:
        return f"| {row.family} | {name} | | | | | | {NOT_YET} | {published} | |"
    cells = [f"{found['image_size']}", f"{found['params']:,}", f"{found['macs']:,}", f"{found['plan']['epochs']}"]
    cells += [f"{minutes_of(found):.1f}", _accuracy(found), published, _distance(found, row.published)]
    return f"| {row.family} | {name} | {' | '.join(cells)} |"


def _accuracy(found: dict[str, Any]) -> str:
    runs = found["runs"]
    if len(runs) > 2:
        return f"{100 * top1_of(found):.2f} % ± {100 * stdev(run['top1'] for run in runs):.2f} ({len(runs)} seeds)"
    ends = (" to ".join(f"{100 * end:.1f}" for end in run["top1_interval"]) for run in runs)
    return "; ".join(f"{100 * run['top1']:.2f} % ({end})" for run, end in zip(runs, ends, strict=True))


def _distance(found: dict[str, Any], published: Published | None) -> str:
    if not published or top1_of(found) >= published.top1:
        return ""
    slope = slope_of(found)
    rate = "one epoch only" if slope is None else f"{slope:+.2f} an epoch at its end"
    return f"{100 * (top1_of(found) - published.top1):+.2f}; {rate}"


def _witness(found: Found) -> str:
    machines: dict[str, list[str]] = {}
    for name, row in found.items():
        machines.setdefault(described(row["machine"]), []).append(f"`{name}`")
    told = [f"{of} ({', '.join(names)})" if len(machines) > 1 else of for of, names in machines.items()]
    said = f"{len(found)} of {len(ROWS)} rows are run" + (f": {'; '.join(told)}." if told else ".")
    others = [f"`{row.title}`" for row in ROWS if row.title in found and is_of_another_plan(row, found[row.title])]
    return said + (f" Of an earlier plan, with fewer minutes: {', '.join(others)}." if others else "")


def described(machine: dict[str, Any]) -> str:
    """Return what a row was measured on, in words."""
    return f"{machine['cores']} cores of {machine['processor']}, Python {machine['python']}, torch {machine['torch']}"


def is_of_another_plan(row: Row, found: dict[str, Any]) -> bool:
    """Return whether a row was run when fewer minutes were planned for it."""
    return bool(found["plan"]["request"]["minutes"] < row.minutes)


def commands() -> str:
    """Return the command lines that repeat the first run of each row."""
    lines = [row["runs"][0]["command"] for row in read().values()]
    return "\n".join(["```console", *lines, "```"]) if lines else "No result is committed yet."


def figure(found: dict[str, Any]) -> str:
    """Return the line that a recipe's first comment has for a row."""
    num_images, seeds = found["runs"][0]["num_images"], len(found["runs"])
    epochs = found["plan"]["epochs"]
    took = f"{epochs} epoch{'s' * (epochs > 1)}, {minutes_of(found):.1f} min"
    accuracy = f"{100 * top1_of(found):.2f} % of {num_images:,} test pictures"
    request = found["plan"]["request"]
    others = {name: value for name, value in request.items() if name not in NOT_OWN}
    if others.get("image_size") == PICTURES_SIDE:
        del others["image_size"]
    own = "".join(f", {setting}" for setting in (*request["set"], *(f"{name}={others[name]}" for name in others)))
    return f"{MEASURED}Fashion-MNIST: {found['name']} {accuracy}, {took}, {seeds} seed{'s' * (seeds > 1)}{own}"


def cell_rows(recipe: str) -> list[dict[str, Any]]:
    """Return the runs of a recipe on solar cells, dealt out by depthwise split, each with its machine."""
    path = record.RESULTS / "elpv.json"
    whole = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"machine": {}, "rows": []}
    rows = [{"machine": whole["machine"], **row} for row in whole["rows"]]
    return [row for row in rows if (row["method"], row["split"]) == (CELLS.get(recipe), "leak-proof")]


def cell_figure(rows: list[dict[str, Any]]) -> str:
    """Return the line that a recipe's first comment has for these runs on solar cells."""
    accuracy = f"{100 * mean(row['test']['top1'] for row in rows):.1f} % of {rows[0]['test']['num_images']} test photos"
    times = [row["train_s"] / 60 for row in rows if row["train_s"]]
    took = f", {mean(times):.1f} min" if times else ""
    return f"{MEASURED}solar cells: {accuracy}{took}, {len(rows)} seed{'s' * (len(rows) > 1)} (docs/solar_cells.md)"


def recipes(root: Path) -> Iterator[tuple[Path, list[str], list[str]]]:
    """Yield each recipe's path, the lines of its first comment and its other lines."""
    for path in sorted((root / "src/depthwise/recipes").glob("*.toml")):
        lines = path.read_text(encoding="utf-8").splitlines()
        end = next((number for number, line in enumerate(lines) if not line.startswith("#")), len(lines))
        yield path, lines[:end], lines[end:]


def figures(recipe: str, found: Found) -> list[str]:
    """Return the lines that a recipe's first comment should have: the machine, then accuracy and time."""
    rows, cells = [found[row.title] for row in ROWS if row.recipe == recipe and row.title in found], cell_rows(recipe)
    told = [(f"{MEASURED}on {described(row['machine'])}:", figure(row)) for row in rows]
    told += [(f"{MEASURED}on {described(row['machine'])}:", cell_figure(cells)) for row in cells]
    by_machine: dict[str, dict[str, None]] = {}
    for machine, line in told:
        by_machine.setdefault(machine, {})[line] = None
    return [line for machine, lines in by_machine.items() for line in (machine, *lines)]


def differences(root: Path) -> Iterator[str]:
    """Yield what recipes and pages below `root` say otherwise than the committed results."""
    found = read()
    for path, comment, _ in recipes(root):
        said, wanted = [line for line in comment if line.startswith(MEASURED)], figures(path.stem, found)
        yield from (f"{path.name} says: {line}" for line in said if line not in wanted)
        yield from (f"{path.name} does not say: {line}" for line in wanted if line not in said)
        if not said and "not run" not in " ".join(comment).lower():
            yield f"{path.name} says neither what was measured nor that it was not run"
    for path in (root / "README.md", *sorted((root / "docs").rglob("*.md"))):
        yield from (f"{path.relative_to(root)}: {what}" for what in _wrong_figures(path.read_text("utf-8"), found))
    page = (root / "docs/results.md").read_text(encoding="utf-8").splitlines()
    wanted = [*table().splitlines(), *commands().splitlines()]
    rows = [line for line in page if re.match(r"\| .*`\w+`|depthwise train ", line)]
    words = " ".join(" ".join(page).split())  # prose is wrapped there
    yield from (f"docs/results.md does not say: {line}" for line in wanted if " ".join(line.split()) not in words)
    yield from (f"docs/results.md says: {line}" for line in rows if line not in wanted)


def _wrong_figures(text: str, found: Found) -> Iterator[str]:
    for match in FIGURE.finditer(text.replace("\n", " ")):
        name, said = match[1], match[2]
        decimals = len(said.partition(".")[2])
        right = f"{100 * top1_of(found[name]):.{decimals}f}" if name in found else f"no row {name}"
        if said != right:
            yield f"says {match[0]!r}; measured: {right}"


def verify(root: Path = ROOT) -> int:
    """Name each figure that is not what was measured; return the exit status: 1 where there is one."""
    wrong = list(differences(root))
    for line in wrong:
        print(line)
    print(f"{len(wrong)} differences from bench/results/results.json" if wrong else "all figures are what was measured")
    return int(bool(wrong))


def write(root: Path = ROOT) -> int:
    """Write the lines about what was measured into the recipes' first comments; return the exit status."""
    found = read()
    for path, comment, rest in recipes(root):
        lines = figures(path.stem, found)
        kept = [line for line in comment if not line.startswith(MEASURED) and line != NOT_RUN]
        is_silent = not lines and "not run" not in " ".join(kept).lower()
        path.write_text("\n".join([*kept, *lines, *[NOT_RUN] * is_silent, *rest]) + "\n", encoding="utf-8")
    return 0
