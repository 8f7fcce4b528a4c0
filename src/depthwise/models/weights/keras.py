"""Keras' applications: what they call our layers, how their arrays lie.

Kernels lie as (H, W, in, out), depthwise ones as (H, W, channels, multiplier), dense ones as (in, out).
"""

import torch
from torch import Tensor

from depthwise.models.blocks import Network
from depthwise.models.weights.names import Naming, Pairs, blocks_of, has

SUFFIXES = {
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
    "kernel": "weight",
    "depthwise_kernel": "weight",
    "bias": "bias",
}


def mobilenet_v1(model: Network) -> Pairs:
    """MobileNet."""
    yield from (("stem.conv", "conv1"), ("stem.norm", "conv1_bn"))
    for number, (ours, _, _, _) in enumerate(blocks_of(model), 1):
        for part, name in (("depthwise", "dw"), ("pointwise", "pw")):
            yield f"{ours}.{part}.conv", f"conv_{name}_{number}"
            yield f"{ours}.{part}.norm", f"conv_{name}_{number}_bn"
    yield "classifier", "conv_preds"


def mobilenet_v2(model: Network) -> Pairs:
    """MobileNetV2."""
    yield from (("stem.conv", "conv1"), ("stem.norm", "bn_conv1"))
    for number, (ours, _, _, block) in enumerate(blocks_of(model)):
        yield from _inverted(ours, f"block_{number}" if number else "expanded_conv", block)
    yield from (("head.conv", "conv_1"), ("head.norm", "conv_1_bn"), ("classifier", "predictions"))


def mobilenet_v3(model: Network) -> Pairs:
    """MobileNetV3Large and MobileNetV3Small."""
    yield from (("stem.conv", "conv"), ("stem.norm", "conv_bn"))
    for number, (ours, _, _, block) in enumerate(blocks_of(model)):
        at = f"expanded_conv_{number}" if number else "expanded_conv"
        yield from _inverted(ours, at, block)
        if has(block, "se"):
            yield f"{ours}.se.reduce", f"{at}_squeeze_excite_conv"
            yield f"{ours}.se.expand", f"{at}_squeeze_excite_conv_1"
    yield from (
        ("head.conv", "conv_1"),
        ("head.norm", "conv_1_bn"),
        ("penultimate", "conv_2"),
        ("classifier", "logits"),
    )


def _inverted(ours: str, at: str, block: torch.nn.Module) -> Pairs:
    for part in ("expand", "depthwise", "project"):
        if has(block, part):
            yield f"{ours}.{part}.conv", f"{at}_{part}"
            yield f"{ours}.{part}.norm", f"{at}_{part}_bn"


def efficientnet(model: Network) -> Pairs:
    """EfficientNetB0 to B7."""
    yield from (("stem.conv", "stem_conv"), ("stem.norm", "stem_bn"))
    parts = {
        "expand": ("expand_conv", "expand_bn"),
        "depthwise": ("dwconv", "bn"),
        "project": ("project_conv", "project_bn"),
    }
    for ours, stage, index, block in blocks_of(model):
        at = f"block{stage + 1}{chr(ord('a') + index)}"
        for part, (conv, norm) in parts.items():
            if has(block, part):
                yield from ((f"{ours}.{part}.conv", f"{at}_{conv}"), (f"{ours}.{part}.norm", f"{at}_{norm}"))
        yield from ((f"{ours}.se.reduce", f"{at}_se_reduce"), (f"{ours}.se.expand", f"{at}_se_expand"))
    yield from (("head.conv", "top_conv"), ("head.norm", "top_bn"), ("classifier", "predictions"))


def resnet(model: Network) -> Pairs:
    """ResNet50, 101 and 152: the paper's, with the stride in the first 1x1 convolution."""
    yield from (("stem.0.conv", "conv1_conv"), ("stem.0.norm", "conv1_bn"))
    for ours, stage, index, block in blocks_of(model):
        at = f"conv{stage + 2}_block{index + 1}"
        for part, number in (("shortcut", 0), ("branch.0", 1), ("branch.1", 2), ("branch.2", 3)):
            if part != "shortcut" or has(block, part):
                yield f"{ours}.{part}.conv", f"{at}_{number}_conv"
                yield f"{ours}.{part}.norm", f"{at}_{number}_bn"
    yield "classifier", "predictions"


