"""ShuffleNet V1 (Zhang, Zhou, Lin, Sun 2017, arXiv:1707.01083).

CHANNELS is the paper's Table 1: output channels of stages 2, 3, 4 for each number of groups; REPEATS its units per
stage, the first of which has stride 2. The first 1x1 convolution of stage 2 is not grouped, as its input is narrow
(Table 1, note 2). A unit's bottleneck has a quarter of its output channels (section 3.2); the shuffle sits after the
first grouped convolution; no ReLU follows the depthwise convolution. A unit with stride 2 joins its input, averaged
3x3/2, by concatenation (Figure 2c).

`scale` is the paper's s in "ShuffleNet s x". It does not say what becomes of the stem's 24 channels: here they are
scaled too, which alone gives its multiply-adds (12 at 0.5x and below, 16 or 8 with 8 groups, 24 at 1x and 1.5x, 48 at
2x); a bottleneck that groups do not divide is rounded down to a multiple. Megvii's code shuffles after the depthwise
convolution (the same function with permuted weights) and has no bias in the classifier.
Not from the paper: what is said above to be open in it; the initialisation (see `blocks.initialise`).
`small_input` (32 px and less): the stem has stride 1 and no pooling follows: total stride 8.
"""

from typing import Literal

import torch
from torch import Tensor, nn

from depthwise.models import blocks
from depthwise.models.registry import register

CHANNELS = {1: (144, 288, 576), 2: (200, 400, 800), 3: (240, 480, 960), 4: (272, 544, 1088), 8: (384, 768, 1536)}
REPEATS = (4, 8, 4)


class Unit(nn.Module):
    """relu(x + branch(x)), or with stride 2 relu(concat(mean(x), branch(x))): Figure 2b and c."""

    def __init__(
        self, in_channels: int, out_channels: int, *, stride: int, groups: int, first_groups: int, norm: blocks.Norm
    ) -> None:
        super().__init__()
        middle = out_channels // 4 // groups * groups
        added = out_channels - in_channels if stride == 2 else out_channels
        self.reduce = blocks.ConvNormAct(in_channels, middle, groups=first_groups, norm=norm, act=nn.ReLU)
        self.shuffle = nn.ChannelShuffle(first_groups)
        self.depthwise = blocks.ConvNormAct(middle, middle, 3, stride=stride, groups=middle, norm=norm, act=None)
        self.expand = blocks.ConvNormAct(middle, added, groups=groups, norm=norm, act=None)
        self.pool = nn.AvgPool2d(3, 2, padding=1) if stride == 2 else nn.Identity()
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        y = self.expand(self.depthwise(self.shuffle(self.reduce(x))))
        return torch.relu(torch.cat([self.pool(x), y], 1) if self.stride == 2 else x + y)


class ShuffleNetV1(blocks.Network):
    """Stem, three stages of units, pooling, linear layer: images (B, C, H, W) -> logits (B, K)."""

    def __init__(
        self,
        *,
        num_classes: int = 1000,
        in_channels: int = 3,
        small_input: bool = False,
        groups: Literal[1, 2, 3, 4, 8] = 3,
        scale: float = 1.0,
        drop_rate: float = 0.0,
        bn_eps: float = 1e-5,
        bn_momentum: float = 0.1,
    ) -> None:
        super().__init__()
        norm = blocks.batch_norm(bn_eps, bn_momentum)
        channels = _stem_channels(scale, groups)
        self.stem = blocks.ConvNormAct(in_channels, channels, 3, stride=1 if small_input else 2, norm=norm, act=nn.ReLU)
        self.stem_pool = nn.Identity() if small_input else nn.MaxPool2d(3, 2, padding=1)
        units = []
        for stage, (width, repeats) in enumerate(zip(CHANNELS[groups], REPEATS, strict=True)):
            out_channels = int(width * scale)
            for index in range(repeats):
                first_groups = 1 if stage == index == 0 else groups
                stride = 2 if index == 0 else 1
                unit = Unit(channels, out_channels, stride=stride, groups=groups, first_groups=first_groups, norm=norm)
                units.append(unit)
                channels = out_channels
        self.blocks, self.stages = nn.Sequential(*units), REPEATS
        self.pool = blocks.GlobalAveragePool()
        self.dropout = nn.Dropout(drop_rate)
        self.classifier = nn.Linear(channels, num_classes)
        blocks.initialise(self)


def _stem_channels(scale: float, groups: int) -> int:
    """Return 24 x scale from 2x on; 24 down to 1x; below, half of it; a multiple of 8 for 8 groups."""
    channels = 24 * int(scale) if scale >= 1 else 12
    if groups == 8 and scale < 1:
        channels = 16 if scale >= 0.5 else 8
    return channels


for _groups in CHANNELS:
    for _text, _scale in (("0_25", 0.25), ("0_5", 0.5), ("1_0", 1.0), ("1_5", 1.5), ("2_0", 2.0)):
        register(
            f"shufflenet_v1_g{_groups}_x{_text}",
            ShuffleNetV1,
            family="shufflenet_v1",
            image_size=224,
            fact=f"{_scale:g}x g={_groups}",
            options={"groups": _groups, "scale": _scale},
            aliases=("shufflenet_v1",) if (_groups, _scale) == (3, 1.0) else (),
        )
