import re
from functools import cache
from itertools import pairwise
from xml.etree import ElementTree

import pytest
import torch
from torch import nn

from depthwise.cli import run
from depthwise.errors import UserError
from depthwise.models.create import create_model
from depthwise.models.registry import model_info
from depthwise.report.drawing import draw_network, rounded
from depthwise.report.flow import flow_of
from depthwise.report.pieces import pieces_of

SVG = "{http://www.w3.org/2000/svg}"


@cache
def pieces(name: str, **options):
    spec = model_info(name)
    with torch.device("meta"):
        model = create_model(name, **options)
    return pieces_of(model, spec.image_size, spec.in_channels)


def drawn(name: str) -> str:
    spec = model_info(name)
    return draw_network(name, (spec.in_channels, spec.image_size, spec.image_size), pieces(name))


@pytest.mark.parametrize(
    "name", ["mobilenet_v2", "resnet50", "googlenet", "lenet5_1998", "vgg16_bn", "densenet121", "shufflenet_v2", "nin"]
)
def test_pieces_hold_all_parameters_and_multiply_adds(name):
    spec, found = model_info(name), pieces(name)
    assert sum(piece.params for piece in found) == spec.params
    assert sum(piece.macs for piece in found) == spec.macs
    assert found[-1].shape == (spec.num_classes,)


def test_equal_blocks_in_a_row_are_one_and_different_ones_are_not():
    told = [(p.name, p.num_equal, p.shape, p.skip) for p in pieces("mobilenet_v2")]
    assert told[3:6] == [
        ("blocks.2", 1, (24, 56, 56), "identity"),
        ("blocks.3", 1, (32, 28, 28), ""),
        ("blocks.4-5", 2, (32, 28, 28), "identity"),
    ]
    v3 = [p.name for p in pieces("mobilenet_v3_large")]  # expansions of 200 and 184 channels
    assert "blocks.7" in v3 and "blocks.8-9" in v3


def test_layers_that_add_channels_are_one_piece():
    found = [(p.label, p.num_equal, p.shape[0]) for p in pieces("densenet121") if p.skip]
    assert found == [(("dense layer"), n, c) for n, c in ((6, 256), (12, 512), (24, 1024), (16, 1024))]


def test_one_layer_in_several_places_is_named_by_its_place():
    names = [piece.name for piece in pieces("googlenet") if piece.kind == "pooling"]
    assert names == ["stem.1", "stem.6", "blocks.pool3", "blocks.pool4", "pool"]


def test_norm_and_activation_stand_beside_their_layer():
    first, pool, second, *_ = pieces("vgg11_bn")
    assert (first.label, first.detail) == ("3x3 convolution", "BN, ReLU")
    assert (pool.label, pool.detail) == ("2x2 max pooling", "stride 2")
    assert second.shape == (128, 112, 112)
    (norm,) = [piece for piece in pieces("densenet121") if piece.label == "BN"]  # it belongs to no layer before it
    assert norm.detail == "ReLU"


@pytest.mark.parametrize(
    ("name", "skips"),
    [
        ("resnet18", ["identity", *(3 * ["projection", "identity"])]),
        ("resnet50", 4 * ["projection", "identity"]),
        ("shufflenet_v1", 3 * ["identity"]),
        ("shufflenet_v2", 3 * ["concatenation"]),
        ("mobilenet_v1", []),
    ],
)
def test_ways_around_blocks_are_found(name, skips):
    assert [piece.skip for piece in pieces(name) if piece.skip] == skips


def test_a_plain_network_has_no_way_around():
    assert not any(piece.skip for piece in pieces("resnet18", shortcut="none"))


def test_the_picture_is_sound_and_says_what_the_table_says():
    root = ElementTree.fromstring(drawn("mobilenet_v2"))
    said = ["".join(text.itertext()) for text in root.iter(f"{SVG}text")]
    assert said[:2] == ["mobilenet_v2", "3.50 M parameters, 301 M multiply-adds"]
    for words in (
        "inverted residualblocks.4-5",
        "1x1, 3x3 depthwise / 2, 1x1",
        "x 3",
        "1280 x 7 x 7",
        "picture 3 x 224 x 224",
    ):
        assert words in said
    for words in ("convolution", "with depthwise convolution", "pooling", "linear layer", "identity"):
        assert words in said
    assert "projection" not in said  # the legend has only what is there


