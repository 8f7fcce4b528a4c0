"""Other classes, or one channel for three, in a network that has weights."""

from dataclasses import replace
from statistics import fmean

from torch import nn

from depthwise.errors import UserError
from depthwise.models.blocks import Network
from depthwise.models.create import Build, build_of, keep_build


def adapt(model: Network, build: Build) -> None:
    """Give a network with weights the classes and channels of `build`: a fresh classifier, a first convolution summed.

    One channel in place of three: the first convolution's kernels are added up, which gives a grey picture what its
    three equal channels gave. Raises UserError for other changes of channels.
    """
    own = build_of(model)
    if build.in_channels != own.in_channels:
        if (own.in_channels, build.in_channels) != (3, 1):
            raise UserError(f"weights for {own.in_channels} channels cannot be made to fit {build.in_channels}")
        first = next(layer for layer in model.modules() if isinstance(layer, nn.Conv2d))
        first.in_channels, first.weight = 1, nn.Parameter(first.weight.detach().sum(1, keepdim=True))
        expects = own.preprocessing
        if expects:
            expects = replace(expects, mean=(fmean(expects.mean),), std=(fmean(expects.std),))
        own = replace(own, in_channels=1, preprocessing=expects)
    if build.num_classes != own.num_classes:
        model.reset_classifier(build.num_classes)
        own = replace(own, num_classes=build.num_classes, classes=())
    keep_build(model, own)
