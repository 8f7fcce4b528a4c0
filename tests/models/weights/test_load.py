"""`load_weights`: the tensors' names as others have them, and what goes wrong, said."""

import gzip
import json
import re
from pathlib import Path

import pytest
import torch
from torch import nn

from depthwise.errors import UserError
from depthwise.models.create import build_of, create_model
from depthwise.models.registry import list_models, model_info
from depthwise.models.weights import names
from depthwise.models.weights.load import load_weights
from depthwise.models.weights.pretrained import _packaged

KEYS = json.loads(gzip.decompress((Path(__file__).parent / "keys.json.gz").read_bytes()))
"""What others' networks call their tensors, with shapes (bench/peers/list_keys.py)."""


def on_meta(name, **options):
    with torch.device("meta"):
        return create_model(name, **options)


def theirs(key):
    if key.startswith("package"):
        return packaged(key)
    return {name: torch.empty(shape, device="meta") for name, shape in KEYS[key].items()}


def packaged(key):
    """The file in the package of EfficientNet-Lite0; efficientnet-pytorch's names from timm's, in its own spelling."""
    if "lite" in key:
        return torch.load(_packaged(model_info("efficientnet_lite0")), weights_only=True, map_location="meta")
    tensors = theirs("timm:tf_efficientnet_b1")
    numbers = list(dict.fromkeys(tuple(name.split(".")[1:3]) for name in tensors if name.startswith("blocks")))
    found = {}
    for name, value in tensors.items():
        if name.startswith("blocks"):
            _, stage, index, layer = name.split(".", 3)
            spelling = EXPANDING if f"blocks.{stage}.{index}.conv_pwl.weight" in tensors else FIRST
            there, _, variable = layer.rpartition(".")
            found[f"_blocks.{numbers.index((stage, index))}.{spelling[there]}.{variable}"] = value
        else:
            there, _, variable = name.rpartition(".")
            found[f"{AROUND[there]}.{variable}"] = value
    return found


AROUND = {"conv_stem": "_conv_stem", "bn1": "_bn0", "conv_head": "_conv_head", "bn2": "_bn1", "classifier": "_fc"}
EXCITING = {"se.conv_reduce": "_se_reduce", "se.conv_expand": "_se_expand"}
FIRST = {"conv_dw": "_depthwise_conv", "bn1": "_bn1", "conv_pw": "_project_conv", "bn2": "_bn2"} | EXCITING
EXPANDING = {"conv_pw": "_expand_conv", "bn1": "_bn0", "conv_dw": "_depthwise_conv", "bn2": "_bn1"} | EXCITING
EXPANDING |= {"conv_pwl": "_project_conv", "bn3": "_bn2"}


TORCHVISION = {
    "alexnet": "alexnet_owt",
    "vgg11_bn": "vgg11_bn",
    "googlenet": "googlenet_torchvision",
    "resnet18": "resnet18",
    "resnet50": "resnet50_v1_5",
    "densenet121": "densenet121",
    "shufflenet_v2_x0_5": "shufflenet_v2_x0_5",
    "mobilenet_v2": "mobilenet_v2",
    "mobilenet_v3_small": "mobilenet_v3_small",
    "mobilenet_v3_large": "mobilenet_v3_large",
    "efficientnet_b0": "efficientnet_b0",
    "efficientnet_b2": "efficientnet_b2",
}
TIMM = {
    "resnet34.a1_in1k": "resnet34",
    "densenet121.ra_in1k": "densenet121",
    "legacy_seresnet50": "seresnet50",
    "legacy_seresnext50_32x4d": "seresnext50_32x4d",
    "legacy_senet154": "senet154",
    "mobilenetv1_100": "mobilenet_v1",
    "mobilenetv2_050": "mobilenet_v2_x0_5",
    "mobilenetv2_140": "mobilenet_v2_x1_4",
    "mobilenetv3_small_075": "mobilenet_v3_small_x0_75",
    "tf_mobilenetv3_large_minimal_100": "mobilenet_v3_large_minimal",
    "tf_efficientnet_b1.ns_jft_in1k": "efficientnet_b1",
    "efficientnet_b1.ft_in1k": "efficientnet_b1",
    "tf_efficientnet_lite0": "efficientnet_lite0",
    "efficientnet_lite0": "efficientnet_lite0",
}
KERAS = {
    "MobileNet": "mobilenet_v1",
    "MobileNetV2": "mobilenet_v2",
    "MobileNetV3Small": "mobilenet_v3_small",
    "EfficientNetB0": "efficientnet_b0",
    "ResNet50": "resnet50",
    "DenseNet121": "densenet121",
    "VGG16": "vgg16",
}
PACKAGE = {
    "efficientnet-lite0": ("efficientnet_lite0", "package"),
    "efficientnet-b1": ("efficientnet_b1", "package:imagenet"),
    "efficientnet-b1 advprop": ("efficientnet_b1", "package:advprop"),
}
PAIRS = [
    *((f"torchvision:{key}", name, f"torchvision:{key}") for key, name in TORCHVISION.items()),
    *((f"timm:{key.partition('.')[0]}", name, f"timm:{key}") for key, name in TIMM.items()),
    *((f"keras:{key}", name, "keras") for key, name in KERAS.items()),
    *((f"package:{key}", name, origin) for key, (name, origin) in PACKAGE.items()),
]


