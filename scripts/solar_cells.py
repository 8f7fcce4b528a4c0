"""The generated parts of docs/solar_cells.md. What bench/elpv.py has not run yet is said to be missing."""

from collections.abc import Iterable
from statistics import mean
from typing import Any

from measured import newest, witness

MISSING = "not yet run"
TITLES = {
    "finetune": "EfficientNet-Lite0, last layer, then all layers",
    "linear-probe": "EfficientNet-Lite0, last layer only",
    "scratch": "MobileNetV3-Small from scratch",
}
SPLITS = ("leak-proof", "random")
PAPER = (("VGG-19, fine-tuned (Deitsch et al. 2019)", 0.8842), ("SVM on hand-made features (the same)", 0.8244))


def runs(found: Any, method: str, split: str) -> list[Any]:
    """Return the runs that there are, by seed."""
    rows = [row for row in found["rows"] if (row["method"], row["split"]) == (method, split)] if found else []
    return sorted(rows, key=lambda row: row["seed"])


def accuracy(rows: list[Any]) -> str:
    """Return the accuracy of one run with its interval, of several their mean and each."""
    if not rows:
        return MISSING
    top1 = [row["test"]["top1"] for row in rows]
    if len(rows) == 1:
        low, high = rows[0]["test"]["top1_interval"]
        return f"{top1[0]:.1%} ({low:.1%} to {high:.1%})"
    return f"{mean(top1):.1%} ({', '.join(f'{share:.1%}' for share in top1)})"


def elpv_accuracy() -> str:
    """Return the test accuracy of each way on both splits, beside the paper's."""
    found = newest("elpv")
    rows = [
        f"| {title} | {accuracy(runs(found, method, 'random'))} | {accuracy(runs(found, method, 'leak-proof'))} |"
        for method, title in TITLES.items()
    ]
    rows += [f"| {title} | {share:.2%} | |" for title, share in PAPER]
    note = "One run: with its 95 % interval; several: their mean, and each seed's."
    return "\n".join(
        [
            "| | random split, as the paper | leak-proof split |",
            "|---|---|---|",
            *rows,
            "",
            f"{note} `bench/elpv.py`, {witness(found)}." if found else "`bench/elpv.py` has not been run.",
        ]
    )


def _share(rows: list[Any]) -> str:
    if len(rows) > 1:
        return f"{mean(row['test']['top1'] for row in rows):.1%} (mean of {len(rows)} seeds)"
    low, high = rows[0]["test"]["top1_interval"]
    return f"{rows[0]['test']['top1']:.1%} (one run, 95 % interval {low:.1%} to {high:.1%})"


def elpv_short() -> str:
    """Return one sentence on photos without a flag."""
    found = newest("elpv")
    rows = [runs(found, "finetune", split) for split in SPLITS]
    if not all(rows):
        return f"Solar cells: {MISSING}."
    kept, random = (_share(some) for some in rows)
    minutes = mean(row["train_s"] for row in rows[0] if row["train_s"]) / 60
    return (
        f"Photos of solar cells, good or defective, `depthwise train` without a flag: {kept} of the test photos right "
        f"after {minutes:.0f} minutes. On a random split, as in the paper, {random}; the paper's VGG-19 had "
        f"{PAPER[0][1]:.1%} ([worked example](docs/solar_cells.md); {witness(found)})."
    )


def elpv_stages() -> str:
    """Return which stage of fine-tuning did better on the validation photos, run by run."""
    found = newest("elpv")
    rows = [row for split in SPLITS for row in runs(found, "finetune", split) if "valid_top1" in row]
    lines = []
    for row in rows:
        head, whole = row["valid_top1"]["last layer"], row["valid_top1"]["all layers"]
        kept = "all layers were kept" if whole > head else "the last layer alone was kept"
        lines.append(
            f"- {row['split']} split, seed {row['seed']}: last layer {head:.1%} of the validation photos, "
            f"all layers {whole:.1%}; {kept}."
        )
    return "\n".join(lines) or MISSING


def count(values: Any) -> str:
    """Return a share with its interval, as evaluate --json gives it."""
    low, high = values["interval"]
    return f"{values['hits']} of {values['num']} ({low:.1%} to {high:.1%})"


def rule_rows(title: str, row: Any) -> Iterable[str]:
    """Yield a line per wanted miss rate; the test photos were read with the last of them."""
    for rule in row["rules"]:
        is_last = rule is row["rules"][-1]
        tested = [count(row["test"]["decision"][name]) if is_last else "" for name in ("misses", "false_alarms")]
        yield (
            f"| {title} | {rule['max_miss_rate']:.0%} | {rule['threshold']:.1%} "
            f"| {rule['num_missed']} of {rule['num_images']} | {rule['bound']:.1%} "
            f"| {rule['num_false_alarms']} of {rule['num_others']} | {tested[0]} | {tested[1]} |"
        )


def elpv_rule() -> str:
    """Return thresholds for the class that must not be missed, on the leak-proof split, first seed."""
    found, lines = newest("elpv"), []
    for method, title in TITLES.items():
        rows = runs(found, method, "leak-proof")
        lines += list(rule_rows(title, rows[0])) if rows else [f"| {title} | {MISSING} | | | | | | |"]
    return "\n".join(
        [
            "| | wanted | threshold | missed, validation | may be missed | false alarms, validation "
            "| missed, test | false alarms, test |",
            "|---|---:|---:|---:|---:|---:|---|---|",
            *lines,
            "",
            "Leak-proof split, first seed. *May be missed*: with certainty 95 %, by the validation photos; in brackets "
            "95 % intervals of the test.",
        ]
    )


def elpv_cost() -> str:
    """Return seconds and sizes."""
    found, lines = newest("elpv"), []
    for method, title in TITLES.items():
        rows = [row for split in SPLITS for row in runs(found, method, split) if row["train_s"]]
        if not rows:
            lines.append(f"| {title} | {MISSING} | | | |")
            continue
        row = max(rows, key=lambda row: int(row["cores"]))  # of equals the first
        photos = sum(found["data"]["photos"].values())
        lines.append(
            f"| {title} | {row['train_s'] / 60:.1f} min | {row['cores']} "
            f"| {row['predict_s']:.0f} s for {photos:,} photos | {row['file_mb']} MB |"
        )
    return "\n".join(
        [
            "| | training | cores | whole `predict` of the exported file | its size |",
            "|---|---:|---:|---:|---:|",
            *lines,
            "",
            f"{witness(found)}." if found else "`bench/elpv.py` has not been run.",
        ]
    )


PARTS = {part.__name__: part for part in (elpv_short, elpv_accuracy, elpv_stages, elpv_rule, elpv_cost)}
