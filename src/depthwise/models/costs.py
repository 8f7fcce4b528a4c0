"""What a family's two dials cost: the width multiplier and the size of the pictures (MobileNetV1, section 3.3)."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch

from depthwise.errors import UserError
from depthwise.models.create import create_model
from depthwise.models.registry import ModelSpec, list_models, model_info
from depthwise.models.summary import summary

DIALS = ("width", "scale")
"""What the options are called by which a family is made wider and narrower."""


class Cost(NamedTuple):
    """A network of one width at one size of picture."""

    width: float
    image_size: int
    params: int
    macs: int


def cost_grid(
    name: str,
    widths: Sequence[float] = (),
    sizes: Sequence[int] = (),
    num_classes: int | None = None,
    in_channels: int | None = None,
    **options: Any,
) -> list[Cost]:
    """Return the cost for each width and size, widths outside; by default the name's own width, the paper's size.

    Counted on the meta device. Raises UserError for a family without such an option, or a size that does not suit it.
    """
    spec = model_info(name)
    dial = dial_of(spec)
    grid = []
    for width in widths or (options.pop(dial, spec.allowed_options[dial].default),):
        with torch.device("meta"):
            model = create_model(name, num_classes, in_channels, **{**options, dial: width})
        for size in sizes or (spec.image_size,):
            rows = summary(model, size)
            grid.append(Cost(width, size, sum(row.params for row in rows), sum(row.macs for row in rows)))
    return grid


def dial_of(spec: ModelSpec) -> str:
    """Return the name of the option by which a network is made wider and narrower. Raises UserError without one."""
    for dial in DIALS:
        if dial in spec.allowed_options:
            return dial
    others = (model_info(name) for name in list_models())
    families = dict.fromkeys(other.family for other in others if set(DIALS) & set(other.allowed_options))
    raise UserError(f"{spec.name} has no option for its width; these families have: {', '.join(families)}")
