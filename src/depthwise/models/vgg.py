"""VGG (Simonyan & Zisserman 2014, arXiv:1409.1556).

CONFIGS is the paper's Table 1, a column each: output channels of the 3x3 convolutions, one tuple per pooling stage.
Configuration A is `vgg11`, B `vgg13`, D `vgg16`, E `vgg19`. Dropout 0.5 after the two hidden linear layers (section
3.1).

Not from the paper: batch norm in the `_bn` networks, which keep the convolutions' biases, as torchvision's do (others
drop them: 4,224 parameters fewer in VGG-16); the average over 7x7 positions before the linear layers, the identity at
224 px, which lets other sizes through; the initialisation (see `blocks.initialise`: the paper's N(0, 0.01) trains the
deep configurations only from the weights of A).
`small_input` (32 px and less): one linear layer on the pooled 512 channels, without the two hidden ones.
"""

from torch import nn

from depthwise.models import blocks
from depthwise.models.registry import register

CONFIGS = {
    11: ((64,), (128,), (256, 256), (512, 512), (512, 512)),
    13: ((64, 64), (128, 128), (256, 256), (512, 512), (512, 512)),
    16: ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512)),
    19: ((64, 64), (128, 128), (256, 256, 256, 256), (512, 512, 512, 512), (512, 512, 512, 512)),
}
LETTERS = {11: "A", 13: "B", 16: "D", 19: "E"}


class VGG(blocks.Network):
    """Five stages of 3x3 convolutions and 2x2 pooling, three linear layers: images (B, C, H, W) -> logits (B, K)."""

    def __init__(
        self,
        config: tuple[tuple[int, ...], ...],
        has_norm: bool,
        *,
        num_classes: int = 1000,
        in_channels: int = 3,
        small_input: bool = False,
        drop_rate: float = 0.5,
        bn_eps: float = 1e-5,
        bn_momentum: float = 0.1,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = in_channels
        for stage in config:
            for out_channels in stage:
                layers.append(nn.Conv2d(channels, out_channels, 3, padding=1))
                layers += [nn.BatchNorm2d(out_channels, bn_eps, bn_momentum)] * has_norm
                layers.append(nn.ReLU(inplace=True))
                channels = out_channels
            layers.append(nn.MaxPool2d(2))
        side = 1 if small_input else 7
        self.blocks = nn.Sequential(*layers)
        self.pool = nn.Sequential(nn.AdaptiveAvgPool2d(side), nn.Flatten())
        self.hidden = nn.Sequential()
        if not small_input:
            self.hidden.extend((nn.Linear(channels * side * side, 4096), nn.ReLU(inplace=True), nn.Dropout(drop_rate)))
            self.hidden.extend((nn.Linear(4096, 4096), nn.ReLU(inplace=True), nn.Dropout(drop_rate)))
        self.classifier = nn.Linear(channels if small_input else 4096, num_classes)
        blocks.initialise(self)


for _depth, _config in CONFIGS.items():
    for _suffix, _fact in (
        ("", f"VGG-{_depth} (config {LETTERS[_depth]})"),
        ("_bn", f"VGG-{_depth}-BN (torchvision: BN + conv biases kept)"),
    ):
        register(
            f"vgg{_depth}{_suffix}",
            blocks.bind(VGG, _config, bool(_suffix)),
            family="vgg",
            image_size=224,
            fact=_fact,
        )
