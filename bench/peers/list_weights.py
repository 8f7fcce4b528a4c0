"""Lists the public weights of our networks: addresses, checksums, colours and accuracies, as the libraries give them.

    peers/bin/python bench/peers/list_weights.py timm_top1.csv

Addresses and preprocessing are read from torchvision and timm as installed; torchvision's accuracies too; timm's come
from the named table (model, img_size, top1), a part of results/results-imagenet.csv in timm's repository at commit
0173a139a2c66db3a41ebfe1d8ac4fb02483642e. Nothing is fetched: no address was tried here. Writes
src/depthwise/models/weights/public.json.
"""

import csv
import json
import re
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import timm
from torchvision import models as torchvision

TARGET = Path(__file__).parents[2] / "src" / "depthwise" / "models" / "weights" / "public.json"
HUB = "https://huggingface.co/{}/resolve/main/model.safetensors"
TORCHVISION = {
    "alexnet": "alexnet_owt",
    **{f"vgg{d}{n}": f"vgg{d}{n}" for d in (11, 13, 16, 19) for n in ("", "_bn")},
    "googlenet": "googlenet_torchvision",
    **{f"resnet{d}": f"resnet{d}" + "_v1_5" * (d >= 50) for d in (18, 34, 50, 101, 152)},
    **{f"densenet{d}": f"densenet{d}" for d in (121, 161, 169, 201)},
    **{f"shufflenet_v2_x{w}": f"shufflenet_v2_x{w}" for w in ("0_5", "1_0", "1_5", "2_0")},
    "mobilenet_v2": "mobilenet_v2_x1_0",
    **{f"mobilenet_v3_{s}": f"mobilenet_v3_{s}" for s in ("large", "small")},
    **{f"efficientnet_b{i}": f"efficientnet_b{i}" for i in range(8)},
}
TIMM = {
    **{f"resnet{d}": f"resnet{d}" + "_v1_5" * (d >= 50) for d in (18, 34, 50, 101, 152)},
    **{f"densenet{d}": f"densenet{d}" for d in (121, 161, 169, 201)},
    **{f"legacy_seresnet{d}": f"seresnet{d}" for d in (50, 101, 152)},
    "legacy_seresnext50_32x4d": "seresnext50_32x4d",
    "legacy_senet154": "senet154",
    "mobilenetv1_100": "mobilenet_v1_x1_0",
    "mobilenetv2_050": "mobilenet_v2_x0_5",
    "mobilenetv2_100": "mobilenet_v2_x1_0",
    "mobilenetv2_140": "mobilenet_v2_x1_4",
    "mobilenetv3_large_100": "mobilenet_v3_large",
    "mobilenetv3_small_100": "mobilenet_v3_small",
    "mobilenetv3_small_075": "mobilenet_v3_small_x0_75",
    **{f"tf_mobilenetv3_{s}_100": f"mobilenet_v3_{s}" for s in ("large", "small")},
    **{f"tf_mobilenetv3_{s}_075": f"mobilenet_v3_{s}_x0_75" for s in ("large", "small")},
    **{f"tf_mobilenetv3_{s}_minimal_100": f"mobilenet_v3_{s}_minimal" for s in ("large", "small")},
    **{f"efficientnet_b{i}": f"efficientnet_b{i}" for i in range(6)},
    **{f"tf_efficientnet_b{i}": f"efficientnet_b{i}" for i in range(8)},
    "efficientnet_lite0": "efficientnet_lite0",
    **{f"tf_efficientnet_lite{i}": f"efficientnet_lite{i}" for i in range(5)},
}


def row(network: str, origin: str, url: str, expects: dict[str, Any], top1: float | None) -> dict[str, Any]:
    """Return one line of the list; the checksum is the start of a SHA-256 that stands in the file's name."""
    found = re.search(r"-([0-9a-f]{8,})\.\w+$", url)
    return {
        "network": network,
        "origin": origin,
        "url": url,
        "sha256_start": found.group(1) if found else "",
        "preprocessing": expects,
        "top1": top1,
    }


def preprocessing(mean: Any, std: Any, resample: str, crop_share: float, image_size: int) -> dict[str, Any]:
    """Return what the weights expect of pictures, in plain values."""
    if resample not in ("bilinear", "bicubic"):
        raise ValueError(f"interpolation {resample!r} is not known here")
    colours = {"mean": [round(x, 6) for x in mean], "std": [round(x, 6) for x in std]}
    return colours | {"resample": resample, "crop_share": round(crop_share, 4), "image_size": image_size}


def torchvision_rows() -> Iterator[dict[str, Any]]:
    """Yield torchvision's weights, the best of a network first."""
    for theirs, ours in TORCHVISION.items():
        found = []
        for weights in torchvision.get_model_weights(theirs):
            top1 = weights.meta["_metrics"]["ImageNet-1K"]["acc@1"]
            if top1 == top1:  # VGG-16's `features` have no classifier and no accuracy
                how = weights.transforms()
                share = how.crop_size[0] / how.resize_size[0]
                expects = preprocessing(how.mean, how.std, how.interpolation.value, share, how.crop_size[0])
                found.append(row(ours, f"torchvision:{weights.name}", weights.url, expects, top1))
        yield from sorted(found, key=lambda r: -r["top1"])


def timm_rows(top1: dict[str, tuple[int, float]]) -> Iterator[dict[str, Any]]:
    """Yield timm's weights of ImageNet's 1000 classes under free licences, without those that are torchvision's."""
    for theirs, ours in TIMM.items():
        for name in timm.list_pretrained(f"{theirs}.*"):
            config = timm.get_pretrained_cfg(name)
            is_free = "nc" not in (config.license or "nc").split("-")
            if config.num_classes != 1000 or not is_free or ".tv" in name:
                continue
            size, accuracy = top1.get(name, ((config.test_input_size or config.input_size)[-1], None))
            share = config.test_crop_pct or config.crop_pct
            expects = preprocessing(config.mean, config.std, config.interpolation, share, size)
            yield row(ours, f"timm:{name}", config.url or HUB.format(config.hf_hub_id), expects, accuracy)


def main() -> None:
    """Write the list."""
    with open(sys.argv[1], encoding="utf-8", newline="") as file:
        table = {line["model"]: (int(line["img_size"]), float(line["top1"])) for line in csv.DictReader(file)}
    rows = [*torchvision_rows(), *sorted(timm_rows(table), key=lambda r: (r["network"], -(r["top1"] or 0)))]
    sources = {
        "torchvision": f"torchvision {version('torchvision')}, metadata of its weights",
        "timm": f"timm {version('timm')}, its configurations; accuracies: results/results-imagenet.csv in "
        "huggingface/pytorch-image-models at commit 0173a139",
    }
    lines = ",\n  ".join(json.dumps(r) for r in rows)
    TARGET.write_text(f'{{\n "sources": {json.dumps(sources)},\n "weights": [\n  {lines}\n ]\n}}\n', encoding="utf-8")
    print(f"{len(rows)} weights of {len({r['network'] for r in rows})} networks")


if __name__ == "__main__":
    main()
