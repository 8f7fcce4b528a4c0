"""MobileNetV1 (Howard et al. 2017, arXiv:1704.04861).

TABLE is the paper's Table 1, one row per depthwise-separable pair: output channels of the pointwise convolution and
stride of the depthwise one. Batch norm and ReLU follow both convolutions, as in the paper's Figure 3.

The table prints stride 2 for the last depthwise convolution, on a 7x7 map that stays 7x7: a slip, it is 1.
Not from the paper: dropout 1e-3 before the classifier and batch norm's eps 1e-3 (both from TensorFlow's release); the
initialisation (see `blocks.initialise`). The public ports use ReLU6 instead of ReLU: `activation="relu6"`.
`small_input` (32 px and less): the stem has stride 1, everything else is as it is.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

from torch import nn

from depthwise.models import blocks
from depthwise.models.registry import register


class Row(NamedTuple):
    """One depthwise-separable pair of Table 1."""

    c: int  # output channels
    s: int = 1  # stride


TABLE = (
    Row(64),
    Row(128, 2),
    Row(128),
    Row(256, 2),
    Row(256),
    Row(512, 2),
    *(5 * (Row(512),)),
    Row(1024, 2),
    Row(1024),
)


class Separable(nn.Sequential):
    """pointwise(depthwise(x)): a 3x3 convolution per channel, then a 1x1 convolution across channels (section 3.1)."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        stride: int,
        multiplier: int,
        norm: blocks.Norm,
        act: blocks.Activation,
    ) -> None:
        super().__init__()
        middle = in_channels * multiplier
        self.depthwise = blocks.ConvNormAct(
            in_channels, middle, 3, stride=stride, groups=in_channels, norm=norm, act=act
        )
        self.pointwise = blocks.ConvNormAct(middle, out_channels, norm=norm, act=act)


class MobileNetV1(blocks.Network):
    """Stem, thirteen separable pairs, global average pooling, one linear layer: images (B, C, H, W) -> logits (B, K).

    `width` is the paper's alpha: it scales every layer, the stem and the last 1024 included. `depth_multiplier` is the
    number of filters per input channel in the depthwise convolutions (Keras' name). `config` replaces TABLE:
    `[64, (128, 2), ...]`, a number for stride 1, a pair for channels and stride.
    """

    def __init__(
        self,
        *,
        num_classes: int = 1000,
        in_channels: int = 3,
        small_input: bool = False,
        width: float = 1.0,
        round_to: int = 8,
        depth_multiplier: int = 1,
        config: Sequence[int | Sequence[int]] | None = None,
        activation: Literal["relu", "relu6"] = "relu",
        drop_rate: float = 1e-3,
        bn_eps: float = 1e-3,
        bn_momentum: float = 0.1,
        padding: blocks.Padding = "symmetric",
    ) -> None:
        super().__init__()
        norm, act = blocks.batch_norm(bn_eps, bn_momentum), blocks.activation(activation)
        rows = TABLE if config is None else tuple(Row(r) if isinstance(r, int) else Row(*r) for r in config)
        channels = blocks.make_divisible(32 * width, round_to)
        self.stem = blocks.ConvNormAct(in_channels, channels, 3, stride=1 if small_input else 2, norm=norm, act=act)
        pairs = []
        for row in rows:
            out_channels = blocks.make_divisible(row.c * width, round_to)
            pairs.append(
                Separable(channels, out_channels, stride=row.s, multiplier=depth_multiplier, norm=norm, act=act)
            )
            channels = out_channels
        self.blocks = nn.Sequential(*pairs)
        starts = [index for index, row in enumerate(rows) if index == 0 or row.s > 1]
        self.stages = tuple(end - start for start, end in zip(starts, [*starts[1:], len(rows)], strict=True))
        self.pool = blocks.GlobalAveragePool()
        self.dropout = nn.Dropout(drop_rate)
        self.classifier = nn.Linear(channels, num_classes)
        self.set_padding(padding)
        blocks.initialise(self)


for _name, _width in (("0_25", 0.25), ("0_5", 0.5), ("0_75", 0.75), ("1_0", 1.0)):
    register(
        f"mobilenet_v1_x{_name}",
        MobileNetV1,
        family="mobilenet_v1",
        image_size=224,
        fact=f"{_width:g} @ 224",
        options={"width": _width},
        aliases=("mobilenet_v1",) if _width == 1 else (),
    )