@pytest.mark.parametrize(("key", "name", "origin"), PAIRS)
def test_names_and_shapes_of_others_fit(key, name, origin):
    model = on_meta(name)
    assert load_weights(model, theirs(key), origin) is model
    assert build_of(model).origin == origin
    assert build_of(model).preprocessing is not None


@pytest.mark.parametrize(("key", "name", "origin"), PAIRS)
def test_a_tensor_too_few_is_named(key, name, origin):
    tensors = theirs(key)
    lost = sorted(n for n in tensors if n.endswith(("weight", "kernel")) and "aux" not in n)[len(tensors) // 9]
    del tensors[lost]
    with pytest.raises(UserError) as caught:
        load_weights(on_meta(name), tensors, origin)
    assert f"missing: {lost.replace('depthwise_kernel', 'weight').replace('kernel', 'weight')}" in str(caught.value)


@pytest.mark.parametrize(
    ("key", "name", "found"),
    [
        ("torchvision:mobilenet_v2", "mobilenet_v2", "torchvision"),
        ("torchvision:densenet121", "densenet121", "torchvision"),
        ("torchvision:googlenet", "googlenet_torchvision", "torchvision"),
        ("keras:MobileNetV2", "mobilenet_v2", "keras"),
        ("timm:legacy_seresnet50", "seresnet50", "timm"),
        ("timm:mobilenetv2_050", "mobilenet_v2_x0_5", "timm"),
        ("timm:tf_mobilenetv3_large_minimal_100", "mobilenet_v3_large_minimal", "timm"),
        ("package:efficientnet-lite0", "efficientnet_lite0", "package"),
    ],
)
def test_the_origin_is_guessed_where_nothing_else_is_possible(key, name, found):
    assert build_of(load_weights(on_meta(name), theirs(key))).origin == found


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("timm:efficientnet_b1", "efficientnet_b1"),
        ("timm:tf_efficientnet_b1", "efficientnet_b1"),
        ("timm:efficientnet_lite0", "efficientnet_lite0"),
        ("torchvision:resnet50", "resnet50_v1_5"),
    ],
)
def test_the_origin_is_asked_for_where_two_networks_are_alike(key, name):
    if name.startswith("resnet"):  # all known ones agree in colours: no doubt
        assert build_of(load_weights(on_meta(name), theirs(key))).origin == "torchvision"
        return
    with pytest.raises(UserError, match=r"whose weights they are.*Say origin=.*timm:tf_eff.*as-is"):
        load_weights(on_meta(name), theirs(key))


def test_an_origin_with_two_meanings_is_asked_for_more_exactly():
    with pytest.raises(UserError, match=r"different colours; give one of: .*timm:tf_efficientnet_b1\.ap_in1k"):
        load_weights(on_meta("efficientnet_b1"), theirs("timm:tf_efficientnet_b1"), "timm:tf_efficientnet_b1")


@pytest.mark.parametrize(
    ("origin", "message"),
    [
        (None, "colours differ. Say origin=..., one of: package:imagenet, package:advprop, as-is"),
        (
            "package",
            "origin 'package' means weights with different colours; give one of: package:imagenet, package:adv",
        ),
        ("package:lite", "origin 'package:lite' is none of efficientnet_b1's; give one of: package:imagenet"),
    ],
)
def test_weights_of_efficientnet_pytorch_are_asked_for_their_colours(origin, message):
    with pytest.raises(UserError, match=re.escape(message)):
        load_weights(on_meta("efficientnet_b1"), theirs("package:efficientnet-b1"), origin)


def test_a_package_that_does_not_have_the_network_is_no_origin():
    with pytest.raises(UserError, match=r"origin 'package' is none of mobilenet_v2_x1_0's; give one of: as-is"):
        load_weights(on_meta("mobilenet_v2"), theirs("torchvision:mobilenet_v2"), "package")


