"""Records what others call their tensors, and their shapes, for the tests of `load_weights`.

    peers/bin/python bench/peers/list_keys.py

Writes tests/models/weights/keys.json.gz: {"library:network": {name: shape}}.
"""

import gzip
import json
import os
from collections.abc import Iterator
from pathlib import Path

os.environ["KERAS_BACKEND"] = "torch"

import keras
import timm
from torchvision import models as torchvision

TARGET = Path(__file__).parents[2] / "tests" / "models" / "weights" / "keys.json.gz"
TORCHVISION = (
    "alexnet vgg11_bn googlenet resnet18 resnet50 densenet121 shufflenet_v2_x0_5 mobilenet_v2 mobilenet_v3_small "
    "mobilenet_v3_large efficientnet_b0 efficientnet_b2"
)
TIMM = (
    "vgg11 resnet34 densenet121 legacy_seresnet50 legacy_seresnext50_32x4d legacy_senet154 mobilenetv1_100 "
    "mobilenetv2_050 mobilenetv2_140 mobilenetv3_small_075 tf_mobilenetv3_large_minimal_100 tf_efficientnet_b1 "
    "efficientnet_b1 tf_efficientnet_lite0 efficientnet_lite0"
)
KERAS = "MobileNet MobileNetV2 MobileNetV3Small EfficientNetB0 ResNet50 DenseNet121 VGG16"


def networks() -> Iterator[tuple[str, dict[str, tuple[int, ...]]]]:
    """Yield each network with its tensors' shapes; Keras' as `layer.variable`, in small letters."""
    for name in TORCHVISION.split():
        more = {"init_weights": False} if name == "googlenet" else {}
        model = getattr(torchvision, name)(weights=None, **more)
        yield f"torchvision:{name}", {key: tuple(value.shape) for key, value in model.state_dict().items()}
    for name in TIMM.split():
        model = timm.create_model(name, pretrained=False)
        yield f"timm:{name}", {key: tuple(value.shape) for key, value in model.state_dict().items()}
    for name in KERAS.split():
        model = getattr(keras.applications, name)(weights=None)
        names = {weight.path.lower().replace("/", "."): tuple(weight.shape) for weight in model.weights}
        yield f"keras:{name}", names


def main() -> None:
    """Write the record."""
    content = json.dumps(dict(networks()), separators=(",", ":")).encode()
    TARGET.write_bytes(gzip.compress(content, mtime=0))
    print(f"{len(content):,} bytes, {TARGET.stat().st_size:,} compressed")


if __name__ == "__main__":
    main()
