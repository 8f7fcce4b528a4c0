"""Do our networks compute what others' do? The same random weights in both, odd pictures, the largest difference.

    python3 -m venv peers && peers/bin/pip install -r bench/peers/requirements.txt
    PYTHONPATH=src peers/bin/python bench/peers/compare_outputs.py [PATTERN]

A parameter count is blind to strides, padding, activations and where a sum is taken; equal outputs are not. Weights go
over by `load_weights`, as real ones do: state dicts of torchvision and timm, files of Keras in its three layouts. Each
network that public weights are listed for is compared (src/depthwise/models/weights/public.json), and Keras'
applications. Writes bench/results/peers.json; exit status 1 when a pair differs by more than 1e-5 of the largest logit.
"""

import gc
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

os.environ["KERAS_BACKEND"] = "torch"

import h5py
import keras
import numpy as np
import timm
import torch
from keras.src.legacy.saving import legacy_h5_format
from list_weights import TORCHVISION
from torch import Tensor, nn
from torchvision import models as torchvision

from depthwise.models.create import build_of, create_model
from depthwise.models.weights.load import load_weights
from depthwise.models.weights.origins import public_weights

LIMIT = 1e-5
SIZES = ((97, 131), (224, 224))
TARGET = Path(__file__).parents[1] / "results" / "peers.json"
KERAS = {
    "MobileNet": "mobilenet_v1",
    "MobileNetV2": "mobilenet_v2",
    "MobileNetV3Small": "mobilenet_v3_small",
    "MobileNetV3Large": "mobilenet_v3_large",
    **{f"EfficientNetB{number}": f"efficientnet_b{number}" for number in range(8)},
    **{f"ResNet{depth}": f"resnet{depth}" for depth in (50, 101, 152)},
    **{f"DenseNet{depth}": f"densenet{depth}" for depth in (121, 169, 201)},
    **{f"VGG{depth}": f"vgg{depth}" for depth in (16, 19)},
}
LAYOUTS = ("whole.h5", "legacy.h5", "new.weights.h5")


class Pair(NamedTuple):
    """One of our networks, whose weights it gets, and how to compute theirs."""

    ours: str
    origin: str
    compare: Callable[["Pair"], dict[str, float]]


def pairs() -> Iterator[Pair]:
    """Yield every pair that is meant to be one network."""
    for theirs, ours in TORCHVISION.items():
        yield Pair(ours, f"torchvision:{theirs}", compare_torch)
    seen = set()
    for row in public_weights():
        base = row.origin.partition(".")[0]
        if row.origin.startswith("timm:") and (row.network, base) not in seen:
            seen.add((row.network, base))
            yield Pair(row.network, row.origin, compare_torch)
    for depth in (
        11,
        13,
        16,
        19,
    ):  # timm's have convolutions where others have linear layers; its weights: torchvision's
        for norm in ("", "_bn"):
            yield Pair(f"vgg{depth}{norm}", f"timm:vgg{depth}{norm}", compare_torch)
    for theirs, ours in KERAS.items():
        yield Pair(ours, f"keras:{theirs}", compare_keras)


def relative(wanted: Tensor, found: Tensor) -> float:
    """Return the largest difference over the largest logit."""
    return float((wanted - found).abs().max() / wanted.abs().max())


@torch.no_grad()
def compare_torch(pair: Pair) -> dict[str, float]:
    """Compare with torchvision or timm."""
    library, _, name = pair.origin.partition(":")
    if library == "timm":
        theirs = timm.create_model(name, pretrained=False)
    else:
        more = {"aux_logits": True, "init_weights": False} if name == "googlenet" else {}
        theirs = getattr(torchvision, name)(weights=None, **more)
    theirs = theirs.eval()
    for module in theirs.modules():
        if isinstance(module, nn.BatchNorm2d):  # statistics and factors that are not the identity: a missing one shows
            assert module.running_mean is not None and module.running_var is not None
            nn.init.normal_(module.running_mean, 0.0, 0.1)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0.0, 0.1)
    ours = create_model(pair.ours).eval()
    origin = "as-is" if name.startswith("vgg") and library == "timm" else pair.origin
    load_weights(ours, theirs.state_dict(), origin)
    differences = {}
    for height, width in SIZES:
        images = torch.randn(2, 3, height, width)
        differences[f"{height}x{width}"] = relative(theirs(images), ours(images))
    return differences


