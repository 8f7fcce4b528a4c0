"""Every registered network against what its paper fixes: counts, shapes, strides, activations, skips."""

from functools import cache
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from depthwise.errors import UserError
from depthwise.models.create import create_model
from depthwise.models.registry import facts, list_models, model_info
from depthwise.models.summary import summary

NAMES = list_models()
MOBILE = [name for name in NAMES if name.startswith("mobilenet")]
SMALLEST = ["lenet5", "mobilenet_v1_x0_25", "mobilenet_v2_x0_35", "mobilenet_v3_small_x0_75"]
ONE_OF_EACH = [
    *("lenet5 alexnet alexnet_owt nin nin_cifar vgg11 vgg11_bn googlenet googlenet_bn resnet18 resnet20_cifar".split()),
    *("densenet121 densenet40_k12_cifar seresnet18 seresnet18_preact seresnext50_32x4d".split()),
    *("shufflenet_v1_g3_x0_25 shufflenet_v2_x0_5 mobilenet_v1_x0_25 mobilenet_v2_x0_35".split()),
    *("mobilenet_v3_small_x0_75 mobilenet_v3_small_minimal efficientnet_b0 efficientnet_lite0".split()),
]


@cache
def on_meta(name: str, num_classes: int | None = None, in_channels: int | None = None, **options: Any) -> nn.Module:
    """Return the network without numbers; tests only read it."""
    with torch.device("meta"):
        return create_model(name, num_classes, in_channels, **options).eval()


def costs(model: nn.Module, image_size: int) -> tuple[int, int]:
    rows = summary(model, image_size)
    return sum(row.params for row in rows), sum(row.macs for row in rows)


# Counts


@pytest.mark.parametrize("name", NAMES)
def test_parameters_and_multiply_adds_are_the_recorded_ones(name: str):
    spec = model_info(name)
    model = on_meta(name)
    assert costs(model, spec.image_size) == (spec.params, spec.macs)
    assert sum(p.numel() for p in model.parameters()) == spec.params


WIDTHS = {"0.25": "x0_25", "0.35": "x0_35", "0.5": "x0_5", "0.75": "x0_75", "1": "x1_0", "1.3": "x1_3", "1.4": "x1_4"}
OTHER_SIZES = [
    (f"{fact['family']}_{WIDTHS[fact['variant'].split(' @ ')[0]]}", fact["input"], fact["params"], fact["macs"])
    for fact in facts()["models"]
    if fact["family"] in ("mobilenet_v1", "mobilenet_v2") and fact["input"] != 224
] + [
    # What the paper's Table 9 gives in millions, computed from timm and Keras: shared/paper_facts.md.
    ("mobilenet_v3_large", 256, 5_483_032, 281_663_360),
    ("mobilenet_v3_large", 192, 5_483_032, 160_192_640),
    ("mobilenet_v3_large", 160, 5_483_032, 112_472_000),
    ("mobilenet_v3_large", 128, 5_483_032, 73_427_840),
    ("mobilenet_v3_large", 96, 5_483_032, 43_060_160),
    ("mobilenet_v3_small", 256, 2_542_856, 73_175_040),
    ("mobilenet_v3_small", 192, 2_542_856, 42_067_712),
    ("mobilenet_v3_small", 160, 2_542_856, 29_846_976),
    ("mobilenet_v3_small", 128, 2_542_856, 19_848_192),
    ("mobilenet_v3_small", 96, 2_542_856, 12_071_360),
]


def test_facts_json_records_counts_of_v1_and_v2_at_other_sizes():
    assert len(OTHER_SIZES) == 12 + 16 + 10
    assert ("mobilenet_v1_x1_0", 192, 4_231_976, 418_121_728) in OTHER_SIZES
    assert ("mobilenet_v2_x1_0", 96, 3_504_872, 56_289_152) in OTHER_SIZES


@pytest.mark.parametrize(("name", "image_size", "params", "macs"), OTHER_SIZES)
def test_multiply_adds_at_other_sizes_are_the_recorded_ones(name: str, image_size: int, params: int, macs: int):
    assert costs(on_meta(name), image_size) == (params, macs)


@pytest.mark.parametrize("name", MOBILE)
def test_small_input_leaves_the_parameter_count_alone(name: str):
    model = on_meta(name, small_input=True)
    assert sum(p.numel() for p in model.parameters()) == model_info(name).params


# Shapes


