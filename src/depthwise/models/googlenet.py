"""GoogLeNet (Szegedy et al. 2014, arXiv:1409.4842).

TABLE is the paper's Table 1, its Inception rows; the stem is its first seven rows. ReLU after every convolution,
reductions included; response normalisation around the stem's second and third convolution as in Figure 3; dropout 0.4
before the classifier. The auxiliary classifiers (section 5; after 4a and 4d) are there with `aux=True`: `forward`
gives the main logits, `auxiliary_logits` the two others, whose loss training adds with the paper's weight 0.3.

`googlenet_bn` has batch norm in place of biases and response normalisation, as later work trains it.
`googlenet_torchvision` is the network of torchvision's public weights, with its known deviations: 3x3 kernels in the
5x5 branch, batch norm (eps 1e-3), the last pooling 2x2, dropout 0.2. Poolings round up, as the authors' Caffe does.
Not from the paper: the initialisation (see `blocks.initialise`); what auxiliary classifiers average at other sizes;
alpha of the normalisation (1e-4 over 5 channels, Caffe's).
`small_input` (32 px and less): the stem is one 3x3 convolution with 192 channels and stride 1: total stride 4.
"""

from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from depthwise.models import blocks
from depthwise.models.registry import register

Kind = Literal["paper", "bn", "torchvision"]


class Row(NamedTuple):
    """One Inception module: output channels, columns as in Table 1."""

    name: str
    one: int  # 1x1
    three_reduce: int
    three: int  # 3x3
    five_reduce: int
    five: int  # 5x5
    pool: int  # projection after pooling


TABLE = (
    #   name  1x1  3x3r  3x3 5x5r  5x5 pool
    Row("3a",  64,  96, 128,  16,  32,  32),
    Row("3b", 128, 128, 192,  32,  96,  64),
    Row("4a", 192,  96, 208,  16,  48,  64),
    Row("4b", 160, 112, 224,  24,  64,  64),
    Row("4c", 128, 128, 256,  24,  64,  64),
    Row("4d", 112, 144, 288,  32,  64,  64),
    Row("4e", 256, 160, 320,  32, 128, 128),
    Row("5a", 256, 160, 320,  32, 128, 128),
    Row("5b", 384, 192, 384,  48, 128, 128),
)  # fmt: skip


def conv(in_channels: int, out_channels: int, kernel_size: int, stride: int, norm: blocks.Norm | None) -> nn.Module:
    """Return convolution, norm if any (else a bias), ReLU."""
    if norm is not None:
        return blocks.ConvNormAct(in_channels, out_channels, kernel_size, stride=stride, norm=norm, act=nn.ReLU)
    return nn.Sequential(nn.Conv2d(in_channels, out_channels, kernel_size, stride, kernel_size // 2), nn.ReLU())


def max_pool() -> nn.MaxPool2d:
    """Return the pooling between stages: 3x3/2, rounded up."""
    return nn.MaxPool2d(3, 2, ceil_mode=True)


class Inception(nn.Module):
    """concat(1x1, 3x3(1x1), 5x5(1x1), 1x1(pool)): Figure 2b."""

    def __init__(self, in_channels: int, row: Row, five_kernel: int, norm: blocks.Norm | None) -> None:
        super().__init__()
        self.one = conv(in_channels, row.one, 1, 1, norm)
        three = conv(in_channels, row.three_reduce, 1, 1, norm), conv(row.three_reduce, row.three, 3, 1, norm)
        five = conv(in_channels, row.five_reduce, 1, 1, norm), conv(row.five_reduce, row.five, five_kernel, 1, norm)
        self.three, self.five = nn.Sequential(*three), nn.Sequential(*five)
        self.pool = nn.Sequential(nn.MaxPool2d(3, 1, 1), conv(in_channels, row.pool, 1, 1, norm))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.one(x), self.three(x), self.five(x), self.pool(x)], 1)


class FourByFour(nn.Module):
    """The means in front of an auxiliary classifier: 5x5/3 at the paper's size, 14x14 maps; else 4x4 equal parts."""

    def forward(self, x: Tensor) -> Tensor:
        is_paper_s = tuple(x.shape[2:]) == (14, 14)
        return functional.avg_pool2d(x, 5, 3) if is_paper_s else functional.adaptive_avg_pool2d(x, 4)


