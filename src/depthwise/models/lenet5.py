"""LeNet-5 (LeCun, Bottou, Bengio, Haffner 1998, Proc. IEEE 86(11), doi 10.1109/5.726791): section II-B and Figure 2.

Two 5x5 convolutions, each followed by 2x2 subsampling, then 120, 84 and 10 units. Activation: 1.7159 tanh(2x/3)
(appendix A). `lenet5_1998` is the paper's own: each map of C3 sees the maps of S2 that TABLE (the paper's Table I)
names; subsampling sums four values, times a trainable factor, plus a bias, through the activation; the output is
minus the squared distance of F6 to fixed codes of the ten digits. 60,000 parameters; ten classes and one channel
only.

`lenet5` is the common full form, 61,706 parameters for ten classes, any number of classes and channels. Not from the
paper there, as in nearly every port: all maps of C3 see all of S2, subsampling has no parameters (`pool`: the mean,
or the maximum), the output is linear.
Not from the paper in both: weights start from N(0, 1 / fan-in), the rule of LeCun, Bottou, Orr and Mueller 1998
("Efficient BackProp", section 4.6) for this activation; the paper's, uniform in +-2.4 / fan-in (appendix A), was made
for its second-order learning rates and hardly moves under SGD. CODES are redrawn after Figure 3, not copied from it.
`small_input` changes nothing: the network is made for 32 px, and takes no other size.
"""

from typing import Literal

import torch
from torch import Tensor, nn

from depthwise.models.blocks import Network
from depthwise.models.registry import register

TABLE = (
    *((0, 1, 2), (1, 2, 3), (2, 3, 4), (3, 4, 5), (0, 4, 5), (0, 1, 5)),
    *((0, 1, 2, 3), (1, 2, 3, 4), (2, 3, 4, 5), (0, 3, 4, 5), (0, 1, 4, 5), (0, 1, 2, 5)),
    *((0, 1, 3, 4), (1, 2, 4, 5), (0, 2, 3, 5), (0, 1, 2, 3, 4, 5)),
)
CODES = """
       0       1       2       3       4       5       6       7       8       9
 ..###.. ...#... .#####. .#####. .....#. ####### ..####. ####### .#####. .#####.
 .#...#. ..##... #.....# #.....# ....##. #...... .#..... #.....# #.....# #.....#
 #.....# .#.#... ......# ......# ...#.#. #...... #...... .....#. #.....# #.....#
 #.....# ...#... ......# ......# ..#..#. #...... #...... .....#. #.....# #.....#
 #.....# ...#... .....#. ..####. .#...#. ######. #...... ....#.. .#####. #.....#
 #.....# ...#... ....#.. ......# #....#. ......# ######. ....#.. #.....# .######
 #.....# ...#... ...#... ......# ####### ......# #.....# ...#... #.....# ......#
 #.....# ...#... ..#.... ......# .....#. ......# #.....# ...#... #.....# ......#
 #.....# ...#... .#..... ......# .....#. ......# #.....# ..#.... #.....# ......#
 #.....# ...#... #...... ......# .....#. ......# #.....# ..#.... #.....# ......#
 .#...#. ...#... #...... #.....# .....#. #.....# .#...#. .#..... #.....# .....#.
 ..###.. .#####. ####### .#####. .....#. .#####. ..###.. .#..... .#####. .####..
"""


class ScaledTanh(nn.Module):
    """1.7159 tanh(2x/3): f(1) = 1 and f(-1) = -1."""

    def forward(self, x: Tensor) -> Tensor:
        return 1.7159 * torch.tanh(x * (2 / 3))


class Subsample(nn.Module):
    """f(w * (sum of 2x2) + b), with a factor and a bias per map."""

    def __init__(self, num_maps: int) -> None:
        super().__init__()
        self.mean = nn.AvgPool2d(2)
        self.weight = nn.Parameter(torch.full((num_maps, 1, 1), 0.25))  # the mean, to begin with
        self.bias = nn.Parameter(torch.zeros(num_maps, 1, 1))
        self.act = ScaledTanh()

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.act(self.weight * (4 * self.mean(x)) + self.bias)
        return out


class SparseConv(nn.Module):
    """Sixteen 5x5 convolutions, each of the maps that a row of TABLE names."""

    def __init__(self) -> None:
        super().__init__()
        self.maps = nn.ModuleList(nn.Conv2d(len(row), 1, 5) for row in TABLE)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([conv(x[:, list(row)]) for conv, row in zip(self.maps, TABLE, strict=True)], 1)


class DigitCodes(nn.Module):
    """(B, 84) -> (B, 10): minus the squared distance to each digit's 7 x 12 picture of -1 and +1."""

    codes: Tensor

    def __init__(self) -> None:
        super().__init__()
        rows = [line.split() for line in CODES.strip("\n").split("\n")[1:]]
        values = [[1.0 if dot == "#" else -1.0 for row in rows for dot in row[digit]] for digit in range(10)]
        self.register_buffer("codes", torch.tensor(values))

    def forward(self, x: Tensor) -> Tensor:
        return -(x[:, None, :] - self.codes).square().sum(2)


def initialise(model: nn.Module) -> None:
    """Draw weights from N(0, 1 / fan-in); biases are 0."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.normal_(module.weight, 0.0, module.weight[0].numel() ** -0.5)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


class LeNet5(Network):
    """C1 S2 C3 S4 C5 F6 output, by the paper's names: images (B, C, 32, 32) -> logits (B, K)."""

    initialise = staticmethod(initialise)

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
        self.s2: nn.Module = subsample(2)
        self.c3 = nn.Sequential(nn.Conv2d(6, 16, 5), act())  # (B, 16, 10, 10)
        self.s4: nn.Module = subsample(2)
        self.pool = nn.Flatten()
        self.c5 = nn.Sequential(nn.Linear(16 * 5 * 5, 120), act())
        self.f6 = nn.Sequential(nn.Linear(120, 84), act())
        self.dropout = nn.Dropout(drop_rate)
        self.classifier: nn.Module = nn.Linear(84, num_classes)
        self.initialise(self)

    def forward(self, images: Tensor) -> Tensor:
        if not self.starts_at and images.shape[2:] != (32, 32):
            raise ValueError(f"LeNet-5 takes pictures of 32 x 32 px, not {images.shape[2]} x {images.shape[3]}")
        return super().forward(images)


def lenet5_1998(*, num_classes: int = 10, in_channels: int = 1, small_input: bool = False) -> LeNet5:
    """Return the paper's own network: grey images (B, 1, 32, 32) of digits -> logits (B, 10). Raises ValueError."""
    if (num_classes, in_channels) != (10, 1):
        raise ValueError(
            f"the network of 1998 has codes for ten digits and one channel, not {num_classes} classes and "
            f"{in_channels} channels; lenet5 takes any number of both"
        )
    model = LeNet5(small_input=small_input)
    model.s2, model.s4 = Subsample(6), Subsample(16)
    # Convolutions feed the subsampling directly: the activation is there (Figure 2).
    model.c1[1], model.c3 = nn.Identity(), nn.Sequential(SparseConv(), nn.Identity())
    model.classifier = DigitCodes()
    model.initialise(model)
    return model


for _name, _builder, _fact in (
    ("lenet5", LeNet5, "classical full C3, parameter-free pooling, linear 84->10"),
    ("lenet5_1998", lenet5_1998, "paper-exact (partial C3, trainable S2/S4, fixed RBF output)"),
):
    register(
        _name,
        _builder,
        family="lenet5",
        image_size=32,
        fact=_fact,
        in_channels=1,
        num_classes=10,
        is_fixed_size=True,
    )
