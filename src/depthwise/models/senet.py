"""SENet (Hu, Shen, Sun 2017, arXiv:1709.01507).

Squeeze-and-excite (section 3) sits on the residual branch of a ResNet after its last batch norm, before the sum
(Figure 3); its width is a block's output channels / 16 (section 4.4), its gate the sigmoid, its layers have biases.
Depths and blocks are `resnet`'s, strides too: SE-ResNet-50, 101, 152 in the first 1x1 convolution, SE-ResNeXt-50 and
SENet-154 in the grouped 3x3, as in the authors' prototxts. SENet-154 (appendix): 64 groups, a stem of three 3x3
convolutions, the first 1x1 of each block with half the usual channels, 3x3 projections from stage 3 on, dropout 0.2
before the classifier.

Not from the paper: SE-ResNet-18 and 34; `seresnet18_preact`, whose blocks have batch norm and ReLU before each
convolution (He et al. 2016, arXiv:1603.05027). The stem's pooling is that of the authors' Caffe models: without
padding, rounded up.
`small_input` (32 px and less): the stem is a 3x3 convolution with stride 1, without pooling (SENet-154: its first
convolution has stride 1 and no pooling follows): total stride 8.
"""

from typing import Literal, NamedTuple

from torch import Tensor, nn

from depthwise.models import blocks
from depthwise.models.registry import register
from depthwise.models.resnet import DEPTHS, Residual, basic_branch, bottleneck_branch

WIDTHS = (64, 128, 256, 512)


class Plan(NamedTuple):
    """What tells one SENet from another."""

    stages: tuple[int, ...]
    kind: Literal["basic", "bottleneck", "resnext", "senet154", "preact"]

    @property
    def expansion(self) -> int:
        """Output channels of a block over its stage's width."""
        return 1 if self.kind in ("basic", "preact") else 4

    def branch(self, in_channels: int, width: int, stride: int, norm: blocks.Norm) -> nn.Sequential:
        """Return the residual branch of a block."""
        if self.kind == "basic":
            return basic_branch(in_channels, width, stride, norm)
        if self.kind == "bottleneck":
            return bottleneck_branch(in_channels, width, stride, norm)
        first, middle, groups = (2 * width, 2 * width, 32) if self.kind == "resnext" else (2 * width, 4 * width, 64)
        return nn.Sequential(
            blocks.ConvNormAct(in_channels, first, norm=norm, act=nn.ReLU),
            blocks.ConvNormAct(first, middle, 3, stride=stride, groups=groups, norm=norm, act=nn.ReLU),
            blocks.ConvNormAct(middle, 4 * width, norm=norm, act=None),
        )

    def shortcut(self, in_channels: int, out_channels: int, stride: int, norm: blocks.Norm) -> nn.Module:
        """Return the way around a block: a projection where shapes differ."""
        if stride == 1 and in_channels == out_channels:
            return nn.Identity()
        kernel_size = 3 if self.kind == "senet154" and stride == 2 else 1
        return blocks.ConvNormAct(in_channels, out_channels, kernel_size, stride=stride, norm=norm, act=None)

    def stem(self, in_channels: int, norm: blocks.Norm, *, is_small: bool) -> nn.Sequential:
        """Return the layers before the first block."""
        pool = nn.MaxPool2d(3, 2, ceil_mode=True)  # without padding, as Caffe does
        if self.kind != "senet154":
            return blocks.large_stem(in_channels, WIDTHS[0], norm, is_small=is_small, pool=pool)
        return nn.Sequential(
            blocks.ConvNormAct(in_channels, 64, 3, stride=1 if is_small else 2, norm=norm, act=nn.ReLU),
            blocks.ConvNormAct(64, 64, 3, norm=norm, act=nn.ReLU),
            blocks.ConvNormAct(64, 128, 3, norm=norm, act=nn.ReLU),
            nn.Identity() if is_small else pool,
        )


