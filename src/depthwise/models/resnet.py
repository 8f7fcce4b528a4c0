"""ResNet (He, Zhang, Ren, Sun 2015, arXiv:1512.03385).

DEPTHS is the paper's Table 1: blocks per stage. Bottlenecks have their stride in the first 1x1 convolution, as in the
paper and the authors' release; the `_v1_5` networks have it in the 3x3, as most public weights do. Shortcuts that
change shape are projections (option B, section 4.1), identity with zero channels added (A), or absent (`none`, the
plain network of Figure 3). The CIFAR networks (section 4.2) have three stages of 16, 32, 64 channels and option A.
Initialisation: He et al. 2015 (section 3.4; see `blocks.initialise`). Batch norm follows every convolution.

Not from the paper: N(0, 0.01) for the classifier; which of several ports' ways option A adds its channels: all
behind.
`small_input` (32 px and less): the stem is one 3x3 convolution with stride 1, without pooling: total stride 8.
"""

from typing import Literal

from torch import Tensor, nn
from torch.nn import functional

from depthwise.models import blocks
from depthwise.models.registry import register

Shortcut = Literal["A", "B", "none"]

DEPTHS = {
    #    conv2 conv3 conv4 conv5
    18:  (2, 2,  2, 2),
    34:  (3, 4,  6, 3),
    50:  (3, 4,  6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
}  # fmt: skip


class ZeroPadShortcut(nn.Module):
    """Every `stride`-th position, and zeros for the new channels (option A)."""

    def __init__(self, stride: int, num_new: int) -> None:
        super().__init__()
        self.stride, self.num_new = stride, num_new

    def forward(self, x: Tensor) -> Tensor:
        return functional.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.num_new))


def make_shortcut(kind: Shortcut, in_channels: int, out_channels: int, stride: int, norm: blocks.Norm) -> nn.Module:
    """Return what carries x around a block; the identity where shapes agree."""
    if stride == 1 and in_channels == out_channels:
        return nn.Identity()
    if kind == "B":
        return blocks.ConvNormAct(in_channels, out_channels, stride=stride, norm=norm, act=None)
    return ZeroPadShortcut(stride, out_channels - in_channels)


class Residual(nn.Module):
    """relu(shortcut(x) + scale(branch(x))); without a shortcut relu(branch(x)). `scale` is SENet's own."""

    def __init__(self, branch: nn.Module, shortcut: nn.Module | None, scale: nn.Module | None = None) -> None:
        super().__init__()
        self.branch = branch
        self.scale = scale or nn.Identity()
        self.shortcut = shortcut
        self.act = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.scale(self.branch(x))
        out: Tensor = self.act(y if self.shortcut is None else y + self.shortcut(x))
        return out


def basic_branch(in_channels: int, channels: int, stride: int, norm: blocks.Norm) -> nn.Sequential:
    """Return two 3x3 convolutions, the stride in the first (Figure 5, left)."""
    return nn.Sequential(
        blocks.ConvNormAct(in_channels, channels, 3, stride=stride, norm=norm, act=nn.ReLU),
        blocks.ConvNormAct(channels, channels, 3, norm=norm, act=None),
    )


def bottleneck_branch(
    in_channels: int, channels: int, stride: int, norm: blocks.Norm, *, is_stride_first: bool = True
) -> nn.Sequential:
    """Return 1x1, 3x3, 1x1 convolutions with four times as many channels out (Figure 5, right)."""
    first, second = (stride, 1) if is_stride_first else (1, stride)
    return nn.Sequential(
        blocks.ConvNormAct(in_channels, channels, stride=first, norm=norm, act=nn.ReLU),
        blocks.ConvNormAct(channels, channels, 3, stride=second, norm=norm, act=nn.ReLU),
        blocks.ConvNormAct(channels, 4 * channels, norm=norm, act=None),
    )


class ResNet(blocks.Network):
    """Stem, stages of residual blocks, pooling, linear layer: images (B, C, H, W) -> logits (B, K)."""

    def __init__(
        self,
        stages: tuple[int, ...],
        widths: tuple[int, ...],
        is_bottleneck: bool,
        is_stride_first: bool,
        has_large_stem: bool,
        *,
        num_classes: int = 1000,
        in_channels: int = 3,
        small_input: bool = False,
        shortcut: Shortcut = "B",
        drop_rate: float = 0.0,
        bn_eps: float = 1e-5,
        bn_momentum: float = 0.1,
    ) -> None:
        super().__init__()
        norm = blocks.batch_norm(bn_eps, bn_momentum)
        self.stem = blocks.large_stem(in_channels, widths[0], norm, is_small=small_input or not has_large_stem)
        channels = widths[0]
        layers = []
        for stage, (num_blocks, width) in enumerate(zip(stages, widths, strict=True)):
            out_channels = 4 * width if is_bottleneck else width
            for index in range(num_blocks):
                stride = 2 if stage > 0 and index == 0 else 1
                around = None if shortcut == "none" else make_shortcut(shortcut, channels, out_channels, stride, norm)
                branch = (
                    bottleneck_branch(channels, width, stride, norm, is_stride_first=is_stride_first)
                    if is_bottleneck
                    else basic_branch(channels, width, stride, norm)
                )
                layers.append(Residual(branch, around))
                channels = out_channels
        self.blocks, self.stages = nn.Sequential(*layers), stages
        self.pool = blocks.GlobalAveragePool()
        self.dropout = nn.Dropout(drop_rate)
        self.classifier = nn.Linear(channels, num_classes)
        blocks.initialise(self)


_WIDTHS = (64, 128, 256, 512)
for _depth, _stages in DEPTHS.items():
    _variants = {"": f"ResNet-{_depth} (option B, torchvision)"}
    if _depth >= 50:
        _variants = {
            "": f"ResNet-{_depth} v1 (paper: stride in the first 1x1)",
            "_v1_5": f"ResNet-{_depth} v1.5 (torchvision/timm: stride in the 3x3)",
        }
    for _suffix, _fact in _variants.items():
        register(
            f"resnet{_depth}{_suffix}",
            blocks.bind(ResNet, _stages, _WIDTHS, _depth >= 50, not _suffix, True),
            family="resnet",
            image_size=224,
            fact=_fact,
        )
for _depth in (20, 32, 44, 56, 110):
    register(
        f"resnet{_depth}_cifar",
        blocks.bind(ResNet, 3 * ((_depth - 2) // 6,), (16, 32, 64), False, True, False),
        family="resnet_cifar",
        image_size=32,
        num_classes=10,
        fact=f"CIFAR-10 ResNet-{_depth} (option A)",
        options={"shortcut": "A"},
    )