class GoogLeNet(blocks.Network):
    """Stem, nine Inception modules, pooling, linear layer: images (B, C, H, W) -> logits (B, K)."""

    beside = ("aux",)

    def __init__(
        self,
        kind: Kind,
        *,
        num_classes: int = 1000,
        in_channels: int = 3,
        small_input: bool = False,
        aux: bool = False,
        drop_rate: float = 0.4,
        bn_eps: float = 1e-3,
        bn_momentum: float = 0.1,
    ) -> None:
        super().__init__()
        norm = None if kind == "paper" else blocks.batch_norm(bn_eps, bn_momentum)
        first_lrn, lrn = (nn.LocalResponseNorm(5, 1e-4, 0.75) if kind == "paper" else nn.Identity() for _ in range(2))
        last_pool = nn.MaxPool2d(2, 2, ceil_mode=True) if kind == "torchvision" else max_pool()
        if small_input:
            self.stem = nn.Sequential(conv(in_channels, 192, 3, 1, norm), lrn)
        else:
            first = conv(in_channels, 64, 7, 2, norm), max_pool(), first_lrn
            self.stem = nn.Sequential(*first, conv(64, 64, 1, 1, norm), conv(64, 192, 3, 1, norm), lrn, max_pool())
        self.blocks = nn.Sequential()
        channels = 192
        for row in TABLE:
            self.blocks.add_module(row.name, Inception(channels, row, 3 if kind == "torchvision" else 5, norm))
            channels = row.one + row.three + row.five + row.pool
            if row.name in ("3b", "4e"):
                self.blocks.add_module(f"pool{row.name[0]}", max_pool() if row.name == "3b" else last_pool)
        average = FourByFour() if kind == "paper" else nn.AdaptiveAvgPool2d(4)
        heads = {"4a": 512, "4d": 528} if aux else {}
        self.pool = blocks.GlobalAveragePool()
        self.dropout = nn.Dropout(drop_rate)
        self.classifier = nn.Linear(channels, num_classes)
        self.aux = nn.ModuleDict({n: _head(average, c, num_classes, norm) for n, c in heads.items()})
        blocks.initialise(self)

    def with_auxiliary(self, images: Tensor) -> tuple[Tensor, list[Tensor]]:
        x, found = self.stem(images), []
        for name, module in self.blocks.named_children():
            x = module(x)
            if name in self.aux:
                found.append(self.aux[name](x))
        return self.classifier(self.dropout(self.pool(x))), found

    def auxiliary_logits(self, images: Tensor) -> list[Tensor]:
        """Return the logits (B, K) of the auxiliary classifiers, nearest to the input first; none without `aux`."""
        return self.with_auxiliary(images)[1]

    def reset_classifier(self, num_classes: int) -> None:
        super().reset_classifier(num_classes)
        for name, head in self.aux.named_children():
            *layers, old = head.children()
            self.aux[name] = nn.Sequential(*layers, self._fresh(old, num_classes))


def _head(average: nn.Module, in_channels: int, num_classes: int, norm: blocks.Norm | None) -> nn.Sequential:
    hidden = nn.Flatten(), nn.Linear(2048, 1024), nn.ReLU(), nn.Dropout(0.7)
    return nn.Sequential(average, conv(in_channels, 128, 1, 1, norm), *hidden, nn.Linear(1024, num_classes))


for _kind, _name, _fact, _drop_rate in (
    ("paper", "googlenet", "paper: 5x5, LRN, conv biases, no BN, without aux", 0.4),
    ("bn", "googlenet_bn", "5x5 with BN instead of biases, no aux", 0.4),
    ("torchvision", "googlenet_torchvision", "torchvision (3x3 in place of 5x5, BN), no aux", 0.2),
):
    register(
        _name,
        blocks.bind(GoogLeNet, _kind),
        family="googlenet",
        image_size=224,
        fact=_fact,
        options={"drop_rate": _drop_rate},
    )
