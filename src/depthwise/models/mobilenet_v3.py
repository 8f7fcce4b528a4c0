"""MobileNetV3 (Howard et al. 2019, arXiv:1905.02244v5).

LARGE and SMALL are the paper's Tables 1 and 2, row for row. We follow version 5 and Google's code where they differ
from the first arXiv version and from Table 2: the 160-channel rows expand 672, 960, 960 with the stride in the first;
Small's last 1x1 convolution (576) has no squeeze-and-excite; Small ends in 1024 channels. Squeeze-and-excite sits
between the depthwise convolution's activation and the projection; its width is a quarter of the expansion, in
multiples of 8; its gate is the hard sigmoid (section 5.3). Batch norm: decay 0.99, eps 1e-3 (section 6.1 and code).
The layer after pooling has a bias and no batch norm ("NBN"); it is not narrowed below width 1 (as in Google's code).
Dropout "0.8" is the probability to keep: 0.2 here.

Not from the paper: the initialisation (see `blocks.initialise`). "Minimal" is the release's "minimalistic": no
squeeze-and-excite, no hard-swish, 3x3 kernels only.
`small_input` (32 px and less): the stem and the first row with stride 2 have stride 1: total stride 8 instead of 32.
"""

from functools import partial
from itertools import groupby
from typing import NamedTuple

from torch import Tensor, nn

from depthwise.models import blocks
from depthwise.models.registry import register


class Row(NamedTuple):
    """One bottleneck of Table 1 or 2, columns as in the paper."""

    k: int  # kernel size
    exp: int  # expanded channels
    out: int  # output channels
    se: bool  # squeeze-and-excite
    nl: str  # non-linearity
    s: int  # stride


_, SE, RE, HS = False, True, "relu", "hard_swish"

LARGE = (
    #   k  exp  out  SE  NL  s
    Row(3,  16,  16,  _, RE, 1),
    Row(3,  64,  24,  _, RE, 2),
    Row(3,  72,  24,  _, RE, 1),
    Row(5,  72,  40, SE, RE, 2),
    Row(5, 120,  40, SE, RE, 1),
    Row(5, 120,  40, SE, RE, 1),
    Row(3, 240,  80,  _, HS, 2),
    Row(3, 200,  80,  _, HS, 1),
    Row(3, 184,  80,  _, HS, 1),
    Row(3, 184,  80,  _, HS, 1),
    Row(3, 480, 112, SE, HS, 1),
    Row(3, 672, 112, SE, HS, 1),
    Row(5, 672, 160, SE, HS, 2),
    Row(5, 960, 160, SE, HS, 1),
    Row(5, 960, 160, SE, HS, 1),
)  # fmt: skip
SMALL = (
    #   k  exp  out  SE  NL  s
    Row(3,  16,  16, SE, RE, 2),
    Row(3,  72,  24,  _, RE, 2),
    Row(3,  88,  24,  _, RE, 1),
    Row(5,  96,  40, SE, HS, 2),
    Row(5, 240,  40, SE, HS, 1),
    Row(5, 240,  40, SE, HS, 1),
    Row(5, 120,  48, SE, HS, 1),
    Row(5, 144,  48, SE, HS, 1),
    Row(5, 288,  96, SE, HS, 2),
    Row(5, 576,  96, SE, HS, 1),
    Row(5, 576,  96, SE, HS, 1),
)  # fmt: skip


class Bottleneck(nn.Module):
    """x + project(se(depthwise(expand(x)))); the sum only where stride is 1 and the channels are equal (Figure 4)."""

    def __init__(
        self, in_channels: int, middle: int, row: Row, out_channels: int, *, stride: int, norm: blocks.Norm
    ) -> None:
        super().__init__()
        act = blocks.activation(row.nl)
        self.expand = (
            blocks.ConvNormAct(in_channels, middle, norm=norm, act=act) if middle != in_channels else nn.Identity()
        )
        self.depthwise = blocks.ConvNormAct(middle, middle, row.k, stride=stride, groups=middle, norm=norm, act=act)
        squeezed = blocks.make_divisible(middle / 4)
        self.se = blocks.SqueezeExcite(middle, squeezed, nn.Hardsigmoid) if row.se else nn.Identity()
        self.project = blocks.ConvNormAct(middle, out_channels, norm=norm, act=None)
        self.is_residual = stride == 1 and in_channels == out_channels

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.project(self.se(self.depthwise(self.expand(x))))
        return x + y if self.is_residual else y


class MobileNetV3(blocks.Network):
    """Stem, bottlenecks, 1x1 convolution, pooling, two linear layers: images (B, C, H, W) -> logits (B, K).

    The paper's two layers after the pooling are 1x1 convolutions on a 1x1 map: the same sums as the linear layers here.
    """

    def __init__(
        self,
        table: tuple[Row, ...],
        last: int,
        *,
        num_classes: int = 1000,
        in_channels: int = 3,
        small_input: bool = False,
        width: float = 1.0,
        round_to: int = 8,
        minimal: bool = False,
        drop_rate: float = 0.2,
        bn_eps: float = 1e-3,
        bn_momentum: float = 0.01,
        padding: blocks.Padding = "symmetric",
    ) -> None:
        super().__init__()
        rows = [row._replace(k=3, se=False, nl=RE) for row in table] if minimal else list(table)
        norm, act = blocks.batch_norm(bn_eps, bn_momentum), blocks.activation(RE if minimal else HS)
        table_channels = 16
        channels = blocks.make_divisible(table_channels * width, round_to)
        self.stem = blocks.ConvNormAct(in_channels, channels, 3, stride=1 if small_input else 2, norm=norm, act=act)
        first_strided = next(index for index, row in enumerate(rows) if row.s == 2)
        layers = []
        for index, row in enumerate(rows):
            # The table's expansion is a ratio to its own input, applied to the scaled channels, as in Google's code.
            middle = blocks.make_divisible(channels * row.exp / table_channels, round_to)
            out_channels = blocks.make_divisible(row.out * width, round_to)
            stride = 1 if small_input and index == first_strided else row.s
            layers.append(Bottleneck(channels, middle, row, out_channels, stride=stride, norm=norm))
            channels, table_channels = out_channels, row.out
        self.blocks = nn.Sequential(*layers)
        self.stages = tuple(len(list(same)) for _, same in groupby(rows, key=lambda row: row.out))
        widest = blocks.make_divisible(6 * channels, round_to)
        last = blocks.make_divisible(last * max(1.0, width), round_to)
        self.head = blocks.ConvNormAct(channels, widest, norm=norm, act=act)
        self.pool = blocks.GlobalAveragePool()
        self.penultimate = nn.Linear(widest, last)
        self.act = act()
        self.dropout = nn.Dropout(drop_rate)
        self.classifier = nn.Linear(last, num_classes)
        self.set_padding(padding)
        blocks.initialise(self)


for _size, _table, _last in (("large", LARGE, 1280), ("small", SMALL, 1024)):
    for _suffix, _variant, _options in (
        ("", "1.0", {}),
        ("_x0_75", "0.75", {"width": 0.75}),
        ("_minimal", "minimalistic 1.0", {"minimal": True}),
    ):
        register(
            f"mobilenet_v3_{_size}{_suffix}",
            partial(MobileNetV3, _table, _last),
            family="mobilenet_v3",
            image_size=224,
            fact=f"{_size.capitalize()} {_variant}",
            options=_options,
        )
