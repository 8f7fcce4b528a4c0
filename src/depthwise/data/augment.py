"""Random changes of training pictures, each a pure function of (seed, epoch, sample id).

One pass moves pixels (`augment_maps`, `warp`), then `augment_policy`, `augment_colour` and `augment_erase` change their
values; `augment_mix` blends two finished pictures of a batch, and their labels. Nothing depends on workers or
processes, and only the blend's partner on the batch.
"""

from dataclasses import dataclass, fields, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from depthwise.config import TrainConfig
from depthwise.data.augment_colour import colour_matrices
from depthwise.data.augment_erase import erase
from depthwise.data.augment_maps import box_maps, identity, in_pixels, mirror_maps, turn_maps
from depthwise.data.augment_policy import change_pixels, draw_policy, policy_maps
from depthwise.data.order import Ids, uniform
from depthwise.data.warp import Images, recolour, warp
from depthwise.rules import CHANGES, is_cut


@dataclass(frozen=True)
class Augmentation:
    """What is done to training pictures; 0, False and none: not done. The fields are those of TrainConfig.

    `augment_warmup` alone is in epochs here, not in shares of them.
    """

    crop: float = 0.0
    scale_min: float = 0.0
    short_side: tuple[int, int] = (0, 0)
    flip: bool = False
    vertical_flip: bool = False
    rotate: float = 0.0
    jitter: float = 0.0
    hue: float = 0.0
    pca_noise: float = 0.0
    policy: Literal["none", "randaugment", "trivial"] = "none"
    policy_ops: int = 2
    policy_magnitude: float = 9.0
    erase: float = 0.0
    mixup: float = 0.0
    cutmix: float = 0.0
    augment_warmup: float = 0.0

    @property
    def is_none(self) -> bool:
        """True when pictures are shown as they are."""
        return replace(self, augment_warmup=0.0) == Augmentation(
            policy_ops=self.policy_ops, policy_magnitude=self.policy_magnitude
        )

    def share(self, epoch: int) -> float:
        """Return the share of pictures that is changed in this epoch; 0 is the first.

        More and more, as Tan & Le 2021 (arXiv:2104.00298, section 4.2) regularise: a network that knows nothing yet, or
        has few epochs, learns faster from pictures as they are.
        """
        return 1.0 if epoch >= self.augment_warmup else epoch / self.augment_warmup

    @property
    def cuts_out(self) -> bool:
        """True when parts of pictures are enlarged, so that larger stored pictures have more to show."""
        return bool(self.scale_min or self.short_side[0])


IS_CHANGED = 111  # salt of the draw, beside those of augment_maps
CROPS = ("crop", "scale_min", "short_side")
"""Three rules for where to cut; one at a time."""
PRESETS: dict[str, dict[str, Any]] = {
    "none": {},
    "standard": {"crop": 0.08, "flip": True, "augment_warmup": 1.0},
    "light": {"scale_min": 0.5, "flip": True, "jitter": 0.2},
    "strong": {"scale_min": 0.25, "flip": True, "policy": "trivial", "erase": 0.25},
}


def resolve(config: TrainConfig) -> Augmentation:
    """Return what `config` asks for: its preset, with the flags that are given in place of the preset's values."""
    if config.augment == "none":
        return Augmentation()
    given = {f.name: v for f in fields(Augmentation) if (v := getattr(config, f.name)) is not None}
    preset = dict(PRESETS[config.augment])
    if any(is_cut(given.get(name)) for name in CROPS):
        preset = {name: value for name, value in preset.items() if name not in CROPS}
    values = {**preset, **given}
    share = values.pop("augment_warmup", 0.0)
    return Augmentation(**values, augment_warmup=share * max(1, config.epochs - 1))


def without_changes(config: TrainConfig) -> TrainConfig:
    """Return the configuration with pictures shown as they are."""
    usual, names = TrainConfig(), ("augment_warmup", "policy_ops", "policy_magnitude", *CHANGES)
    return replace(config, augment="none", **{name: getattr(usual, name) for name in names})


def are_changed(ids: Ids, seed: int, epoch: int, how: Augmentation) -> NDArray[np.bool_]:
    """Return which samples are changed at all in this epoch, (B,)."""
    return uniform(ids, seed, epoch, IS_CHANGED) < how.share(epoch)


def augment(
    pictures: Images, rows: NDArray[np.intp], ids: Ids, seed: int, epoch: int, how: Augmentation, side: int
) -> Images:
    """Return uint8 (B, side, side, C): the changed pictures of these rows of `pictures`, uint8 (N, S, S, C).

    `ids` are the samples' names, (B,). Two samples are not blended here (`augment_mix`).
    """
    if how.is_none and pictures.shape[1] == side:
        return pictures[rows]
    is_changed = are_changed(ids, seed, epoch, how)
    if is_changed.all():
        return _changed(pictures, rows, ids, seed, epoch, how, side)
    left = rows[~is_changed]
    images = np.empty((len(rows), side, side, pictures.shape[3]), np.uint8)
    images[is_changed] = _changed(pictures, rows[is_changed], ids[is_changed], seed, epoch, how, side)
    images[~is_changed] = warp(pictures, left, in_pixels(identity(len(left)), pictures.shape[1], side), side)
    return images


def _changed(
    pictures: Images, rows: NDArray[np.intp], ids: Ids, seed: int, epoch: int, how: Augmentation, side: int
) -> Images:
    drawn = draw_policy(ids, seed, epoch, how.policy, num_ops=how.policy_ops, magnitude=how.policy_magnitude)
    maps = box_maps(ids, seed, epoch, side, crop=how.crop, scale_min=how.scale_min, short_side=how.short_side)
    maps = maps @ turn_maps(ids, seed, epoch, how.rotate) @ policy_maps(drawn)
    maps = maps @ mirror_maps(ids, seed, epoch, flip=how.flip, vertical_flip=how.vertical_flip)
    images = warp(pictures, rows, in_pixels(maps, pictures.shape[1], side), side)
    change_pixels(images, drawn)
    if how.jitter or how.hue or how.pca_noise:
        arguments = {"jitter": how.jitter, "hue": how.hue, "pca_noise": how.pca_noise}
        images = recolour(images, colour_matrices(images, ids, seed, epoch, **arguments))
    erase(images, ids, seed, epoch, how.erase)
    return images
