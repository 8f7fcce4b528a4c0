"""EfficientNet (Tan & Le 2019, arXiv:1905.11946) and EfficientNet-Lite (Google 2020, tensorflow/tpu; no paper).

TABLE is the paper's Table 1, stages 2 to 8; SCALES are the authors' coefficients (width, depth), resolution and
dropout for B0 to B7. Repeats are rounded up; channels follow `make_divisible`, the stem's 32 and the head's 1280 too.
The block is MobileNetV2's with swish, and squeeze-and-excite between depthwise convolution and projection, its width
a quarter of the block's INPUT channels, with swish inside and the sigmoid as gate (authors' code). Stochastic depth
("drop connect", 0.2) rises linearly over the blocks. Batch norm: TF's decay 0.99, eps 1e-3.

Lite has ReLU6 for swish and no squeeze-and-excite; stem, head, and the repeats of the first and last stage are not
scaled.
Not from the paper: the initialisation (see `blocks.initialise`).
`small_input` (32 px and less): the stem and the first stage with stride 2 have stride 1: total stride 8 instead of
32.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from depthwise.models import blocks
from depthwise.models.registry import register


class Row(NamedTuple):
    """One stage of Table 1: MBConv{t}, k x k."""

    t: int  # expansion
    k: int  # kernel size
    c: int  # output channels
    n: int  # layers
    s: int  # stride of the first layer


TABLE = (
    #    t  k   c  n  s
    Row(1, 3,  16, 1, 1),
    Row(6, 3,  24, 2, 2),
    Row(6, 5,  40, 2, 2),
    Row(6, 3,  80, 3, 2),
    Row(6, 5, 112, 3, 1),
    Row(6, 5, 192, 4, 2),
    Row(6, 3, 320, 1, 1),
)  # fmt: skip


class Scale(NamedTuple):
    """Coefficients of one member of the family."""

    name: str
    width: float
    depth: float
    image_size: int
    drop_rate: float


SCALES = (
    Scale("b0", 1.0, 1.0, 224, 0.2),
    Scale("b1", 1.0, 1.1, 240, 0.2),
    Scale("b2", 1.1, 1.2, 260, 0.3),
    Scale("b3", 1.2, 1.4, 300, 0.3),
    Scale("b4", 1.4, 1.8, 380, 0.4),
    Scale("b5", 1.6, 2.2, 456, 0.4),
    Scale("b6", 1.8, 2.6, 528, 0.5),
    Scale("b7", 2.0, 3.1, 600, 0.5),
    Scale("lite0", 1.0, 1.0, 224, 0.2),
    Scale("lite1", 1.0, 1.1, 240, 0.2),
    Scale("lite2", 1.1, 1.2, 260, 0.3),
    Scale("lite3", 1.2, 1.4, 280, 0.3),
    Scale("lite4", 1.4, 1.8, 300, 0.3),
)


class StochasticDepth(nn.Module):
    """In training, x / (1 - rate) or 0 for each picture of the batch (Huang et al. 2016, arXiv:1603.09382)."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.rate == 0:
            return x
        is_kept = torch.rand(len(x), 1, 1, 1, device=x.device) >= self.rate
        return x * is_kept / (1 - self.rate)


class MBConv(nn.Module):
    """x + project(se(depthwise(expand(x)))); the sum only where stride is 1 and the channels are equal."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        row: Row,
        stride: int,
        *,
        act: Callable[[], nn.Module],
        has_se: bool,
        rate: float,
        norm: blocks.Norm,
    ) -> None:
        super().__init__()
        middle = in_channels * row.t
        self.expand = blocks.ConvNormAct(in_channels, middle, norm=norm, act=act) if row.t != 1 else nn.Identity()
        self.depthwise = blocks.ConvNormAct(middle, middle, row.k, stride=stride, groups=middle, norm=norm, act=act)
        squeezed = max(1, in_channels // 4)
        self.se = blocks.SqueezeExcite(middle, squeezed, nn.Sigmoid, act=act) if has_se else nn.Identity()
        self.project = blocks.ConvNormAct(middle, out_channels, norm=norm, act=None)
        self.is_residual = stride == 1 and in_channels == out_channels
        self.drop = StochasticDepth(rate)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.project(self.se(self.depthwise(self.expand(x))))
        return x + self.drop(y) if self.is_residual else y


class EfficientNet(blocks.Network):
    """Stem, MBConv blocks, 1x1 convolution, pooling, linear layer: images (B, C, H, W) -> logits (B, K).

    `width` scales channels, `depth` repeats; `drop_connect` is the rate of stochastic depth at the last block.
    """

    def __init__(
        self,
        is_lite: bool,
        *,
        num_classes: int = 1000,
        in_channels: int = 3,
        small_input: bool = False,
        width: float = 1.0,
        depth: float = 1.0,
        drop_connect: float = 0.2,
        drop_rate: float = 0.2,
        bn_eps: float = 1e-3,
        bn_momentum: float = 0.01,
        padding: blocks.Padding = "symmetric",
    ) -> None:
        super().__init__()
        norm = blocks.batch_norm(bn_eps, bn_momentum)
        act: Callable[[], nn.Module] = nn.ReLU6 if is_lite else nn.SiLU
        channels, last = (32, 1280) if is_lite else (blocks.make_divisible(c * width) for c in (32, 1280))
        repeats = [math.ceil(row.n * depth) for row in TABLE]
        if is_lite:
            repeats[0], repeats[-1] = TABLE[0].n, TABLE[-1].n
        self.stem = blocks.ConvNormAct(in_channels, channels, 3, stride=1 if small_input else 2, norm=norm, act=act)
        layers: list[nn.Module] = []
        for stage, (row, count) in enumerate(zip(TABLE, repeats, strict=True)):
            out_channels = blocks.make_divisible(row.c * width)
            first_stride = 1 if small_input and stage == 1 else row.s
            for stride in (first_stride, *(count - 1) * (1,)):
                rate = drop_connect * len(layers) / sum(repeats)
                layers.append(
                    MBConv(channels, out_channels, row, stride, act=act, has_se=not is_lite, rate=rate, norm=norm)
                )
                channels = out_channels
        self.blocks, self.stages = nn.Sequential(*layers), tuple(repeats)
        self.head = blocks.ConvNormAct(channels, last, norm=norm, act=act)
        self.pool = blocks.GlobalAveragePool()
        self.dropout = nn.Dropout(drop_rate)
        self.classifier = nn.Linear(last, num_classes)
        self.set_padding(padding)
        blocks.initialise(self)


for _scale in SCALES:
    _is_lite = _scale.name.startswith("lite")
    register(
        f"efficientnet_{_scale.name}",
        blocks.bind(EfficientNet, _is_lite),
        family="efficientnet_lite" if _is_lite else "efficientnet",
        image_size=_scale.image_size,
        fact=_scale.name.capitalize(),
        options={"width": _scale.width, "depth": _scale.depth, "drop_rate": _scale.drop_rate},
    )
