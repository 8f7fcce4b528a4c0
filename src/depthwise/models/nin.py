"""Network in Network (Lin, Chen, Yan 2013, arXiv:1312.4400).

Each mlpconv layer (section 3.1) is a convolution and two 1x1 convolutions, ReLU after each; the last one gives a map
per class, whose global average is the logit (section 3.2). The paper gives no widths and no ImageNet network: both
tables are the authors' own Caffe configurations (gists mavenlin/d802a5849de39225bcc6 and e56253735ef32c3c296d).
Poolings are 3x3/2 and round up, as Caffe does; dropout 0.5 where the configurations have it.

Not from the paper: the tables, as said; the initialisation (see `blocks.initialise`).
`small_input` (32 px and less): `nin`'s first convolution is 5x5 with stride 1 and padding 2; `nin_cifar` is made for
32 px.
"""

from typing import NamedTuple

from torch import nn

from depthwise.models import blocks
from depthwise.models.registry import register


class Row(NamedTuple):
    """One mlpconv layer and what follows it."""

    k: int  # kernel size
    s: int  # stride
    p: int  # padding
    c: tuple[int, ...]  # output channels; the last mlpconv layer's third gives a map per class
    pool: str  # max, mean or ''
    is_dropped: bool  # dropout after it


IMAGENET = (
    #   k   s  p  channels            pool   dropout
    Row(11, 4, 0, (96, 96, 96),       "max", False),
    Row(5,  1, 2, (256, 256, 256),    "max", False),
    Row(3,  1, 1, (384, 384, 384),    "max", True),
    Row(3,  1, 1, (1024, 1024),       "",    False),
)  # fmt: skip
CIFAR = (
    Row(5,  1, 2, (192, 160, 96),     "max",  True),
    Row(5,  1, 2, (192, 192, 192),    "mean", True),
    Row(3,  1, 1, (192, 192),         "",     False),
)  # fmt: skip


class NiN(blocks.Network):
    """mlpconv layers and the global average of the last one's maps: images (B, C, H, W) -> logits (B, K)."""

    def __init__(
        self,
        table: tuple[Row, ...],
        *,
        num_classes: int = 1000,
        in_channels: int = 3,
        small_input: bool = False,
        drop_rate: float = 0.5,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = in_channels
        for index, row in enumerate(table):
            is_small_first = small_input and index == 0 and row.s > 1
            kernel_size, stride, padding = (5, 1, 2) if is_small_first else (row.k, row.s, row.p)
            wide, *narrower = row.c
            layers += [nn.Conv2d(channels, wide, kernel_size, stride, padding), nn.ReLU(inplace=True)]
            channels = wide
            for out_channels in narrower:
                layers += [nn.Conv2d(channels, out_channels, 1), nn.ReLU(inplace=True)]
                channels = out_channels
            layers += [nn.MaxPool2d(3, 2, ceil_mode=True)] * (row.pool == "max")
            layers += [nn.AvgPool2d(3, 2, ceil_mode=True)] * (row.pool == "mean")
            layers += [nn.Dropout(drop_rate)] * row.is_dropped
        self.blocks = nn.Sequential(*layers)
        self.classifier = nn.Conv2d(channels, num_classes, 1)
        self.act = nn.ReLU(inplace=True)
        self.pool = blocks.GlobalAveragePool()
        blocks.initialise(self)


register(
    "nin",
    blocks.bind(NiN, IMAGENET),
    family="nin",
    image_size=224,
    fact="ImageNet NiN (Caffe zoo, 4 mlpconv, ceil pooling)",
)
register(
    "nin_cifar",
    blocks.bind(NiN, CIFAR),
    family="nin",
    image_size=32,
    num_classes=10,
    fact="CIFAR-10 NiN",
)