@pytest.mark.parametrize("origin", [None, "torchvision", "timm:resnet50.a1_in1k"])
def test_weights_of_version_1_5_are_refused_by_the_papers_network(origin):
    with pytest.raises(UserError, match="create resnet50_v1_5 for them"):
        load_weights(on_meta("resnet50"), theirs("torchvision:resnet50"), origin)


def test_weights_under_these_names_that_are_the_papers_come_in_as_is():
    model = load_weights(on_meta("resnet50"), theirs("torchvision:resnet50"), "as-is")
    assert build_of(model).origin == "as-is" and build_of(model).preprocessing is None


@pytest.mark.parametrize(
    ("key", "name", "origin", "eps", "is_tf", "mean"),
    [
        ("torchvision:mobilenet_v2", "mobilenet_v2", "torchvision", 1e-5, False, 0.485),
        ("torchvision:mobilenet_v3_small", "mobilenet_v3_small", "torchvision", 1e-3, False, 0.485),
        ("torchvision:efficientnet_b0", "efficientnet_b0", "torchvision", 1e-5, False, 0.485),
        ("torchvision:googlenet", "googlenet_torchvision", "torchvision", 1e-3, False, 0.5),
        ("timm:efficientnet_b1", "efficientnet_b1", "timm:efficientnet_b1.ft_in1k", 1e-5, False, 0.485),
        ("timm:tf_efficientnet_b1", "efficientnet_b1", "timm:tf_efficientnet_b1.ap_in1k", 1e-3, True, 0.5),
        ("keras:MobileNetV2", "mobilenet_v2", "keras", 1e-3, True, 0.5),
        ("keras:ResNet50", "resnet50", "keras", 1.001e-5, False, 123.68 / 255),
        ("package:efficientnet-lite0", "efficientnet_lite0", "package", 1e-3, True, 127 / 255),
        ("package:efficientnet-b1", "efficientnet_b1", "package:imagenet", 1e-3, True, 0.485),
        ("package:efficientnet-b1", "efficientnet_b1", "package:advprop", 1e-3, True, 0.5),
    ],
)
def test_the_origin_sets_what_shapes_cannot_tell(key, name, origin, eps, is_tf, mean):
    model = load_weights(on_meta(name), theirs(key), origin)
    assert {m.eps for m in model.modules() if isinstance(m, nn.BatchNorm2d)} == {eps}
    assert any(getattr(m, "uses_tf_padding", False) for m in model.modules()) == is_tf
    build = build_of(model)
    assert build.preprocessing.mean[0] == pytest.approx(mean)
    again = on_meta(build.model, **build.options)  # the record makes the same network again
    assert {m.eps for m in again.modules() if isinstance(m, nn.BatchNorm2d)} == {eps}
    assert any(getattr(m, "uses_tf_padding", False) for m in again.modules()) == is_tf


def test_ports_of_the_first_mobilenet_have_another_activation():
    model = load_weights(on_meta("mobilenet_v1"), theirs("keras:MobileNet"))
    assert {type(m) for m in model.modules() if isinstance(m, nn.ReLU | nn.ReLU6)} == {nn.ReLU6}
    assert build_of(model).options["activation"] == "relu6"


def test_our_own_weights_go_back_in_and_change_nothing_else():
    torch.manual_seed(0)
    source, target = create_model("mobilenet_v1_x0_25"), create_model("mobilenet_v1_x0_25", bn_eps=0.01)
    load_weights(target, source.state_dict())
    assert all(
        torch.equal(a, b) for a, b in zip(source.state_dict().values(), target.state_dict().values(), strict=True)
    )
    assert build_of(target).origin == "" and build_of(target).options == {"bn_eps": 0.01}


def test_numbers_land_where_they_belong():
    """torchvision's MobileNetV2 by hand: first convolution, a depthwise one, a projection's norm, the classifier."""
    torch.manual_seed(0)
    tensors = {name: torch.rand(shape) for name, shape in KEYS["torchvision:mobilenet_v2"].items()}
    model = load_weights(create_model("mobilenet_v2"), tensors)
    assert torch.equal(model.stem.conv.weight, tensors["features.0.0.weight"])
    assert torch.equal(model.blocks[0].depthwise.conv.weight, tensors["features.1.conv.0.0.weight"])
    assert torch.equal(model.blocks[1].depthwise.conv.weight, tensors["features.2.conv.1.0.weight"])
    assert torch.equal(model.blocks[16].project.norm.running_var, tensors["features.17.conv.3.running_var"])
    assert torch.equal(model.head.norm.bias, tensors["features.18.1.bias"])
    assert torch.equal(model.classifier.weight, tensors["classifier.1.weight"])


