"""Ultralytics' way from a folder to a CSV: `predict` with stream, as its documentation has it.

python bench/peers/predict_ultralytics.py PHOTOS OUT.csv   (an environment with it; prints the loop's seconds, versions)

Batches of 16; its default is 1. yolov8n-cls with random weights.
"""

import csv
import sys
import time

import torch
import ultralytics
from ultralytics import YOLO
from ultralytics.data.augment import classify_transforms

BATCH = 16


def main(photos: str, out: str) -> None:
    """Answer for every photo."""
    model = YOLO("yolov8n-cls.yaml", task="classify")
    model.model.transforms = classify_transforms(224)  # which a trained file brings along
    started = time.perf_counter()
    with open(out, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("filename", "label", "probability"))
        for found in model.predict(photos, imgsz=224, stream=True, batch=BATCH, device="cpu", verbose=False):
            writer.writerow((found.path, found.names[found.probs.top1], float(found.probs.top1conf)))
    print(time.perf_counter() - started, f"ultralytics {ultralytics.__version__}, torch {torch.__version__}")


if __name__ == "__main__":
    main(*sys.argv[1:])