@pytest.mark.parametrize(("num_classes", "in_channels"), [(2, 1), (1000, 3)])
@pytest.mark.parametrize("name", [name for name in NAMES if name != "lenet5_1998"])
def test_logits_have_a_row_per_picture_and_a_column_per_class(name: str, num_classes: int, in_channels: int):
    model = on_meta(name, num_classes, in_channels)
    spec = model_info(name)
    others = (227, 131) if name == "alexnet" else (96, 65)  # AlexNet's three poolings leave nothing of 96 px
    for image_size in (spec.image_size,) if spec.is_fixed_size else others:
        images = torch.empty(3, in_channels, image_size, image_size, device="meta")
        assert model(images).shape == (3, num_classes)


@pytest.mark.parametrize("name", SMALLEST)
def test_a_real_run_gives_finite_logits_for_a_batch_of_one(name: str):
    for num_classes, in_channels, image_size in ((2, 3, 32), (1000, 1, 32 if name == "lenet5" else 48)):
        model = create_model(name, num_classes, in_channels).eval()
        logits = model(torch.rand(1, in_channels, image_size, image_size))
        assert logits.shape == (1, num_classes) and logits.isfinite().all()


def test_lenet_takes_no_other_size_and_says_which():
    with pytest.raises(ValueError, match="LeNet-5 takes pictures of 32 x 32 px, not 28 x 30"):
        create_model("lenet5")(torch.zeros(1, 1, 28, 30))


@pytest.mark.parametrize(
    ("name", "small_input", "side"),
    [(name, True, 2 if "v1" in name else 4) for name in MOBILE] + [(name, False, 1) for name in MOBILE],
)
def test_the_last_feature_map_at_32_px(name: str, small_input: bool, side: int):
    rows = summary(on_meta(name, small_input=small_input), 32)
    pooled = next(index for index, row in enumerate(rows) if row.type == "GlobalAveragePool")
    assert rows[pooled - 1].output_shape[1:] == (side, side)


@pytest.mark.parametrize(
    ("name", "usual", "small"),
    [
        ("mobilenet_v1", [2, 1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1], {0: 1}),
        ("mobilenet_v2", [2, 1, 2, 1, 2, 1, 1, 2, 1, 1, 1, 1, 1, 1, 2, 1, 1, 1], {0: 1, 2: 1}),
        ("mobilenet_v3_large", [2, 1, 2, 1, 2, 1, 1, 2, 1, 1, 1, 1, 1, 2, 1, 1], {0: 1, 2: 1}),
        ("mobilenet_v3_small", [2, 2, 2, 1, 2, 1, 1, 1, 1, 2, 1, 1], {0: 1, 1: 1}),
    ],
)
def test_strides_of_stem_and_blocks(name: str, usual: list[int], small: dict[int, int]):
    def strides(model: Any) -> list[int]:
        return [layer.conv.stride[0] for layer in (model.stem, *(block.depthwise for block in model.blocks))]

    assert strides(on_meta(name)) == usual
    assert strides(on_meta(name, small_input=True)) == [small.get(i, stride) for i, stride in enumerate(usual)]


# Learning


def test_one_of_each_family_is_trained_here():
    assert {model_info(name).family for name in ONE_OF_EACH} == {model_info(name).family for name in NAMES}


@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_every_parameter_gets_a_gradient(name: str):
    torch.manual_seed(0)
    drops = [option for option in model_info(name).allowed_options if option.startswith("drop_")]
    model = create_model(name, 3, 3, small_input=True, **dict.fromkeys(drops, 0.0))
    logits = model(torch.randn(8, 3, 32, 32))
    functional.cross_entropy(logits, torch.arange(8) % 3).backward()
    assert [n for n, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0] == []


@pytest.mark.parametrize(("name", "rate"), [("lenet5", 0.0), ("mobilenet_v1", 1e-3), ("mobilenet_v2", 0.2)])
def test_dropout_is_the_familys_by_default(name: str, rate: float):
    assert on_meta(name).dropout.p == rate
    assert on_meta(name, drop_rate=0.5).dropout.p == 0.5


def test_dropout_works_in_training_only():
    model = create_model("mobilenet_v3_small", 4, small_input=True)
    assert model.dropout.p == 0.2
    nn.init.normal_(model.classifier.weight)
    model.eval()
    x = torch.rand(2, 3, 16, 16)
    assert torch.equal(model(x), model(x))
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.train()
            assert not torch.equal(model(x), model(x))


# Structure that a parameter count is blind to


