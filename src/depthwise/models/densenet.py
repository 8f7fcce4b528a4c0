"""DenseNet (Huang, Liu, van der Maaten, Weinberger 2016, arXiv:1608.06993).

Batch norm and ReLU stand before every convolution; each layer adds `growth` channels to all that came before it in
its block (section 3). The ImageNet networks are Table 1's columns (161, of the authors' release, has growth 48 and 96
stem channels): bottleneck layers (1x1 to 4 x growth, then 3x3), transitions that halve channels and size ("BC"), a
7x7/2 stem with pooling. The CIFAR networks have three blocks of (L - 4) / 3 layers, or (L - 4) / 6 with bottleneck,
and a 3x3 stem of 16 channels, or 2 x growth for BC; without BC the transitions keep their channels (several ports
halve them: not the paper's counts). Initialisation: He et al. 2015 (section 4.2; see `blocks.initialise`).

Not from the paper: DenseNet-161. Dropout 0.2 after each convolution but the first, which the paper has on CIFAR
without augmentation only (section 4.2), is `drop_rate`, 0 here.
`small_input` (32 px and less): the stem is a 3x3 convolution with stride 1, without pooling: total stride 8.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from depthwise.models import blocks as shared
from depthwise.models.registry import register

DEPTHS = {
    #      blocks          growth stem
    121: ((6, 12, 24, 16), 32, 64),
    161: ((6, 12, 36, 24), 48, 96),
    169: ((6, 12, 32, 32), 32, 64),
    201: ((6, 12, 48, 32), 32, 64),
    264: ((6, 12, 64, 48), 32, 64),
}


def norm_act_conv(
    in_channels: int, out_channels: int, kernel_size: int, norm: shared.Norm, drop_rate: float
) -> nn.Sequential:
    """Return conv(relu(norm(x))): the paper's composite function H (section 3), with dropout behind it if any."""
    conv = nn.Conv2d(in_channels, out_channels, kernel_size, padding=kernel_size // 2, bias=False)
    dropout = [nn.Dropout(drop_rate)] * (drop_rate > 0)
    return nn.Sequential(norm(in_channels), nn.ReLU(inplace=True), conv, *dropout)


class DenseLayer(nn.Module):
    """concat(x, H(x)), with H a 3x3 convolution, after a 1x1 one of 4 x growth channels with `bottleneck`."""

    def __init__(self, in_channels: int, growth: int, bottleneck: bool, drop_rate: float, norm: shared.Norm) -> None:
        super().__init__()
        middle = 4 * growth if bottleneck else in_channels
        self.reduce = norm_act_conv(in_channels, middle, 1, norm, drop_rate) if bottleneck else nn.Identity()
        self.conv = norm_act_conv(middle, growth, 3, norm, drop_rate)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, self.conv(self.reduce(x))], 1)


class DenseNet(shared.Network):
    """Stem, dense blocks with transitions between, pooling, linear layer: images (B, C, H, W) -> logits (B, K).

    `blocks`: layers per block; `growth`: channels that a layer adds; `compression`: share of channels that a transition
    keeps; `stem`: channels of the first convolution.
    """

    def __init__(
        self,
        has_large_stem: bool,
        *,
        num_classes: int = 1000,
        in_channels: int = 3,
        small_input: bool = False,
        blocks: Sequence[int] = DEPTHS[121][0],
        growth: int = 32,
        bottleneck: bool = True,
        compression: float = 0.5,
        stem: int = 64,
        drop_rate: float = 0.0,
        bn_eps: float = 1e-5,
        bn_momentum: float = 0.1,
    ) -> None:
        super().__init__()
        norm = shared.batch_norm(bn_eps, bn_momentum)
        if has_large_stem:
            self.stem = shared.large_stem(in_channels, stem, norm, is_small=small_input)
        else:  # the first layer's batch norm follows at once
            self.stem = nn.Sequential(nn.Conv2d(in_channels, stem, 3, padding=1, bias=False))
        layers: list[nn.Module] = []
        channels = stem
        for index, num_layers in enumerate(blocks):
            if index > 0:
                kept = int(channels * compression)
                layers.append(nn.Sequential(norm_act_conv(channels, kept, 1, norm, drop_rate), nn.AvgPool2d(2)))
                channels = kept
            for _ in range(num_layers):
                layers.append(DenseLayer(channels, growth, bottleneck, drop_rate, norm))
                channels += growth
        self.blocks = nn.Sequential(*layers)
        self.norm = nn.Sequential(norm(channels), nn.ReLU(inplace=True))
        self.pool = shared.GlobalAveragePool()
        self.classifier = nn.Linear(channels, num_classes)
        shared.initialise(self)


for _depth, (_blocks, _growth, _stem) in DEPTHS.items():
    _note = f"k={_growth}" + {161: ", 96 stem channels", 264: "; 6,12,64,48"}.get(_depth, "")
    register(
        f"densenet{_depth}",
        shared.bind(DenseNet, True),
        family="densenet",
        image_size=224,
        fact=f"DenseNet-{_depth} ({_note})",
        options={"blocks": _blocks, "growth": _growth, "stem": _stem},
    )
for _depth, _growth, _is_bc in (
    (40, 12, False),
    (100, 12, False),
    (100, 24, False),
    (100, 12, True),
    (250, 24, True),
    (190, 40, True),
):
    _plain = {"blocks": 3 * ((_depth - 4) // 3,), "bottleneck": False, "compression": 1.0, "stem": 16}
    _bc = {"blocks": 3 * ((_depth - 4) // 6,), "stem": 2 * _growth}
    register(
        f"densenet{'_bc' * _is_bc}{_depth}_k{_growth}_cifar",
        shared.bind(DenseNet, False),
        family="densenet_cifar",
        image_size=32,
        num_classes=10,
        fact=f"DenseNet{'-BC' * _is_bc} (L={_depth}, k={_growth})",
        options={"growth": _growth, **(_bc if _is_bc else _plain)},
    )
