"""Do our networks compute what others' do? The same random weights in both, odd pictures, the largest difference.

    python3 -m venv peers && peers/bin/pip install -r bench/peers/requirements.txt
    PYTHONPATH=src peers/bin/python bench/peers/compare_outputs.py

A parameter count is blind to strides, padding, activations and where a sum is taken; equal outputs are not. Tensors are
carried over in the order of definition, each with its number of values checked. Writes bench/results/peers.json; exit
status 1 when a pair differs by more than 1e-5 of the largest logit.
"""

import gc
import json
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import timm
import torch
from torch import Tensor, nn
from torchvision import models as torchvision

from depthwise.models.registry import create_model

LIMIT = 1e-5
SIZES = ((97, 131), (224, 224))
TARGET = Path(__file__).parents[1] / "results" / "peers.json"


class Pair(NamedTuple):
    """One of our networks with its options, and how to make theirs."""

    ours: str
    options: dict[str, Any]
    library: str
    theirs: str
    make: Callable[[], nn.Module]


def pairs() -> Iterator[Pair]:
    """Yield every pair that is meant to be one network."""

    def tv(ours: str, theirs: str, options: dict[str, Any], **more: Any) -> Pair:
        return Pair(ours, options, "torchvision", theirs, lambda: getattr(torchvision, theirs)(weights=None, **more))

    def tm(ours: str, theirs: str, **options: Any) -> Pair:
        return Pair(ours, options, "timm", theirs, lambda: timm.create_model(theirs, pretrained=False))

    yield tv("alexnet_owt", "alexnet", {})
    for depth in (11, 13, 16, 19):
        for norm in ("", "_bn"):
            yield tv(f"vgg{depth}{norm}", f"vgg{depth}{norm}", {})
    yield tv("googlenet_torchvision", "googlenet", {}, aux_logits=False, init_weights=False)
    for depth in (18, 34, 50, 101, 152):
        yield tv(f"resnet{depth}" + "_v1_5" * (depth >= 50), f"resnet{depth}", {})
    for depth in (121, 161, 169, 201):
        yield tv(f"densenet{depth}", f"densenet{depth}", {})
    for width in ("0_5", "1_0", "1_5", "2_0"):
        yield tv(f"shufflenet_v2_x{width}", f"shufflenet_v2_x{width}", {})
    yield tv("mobilenet_v2", "mobilenet_v2", {"bn_eps": 1e-5})
    for size in ("large", "small"):
        yield tv(f"mobilenet_v3_{size}", f"mobilenet_v3_{size}", {})
    for number in range(8):
        yield tv(f"efficientnet_b{number}", f"efficientnet_b{number}", {"bn_eps": 1e-5 if number < 5 else 1e-3})
    for depth in (50, 101, 152):  # legacy_seresnet18 and 34 have a ReLU before the excitation, which the paper has not
        yield tm(f"seresnet{depth}", f"legacy_seresnet{depth}")
    yield tm("seresnext50_32x4d", "legacy_seresnext50_32x4d")
    yield tm("senet154", "legacy_senet154")
    yield tm("mobilenet_v1", "mobilenetv1_100", activation="relu6", bn_eps=1e-5)
    for width, text in ((0.5, "050"), (1.0, "100"), (1.4, "140")):
        yield tm(f"mobilenet_v2_x{str(width).replace('.', '_')}", f"mobilenetv2_{text}", bn_eps=1e-5)
    for size in ("large", "small"):
        yield tm(f"mobilenet_v3_{size}_x0_75", f"mobilenetv3_{size}_075", bn_eps=1e-5)
    for number in range(5):
        yield tm(f"efficientnet_lite{number}", f"efficientnet_lite{number}", bn_eps=1e-5)


def randomise(model: nn.Module) -> None:
    """Give batch norms statistics and factors that are not the identity, so that a missing one shows."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None and module.running_var is not None
            nn.init.normal_(module.running_mean, 0.0, 0.1)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0.0, 0.1)


def tensors(model: nn.Module) -> list[tuple[str, Tensor]]:
    """Return what a network computes with, in the order of definition."""
    return [(name, tensor) for name, tensor in model.state_dict().items() if not name.endswith("num_batches_tracked")]


def carry_over(source: nn.Module, target: nn.Module) -> None:
    """Copy tensor by tensor. Raises ValueError where the numbers of values differ."""
    from_source, to_target = tensors(source), tensors(target)
    if len(from_source) != len(to_target):
        raise ValueError(f"{len(from_source)} tensors there, {len(to_target)} here")
    for (their_name, theirs), (our_name, ours) in zip(from_source, to_target, strict=True):
        if theirs.squeeze().shape != ours.squeeze().shape:
            raise ValueError(f"{their_name} {tuple(theirs.shape)} there, {our_name} {tuple(ours.shape)} here")
        ours.copy_(theirs.reshape(ours.shape))


@torch.no_grad()
def compare(pair: Pair) -> dict[str, Any]:
    """Return the largest difference of logits over the largest logit, for each size of picture."""
    torch.manual_seed(0)
    theirs = pair.make().eval()
    randomise(theirs)
    ours = create_model(pair.ours, **pair.options).eval()
    carry_over(theirs, ours)
    row: dict[str, Any] = {"ours": pair.ours, "options": pair.options, "library": pair.library, "theirs": pair.theirs}
    differences = {}
    for height, width in SIZES:
        images = torch.randn(2, 3, height, width)
        wanted, found = theirs(images), ours(images)
        differences[f"{height}x{width}"] = float((wanted - found).abs().max() / wanted.abs().max())
    return row | {"relative_difference": differences}


def main() -> int:
    """Compare all pairs, print and record; return the exit status."""
    rows = []
    for pair in pairs():
        try:
            row = compare(pair)
        except ValueError as error:
            row = {"ours": pair.ours, "library": pair.library, "theirs": pair.theirs, "error": str(error)}
        rows.append(row)
        print(json.dumps(row), flush=True)
        gc.collect()
    failing = [row for row in rows if "error" in row or max(row["relative_difference"].values()) > LIMIT]
    versions = {name: version(name) for name in ("torch", "torchvision", "timm")}
    result = {"versions": versions, "limit": LIMIT, "num_failing": len(failing), "rows": rows}
    TARGET.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return 1 if failing else 0


if __name__ == "__main__":
    sys.exit(main())