def activations(module: nn.Module) -> set[str]:
    others = (nn.Conv2d, nn.BatchNorm2d, nn.Linear, nn.Dropout, nn.Identity)
    leaves = {type(m).__name__ for m in module.modules() if not list(m.children()) and not isinstance(m, others)}
    return leaves - {"GlobalAveragePool"}


def test_v1_uses_relu_and_relu6_by_option():
    assert activations(on_meta("mobilenet_v1")) == {"ReLU"}
    assert activations(on_meta("mobilenet_v1", activation="relu6")) == {"ReLU6"}
    assert len([m for m in on_meta("mobilenet_v1").modules() if isinstance(m, nn.ReLU)]) == 27


def test_v1_takes_another_table_and_several_filters_per_channel():
    model = on_meta("mobilenet_v1", config=(64, (128, 2), (32, 1)), depth_multiplier=2)
    assert [block.pointwise.conv.out_channels for block in model.blocks] == [64, 128, 32]
    assert [block.depthwise.conv.out_channels for block in model.blocks] == [64, 128, 256]
    assert [block.depthwise.conv.groups for block in model.blocks] == [32, 64, 128]
    assert [block.depthwise.conv.stride[0] for block in model.blocks] == [1, 2, 1]
    assert model(torch.empty(1, 3, 32, 32, device="meta")).shape == (1, 1000)


def test_v2_projections_are_linear_and_all_else_is_relu6():
    model = on_meta("mobilenet_v2")
    assert activations(model) == {"ReLU6"}
    for index, block in enumerate(model.blocks):
        assert activations(block.project) == set()
        assert activations(block.depthwise) == {"ReLU6"}
        assert isinstance(block.expand, nn.Identity) == (index == 0)


RESIDUAL = {
    "mobilenet_v2": [2, 4, 5, 7, 8, 9, 11, 12, 14, 15],
    "mobilenet_v3_large": [0, 2, 4, 5, 7, 8, 9, 11, 13, 14],  # not 10: 80 -> 112
    "mobilenet_v3_small": [2, 4, 5, 7, 9, 10],  # not 6: 40 -> 48
}


@pytest.mark.parametrize("name", RESIDUAL)
def test_blocks_add_their_input_where_stride_is_one_and_channels_are_equal(name: str):
    model = create_model(name).eval()
    adds = []
    for index, block in enumerate(model.blocks):
        nn.init.zeros_(block.project.norm.weight)  # what is left of the sum is the input
        first = block.depthwise if isinstance(block.expand, nn.Identity) else block.expand
        x = torch.randn(1, first.conv.in_channels, 4, 4)
        out = block(x)
        assert torch.equal(out, x) or not out.any()
        adds += [index] * torch.equal(out, x)
    assert adds == RESIDUAL[name]


SQUEEZED = {  # block -> channels inside squeeze-and-excite: a quarter of the expansion, in eights
    "mobilenet_v3_large": {3: 24, 4: 32, 5: 32, 10: 120, 11: 168, 12: 168, 13: 240, 14: 240},
    "mobilenet_v3_small": {0: 8, 3: 24, 4: 64, 5: 64, 6: 32, 7: 40, 8: 72, 9: 144, 10: 144},
}
KERNELS = {
    "mobilenet_v3_large": [3, 3, 3, 5, 5, 5, 3, 3, 3, 3, 3, 3, 5, 5, 5],
    "mobilenet_v3_small": [3, 3, 3, 5, 5, 5, 5, 5, 5, 5, 5],
}
NUM_RELU = {"mobilenet_v3_large": 6, "mobilenet_v3_small": 3}  # the first rows; hard-swish in the others


@pytest.mark.parametrize("name", SQUEEZED)
def test_v3_blocks_follow_the_papers_rows(name: str):
    model = on_meta(name)
    assert [block.depthwise.conv.kernel_size[0] for block in model.blocks] == KERNELS[name]
    for index, block in enumerate(model.blocks):
        nonlinearity = "ReLU" if index < NUM_RELU[name] else "Hardswish"
        assert activations(block.depthwise) == {nonlinearity}
        assert activations(block.expand) <= {nonlinearity}
        assert activations(block.project) == set()
    squeezed = {i: b.se.reduce.out_channels for i, b in enumerate(model.blocks) if not isinstance(b.se, nn.Identity)}
    assert squeezed == SQUEEZED[name]
    assert [type(model.stem.act), type(model.head.act), type(model.act)] == 3 * [nn.Hardswish]