def densenet(model: Network) -> Pairs:
    """DenseNet121, 169 and 201."""
    yield from (("stem.0.conv", "conv1_conv"), ("stem.0.norm", "conv1_bn"))
    stage, index = 2, 1
    for name, block in model.get_submodule("blocks").named_children():
        if isinstance(block, torch.nn.Sequential):
            yield from ((f"blocks.{name}.0.0", f"pool{stage}_bn"), (f"blocks.{name}.0.2", f"pool{stage}_conv"))
            stage, index = stage + 1, 1
        else:
            at = f"conv{stage}_block{index}"
            parts = (("reduce.0", "0_bn"), ("reduce.2", "1_conv"), ("conv.0", "1_bn"), ("conv.2", "2_conv"))
            yield from ((f"blocks.{name}.{here}", f"{at}_{there}") for here, there in parts)
            index += 1
    yield from (("norm.0", "bn"), ("classifier", "predictions"))


def vgg(model: Network) -> Pairs:
    """VGG16 and VGG19."""
    stage, index = 1, 1
    for name, layer in model.get_submodule("blocks").named_children():
        if isinstance(layer, torch.nn.MaxPool2d):
            stage, index = stage + 1, 1
        elif isinstance(layer, torch.nn.Conv2d):
            yield f"blocks.{name}", f"block{stage}_conv{index}"
            index += 1
    yield from (("hidden.0", "fc1"), ("hidden.3", "fc2"), ("classifier", "predictions"))


NAMES: dict[str, Naming] = {
    "mobilenet_v1": mobilenet_v1,
    "mobilenet_v2": mobilenet_v2,
    "mobilenet_v3": mobilenet_v3,
    "efficientnet": efficientnet,
    "resnet": resnet,
    "densenet": densenet,
    "vgg": vgg,
}
BLUE_FIRST = ("resnet", "vgg")
"""Families whose Keras weights take blue, green, red, as Caffe's did."""


def to_torch(tensors: dict[str, Tensor], model: Network, naming: Naming, family: str) -> dict[str, Tensor]:
    """Return the arrays as tensors that lie as PyTorch's do, under `layer.weight` and the like.

    Convolutions that have a bias before a batch norm lose it: the norm's running mean takes it up.
    """
    paths = {theirs: ours for ours, theirs in naming(model)}
    found: dict[str, Tensor] = {}
    for name, value in tensors.items():
        layer, _, variable = name.rpartition(".")
        if layer.startswith("normalization"):  # EfficientNet's own first layer: its origin's mean and std say it
            continue
        kernel = "weight" if variable in ("kernel", "depthwise_kernel") else ""
        turned = _turn(value, model, paths.get(layer, "")) if kernel else value
        found[f"{layer}.{SUFFIXES.get(variable, variable)}"] = turned
    if family in BLUE_FIRST:
        first = next(f"{theirs}.weight" for ours, theirs in naming(model) if theirs in ("conv1_conv", "block1_conv1"))
        if first in found:
            found[first] = found[first].flip(1)
    if family == "resnet":
        _fold_biases(found)
    return found


def _turn(kernel: Tensor, model: Network, path: str) -> Tensor:
    if kernel.ndim == 2:  # dense: (in, out)
        if path == "hidden.0" and kernel.shape[0] == 7 * 7 * 512:  # of a map that was flattened with channels last
            return kernel.reshape(7, 7, 512, -1).permute(3, 2, 0, 1).reshape(kernel.shape[1], -1)
        return kernel.T
    if kernel.ndim != 4:
        return kernel
    target = model.get_submodule(path) if path else None
    if isinstance(target, torch.nn.Conv2d) and target.groups > 1:  # (H, W, channels, multiplier)
        return kernel.permute(2, 3, 0, 1).reshape(-1, 1, *kernel.shape[:2])
    return kernel.permute(3, 2, 0, 1)


def _fold_biases(tensors: dict[str, Tensor]) -> None:
    for name in [n for n in tensors if n.endswith("_conv.bias")]:
        norm = name.replace("_conv.bias", "_bn.running_mean")
        if norm in tensors:
            tensors[norm] = tensors[norm] - tensors.pop(name)
