"""How fast training pictures are made ready: ours against a picture at a time in Pillow, and torch operations.

    python bench/input.py

From 256 px uint8 in memory (a warm cache) to batches of 224 px uint8: random resized crop and flip, the same boxes for
all three, one thread. Rounds are interleaved; medians. Then: the store's first and second start, on 10,000 photos, and
the share of a training step that the input takes when it shares the step's cores.
"""

import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import record
import torch
from numpy.typing import NDArray
from PIL import Image
from torch.nn import functional

from depthwise.config import TrainConfig
from depthwise.console import Quiet
from depthwise.data.augment import Augmentation, augment, resolve
from depthwise.data.augment_maps import box_maps, mirror_maps
from depthwise.data.cache import load
from depthwise.data.geometry import Geometry
from depthwise.data.index import Record
from depthwise.data.order import Ids, mix
from depthwise.data.store import Store
from depthwise.data.warp import Images
from depthwise.training import make_step

STORED, SIDE, BATCH, ROUNDS = 256, 224, 32, 15
NUM_PHOTOS = 10_000
PHOTOS = Path(__file__).parents[1] / "tests" / "photos"
CROP = Augmentation(scale_min=0.08, flip=True)
WAYS = {
    "random resized crop, flip": CROP,
    "and colour jitter": Augmentation(scale_min=0.08, flip=True, jitter=0.4),
    "and rotation": Augmentation(scale_min=0.08, flip=True, rotate=15),
    "preset light": resolve(TrainConfig(augment="light")),
    "preset strong": resolve(TrainConfig(augment="strong")),
    "preset standard": resolve(TrainConfig(augment_warmup=0)),
}
ROWS = np.arange(BATCH)


def pictures() -> Images:
    """Return 256 px squares cut from the two photos of the tests: uint8 (BATCH, 256, 256, 3)."""
    photos = [Image.open(path).convert("RGB") for path in sorted(PHOTOS.glob("*.jpg"))]
    rng = np.random.default_rng(0)
    made = []
    for number in range(BATCH):
        photo = photos[number % len(photos)]
        side = min(photo.size) * rng.uniform(0.6, 1.0)
        left, top = (rng.uniform(0, length - side) for length in photo.size)
        made.append(np.asarray(photo.resize((STORED, STORED), box=(left, top, left + side, top + side))))
    return np.stack(made)


def boxes(ids: Ids, epoch: int) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return left, top, right, bottom in px of each crop, and whether it is mirrored: those that `augment` draws."""
    maps = box_maps(ids, 0, epoch, SIDE, crop=0.0, scale_min=CROP.scale_min, short_side=(0, 0))
    left, top, width, height = maps[:, 0, 2], maps[:, 1, 2], maps[:, 0, 0], maps[:, 1, 1]
    flips = mirror_maps(ids, 0, epoch, flip=True, vertical_flip=False)[:, 0, 0] < 0
    return STORED * np.stack([left, top, left + width, top + height], axis=1), flips


def by_pillow(images: Images, ids: Ids, epoch: int) -> Images:
    """Crop, resize and mirror one picture after the other, as data sets of Python code do."""
    result = []
    for picture, box, is_flipped in zip(images, *boxes(ids, epoch), strict=True):
        image = Image.fromarray(picture).resize((SIDE, SIDE), Image.Resampling.BILINEAR, box=tuple(box.tolist()))
        if is_flipped:
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        result.append(np.asarray(image))
    return np.stack(result)


def by_torch(images: Images, ids: Ids, epoch: int) -> Images:
    """Do the same with torch's operations on uint8; boxes are rounded to whole pixels, as slices must be."""
    result = torch.empty(len(images), 3, SIDE, SIDE, dtype=torch.uint8)
    found, flips = boxes(ids, epoch)
    for number, (picture, box, is_flipped) in enumerate(zip(images, np.rint(found).astype(int), flips, strict=True)):
        left, top, right, bottom = box
        cut = torch.from_numpy(picture[top:bottom, left:right]).permute(2, 0, 1)[None]
        resized = functional.interpolate(cut, (SIDE, SIDE), mode="bilinear", antialias=True)
        result[number] = resized[0].flip(2) if is_flipped else resized[0]
    return result.permute(0, 2, 3, 1).contiguous().numpy()


