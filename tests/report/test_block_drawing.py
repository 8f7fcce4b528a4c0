from xml.etree import ElementTree

import pytest
import torch
from torch import nn

from depthwise.report.block_drawing import Panel, draw_blocks, panel_of
from depthwise.report.flow import flow_of

SVG = "{http://www.w3.org/2000/svg}"


def flow(name: str, path: str):
    return panel_of("", name, path).flow


def told(boxes):
    return [(box.what, box.notes, box.shape[0]) for box in boxes]


def test_an_inverted_residual_widens_filters_and_projects_without_activation():
    block = flow("mobilenet_v2", "blocks.2")
    assert (block.input, block.join, block.skip) == ((24, 56, 56), "sum", "identity")
    assert [told(branch) for branch in block.branches] == [
        [
            ("1x1 convolution", ("BN", "ReLU6"), 144),
            ("3x3 depthwise", ("BN", "ReLU6"), 144),
            ("1x1 convolution", ("BN",), 24),
        ],
        [],
    ]
    assert (block.before, block.after, block.output) == ((), (), (24, 56, 56))


def test_with_stride_two_there_is_no_way_around():
    block = flow("mobilenet_v2", "blocks.1")
    assert (block.join, block.branches) == ("", ())
    assert block.before[1].notes == ("stride 2", "BN", "ReLU6")
    assert block.output == (24, 56, 56)


def test_the_stride_of_a_bottleneck_tells_v1_from_v1_5():
    (first, _), (second, _) = (flow(name, "blocks.3").branches for name in ("resnet50", "resnet50_v1_5"))
    assert [box.notes for box in first] == [("stride 2", "BN", "ReLU"), ("BN", "ReLU"), ("BN",)]
    assert [box.notes for box in second] == [("BN", "ReLU"), ("stride 2", "BN", "ReLU"), ("BN",)]
    block = flow("resnet50", "blocks.3")
    assert block.skip == "projection"
    assert told(block.branches[1]) == [("1x1 convolution", ("stride 2", "BN"), 512)]
    assert told(block.after) == [("", ("ReLU",), 512)]


def test_zeros_for_new_channels_are_no_projection():
    assert flow("resnet20_cifar", "blocks.3").skip == "zero padding"
    assert flow("resnet20_cifar", "blocks.1").skip == "identity"


def test_an_inception_module_puts_four_branches_together():
    block = flow("googlenet", "blocks.3a")
    assert [[box.what for box in branch] for branch in block.branches] == [
        ["1x1 convolution"],
        ["1x1 convolution", "3x3 convolution"],
        ["1x1 convolution", "5x5 convolution"],
        ["3x3 max pooling", "1x1 convolution"],
    ]
    assert (block.join, block.skip, block.output) == ("concatenation", "", (256, 28, 28))


def test_a_dense_layer_has_norm_and_activation_first():
    block = flow("densenet121", "blocks.1")
    assert block.branches[0] == ()
    assert told(block.branches[1]) == [
        ("1x1 convolution", ("after BN, ReLU",), 128),
        ("3x3 convolution", ("after BN, ReLU",), 32),
    ]
    assert (block.skip, block.output) == ("concatenation", (128, 56, 56))


def test_norm_and_activation_belong_to_the_layer_that_they_are_grouped_with():
    inner = nn.Sequential(nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 4, 3))
    block = flow_of(nn.Sequential(nn.Conv2d(4, 8, 1), inner).to("meta").eval(), (4, 6, 6))
    assert told(block.before) == [("1x1 convolution", (), 8), ("3x3 convolution", ("after BN, ReLU",), 4)]


def test_squeeze_and_excite_stands_before_the_sum():
    block = flow("seresnet50", "blocks.1")
    assert told(block.branches[0])[-1] == ("squeeze-and-excite", ("256 → 16 → 256", "sigmoid"), 256)
    v3 = flow("mobilenet_v3_large", "blocks.4")
    assert told(v3.branches[0])[2] == ("squeeze-and-excite", ("120 → 32 → 120", "hard sigmoid"), 120)


def test_pre_activation_forks_behind_norm_and_activation_where_it_projects():
    block = flow("seresnet18_preact", "blocks.2")
    assert told(block.before) == [("", ("BN", "ReLU"), 64)]
    assert block.skip == "projection"


def test_shuffle_units():
    first, second = flow("shufflenet_v1", "blocks.1"), flow("shufflenet_v1", "blocks.4")
    assert [box.what for box in first.branches[0]] == [
        "1x1 convolution",
        "channel shuffle",
        "3x3 depthwise",
        "1x1 convolution",
    ]
    assert first.branches[0][0].notes == ("3 groups", "BN", "ReLU")
    assert [box.what for box in second.branches[0]] == ["3x3 average pooling"]
    assert second.join == "concatenation"
    split = flow("shufflenet_v2", "blocks.1")
    assert [box.what for box in split.before] == ["channel split"]
    assert [box.what for box in split.after] == ["channel shuffle"]
    assert split.output == (116, 28, 28)


def test_the_shape_that_comes_out_is_the_modules():
    for name, path in (("shufflenet_v2", "blocks.4"), ("efficientnet_b0", "blocks.3"), ("densenet121", "blocks.6")):
        panel = panel_of("", name, path)
        with torch.device("meta"):
            import depthwise as dw

            block = dw.create_model(name).eval().get_submodule(path)
            output = block(torch.empty(1, *panel.flow.input))
        assert panel.flow.output == tuple(output.shape[1:])


def test_the_picture_has_every_box_and_every_count_of_channels():
    panels = [panel_of("stride 1", "mobilenet_v2", "blocks.2"), panel_of("stride 2", "mobilenet_v2", "blocks.1")]
    root = ElementTree.fromstring(draw_blocks("MobileNetV2", panels))
    said = [text.text for text in root.iter(f"{SVG}text")]
    assert {"MobileNetV2", "stride 1", "stride 2", "24 x 56 x 56", "16 x 112 x 112"} <= set(said)
    assert said.count("1x1 convolution") == 4 and said.count("3x3 depthwise") == 2
    assert said.count("144") == 2 and said.count("96") == 2
    assert len([box for box in root.iter(f"{SVG}rect") if box.get("rx")]) == 6


@pytest.mark.parametrize(
    ("name", "path"), [("googlenet", "blocks.3a"), ("shufflenet_v2", "blocks.1"), ("resnet50", "blocks.3")]
)
def test_boxes_lie_within_the_picture_and_beside_each_other(name, path):
    root = ElementTree.fromstring(draw_blocks("title", [panel_of("", name, path)]))
    width, height = float(root.get("width")), float(root.get("height"))
    boxes = [
        tuple(float(box.get(side)) for side in ("x", "y", "width", "height"))
        for box in root.iter(f"{SVG}rect")
        if box.get("rx")
    ]
    for number, (x, y, w, h) in enumerate(boxes):
        assert x >= 0 and x + w <= width and y >= 0 and y + h <= height
        for a, b, c, d in boxes[:number]:
            assert x + w <= a or a + c <= x or y + h <= b or b + d <= y


def test_ribbons_are_as_wide_as_there_are_channels():
    def ribbon(channels: int) -> list[float]:
        block = nn.Sequential(nn.Conv2d(8, channels, 1)).to("meta")
        svg = draw_blocks("", [Panel("", flow_of(block, (8, 4, 4)))])
        root = ElementTree.fromstring(svg)
        return [float(p.get("stroke-width")) for p in root.iter(f"{SVG}path") if p.get("stroke") == "#e3e9f0"]

    assert ribbon(16) == [18, 34]
    assert ribbon(4) == [34, 18]
