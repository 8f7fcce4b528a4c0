"""What every network of the zoo can do: name its maps, take a new classifier, pad as TensorFlow does."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from depthwise.models import blocks
from depthwise.models.create import build_of, create_model
from depthwise.models.registry import list_models, model_info

NAMES = list_models()
PADDED = [name for name in NAMES if name.startswith(("mobilenet", "efficientnet"))]


def on_meta(name, **options):
    with torch.device("meta"):
        return create_model(name, **options).eval()


STRIDES = {
    "lenet5": [1, 2, 4],
    "lenet5_1998": [1, 2, 4],
    "alexnet": [4, 8, 16, 32],
    "vgg16": [1, 2, 4, 8, 16, 32],
    "nin": [4, 8, 16, 32],
    "googlenet": [2, 4, 8, 16, 32],
    "resnet50": [2, 4, 8, 16, 32],
    "resnet20_cifar": [1, 2, 4],
    "densenet121": [2, 4, 8, 16, 32],
    "seresnet18_preact": [2, 4, 8, 16, 32],
    "senet154": [2, 4, 8, 16, 32],
    "shufflenet_v1": [2, 4, 8, 16, 32],
    "shufflenet_v2": [2, 4, 8, 16, 32],
    "mobilenet_v1": [2, 4, 8, 16, 32],
    "mobilenet_v2": [2, 4, 8, 16, 32],
    "mobilenet_v3_small": [2, 4, 8, 16, 32],
    "efficientnet_b0": [2, 4, 8, 16, 32],
}


@pytest.mark.parametrize("name", STRIDES)
def test_features_are_the_last_maps_of_each_size(name):
    spec = model_info(name)
    side = 32 if spec.family == "lenet5" else 256
    maps = on_meta(name).features(torch.empty(2, spec.in_channels, side, side, device="meta"))
    assert [one.stride for one in maps] == STRIDES[name]
    for one in maps:
        lost = 6 if name.startswith(("alexnet", "lenet5", "nin")) else 0  # at the edges, without padding
        assert side // one.stride - lost <= one.map.shape[2] <= side // one.stride + 1


@pytest.mark.parametrize("name", NAMES)
def test_features_name_layers_and_a_new_classifier_has_its_classes(name):
    spec = model_info(name)
    model, seen = on_meta(name), {}
    images = torch.empty(1, spec.in_channels, spec.image_size, spec.image_size, device="meta")
    maps = model.features(images)

    def keep(name):
        def hook(_, __, output):
            seen.setdefault(name, output.shape)

        return hook

    for one in maps:
        model.get_submodule(one.name).register_forward_hook(keep(one.name))
    model(images)
    assert {one.name: one.map.shape for one in maps} == seen
    assert [one.stride for one in maps] == sorted({one.stride for one in maps})
    if name != "lenet5_1998":
        model.reset_classifier(7)
        assert model(images).shape == (1, 7)


@pytest.mark.parametrize("name", ["mobilenet_v2_x0_35", "googlenet", "googlenet_bn", "densenet40_k12_cifar"])
def test_features_are_real_numbers_that_lead_to_the_logits(name):
    torch.manual_seed(0)
    model, images = create_model(name, num_classes=10).eval(), torch.rand(2, 3, 64, 64)
    last = model.features(images)[-1].map
    assert torch.equal(model.classifier(last.mean((2, 3))), model(images))


def test_a_new_classifier_is_fresh_and_the_rest_stays():
    torch.manual_seed(0)
    model = create_model("mobilenet_v1_x0_25", num_classes=4)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    model.reset_classifier(4)
    changed = [name for name, value in model.state_dict().items() if not torch.equal(value, before[name])]
    assert changed == ["classifier.weight"]
    assert model.classifier.weight.std().item() == pytest.approx(0.01, rel=0.1)


def test_googlenets_auxiliary_classifiers_are_renewed_too():
    model = on_meta("googlenet", aux=True)
    model.reset_classifier(7)
    assert [logits.shape for logits in model.auxiliary_logits(torch.empty(2, 3, 224, 224, device="meta"))] == [
        (2, 7)
    ] * 2


def test_the_fixed_codes_of_1998_cannot_be_renewed():
    with pytest.raises(ValueError, match="fixed"):
        create_model("lenet5_1998").reset_classifier(11)


@pytest.mark.parametrize("in_channels", range(1, 17))
def test_any_number_of_channels_up_to_16(in_channels):
    for name in ("lenet5", "alexnet", "mobilenet_v3_small", "densenet121", "shufflenet_v1"):
        side = model_info(name).image_size
        images = torch.empty(1, in_channels, side, side, device="meta")
        assert on_meta(name, num_classes=3, in_channels=in_channels)(images).shape == (1, 3)


# Padding: by hand, and against the definition in TensorFlow's documentation of 'SAME'.


@pytest.mark.parametrize(
    ("side", "kernel_size", "before", "after"),
    [(224, 3, 0, 1), (97, 3, 1, 1), (7, 5, 2, 2), (8, 5, 1, 2), (2, 3, 0, 1), (1, 5, 2, 2)],
)
def test_tf_pads_as_little_as_it_can_with_the_odd_zero_behind(side, kernel_size, before, after):
    conv = blocks.SameConv2d(1, 1, kernel_size, 2, kernel_size // 2, bias=False)
    conv.uses_tf_padding = True
    x = torch.rand(1, 1, side, side)
    padded = functional.pad(x, (before, after, before, after))
    wanted = functional.conv2d(padded, conv.weight, stride=2)
    assert wanted.shape[2] == -(-side // 2)
    assert torch.equal(conv(x), wanted)


def test_with_stride_one_both_paddings_are_one():
    conv, x = blocks.SameConv2d(2, 3, 5, 1, 2), torch.rand(1, 2, 9, 6)
    plain = conv(x)
    conv.uses_tf_padding = True
    assert torch.equal(conv(x), plain)


@pytest.mark.parametrize("name", ["mobilenet_v1_x0_25", "mobilenet_v2_x0_35", "mobilenet_v3_small", "efficientnet_b0"])
def test_tf_padding_changes_numbers_but_neither_counts_nor_shapes(name):
    torch.manual_seed(0)
    plain = create_model(name, num_classes=5).eval()
    tf = create_model(name, num_classes=5, padding="same_tf").eval()
    tf.load_state_dict(plain.state_dict())
    images = torch.rand(1, 3, 64, 64)
    assert plain(images).shape == tf(images).shape
    assert not torch.equal(plain(images), tf(images))
    odd = torch.rand(1, 3, 97, 97)  # maps of 97, 49, 25, 13, 7: symmetric padding is TF's
    torch.testing.assert_close(tf(odd), plain(odd))


@pytest.mark.parametrize("name", PADDED)
def test_every_strided_convolution_knows_both_paddings(name):
    strided = [m for m in on_meta(name).modules() if isinstance(m, nn.Conv2d) and m.stride[0] > 1]
    assert strided
    assert all(isinstance(m, blocks.SameConv2d) for m in strided)


def test_a_network_remembers_how_it_was_made():
    build = build_of(create_model("mobilenet_v2_x0_35", num_classes=4, in_channels=1, padding="same_tf"))
    assert (build.model, build.num_classes, build.in_channels) == ("mobilenet_v2_x0_35", 4, 1)
    assert build.options == {"padding": "same_tf"}
    assert build.origin == ""


# Export: the graph computes what the network does, for any number of pictures. One per family here, all with -m slow.

SMALLEST = {
    "lenet5": 32,
    "alexnet": 96,
    "alexnet_owt": 96,
    "nin_cifar": 32,
    "vgg11_bn": 32,
    "googlenet": 64,
    "resnet18": 32,
    "densenet40_k12_cifar": 32,
    "seresnet18": 32,
    "shufflenet_v1_g8_x0_25": 32,
    "shufflenet_v2_x0_5": 32,
    "mobilenet_v1_x0_25": 32,
    "mobilenet_v2_x0_35": 32,
    "mobilenet_v3_small_x0_75": 32,
    "efficientnet_lite0": 32,
}


def check_export(name, side, **options):
    torch.manual_seed(0)
    model = create_model(name, **options).eval()
    channels = model_info(name).in_channels
    batch = torch.export.Dim("batch", min=1, max=64)
    exported = torch.export.export(model, (torch.rand(2, channels, side, side),), dynamic_shapes=({0: batch},)).module()
    for num_images in (1, 5):
        images = torch.rand(num_images, channels, side, side)
        torch.testing.assert_close(exported(images), model(images), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", SMALLEST)
def test_export_with_any_number_of_pictures(name):
    check_export(name, SMALLEST[name], small_input=name not in ("lenet5", "googlenet"), num_classes=10)


def test_export_with_tf_padding():
    check_export("mobilenet_v2_x0_35", 46, padding="same_tf", num_classes=10)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_export_of_every_network(name):
    check_export(name, min(model_info(name).image_size, 96) if model_info(name).family != "alexnet" else 227)
