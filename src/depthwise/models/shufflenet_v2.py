"""ShuffleNet V2 (Ma, Zhang, Zheng, Sun 2018, arXiv:1807.11164).

CHANNELS is the paper's Table 5: output channels of stages 2 to 4 and of the last 1x1 convolution for each width. A
unit with stride 1 splits its channels, sends one half through 1x1, 3x3 depthwise and 1x1 convolutions, joins and
shuffles; one with stride 2 sends all channels through both branches (Figure 3c and d). No ReLU follows a depthwise
convolution. The table prints 224 for stage 2 at 2x in some copies: 244 gives its 7.4 million parameters.

Not from the paper: the initialisation (see `blocks.initialise`).
`small_input` (32 px and less): the stem has stride 1 and no pooling follows: total stride 8.
"""

import torch
from torch import Tensor, nn

from depthwise.models import blocks
from depthwise.models.registry import register

CHANNELS = {
    #     stage2 stage3 stage4 conv5
    0.5: (48,   96,  192, 1024),
    1.0: (116, 232,  464, 1024),
    1.5: (176, 352,  704, 1024),
    2.0: (244, 488,  976, 2048),
}  # fmt: skip
REPEATS = (4, 8, 4)


class Unit(nn.Module):
    """shuffle(concat(left, branch(right))): Figure 3c; with stride 2 both sides see all channels: Figure 3d."""

    def __init__(self, in_channels: int, out_channels: int, *, stride: int, norm: blocks.Norm) -> None:
        super().__init__()
        half = out_channels // 2
        seen = in_channels if stride == 2 else half
        self.is_split = stride == 1
        self.left = nn.Sequential()
        if stride == 2:
            self.left.append(blocks.ConvNormAct(seen, seen, 3, stride=2, groups=seen, norm=norm, act=None))
            self.left.append(blocks.ConvNormAct(seen, half, norm=norm, act=nn.ReLU))
        self.branch = nn.Sequential(
            blocks.ConvNormAct(seen, half, norm=norm, act=nn.ReLU),
            blocks.ConvNormAct(half, half, 3, stride=stride, groups=half, norm=norm, act=None),
            blocks.ConvNormAct(half, half, norm=norm, act=nn.ReLU),
        )
        self.shuffle = nn.ChannelShuffle(2)

    def forward(self, x: Tensor) -> Tensor:
        left, right = x.chunk(2, 1) if self.is_split else (x, x)
        shuffled: Tensor = self.shuffle(torch.cat([self.left(left), self.branch(right)], 1))
        return shuffled


class ShuffleNetV2(blocks.Network):
    """Stem, three stages of units, 1x1 convolution, pooling, linear layer: images (B, C, H, W) -> logits (B, K)."""

    def __init__(
        self,
        channels_by_stage: tuple[int, int, int, int],
        *,
        num_classes: int = 1000,
        in_channels: int = 3,
        small_input: bool = False,
        drop_rate: float = 0.0,
        bn_eps: float = 1e-5,
        bn_momentum: float = 0.1,
    ) -> None:
        super().__init__()
        norm = blocks.batch_norm(bn_eps, bn_momentum)
        *stages, last = channels_by_stage
        channels = 24
        self.stem = blocks.ConvNormAct(in_channels, channels, 3, stride=1 if small_input else 2, norm=norm, act=nn.ReLU)
        self.stem_pool = nn.Identity() if small_input else nn.MaxPool2d(3, 2, padding=1)
        units = []
        for out_channels, repeats in zip(stages, REPEATS, strict=True):
            for index in range(repeats):
                units.append(Unit(channels, out_channels, stride=2 if index == 0 else 1, norm=norm))
                channels = out_channels
        self.blocks, self.stages = nn.Sequential(*units), REPEATS
        self.head = blocks.ConvNormAct(channels, last, norm=norm, act=nn.ReLU)
        self.pool = blocks.GlobalAveragePool()
        self.dropout = nn.Dropout(drop_rate)
        self.classifier = nn.Linear(last, num_classes)
        blocks.initialise(self)


for _text, _width in (("0_5", 0.5), ("1_0", 1.0), ("1_5", 1.5), ("2_0", 2.0)):
    register(
        f"shufflenet_v2_x{_text}",
        blocks.bind(ShuffleNetV2, CHANNELS[_width]),
        family="shufflenet_v2",
        image_size=224,
        fact=f"{_width:.1f}x",
        aliases=("shufflenet_v2",) if _width == 1 else (),
    )
