"""timm's way from a folder to a CSV: its loader and transforms, eager, as its inference script does. Not its script.

python bench/peers/predict_timm.py PHOTOS OUT.csv        (an environment with timm; prints the loop's seconds, versions)

The wheel of timm has no inference.py, so this is written by its documentation. Batches of 32, which a CPU takes faster
than the script's default of 256; two loading processes.
"""

import csv
import sys
import time

import timm
import torch
from timm.data import ImageDataset, create_loader, resolve_data_config

BATCH, WORKERS = 32, 2


def main(photos: str, out: str) -> None:
    """Answer for every photo."""
    model = timm.create_model("mobilenetv2_100").eval()
    settings = resolve_data_config({}, model=model)
    dataset = ImageDataset(photos)
    started = time.perf_counter()
    loader = create_loader(
        dataset,
        batch_size=BATCH,
        use_prefetcher=False,
        num_workers=WORKERS,
        device=torch.device("cpu"),
        **{name: settings[name] for name in ("input_size", "interpolation", "mean", "std", "crop_pct")},
    )
    names = dataset.filenames(basename=True)
    with open(out, "w", newline="") as file, torch.inference_mode():
        writer = csv.writer(file)
        writer.writerow(("filename", "label", "probability"))
        place = 0
        for images, _ in loader:
            shares, labels = model(images).softmax(-1).topk(5)
            for share, label in zip(shares, labels, strict=True):
                writer.writerow((names[place], label[0].item(), share[0].item()))
                place += 1
    print(time.perf_counter() - started, f"timm {timm.__version__}, torch {torch.__version__}")


if __name__ == "__main__":
    main(*sys.argv[1:])
