"""Make the sample that ships with the package from Debian's dataset-fashion-mnist.

    sudo apt install dataset-fashion-mnist
    python scripts/make_sample.py

Takes the first 150 training pictures of each of the ten classes, in the data set's own order, as PNG class folders
under src/depthwise/data/sample/photos; the file name is the picture's number in the training set. Running it again
gives the same bytes (with the same Pillow). The licence text beside the folder is the data set's own (MIT).
"""

import shutil
from pathlib import Path

import numpy as np
from PIL import Image

from depthwise.data.idx import read_idx
from depthwise.data.sources import FASHION_MNIST

PER_CLASS = 150
TARGET = Path(__file__).parents[1] / "src/depthwise/data/sample/photos"


def main() -> None:
    """Write the sample and print its size."""
    folder = FASHION_MNIST.installed()
    assert folder, f"install the Debian package {FASHION_MNIST.debian_package} first"
    images = read_idx(folder / "train-images-idx3-ubyte.gz")
    labels = read_idx(folder / "train-labels-idx1-ubyte.gz")
    shutil.rmtree(TARGET, ignore_errors=True)
    for label, name in enumerate(FASHION_MNIST.classes):
        (TARGET / name).mkdir(parents=True)
        for number in np.flatnonzero(labels == label)[:PER_CLASS]:
            Image.fromarray(images[number]).save(TARGET / name / f"{number:05d}.png", optimize=True)
    paths = list(TARGET.rglob("*.png"))
    print(f"{len(paths)} pictures, {sum(path.stat().st_size for path in paths):,} bytes in {TARGET}")


if __name__ == "__main__":
    main()
