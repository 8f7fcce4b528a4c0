"""Defective solar cells: audit, split, train, threshold and test, by the commands of docs/solar_cells.md.

    pip install elpv-dataset
    python bench/elpv.py PLACE                                      # everything that is not done yet; hours
    python bench/elpv.py PLACE --only leak-proof/finetune/0         # one run: SPLIT/METHOD/SEED

Each finished run is kept at once in bench/results/elpv.json and not made again; PLACE keeps photos and runs, and a run
that was stopped goes on (its time is then not told). A seed deals the photos out and starts the training.
Splits, 64 / 11 / 25 % of each class: `random` deals single photos, as the data set's paper; `leak-proof` is
`depthwise split`, which keeps photos of the same shot on one side.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import record

from depthwise.data.index import read_index, write_manifest
from depthwise.data.split import stratified_split

CLASSES = {"functional": ("defect_000", "defect_033"), "defective": ("defect_067", "defect_100")}
"""The experts' probability of a defect, in percent; above 0.5 a cell is defective."""
VALID, TEST = 0.11, 0.25
METHODS = {
    "finetune": (),  # what is chosen without a flag
    "linear-probe": ("--recipe", "linear-probe"),
    "scratch": ("--recipe", "scratch-224", "--model", "mobilenet_v3_small"),
}
SPLITS, SEEDS = ("leak-proof", "random"), (0, 1, 2)
MISS_RATES = (0.05, 0.01)
"""Tried on validation photos; the last one stays, and the test photos are read with it, once."""


class Trial(NamedTuple):
    """One run."""

    split: str
    method: str
    seed: int

    @property
    def name(self) -> str:
        """SPLIT/METHOD/SEED."""
        return "/".join(map(str, self))


TRIALS = [Trial(split, method, seed) for seed in SEEDS for method in METHODS for split in SPLITS]


def call(*arguments: str | Path, ok: tuple[int, ...] = (0,)) -> tuple[str, float]:
    """Run one of our commands; return what it printed and its seconds."""
    started = time.perf_counter()
    command = [sys.executable, "-m", "depthwise", *map(str, arguments)]
    done = subprocess.run(command, check=False, stdout=subprocess.PIPE, text=True)
    if done.returncode not in ok:
        raise SystemExit(f"exit status {done.returncode}: {' '.join(command)}\n{done.stdout}")
    return done.stdout, round(time.perf_counter() - started, 1)


def prepare(place: Path, elpv: Path | None) -> dict[str, Any]:
    """Make PLACE/photos with a folder per class, unless it is there; return what an audit finds in it."""
    photos, cells = place / "photos", place / "cells"
    if not photos.exists():
        if not cells.exists():
            call("datasets", "get", "elpv", cells, *(("--from", elpv) if elpv else ()))
        half = place / "photos.partial"
        for name, degrees in CLASSES.items():
            for degree in degrees:
                (half / name).mkdir(parents=True, exist_ok=True)
                if (cells / degree).exists():  # else moved by an earlier start
                    (cells / degree).rename(half / name / degree)
        half.rename(photos)
    found = json.loads(call("audit", photos, "--json", ok=(0, 1))[0])
    return {"photos": found["classes"], "found": found["counts"]}


def deal(trial: Trial, place: Path) -> Path:
    """Return the trial's manifest, made where there is none."""
    manifest = place / f"{trial.split}-{trial.seed}.csv"
    if manifest.exists():
        return manifest
    if trial.split == "leak-proof":
        shares = ("--valid", str(VALID), "--test", str(TEST), "--seed", str(trial.seed))
        call("split", place / "photos", "--out", manifest, *shares)
        return manifest
    records = read_index(place / "photos").records
    units = [sha256(record.path.name.encode()).hexdigest() for record in records]  # nothing is kept together
    splits = stratified_split(units, [r.label for r in records], valid=VALID, test=TEST, seed=trial.seed)
    write_manifest(manifest, [replace(r, split=s) for r, s in zip(records, splits, strict=True)])
    return manifest


