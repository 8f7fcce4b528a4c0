"""LeNet-5 (LeCun, Bottou, Bengio, Haffner 1998, Proc. IEEE 86(11), doi 10.1109/5.726791), in its common full form.

Section II-B and Figure 2: two 5x5 convolutions, each followed by 2x2 subsampling, then 120, 84 and K units.
Activation: 1.7159 tanh(2x/3) (appendix A).

Not from the paper: weights start from N(0, 1 / fan-in), the rule of LeCun, Bottou, Orr and Mueller 1998 ("Efficient
BackProp", section 4.6) for this activation; the paper's, uniform in +-2.4 / fan-in (appendix A), was made for its
second-order learning rates and hardly moves under SGD. As in nearly every port: all 16 maps of C3 see all 6 maps of S2
(the paper's Table I leaves some out), subsampling has no trainable factor and bias (`pool`: the mean, or the maximum),
the output is linear (the paper compares with fixed codes). 61,706 parameters for ten classes; the paper's own form has
60,000.
`small_input` changes nothing: the network is made for 32 px, and takes no other size.
"""

from typing import Literal

import torch
from torch import Tensor, nn

from depthwise.models.registry import register


class ScaledTanh(nn.Module):
    """1.7159 tanh(2x/3): f(1) = 1 and f(-1) = -1."""

    def forward(self, x: Tensor) -> Tensor:
        return 1.7159 * torch.tanh(x * (2 / 3))


class LeNet5(nn.Module):
    """C1 S2 C3 S4 C5 F6 output, by the paper's names: images (B, C, 32, 32) -> logits (B, K)."""

    def __init__(
        self,
        *,
        num_classes: int = 10,
        in_channels: int = 1,
        small_input: bool = False,
        activation: Literal["tanh", "relu"] = "tanh",
        pool: Literal["mean", "max"] = "mean",
        drop_rate: float = 0.0,
    ) -> None:
        super().__init__()
        act = ScaledTanh if activation == "tanh" else nn.ReLU
        subsample = nn.AvgPool2d if pool == "mean" else nn.MaxPool2d
        self.c1 = nn.Sequential(nn.Conv2d(in_channels, 6, 5), act())  # (B, 6, 28, 28)
        self.s2 = subsample(2)
        self.c3 = nn.Sequential(nn.Conv2d(6, 16, 5), act())  # (B, 16, 10, 10)
        self.s4 = subsample(2)
        self.c5 = nn.Sequential(nn.Flatten(), nn.Linear(16 * 5 * 5, 120), act())
        self.f6 = nn.Sequential(nn.Linear(120, 84), act())
        self.dropout = nn.Dropout(drop_rate)
        self.classifier = nn.Linear(84, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.normal_(module.weight, 0.0, module.weight[0].numel() ** -0.5)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, images: Tensor) -> Tensor:
        if images.shape[2:] != (32, 32):
            raise ValueError(f"LeNet-5 takes pictures of 32 x 32 px, not {images.shape[2]} x {images.shape[3]}")
        features = self.c5(self.s4(self.c3(self.s2(self.c1(images)))))
        logits: Tensor = self.classifier(self.dropout(self.f6(features)))
        return logits


register(
    "lenet5",
    LeNet5,
    family="lenet5",
    image_size=32,
    fact="classical full C3, parameter-free pooling, linear 84->10",
    in_channels=1,
    num_classes=10,
    is_fixed_size=True,
)
