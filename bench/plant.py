"""A folder with planted faults: what bench/audit.py measures by and the tests look for."""

from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

CLASSES = ("apple", "boat", "clock", "door")


class Planted(NamedTuple):
    """What is where."""

    near: set[frozenset[Path]]
    conflicts: set[frozenset[Path]]
    broken: set[Path]


def scene(rng: np.random.Generator, size: tuple[int, int] = (240, 180)) -> Image.Image:
    """Return a picture like no other: light, shapes, texture, grain."""
    width, height = size
    coarse = rng.integers(0, 256, (int(rng.integers(3, 7)), int(rng.integers(3, 7)), 3)).astype(np.uint8)
    image = Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(image)
    for _ in range(int(rng.integers(6, 16))):
        x, y = rng.integers(0, width), rng.integers(0, height)
        w, h = rng.integers(4, max(5, width // 2)), rng.integers(4, max(5, height // 2))
        colour = tuple(int(v) for v in rng.integers(0, 256, 3))
        box = (int(x - w // 2), int(y - h // 2), int(x + w // 2), int(y + h // 2))
        (draw.ellipse if rng.random() < 0.5 else draw.rectangle)(box, fill=colour)
    image = image.filter(ImageFilter.GaussianBlur(0.8))
    grain: NDArray[np.float64] = rng.normal(0, 4, (height, width, 1))
    return Image.fromarray(np.clip(np.asarray(image) + grain, 0, 255).astype(np.uint8))


def edited(image: Image.Image, how: int, rng: np.random.Generator) -> Image.Image:
    """Return the same shot: smaller, compressed again, cut at the edges, of another brightness, mirrored or turned."""
    width, height = image.size
    if how == 0:
        share = rng.uniform(0.4, 0.9)
        return image.resize((round(width * share), round(height * share)), Image.Resampling.BILINEAR)
    if how == 1:
        buffer = BytesIO()
        image.save(buffer, "JPEG", quality=int(rng.integers(40, 75)))
        return Image.open(BytesIO(buffer.getvalue())).convert("RGB")
    if how == 2:
        cut = rng.uniform(0.02, 0.05)
        left, top = round(width * cut * rng.random()), round(height * cut * rng.random())
        return image.crop((left, top, left + round(width * (1 - cut)), top + round(height * (1 - cut))))
    if how > 3:
        return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT if how == 4 else Image.Transpose.ROTATE_90)
    factor = rng.uniform(0.75, 1.25)
    return image.point([min(255, round(value * factor)) for value in range(256)] * 3)


def plant(
    folder: Path, number: int = 1000, near: int = 60, conflicts: int = 20, broken: int = 30, seed: int = 0
) -> Planted:
    """Fill `folder` with `number` pictures of four classes, so many of them as named copies, conflicts and broken."""
    rng = np.random.default_rng(seed)
    done = Planted(set(), set(), set())
    for name in CLASSES:
        (folder / name).mkdir(parents=True)
    originals = []
    for count in range(number - near - conflicts - broken):
        path = folder / CLASSES[count % len(CLASSES)] / f"{count:04d}.jpg"
        picture = scene(rng)
        picture.save(path, quality=90)
        originals.append(path)
    chosen = rng.permutation(len(originals))
    for count in range(near + conflicts):
        source = originals[chosen[count]]
        with Image.open(source) as image:
            copy = edited(image.convert("RGB"), count % (6 if count < near else 4), rng)
        label = source.parent.name
        if count >= near:
            label = CLASSES[(CLASSES.index(label) + 1) % len(CLASSES)]
        target = folder / label / f"copy {count:03d}.{'png' if count % 3 == 0 else 'jpg'}"
        copy.save(target)
        (done.near if count < near else done.conflicts).add(frozenset((source, target)))
    for count in range(broken):
        content = originals[chosen[-1 - count]].read_bytes()
        half = content[: len(content) // 2]
        target = folder / CLASSES[count % len(CLASSES)] / f"broken {count:02d}.jpg"
        target.write_bytes((b"", half, half + b"\xff\xd9", b"<html>404</html>", content[:20])[count % 5])
        done.broken.add(target)
    return done
