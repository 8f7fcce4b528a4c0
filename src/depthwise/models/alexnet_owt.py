"""AlexNet in one tower (Krizhevsky 2014, arXiv:1404.5997, "One weird trick for parallelizing convolutional networks").

The paper's single-tower variant without groups and response normalisation. Its layer sizes (64, 192, 384, 256, 256)
are from the author's cuda-convnet2 configuration, as the public ports have them; dropout 0.5 before the two hidden
linear layers and the average over 6x6 positions before them are torchvision's, as are padding 2 and 224 px.

Not from the paper: all that is said above to be from elsewhere; the initialisation (see `blocks.initialise`).
`small_input` (32 px and less): the first convolution is 3x3 with stride 1 and padding 1; the average is over 3x3
positions.
"""

from torch import nn

from depthwise.models import blocks
from depthwise.models.registry import register


class AlexNetOwt(blocks.Network):
    """Five convolutions, three linear layers: images (B, C, H, W) -> logits (B, K)."""

    def __init__(
        self, *, num_classes: int = 1000, in_channels: int = 3, small_input: bool = False, drop_rate: float = 0.5
    ) -> None:
        super().__init__()
        first = nn.Conv2d(in_channels, 64, 3, padding=1) if small_input else nn.Conv2d(in_channels, 64, 11, 4, 2)
        side = 3 if small_input else 6
        self.blocks = nn.Sequential(
            *(first, nn.ReLU(inplace=True), nn.MaxPool2d(3, 2)),
            *(nn.Conv2d(64, 192, 5, padding=2), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2)),
            *(nn.Conv2d(192, 384, 3, padding=1), nn.ReLU(inplace=True)),
            *(nn.Conv2d(384, 256, 3, padding=1), nn.ReLU(inplace=True)),
            *(nn.Conv2d(256, 256, 3, padding=1), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2)),
        )
        self.pool = nn.Sequential(nn.AdaptiveAvgPool2d(side), nn.Flatten())
        self.hidden = nn.Sequential(
            *(nn.Dropout(drop_rate), nn.Linear(256 * side * side, 4096), nn.ReLU(inplace=True)),
            *(nn.Dropout(drop_rate), nn.Linear(4096, 4096), nn.ReLU(inplace=True)),
        )
        self.classifier = nn.Linear(4096, num_classes)
        blocks.initialise(self)


register(
    "alexnet_owt",
    AlexNetOwt,
    family="alexnet_owt",
    image_size=224,
    fact="one-weird-trick single tower 64-192-384-256-256 (torchvision)",
)