def parts(out: Path) -> list[tuple[Path, bool]]:
    """Return the run's folder, and that of a stage before it; each with whether it trained all layers."""
    is_probe = "linear-probe" in out.name
    return [(out / "head", False), (out, True)] if (out / "head").exists() else [(out, not is_probe)]


def best_of(folder: Path) -> float:
    """Return the best validation accuracy of a run's epochs."""
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return max(float(json.loads(line)["valid_top1"]) for line in lines)


def run(trial: Trial, place: Path, threads: int | None) -> dict[str, Any]:
    """Train, set the threshold on validation photos, read the test photos once, export and predict."""
    out = place / trial.name.replace("/", "-")
    is_begun = out.exists()
    flags = (*METHODS[trial.method], "--seed", str(trial.seed), *(("--threads", str(threads)) if threads else ()))
    said, train_s = call("train", deal(trial, place), "--out", out, *flags, "--resume", "auto")
    if trial.method == "finetune" and not is_begun and "Recipe finetune:" not in said:
        raise SystemExit(f"another recipe was chosen:\n{said}")
    rules = []
    for rate in MISS_RATES:
        text, _ = call("calibrate", out, "--positive", "defective", "--max-miss-rate", str(rate), "--json")
        rules.append(json.loads(text)["decision"]["miss"])
    found = json.loads(call("evaluate", out, "--split", "test", "--json")[0])
    call("export", out, "--out", out / "model.onnx", "--overwrite")
    _, predict_s = call("predict", out / "model.onnx", place / "photos", "--out", out / "answers.csv", "--overwrite")
    keep = ("top1", "loss", "num_images", "confusion", "classes", "decision", "test_reads")
    return {
        **trial._asdict(),
        "cores": threads or len(os.sched_getaffinity(0)),
        "train_s": None if is_begun else train_s,
        "predict_s": predict_s,
        "file_mb": round((out / "model.onnx").stat().st_size / 1e6, 1),
        "rules": rules,
        "valid_top1": {"all layers" if is_last else "last layer": best_of(run) for run, is_last in parts(out)},
        "test": {name: found[name] for name in keep} | {"top1_interval": found["intervals"]["top1"]},
        **record.stamp(),
    }


def main(asked: argparse.Namespace) -> None:
    """Make the runs that are asked for and not yet recorded."""
    cache = asked.place / "cache"
    os.environ["DEPTHWISE_CACHE"] = str(cache)
    kept = record.RESULTS / "elpv.json"
    rows = json.loads(kept.read_text(encoding="utf-8"))["rows"] if kept.exists() else []
    done = {Trial(row["split"], row["method"], row["seed"]).name for row in rows}
    wanted = [trial for trial in TRIALS if trial.name in (asked.only or {t.name for t in TRIALS} - done)]
    asked.place.mkdir(parents=True, exist_ok=True)
    data = prepare(asked.place, asked.elpv)
    for trial in wanted:
        if trial.name in done:
            print(f"{trial.name}: recorded")
            continue
        os.environ["DEPTHWISE_CACHE"] = str(cache / trial.name)  # times are those of a first run
        rows.append(run(trial, asked.place, asked.threads))
        rows.sort(key=lambda row: [t.name for t in TRIALS].index(f"{row['split']}/{row['method']}/{row['seed']}"))
        record.write("elpv", {"data": data, "valid": VALID, "test": TEST, "rows": rows})


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("place", type=Path, help="folder for photos and runs")
    parser.add_argument("--elpv", type=Path, help="the package's folder data/, where it is not installed here")
    parser.add_argument("--only", nargs="+", choices=[trial.name for trial in TRIALS], metavar="SPLIT/METHOD/SEED")
    parser.add_argument("--threads", type=int, help="cores to train with; default: all")
    main(parser.parse_args())