def test_boxes_are_as_wide_as_maps_and_as_thick_as_channels():
    root = ElementTree.fromstring(drawn("vgg16"))
    boxes = [box for box in root.iter(f"{SVG}rect") if box.get("rx") == "4"]
    widths = [float(box.get("width")) for box in boxes]
    heights = [float(box.get("height")) for box in boxes]
    assert widths == sorted(widths, reverse=True)
    assert len(set(widths)) == 7  # 224, 112, 56, 28, 14, 7 and 1 px
    assert heights[:5] == sorted(heights[:5])
    assert widths[0] == 210


@pytest.mark.parametrize("name", ["mobilenet_v2", "resnet18", "googlenet", "lenet5", "vgg16", "densenet121"])
def test_nothing_lies_outside_the_picture_or_on_another_line(name):
    root = ElementTree.fromstring(drawn(name))
    width, height = (float(root.get(side)) for side in ("width", "height"))
    words = [(text.get("x"), float(text.get("y"))) for text in root.iter(f"{SVG}text")]
    assert all(0 < float(x) < width and 0 < y < height for x, y in words)
    lines = sorted(y for x, y in words if x == "735")
    assert all(after - before > 20 for before, after in pairwise(lines))


def test_the_same_network_gives_the_same_picture():
    assert drawn("resnet18") == drawn("resnet18")


@pytest.mark.parametrize(
    ("count", "said"),
    [(0, "0"), (928, "928"), (5136, "5.14 k"), (99960, "100 k"), (999_600, "1.00 M"), (2.5e10, "25.0 G")],
)
def test_counts_have_three_digits(count, said):
    assert rounded(int(count)) == said


class Twice(nn.Module):
    """Forks twice: more than a picture of one fork can show."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 3, padding=1)

    def forward(self, x):
        x = x + self.one(x)
        return x + self.two(x)


class Untraceable(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Sequential(nn.Conv2d(4, 8, 3), nn.ReLU())

    def forward(self, x):
        return self.inner(x) if x.shape[0] > 0 else x


@pytest.mark.parametrize(("block", "kernels"), [(Twice(), ["1x1", "3x3"]), (Untraceable(), ["3x3"])])
def test_code_that_cannot_be_followed_is_told_as_its_layers(block, kernels):
    flow = flow_of(block.to("meta"), (4, 8, 8))
    assert [box.what for box in flow.boxes] == [f"{kernel} convolution" for kernel in kernels]
    assert flow.skip == ""


def test_the_command_draws_into_a_file(tmp_path, capsys):
    target = tmp_path / "net.svg"
    assert run(["summary", "lenet5", "--svg", str(target)]) == 0
    assert f"Written: {target}" in capsys.readouterr().out
    assert target.read_text(encoding="utf-8").startswith("<svg")
    assert run(["summary", "lenet5", "--svg", str(target)]) == 2
    assert "exists; choose another --svg" in capsys.readouterr().err
    assert run(["summary", "mobilenet_v1", "--set", "width=0.5", "--svg", str(target), "--overwrite"]) == 0
    assert "mobilenet_v1_x1_0, width=0.5" in target.read_text(encoding="utf-8")


def test_options_and_size_are_drawn(tmp_path, capsys):
    target = tmp_path / "net.svg"
    command = ["summary", "resnet18", "--image-size", "64", "--in-channels", "1", "--num-classes", "5"]
    assert run([*command, "--svg", str(target), "--json"]) == 0
    assert capsys.readouterr().out.startswith("[")
    said = target.read_text(encoding="utf-8")
    assert "picture 1 x 64 x 64" in said
    assert re.search(r">5<", said)


def test_other_files_than_svg_are_refused(tmp_path, capsys):
    assert run(["summary", "lenet5", "--svg", str(tmp_path / "net.png")]) == 2
    assert "choose a name that ends in .svg" in capsys.readouterr().err


def test_pictures_that_are_too_small_are_refused(tmp_path, capsys):
    assert run(["summary", "vgg16", "--image-size", "8", "--svg", str(tmp_path / "net.svg")]) == 2
    assert "too small" in capsys.readouterr().err
    with torch.device("meta"):
        model = create_model("vgg16")
    with pytest.raises(UserError, match="too small"):
        pieces_of(model, 8, 3)
