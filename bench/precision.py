"""Whether bfloat16 and fused kernels cost accuracy: Fashion-MNIST, three seeds of each. Goes on where it was stopped.

    python bench/precision.py FOLDER                       # FOLDER gets data and runs; hours
    python bench/precision.py FOLDER --epochs 1 --data D   # try it on a small folder with train/ and test/

A run takes about as long as bench/fashion_mnist.py. Every way has the same seeds, hence weights, order and crops.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import record

import depthwise as dw

MODELS = ("mobilenet_v2", "mobilenet_v3_small")
SEEDS = (0, 1, 2)
WAYS: dict[str, dict[str, Any]] = {
    "float32": {"precision": "fp32", "kernels": "torch"},
    "bfloat16": {"precision": "bf16", "kernels": "torch"},
    "float32, fused": {"precision": "fp32", "kernels": "fused"},
    "bfloat16, fused": {"precision": "bf16", "kernels": "fused"},
}


def main(folder: Path, data: Path, epochs: int, name: str) -> None:
    """Train and test what is not yet in FOLDER/NAME.json; then record the whole."""
    kept = folder / f"{name}.json"
    rows: list[dict[str, Any]] = json.loads(kept.read_text()) if kept.exists() else []
    for model in MODELS:
        for seed in SEEDS:
            for way, settings in WAYS.items():
                setting = {"model": model, "seed": seed, "way": way, "epochs": epochs}
                if any(setting.items() <= row.items() for row in rows):
                    continue
                out = folder / f"{model}-{seed}-{way.replace(', ', '-')}"
                config = dw.TrainConfig(model=model, epochs=epochs, seed=seed, **settings)
                dw.train(data, out, config, resume="auto")
                scores = dw.evaluate(out, data, "test").scores
                speeds = [json.loads(line)["images_per_s"] for line in (out / "timings.jsonl").read_text().splitlines()]
                rows.append({**setting, "top1": scores.top1, "loss": scores.loss, "images_per_s": max(speeds)})
                print(rows[-1], flush=True)
                kept.write_text(json.dumps(rows))
    record.write(name, {"epochs": epochs, "seeds": list(SEEDS), "rows": rows})


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--data", type=Path, help="instead of Fashion-MNIST; then nothing is recorded for the docs")
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True, exist_ok=True)
    where = asked.data or asked.folder / "fm"
    if not where.exists():
        from depthwise.cli import run

        run(["datasets", "get", "fashion-mnist", str(where)])
    main(asked.folder, where, asked.epochs, "precision_trial" if asked.data else "precision")
