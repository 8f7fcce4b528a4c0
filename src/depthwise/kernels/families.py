"""The families' own blocks with fused kernels, and which class takes the place of which."""

from typing import Any

from torch import Tensor, nn

from depthwise.kernels.modules import (
    Fused,
    FusedConvNormAct,
    FusedSequential,
    FusedSqueezeExcite,
    fused_depthwise,
    fused_norm,
    in_working_type,
    is_depthwise,
    parts,
)
from depthwise.models import blocks, efficientnet, mobilenet_v2, mobilenet_v3, resnet, shufflenet_v2


class FusedInverted(Fused):
    """Expand, depthwise, squeeze-and-excite, project and sum: MobileNetV2's, MobileNetV3's and EfficientNet's block."""

    expand: Any
    depthwise: Any
    project: Any
    is_residual: bool

    def describe(self) -> str:
        conv, _, act = parts(self.depthwise)
        out_channels = parts(self.project)[0].out_channels
        size, stride = conv.kernel_size[0], conv.stride[0]
        has_se = ", squeezed" if isinstance(getattr(self, "se", None), blocks.SqueezeExcite) else ""
        sum_ = ", sum" if self.is_residual else ""
        return f"block {size}x{size}/{stride} {act} {conv.out_channels}{has_se} to {out_channels}{sum_}"

    def norms(self) -> list[nn.Module]:
        expand = [] if isinstance(self.expand, nn.Identity) else [parts(self.expand)[1]]
        return [*expand, parts(self.depthwise)[1], parts(self.project)[1]]

    def forward(self, x: Tensor) -> Tensor:
        if not self.is_fused(x) or not is_depthwise(parts(self.depthwise)[0]):
            return self.plain.forward(self, x)  # type: ignore[no-any-return]
        if isinstance(self.expand, nn.Identity):
            y = fused_depthwise(in_working_type(x), None, self.depthwise)
        else:
            conv, norm, act = parts(self.expand)
            y = fused_depthwise(conv(x), (norm, act), self.depthwise)
        y = getattr(self, "se", nn.Identity())(y)
        conv, norm, _ = parts(self.project)
        y = conv(y)
        if not self.is_residual:
            return fused_norm(y, norm, "none")
        drop = getattr(self, "drop", None)
        if drop is not None and drop.training and drop.rate > 0:
            return x + drop(fused_norm(y, norm, "none"))  # type: ignore[no-any-return]
        return fused_norm(y, norm, "none", x)


class FusedInvertedResidual(FusedInverted, mobilenet_v2.InvertedResidual):
    """MobileNetV2's."""

    plain = mobilenet_v2.InvertedResidual


class FusedBottleneck(FusedInverted, mobilenet_v3.Bottleneck):
    """MobileNetV3's."""

    plain = mobilenet_v3.Bottleneck


class FusedMBConv(FusedInverted, efficientnet.MBConv):
    """EfficientNet's."""

    plain = efficientnet.MBConv


class FusedResidual(Fused, resnet.Residual):
    """relu(shortcut + branch), the sum and ReLU in the pass of the branch's last norm; without squeeze-and-excite."""

    plain = resnet.Residual

    def last(self) -> nn.Module:
        """Return the branch's last ConvNormAct."""
        assert isinstance(self.branch, nn.Sequential)
        return self.branch[-1]

    def describe(self) -> str:
        conv, _, _ = parts(self.last())
        return f"sum and relu after {conv.in_channels} to {conv.out_channels}"

    def norms(self) -> list[nn.Module]:
        return [parts(self.last())[1]]

    def forward(self, x: Tensor) -> Tensor:
        if not self.is_fused(x) or not isinstance(self.scale, nn.Identity) or self.shortcut is None:
            return self.plain.forward(self, x)
        y = x
        assert isinstance(self.branch, nn.Sequential)
        for layer in list(self.branch)[:-1]:
            y = layer(y)
        conv, norm, _ = parts(self.last())
        y, around = conv(y), self.shortcut(x)
        return fused_norm(y, norm, "relu", around)


class FusedUnit(Fused, shufflenet_v2.Unit):
    """ShuffleNet V2's, whose halves are joined and shuffled in one pass."""

    plain = shufflenet_v2.Unit

    def describe(self) -> str:
        conv, _, _ = parts(self.branch[-1])
        return f"unit to twice {conv.out_channels}/{1 if self.is_split else 2}"

    def norms(self) -> list[nn.Module]:
        return []

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or not self.is_fused(x):
            return self.plain.forward(self, x)
        from depthwise.kernels.channel_shuffle import join_shuffled

        left, right = x.chunk(2, 1) if self.is_split else (x, x)
        left, right = self.left(left), self.branch(right)
        return join_shuffled(left.to(right.dtype), right)


SWAPS: dict[type[nn.Module], type[Fused]] = {
    fused.plain: fused
    for fused in (
        FusedConvNormAct, FusedInvertedResidual, FusedBottleneck, FusedMBConv, FusedResidual, FusedUnit,
        FusedSqueezeExcite, FusedSequential,
    )
}  # fmt: skip
