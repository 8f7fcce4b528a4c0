"""What measuring batch norm's statistics anew is worth in a short run: the embedded sample, with and without, 3 seeds.

python bench/recalibration.py
"""

import statistics
import tempfile
from pathlib import Path

import record

import depthwise as dw
from depthwise.data.sources import sample_photos

MODELS = ("mobilenet_v1_x0_25", "mobilenet_v2_x0_35", "mobilenet_v3_small")
SEEDS = (0, 1, 2)
EPOCHS = 6


def main() -> None:
    """Train each network for a few epochs, both ways, and record the test accuracy."""
    rows = []
    with tempfile.TemporaryDirectory() as folder, sample_photos() as photos:
        for model in MODELS:
            for recalibrate in (False, True):
                top1 = []
                for seed in SEEDS:
                    config = dw.TrainConfig(
                        model=model, epochs=EPOCHS, batch_size=32, seed=seed, recalibrate=recalibrate
                    )
                    dw.train(photos, Path(folder, "run"), config, overwrite=True)
                    top1.append(round(dw.evaluate(Path(folder, "run")).scores.top1, 4))
                rows.append({"model": model, "recalibrate": recalibrate, "top1": top1})
                print(rows[-1], round(statistics.mean(top1), 4), flush=True)
    record.write("recalibration", {"epochs": EPOCHS, "batch_size": 32, "seeds": list(SEEDS), "rows": rows})


if __name__ == "__main__":
    main()