def test_v3_squeezes_after_the_depthwise_activation_and_before_the_projection():
    rows = summary(on_meta("mobilenet_v3_large"), 64)
    assert [(row.name.removeprefix("blocks.3."), row.type) for row in rows if row.name.startswith("blocks.3.")] == [
        ("expand.conv", "Conv2d"),
        ("expand.norm", "BatchNorm2d"),
        ("expand.act", "ReLU"),
        ("depthwise.conv", "Conv2d"),
        ("depthwise.norm", "BatchNorm2d"),
        ("depthwise.act", "ReLU"),
        ("se.reduce", "Conv2d"),
        ("se.act", "ReLU"),
        ("se.expand", "Conv2d"),
        ("se.gate", "Hardsigmoid"),
        ("project.conv", "Conv2d"),
        ("project.norm", "BatchNorm2d"),
    ]


@pytest.mark.parametrize(("size", "widest", "last"), [("large", 720, 1280), ("small", 432, 1024)])
def test_v3_does_not_narrow_its_last_layer_below_width_one(size: str, widest: int, last: int):
    penultimate = on_meta(f"mobilenet_v3_{size}_x0_75").penultimate
    assert (penultimate.in_features, penultimate.out_features) == (widest, last)
    assert on_meta(f"mobilenet_v3_{size}", width=1.25).penultimate.out_features == last * 1.25


def test_v2_does_not_narrow_its_last_convolution_below_width_one_and_widens_it_above():
    assert [on_meta(f"mobilenet_v2_x{w}").head.conv.out_channels for w in ("0_35", "1_0", "1_4")] == [1280, 1280, 1792]


@pytest.mark.parametrize("size", ["large", "small"])
def test_v3_minimal_is_plain(size: str):
    model = on_meta(f"mobilenet_v3_{size}_minimal")
    assert activations(model) == {"ReLU"}
    assert {block.depthwise.conv.kernel_size for block in model.blocks} == {(3, 3)}


@pytest.mark.parametrize(
    ("name", "momentum"), [("mobilenet_v1", 0.1), ("mobilenet_v2", 0.1), ("mobilenet_v3_large", 0.01)]
)
def test_batch_norm_has_the_releases_eps_and_momentum(name: str, momentum: float):
    norms = [m for m in on_meta(name).modules() if isinstance(m, nn.BatchNorm2d)]
    assert {(m.eps, m.momentum) for m in norms} == {(1e-3, momentum)}
    changed = on_meta(name, bn_eps=1e-5, bn_momentum=0.2)
    assert {(m.eps, m.momentum) for m in changed.modules() if isinstance(m, nn.BatchNorm2d)} == {(1e-5, 0.2)}


def test_lenet_takes_the_mean_or_the_maximum_and_tanh_or_relu():
    assert activations(on_meta("lenet5")) == {"ScaledTanh", "AvgPool2d", "Flatten"}
    assert activations(on_meta("lenet5", pool="max", activation="relu")) == {"ReLU", "MaxPool2d", "Flatten"}


def test_lenet_starts_with_weights_that_keep_the_signals_size():
    torch.manual_seed(0)
    c5 = create_model("lenet5").c5[0]  # 400 inputs
    assert c5.weight.std().item() == pytest.approx(400**-0.5, rel=0.02)
    assert not c5.bias.any()


def test_an_error_about_options_does_not_build_anything():
    with pytest.raises(UserError):
        on_meta("mobilenet_v2", width="1")


# Numbers recorded with a fixed seed


RECORDED = {
    "lenet5": [-0.54657, 0.33989, -0.20454],
    "mobilenet_v1_x0_25": [-0.63150, 1.67920, 0.71616],
    "mobilenet_v2_x0_35": [-2.85301, 1.19944, 2.35280],
    "mobilenet_v3_small_x0_75": [0.01868, -0.04255, 0.07549],
}


@pytest.mark.parametrize("name", SMALLEST)
def test_a_fixed_seed_gives_the_recorded_logits(name: str):
    torch.manual_seed(0)
    model = create_model(name, 3, small_input=True, drop_rate=0.0)  # in training: batch norm measures this batch
    nn.init.normal_(model.classifier.weight, 0.0, 0.1)
    in_channels = model_info(name).in_channels
    images = (torch.arange(4 * in_channels * 32 * 32) * 7919 % 256 / 127.5 - 1).view(4, in_channels, 32, 32)
    assert model(images)[0].tolist() == pytest.approx(RECORDED[name], abs=1e-4)
