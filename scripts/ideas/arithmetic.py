"""What layers cost, counted by `depthwise.summary`, and sums spelled out."""

from collections.abc import Iterable
from typing import NamedTuple

from torch import nn

from depthwise.models.summary import summary


class Cost(NamedTuple):
    """Of one picture."""

    weights: int
    macs: int  # multiply-adds


def cost_of(model: nn.Module, image_size: int, in_channels: int = 3) -> Cost:
    """Return trainable parameters and multiply-adds of `model` for maps of image_size x image_size."""
    rows = summary(model, image_size, in_channels)
    return Cost(sum(row.params for row in rows), sum(row.macs for row in rows))


def spell_out(weights: Iterable[float], values: Iterable[float], result: float) -> str:
    """Return "2·3 + 1·4 = 10" for the weighted sum of `values`."""
    terms = " + ".join(f"{weight:g}·{value:g}" for weight, value in zip(weights, values, strict=True))
    return f"{terms} = {result:g}".replace("-", "\N{MINUS SIGN}")