class PreActivation(nn.Module):
    """shortcut + se(conv(relu(norm(conv(h))))) with h = relu(norm(x)); a projection sees h, the identity x."""

    def __init__(self, in_channels: int, channels: int, stride: int, scale: nn.Module, norm: blocks.Norm) -> None:
        super().__init__()
        self.norm1, self.norm2 = norm(in_channels), norm(channels)
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride, 1, bias=False)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        is_same = stride == 1 and in_channels == channels
        self.shortcut = None if is_same else nn.Conv2d(in_channels, channels, 1, stride, bias=False)
        self.scale = scale

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm1(x).relu()
        y: Tensor = self.scale(self.conv2(self.norm2(self.conv1(h)).relu()))
        return y + (x if self.shortcut is None else self.shortcut(h))


class SENet(blocks.Network):
    """Stem, stages of residual blocks with squeeze-and-excite, pooling, linear layer: (B, C, H, W) -> logits (B, K).

    `reduction` is the paper's r: the squeezed width is a block's output channels / r.
    """

    def __init__(
        self,
        plan: Plan,
        *,
        num_classes: int = 1000,
        in_channels: int = 3,
        small_input: bool = False,
        reduction: int = 16,
        drop_rate: float = 0.0,
        bn_eps: float = 1e-5,
        bn_momentum: float = 0.1,
    ) -> None:
        super().__init__()
        norm = blocks.batch_norm(bn_eps, bn_momentum)
        self.stem = plan.stem(in_channels, norm, is_small=small_input)
        channels = 128 if plan.kind == "senet154" else WIDTHS[0]
        layers: list[nn.Module] = []
        for stage, (num_blocks, width) in enumerate(zip(plan.stages, WIDTHS, strict=True)):
            out_channels = plan.expansion * width
            for index in range(num_blocks):
                stride = 2 if stage > 0 and index == 0 else 1
                scale = blocks.SqueezeExcite(out_channels, max(1, out_channels // reduction), nn.Sigmoid)
                if plan.kind == "preact":
                    layers.append(PreActivation(channels, width, stride, scale, norm))
                else:
                    around = plan.shortcut(channels, out_channels, stride, norm)
                    layers.append(Residual(plan.branch(channels, width, stride, norm), around, scale))
                channels = out_channels
        if plan.kind == "preact":
            layers += [norm(channels), nn.ReLU(inplace=True)]
        self.blocks, self.stages = nn.Sequential(*layers), plan.stages
        self.pool = blocks.GlobalAveragePool()
        self.dropout = nn.Dropout(drop_rate)
        self.classifier = nn.Linear(channels, num_classes)
        blocks.initialise(self)


_CAFFE = "(Caffe: stride in the first 1x1)"
for _name, _plan, _fact, _drop_rate in (
    ("seresnet18", Plan(DEPTHS[18], "basic"), "SE-ResNet-18 (r=16)", 0.0),
    ("seresnet18_preact", Plan(DEPTHS[18], "preact"), "SE-ResNet-18, pre-activation (r=16)", 0.0),
    ("seresnet34", Plan(DEPTHS[34], "basic"), "SE-ResNet-34 (r=16)", 0.0),
    ("seresnet50", Plan(DEPTHS[50], "bottleneck"), f"SE-ResNet-50 {_CAFFE}", 0.0),
    ("seresnet101", Plan(DEPTHS[101], "bottleneck"), f"SE-ResNet-101 {_CAFFE}", 0.0),
    ("seresnet152", Plan(DEPTHS[152], "bottleneck"), f"SE-ResNet-152 {_CAFFE}", 0.0),
    ("seresnext50_32x4d", Plan(DEPTHS[50], "resnext"), "SE-ResNeXt-50 (32x4d)", 0.0),
    ("senet154", Plan(DEPTHS[152], "senet154"), "SENet-154", 0.2),
):
    register(
        _name,
        blocks.bind(SENet, _plan),
        family="senet",
        image_size=224,
        fact=_fact,
        options={"drop_rate": _drop_rate},
    )