@torch.no_grad()
def compare_keras(pair: Pair) -> dict[str, float]:
    """Compare with an application of Keras, through one of its three kinds of files for each size and kind."""
    name = pair.origin.partition(":")[2]
    sizes = ((224, 224),) if name.startswith("VGG") else SIZES
    if name == "MobileNet":  # it adds one row and column before each stride: TF's padding where sides are even only
        sizes = ((96, 160), (224, 224))
    differences = {}
    for number, (height, width) in enumerate(sizes):
        more = {"include_preprocessing": False} if "V3" in name else {}
        theirs = getattr(keras.applications, name)(
            weights=None, input_shape=(height, width, 3), classifier_activation=None, **more
        )
        randomise(theirs)
        ours = create_model(pair.ours).eval()
        for layout in LAYOUTS if number == 0 else LAYOUTS[:1]:
            with tempfile.TemporaryDirectory() as folder:
                path = save(theirs, Path(folder) / layout)
                load_weights(ours, path)
            assert build_of(ours).origin == "keras"
            images = torch.rand(2, height, width, 3)
            shown = images.flip(3) if name.startswith(("ResNet", "VGG")) else images  # blue first there
            # EfficientNet's first layer divides by 255; the other networks' preprocessing is outside of them.
            wanted = theirs(255 * shown if name.startswith("EfficientNet") else shown, training=False)
            found = ours(images.permute(0, 3, 1, 2))
            differences[f"{height}x{width} {layout}"] = relative(wanted, found)
    return differences


def randomise(model: Any) -> None:
    """Give every array of a Keras model numbers that are not the identity."""
    generator = np.random.default_rng(0)
    values = []
    for weight in model.weights:
        value = np.asarray(weight.detach() if isinstance(weight, Tensor) else keras.ops.convert_to_numpy(weight))
        if weight.name == "moving_variance":
            value = generator.uniform(0.5, 1.5, value.shape)
        elif weight.name == "gamma":  # larger ones make rounding errors grow with depth, until all digits differ
            value = generator.uniform(0.4, 0.9, value.shape)
        elif weight.name in ("moving_mean", "beta", "bias"):
            value = generator.normal(0.0, 0.1, value.shape)
        values.append(value.astype("float32") if weight.name != "count" else value)
    model.set_weights(values)


def save(model: Any, path: Path) -> Path:
    """Write the model's weights in the layout that the file's name says."""
    if path.name.startswith("legacy"):
        with h5py.File(path, "w") as file:
            legacy_h5_format.save_weights_to_hdf5_group(file, model)
    elif path.name.startswith("whole"):
        model.save(path)
    else:
        model.save_weights(path)
    return path


def main() -> int:
    """Compare all pairs, print and record; return the exit status."""
    pattern = sys.argv[1] if len(sys.argv) > 1 else "*"
    torch.manual_seed(0)
    rows = []
    for pair in pairs():
        if not fnmatchcase(pair.ours, pattern) and not fnmatchcase(pair.origin, pattern):
            continue
        row: dict[str, Any] = {"ours": pair.ours, "theirs": pair.origin}
        try:
            row["relative_difference"] = pair.compare(pair)
        except Exception as error:
            row["error"] = f"{type(error).__name__}: {error}"
        rows.append(row)
        print(json.dumps(row), flush=True)
        gc.collect()
    failing = [row for row in rows if "error" in row or max(row["relative_difference"].values()) > LIMIT]
    print(f"{len(rows)} pairs, {len(failing)} failing")
    if pattern == "*":
        versions = {name: version(name) for name in ("torch", "torchvision", "timm", "keras")}
        result = {"versions": versions, "limit": LIMIT, "num_failing": len(failing), "rows": rows}
        TARGET.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return 1 if failing else 0


if __name__ == "__main__":
    sys.exit(main())