def speeds(images: Images, ids: Ids) -> tuple[dict[str, float], dict[str, float]]:
    """Return images/s of each way, and how far ours is from Pillow's pixels."""
    ways: dict[str, Callable[[int], Images]] = {
        "Pillow": lambda epoch: by_pillow(images, ids, epoch),
        "torch": lambda epoch: by_torch(images, ids, epoch),
    }
    for name, how in WAYS.items():
        side = SIDE if how.cuts_out else STORED
        ways[name] = lambda epoch, how=how, side=side: augment(images, ROWS, ids, 0, epoch, how, side)  # type: ignore[misc]
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for epoch in range(-2, ROUNDS):  # two rounds to warm up
        for name, way in ways.items():
            started = time.perf_counter()
            way(epoch + 2)
            seconds[name].append(time.perf_counter() - started)
    ours, theirs = (ways[name](0).astype(int) for name in ("random resized crop, flip", "Pillow"))
    difference = {"mean": float(np.abs(ours - theirs).mean()), "max": float(np.abs(ours - theirs).max())}
    return {name: round(BATCH / statistics.median(times[2:])) for name, times in seconds.items()}, difference


def starts() -> dict[str, float]:
    """Return the seconds until 10,000 photos are ready: the first time, and the second."""
    found: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        os.environ["DEPTHWISE_CACHE"] = folder
        records = []
        photo = Image.open(PHOTOS / "chelsea.jpg").convert("RGB").resize((400, 300))
        for number in range(NUM_PHOTOS):
            path = Path(folder, "photos", f"{number}.jpg")
            path.parent.mkdir(exist_ok=True)
            photo.putpixel((number % 400, number // 400), (number % 256, 255, 0))
            photo.save(path, quality=85)
            records.append(Record(str(path), "cat"))
        time.sleep(3)  # until files count as settled
        store = Store(Path(folder, "pictures"), 2**34)
        for name in ("first", "second"):
            started = time.perf_counter()
            with load(
                records, ["cat"], Geometry(SIDE), folder=Path(folder), workers=2, console=Quiet(), store=store
            ) as (dataset, _):
                found[f"{name}_s"] = round(time.perf_counter() - started, 2)
                found["gib"] = round(dataset.images.nbytes / 2**30, 2)
    return found | {"photos": NUM_PHOTOS}


def step_ms(name: str) -> float:
    """Return the time of our training step of `name` on one core, computed as a run would choose, ms: median."""
    step = make_step(name, batch_size=BATCH, image_size=SIDE, num_classes=100)
    times = []
    for _ in range(3 + ROUNDS):  # three to warm up
        started = time.perf_counter()
        step()
        times.append(1000 * (time.perf_counter() - started))
    return round(statistics.median(times[3:]), 1)


def main() -> None:
    """Measure and record."""
    torch.set_num_threads(1)
    images, ids = pictures(), mix(np.arange(BATCH, dtype=np.uint64))
    found, difference = speeds(images, ids)
    steps = {name: step_ms(name) for name in ("mobilenet_v2", "mobilenet_v3_small")}
    input_ms = 1000 * BATCH / found["random resized crop, flip"]
    result = {
        "stored": STORED,
        "image_size": SIDE,
        "batch_size": BATCH,
        "rounds": ROUNDS,
        "images_per_s": found,
        "difference_from_pillow": {name: round(value, 3) for name, value in difference.items()},
        "starts": starts(),
        "step_ms": steps,
        "input_share": {name: round(input_ms / (input_ms + ms), 4) for name, ms in steps.items()},
    }
    record.write("input", result)


if __name__ == "__main__":
    main()
