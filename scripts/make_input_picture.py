"""Draw docs/images/augmentation.jpg: what each change of training pictures does to two photos.

python scripts/make_input_picture.py
"""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from depthwise.config import TrainConfig
from depthwise.data.augment import Augmentation, augment, resolve
from depthwise.data.augment_mix import blend, plan_mix
from depthwise.data.order import mix
from depthwise.data.warp import Images

ROOT = Path(__file__).parents[1]
SEED = 4
SIDE, STORED, LABEL, GAP, COLUMNS = 96, 110, 220, 6, 8
ROWS: dict[str, Augmentation] = {
    "as they are": Augmentation(),
    "--augment standard": resolve(TrainConfig(augment_warmup=0)),
    "--scale-min 0.25": Augmentation(scale_min=0.25),
    "--short-side 110 220": Augmentation(short_side=(110, 220)),
    "--vertical-flip": Augmentation(vertical_flip=True),
    "--rotate 30": Augmentation(rotate=30),
    "--jitter 0.4": Augmentation(jitter=0.4),
    "--hue 0.1": Augmentation(hue=0.1),
    "--pca-noise 0.5": Augmentation(pca_noise=0.5),
    "--policy randaugment": Augmentation(policy="randaugment"),
    "--policy trivial": Augmentation(policy="trivial"),
    "--erase 0.5": Augmentation(erase=0.5),
    "--mixup 0.4": Augmentation(mixup=0.4),
    "--cutmix 1": Augmentation(cutmix=1.0),
    "--augment light": resolve(TrainConfig(augment="light")),
    "--augment strong": resolve(TrainConfig(augment="strong")),
}


def photos() -> Images:
    """Return the two photos by turns, squashed: uint8 (COLUMNS, STORED, STORED, 3)."""
    names = ("chelsea.jpg", "coffee.jpg")
    small = [Image.open(ROOT / "tests" / "photos" / name).convert("RGB").resize((STORED, STORED)) for name in names]
    return np.stack([np.asarray(small[number % 2]) for number in range(COLUMNS)])


def changed(how: Augmentation) -> Images:
    """Return the photos after `how`, mixing included: uint8 (COLUMNS, SIDE, SIDE, 3)."""
    ids = mix(np.arange(COLUMNS, dtype=np.uint64), SEED)
    images = augment(photos(), np.arange(COLUMNS), ids, 0, 0, how, SIDE)
    if not (how.mixup or how.cutmix):
        return images
    plan = plan_mix(ids, 0, 0, mixup=how.mixup, cutmix=how.cutmix)
    return blend(images, images[plan.partners], ids, 0, 0, plan.shares, plan.is_cut)[0]


def main() -> None:
    """Draw a row of photos for each change."""
    size = (LABEL + COLUMNS * (SIDE + GAP), len(ROWS) * (SIDE + GAP) + GAP)
    sheet = Image.new("RGB", size, "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(20)
    for row, (label, how) in enumerate(ROWS.items()):
        top = GAP + row * (SIDE + GAP)
        draw.text((GAP, top + SIDE // 2), label, "black", font, anchor="lm")
        for column, pixels in enumerate(changed(how)):
            sheet.paste(Image.fromarray(pixels), (LABEL + column * (SIDE + GAP), top))
    sheet.save(ROOT / "docs" / "images" / "augmentation.jpg", quality=80, optimize=True)


if __name__ == "__main__":
    main()
