"""`--recipe auto`: which recipe suits the pictures, and why."""

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from depthwise.config import SplitConfig
from depthwise.data.index import Index
from depthwise.data.probe import probe
from depthwise.models.weights.pretrained import PACKAGES
from depthwise.workflows.run_folder import HEAD

SMALL = 64
"""Shorter side, px, up to which pictures are learnt from scratch at their own size: enlarging adds no detail."""
LARGE = 96
"""Shorter side, px, from which weights trained on photos at 224 px are worth enlarging pictures for."""


FEW = 200
"""Training pictures below which only the last layer is trained: the 15 % for validation, 30 and fewer, cannot tell a
gain by training all layers from chance (their accuracy is known to 15 points or so either way)."""


class Choice(NamedTuple):
    """A recipe's name, with the sentence that says why it was taken."""

    name: str
    why: str


def choose_recipe(index: Index, wishes: Mapping[str, Any], split: SplitConfig) -> Choice:
    """Return the recipe for these pictures and wishes (`TrainConfig`'s fields); `split` deals out what is not yet."""
    is_warm, model = bool(wishes.get("pretrained")), wishes.get("model")
    packaged = [name for name in PACKAGES if model in (None, name) and find_spec(PACKAGES[name][1])]
    if wishes.get("freeze") == "backbone" and (is_warm or packaged):
        return Choice("linear-probe", "--freeze backbone")
    if is_warm:
        return Choice("finetune", "--pretrained")
    seen = probe(index.part("train") or index.records)
    side = min(seen.width, seen.height)
    wanted = wishes.get("image_size") or side
    if wanted <= SMALL:
        return Choice("scratch-small", f"pictures of {wanted} px, too small for weights trained on photos of 224 px")
    num_images = _num_training(index, split)
    if packaged and side >= LARGE and wishes.get("channels") != 1 and num_images < FEW:
        return Choice("linear-probe", f"{num_images} pictures, too few to see whether training all layers gains")
    if packaged and side >= LARGE and wishes.get("channels") != 1:
        return Choice("finetune", f"pictures of {side} px, and ImageNet weights of {packaged[0]} are installed")
    if packaged:
        return Choice(
            "scratch-224", f"pictures of {side} px; ImageNet weights, of 224 px, are taken from {LARGE} px on"
        )
    return Choice("scratch-224", f"pictures of {side} px, and no weights at hand for {model or 'efficientnet_lite0'}")


def _num_training(index: Index, split: SplitConfig) -> int:
    if not index.is_split:
        return round((1 - split.valid - split.test) * len(index.records))
    return len(index.part("train")) if index.part("valid") else round((1 - split.valid) * len(index.part("train")))


def recorded_recipe(folder: Path) -> str | None:
    """Return the name of the recipe that the run in `folder` was started with; None where there is no run."""
    import tomllib

    for path in (folder / "config.toml", folder / HEAD / "config.toml"):
        if path.exists():
            return str(tomllib.loads(path.read_text(encoding="utf-8"))["train"].get("recipe", "none"))
    return None
