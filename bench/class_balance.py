"""What --class-balance is worth on classes of unequal size: a cut of Fashion-MNIST, 10 : 1 from largest to smallest.

python bench/class_balance.py FASHION_MNIST    # class folders, by `depthwise datasets get fashion-mnist FASHION_MNIST`
"""

import csv
import sys
import tempfile
from pathlib import Path

import numpy as np
import record

import depthwise as dw
from depthwise.metrics import recall_precision

WAYS = ("none", "weights", "sampler", "logit-adjust")
SEEDS = (0, 1, 2)
LARGEST, RATIO = 100, 10
NUM_VALID, NUM_TEST = 10, 100
"""Pictures per class; validation and test have as many of each class, so that accuracy is balanced accuracy."""
CONFIG = {"model": "lenet5", "epochs": 20, "batch_size": 32, "lr": 0.02}


def cut(source: Path, seed: int, out: Path) -> list[int]:
    """Write a manifest of an unequal cut; return how many training pictures the classes have, by their names.

    Which class is rare depends on the seed: sizes fall in equal ratios along a random order of the classes.
    """
    rng = np.random.default_rng(seed)
    names = sorted(folder.name for folder in (source / "train").iterdir())
    places = rng.permutation(len(names))
    counts = [round(LARGEST * RATIO ** (-place / (len(names) - 1))) for place in places]
    rows = [("path", "class", "split")]
    for name, count in zip(names, counts, strict=True):
        train = rng.permutation(sorted((source / "train" / name).iterdir()))
        test = rng.permutation(sorted((source / "test" / name).iterdir()))
        parts = {"train": train[:count], "valid": train[count : count + NUM_VALID], "test": test[:NUM_TEST]}
        rows += [(str(path.resolve()), name, split) for split, paths in parts.items() for path in paths]
    with open(out, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
    return counts


def main(source: Path) -> None:
    """Train with each way on each cut, and record balanced accuracy and the recall of the rare classes."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        manifest, run = Path(folder, "splits.csv"), Path(folder, "run")
        for seed in SEEDS:
            counts = cut(source, seed, manifest)
            for way in WAYS:
                config = dw.TrainConfig(**CONFIG, seed=seed, class_balance=way)
                dw.train(manifest, run, config, overwrite=True, workers=0)
                recall, _ = recall_precision(dw.evaluate(run).scores.confusion)
                rare = np.argsort(counts)[:3]
                result = {"balanced": float(recall.mean()), "rare": float(recall[rare].mean())}
                rows.append({"way": way, "seed": seed} | {name: round(value, 4) for name, value in result.items()})
                print(rows[-1], flush=True)
    sizes = {"largest": LARGEST, "ratio": RATIO, "num_train": sum(counts), "num_test": NUM_TEST * len(counts)}
    record.write("class_balance", CONFIG | sizes | {"seeds": list(SEEDS), "rows": rows})


if __name__ == "__main__":
    main(Path(sys.argv[1]))
