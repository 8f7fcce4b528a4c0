"""MobileNetV2 (Sandler et al. 2018, arXiv:1801.04381).

TABLE is the paper's Table 2, row for row. ReLU6 everywhere but after the projections, which are linear (section 3.2).
The last 1x1 convolution is not narrowed below width 1 (section 5, "Width multiplier"), and is widened above it.

Not from the paper: dropout 0.2 before the classifier (the public ports'), batch norm's eps 1e-3 (TensorFlow's
release), the initialisation (see `blocks.initialise`).
`small_input` (32 px and less): the stem and the first row with stride 2 have stride 1: total stride 8 instead of 32.
"""

from typing import NamedTuple

from torch import Tensor, nn

from depthwise.models import blocks
from depthwise.models.registry import register


class Row(NamedTuple):
    """One line of Table 2, in the paper's letters."""

    t: int  # expansion factor
    c: int  # output channels
    n: int  # repeats
    s: int  # stride of the first repeat


TABLE = (
    #    t   c  n  s
    Row(1,  16, 1, 1),
    Row(6,  24, 2, 2),
    Row(6,  32, 3, 2),
    Row(6,  64, 4, 2),
    Row(6,  96, 3, 1),
    Row(6, 160, 3, 2),
    Row(6, 320, 1, 1),
)  # fmt: skip


class InvertedResidual(nn.Module):
    """x + project(depthwise(expand(x))); the sum only where stride is 1 and the channels are equal (Figure 4d)."""

    def __init__(self, in_channels: int, out_channels: int, *, expansion: int, stride: int, norm: blocks.Norm) -> None:
        super().__init__()
        act = blocks.activation("relu6")
        middle = in_channels * expansion
        self.expand = blocks.ConvNormAct(in_channels, middle, norm=norm, act=act) if expansion != 1 else nn.Identity()
        self.depthwise = blocks.ConvNormAct(middle, middle, 3, stride=stride, groups=middle, norm=norm, act=act)
        self.project = blocks.ConvNormAct(middle, out_channels, norm=norm, act=None)
        self.is_residual = stride == 1 and in_channels == out_channels

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.project(self.depthwise(self.expand(x)))
        return x + y if self.is_residual else y


class MobileNetV2(blocks.Network):
    """Stem, inverted residuals, 1x1 convolution, pooling, linear layer: images (B, C, H, W) -> logits (B, K).

    `width` is the paper's width multiplier; channels are rounded to multiples of `round_to` by `make_divisible`.
    """

    def __init__(
        self,
        *,
        num_classes: int = 1000,
        in_channels: int = 3,
        small_input: bool = False,
        width: float = 1.0,
        round_to: int = 8,
        drop_rate: float = 0.2,
        bn_eps: float = 1e-3,
        bn_momentum: float = 0.1,
        padding: blocks.Padding = "symmetric",
    ) -> None:
        super().__init__()
        norm, act = blocks.batch_norm(bn_eps, bn_momentum), blocks.activation("relu6")
        channels = blocks.make_divisible(32 * width, round_to)
        self.stem = blocks.ConvNormAct(in_channels, channels, 3, stride=1 if small_input else 2, norm=norm, act=act)
        layers: list[nn.Module] = []
        for index, row in enumerate(TABLE):
            out_channels = blocks.make_divisible(row.c * width, round_to)
            first_stride = 1 if small_input and index == 1 else row.s
            for stride in (first_stride, *(row.n - 1) * (1,)):
                layers.append(InvertedResidual(channels, out_channels, expansion=row.t, stride=stride, norm=norm))
                channels = out_channels
        self.blocks, self.stages = nn.Sequential(*layers), tuple(row.n for row in TABLE)
        last = blocks.make_divisible(1280 * max(1.0, width), round_to)
        self.head = blocks.ConvNormAct(channels, last, norm=norm, act=act)
        self.pool = blocks.GlobalAveragePool()
        self.dropout = nn.Dropout(drop_rate)
        self.classifier = nn.Linear(last, num_classes)
        self.set_padding(padding)
        blocks.initialise(self)


for _name, _width in (("0_35", 0.35), ("0_5", 0.5), ("0_75", 0.75), ("1_0", 1.0), ("1_3", 1.3), ("1_4", 1.4)):
    register(
        f"mobilenet_v2_x{_name}",
        MobileNetV2,
        family="mobilenet_v2",
        image_size=224,
        fact=f"{_width:g} @ 224",
        options={"width": _width},
        aliases=("mobilenet_v2",) if _width == 1 else (),
    )
