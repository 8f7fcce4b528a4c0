"""Whether bfloat16 and fused kernels cost accuracy: Fashion-MNIST, three seeds of each. Goes on where it was stopped.

    python bench/precision.py FOLDER [--data D] [--seconds 600]    # FOLDER gets runs, and data unless D has it; an hour
    python bench/precision.py FOLDER --trial --data D              # D: a small folder; nothing is recorded for the docs

Every way has the same seeds, hence weights, order and crops. `--seconds` stops after the run in which they are over.
"""

import argparse
import json
import time
from itertools import product
from pathlib import Path
from typing import Any

import record

import depthwise as dw

MODELS: dict[str, tuple[str, ...]] = {"mobilenet_v1_x0_25": (), "mobilenet_v3_small": ("width=0.5",)}
"""With their options."""
SEEDS = (0, 1, 2)
WAYS: dict[str, dict[str, Any]] = {
    "float32": {"precision": "fp32", "kernels": "torch"},
    "bfloat16, fused": {"precision": "bf16", "kernels": "fused"},
    "bfloat16": {"precision": "bf16", "kernels": "torch"},
    "float32, fused": {"precision": "fp32", "kernels": "fused"},
}


def main(folder: Path, data: Path, epochs: int, name: str, seconds: float, threads: int | None) -> None:
    """Train and test what is not yet in FOLDER/NAME.json; record the whole after each run."""
    kept, started = folder / f"{name}.json", time.perf_counter()
    rows: list[dict[str, Any]] = json.loads(kept.read_text()) if kept.exists() else []
    for way, model, seed in product(WAYS, MODELS, SEEDS):
        setting = {"model": model, "options": list(MODELS[model]), "seed": seed, "way": way, "epochs": epochs}
        if any(setting.items() <= row.items() for row in rows) or time.perf_counter() - started > seconds:
            continue
        out = folder / f"{model}-{seed}-{way.replace(', ', '-')}"
        config = dw.TrainConfig(model=model, set=MODELS[model], epochs=epochs, seed=seed, **WAYS[way])
        dw.train(data, out, config, resume="auto", threads=threads)
        scores = dw.evaluate(out, data, "test").scores
        lines = map(json.loads, (out / "timings.jsonl").read_text().splitlines())
        speeds = [line["images_per_s"] for line in lines if "images_per_s" in line]
        rows.append({**setting, "top1": scores.top1, "loss": scores.loss, "images_per_s": max(speeds)})
        print(rows[-1], flush=True)
        kept.write_text(json.dumps(rows))
        record.write(name, {"epochs": epochs, "threads": threads, "seeds": list(SEEDS), "rows": rows}, is_quiet=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--data", type=Path, help="a folder with train/ and test/, in place of fetching Fashion-MNIST")
    parser.add_argument("--trial", action="store_true", help="keep the result apart from what the docs show")
    parser.add_argument("--seconds", type=float, default=float("inf"))
    parser.add_argument("--threads", type=int)
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True, exist_ok=True)
    where = asked.data or asked.folder / "fm"
    if not where.exists():
        from depthwise.cli import run

        run(["datasets", "get", "fashion-mnist", str(where)])
    main(
        asked.folder,
        where,
        asked.epochs,
        "precision_trial" if asked.trial else "precision",
        asked.seconds,
        asked.threads,
    )
