"""AlexNet (Krizhevsky, Sutskever, Hinton 2012, "ImageNet Classification with Deep Convolutional Neural Networks").

Section 3.5 and Figure 2, layer by layer. The two GPUs are groups of 2 in the second, fourth and fifth convolution.
Response normalisation (section 3.3: n = 5, k = 2, alpha = 1e-4, beta = 0.75) follows the first two, before the
overlapping 3x3/2 pooling (section 3.4); PyTorch divides alpha by n, the paper's formula does not, hence 5e-4 here.
Weights start from N(0, 0.01^2), biases at 1 in convolutions 2, 4, 5 and the hidden linear layers, at 0 elsewhere
(section 5). Dropout 0.5 follows both hidden linear layers (section 4.2).

The paper says 224 px, but 11x11/4 without padding gives its 55x55 maps at 227 px only: 227 here.
Not from the paper: the average over 6x6 positions before the linear layers, the identity at 227 px, which lets other
sizes through. The network of 2014 without groups is `alexnet_owt`.
`small_input` (32 px and less): the first convolution is 3x3 with stride 1 and padding 1; the average is over
3x3 positions.
"""

from torch import nn

from depthwise.models import blocks
from depthwise.models.registry import register


class AlexNet(blocks.Network):
    """Five convolutions, three linear layers: images (B, C, H, W) -> logits (B, K)."""

    def __init__(
        self, *, num_classes: int = 1000, in_channels: int = 3, small_input: bool = False, drop_rate: float = 0.5
    ) -> None:
        super().__init__()
        side = 3 if small_input else 6
        first = nn.Conv2d(in_channels, 96, 3, padding=1) if small_input else nn.Conv2d(in_channels, 96, 11, stride=4)
        self.blocks = nn.Sequential(
            *(first, nn.ReLU(inplace=True), nn.LocalResponseNorm(5, 5e-4, 0.75, 2.0), nn.MaxPool2d(3, 2)),
            *(nn.Conv2d(96, 256, 5, padding=2, groups=2), nn.ReLU(inplace=True)),
            *(nn.LocalResponseNorm(5, 5e-4, 0.75, 2.0), nn.MaxPool2d(3, 2)),
            *(nn.Conv2d(256, 384, 3, padding=1), nn.ReLU(inplace=True)),
            *(nn.Conv2d(384, 384, 3, padding=1, groups=2), nn.ReLU(inplace=True)),
            *(nn.Conv2d(384, 256, 3, padding=1, groups=2), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2)),
        )
        self.pool = nn.Sequential(nn.AdaptiveAvgPool2d(side), nn.Flatten())
        self.hidden = nn.Sequential(
            *(nn.Linear(256 * side * side, 4096), nn.ReLU(inplace=True), nn.Dropout(drop_rate)),
            *(nn.Linear(4096, 4096), nn.ReLU(inplace=True), nn.Dropout(drop_rate)),
        )
        self.classifier = nn.Linear(4096, num_classes)
        convolutions = [module for module in self.blocks if isinstance(module, nn.Conv2d)]
        hidden = [module for module in self.hidden if isinstance(module, nn.Linear)]
        for layer in (*convolutions, *hidden, self.classifier):
            nn.init.normal_(layer.weight, 0.0, 0.01)  # type: ignore[arg-type]
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
        for layer in (convolutions[1], convolutions[3], convolutions[4], *hidden):
            nn.init.ones_(layer.bias)  # type: ignore[arg-type]


register(
    "alexnet",
    AlexNet,
    family="alexnet",
    image_size=227,
    fact="2012 two-GPU (groups=2 in conv2, conv4, conv5; LRN)",
)