def test_convolutions_and_linear_layers_that_are_one():
    """timm's VGG has 7x7 convolutions for the first hidden layer: the same numbers in the same order."""
    tensors = theirs("timm:vgg11")
    assert tensors["pre_logits.fc1.weight"].shape == (4096, 512, 7, 7)
    assert load_weights(on_meta("vgg11"), tensors, "as-is").hidden[0].weight.shape == (4096, 25088)


def test_all_that_does_not_fit_is_listed_and_the_model_stays():
    torch.manual_seed(0)
    model = create_model("mobilenet_v1_x0_25", num_classes=5)
    tensors = create_model("mobilenet_v1_x0_25", num_classes=6).state_dict()
    tensors["extra.weight"] = torch.zeros(1)
    del tensors["stem.conv.weight"]
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(UserError) as caught:
        load_weights(model, tensors)
    message = str(caught.value)
    assert "missing: stem.conv.weight" in message
    assert "left over: extra.weight" in message
    assert "classifier.weight (6, 256), not (5, 256)" in message
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_long_lists_are_cut():
    with pytest.raises(UserError, match=r"and [0-9]+ more"):
        load_weights(on_meta("mobilenet_v2_x0_5"), theirs("torchvision:mobilenet_v2"), "torchvision")


def test_weights_of_something_else_are_not_forced_in():
    with pytest.raises(UserError, match="not named as any library that we know"):
        load_weights(on_meta("vgg16"), theirs("torchvision:mobilenet_v2"))


def test_an_unknown_origin_is_refused():
    with pytest.raises(UserError, match="origin='torchvison' is not known; did you mean torchvision"):
        load_weights(on_meta("mobilenet_v2"), theirs("torchvision:mobilenet_v2"), "torchvison")


def test_a_network_from_elsewhere_is_refused():
    with pytest.raises(UserError, match="was not made by depthwise"):
        load_weights(nn.Linear(2, 2), {})


@pytest.mark.parametrize("library", names.SCHEMES)
def test_every_layer_with_weights_has_exactly_one_name_there(library):
    known = [(key, name) for key, name, origin in PAIRS if origin.startswith(library)]
    assert known
    for key, name in known:
        model = on_meta(name)
        pairs = list(names.SCHEMES[library][model_info(name).family](model))
        layers = [n for n, m in model.named_modules() if list(m.parameters(recurse=False))]
        assert sorted(ours for ours, _ in pairs) == sorted(layers), key
        assert len({there for _, there in pairs}) == len(pairs), key


@pytest.mark.parametrize("name", list_models())
def test_every_networks_own_weights_go_back_in(name):
    model = on_meta(name)
    assert load_weights(model, model.state_dict(), "as-is") is model


@pytest.mark.parametrize("name", ["googlenet", "googlenet_bn"])
def test_torchvisions_googlenet_is_refused_with_the_name_of_the_network_that_it_fits(name, tmp_path):
    tensors = {key: torch.zeros(shape) for key, shape in KEYS["torchvision:googlenet"].items()}
    torch.save(tensors, tmp_path / "googlenet.pth")
    for load in (
        lambda: load_weights(on_meta(name), theirs("torchvision:googlenet"), "torchvision"),
        lambda: create_model(name, pretrained=str(tmp_path / "googlenet.pth")),
    ):
        with pytest.raises(UserError, match=r"(?s)(missing|misshapen): .*create googlenet_torchvision for it"):
            load()


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("stem.conv.weight", torch.ones(8, 3, 3, 3, dtype=torch.int8), "point numbers: stem.conv.weight int8"),
        ("classifier.bias", torch.ones(5, dtype=torch.complex64), "point numbers: classifier.bias complex64"),
        ("classifier.bias", torch.tensor([0, 0, 0, 0, float("nan")]), "NaN or infinite values: classifier.bias. The"),
        ("classifier.bias", torch.full((5,), 1e300, dtype=torch.float64), "NaN or infinite values: classifier.bias"),
    ],
)
def test_values_that_are_no_weights_are_refused_and_the_model_stays(name, value, message):
    model = create_model("mobilenet_v1_x0_25", num_classes=5)
    before = model.state_dict()[name].clone()
    with pytest.raises(UserError, match=message):
        load_weights(model, {**model.state_dict(), name: value})
    assert torch.equal(model.state_dict()[name], before)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_weights_of_another_precision_come_in(dtype):
    model = create_model("mobilenet_v1_x0_25", num_classes=5)
    tensors = {n: v.to(dtype) if v.is_floating_point() else v for n, v in model.state_dict().items()}
    assert load_weights(model, tensors).stem.conv.weight.dtype == torch.float32
