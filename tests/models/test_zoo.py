"""The whole zoo: every promised name, and the counts of the forms that options reach."""

import pytest
import torch
from torch import nn

from depthwise.errors import UserError
from depthwise.models.create import create_model
from depthwise.models.registry import list_models, model_info
from depthwise.models.summary import summary

NAMES = [
    *("lenet5 lenet5_1998 alexnet alexnet_owt nin nin_cifar".split()),
    *(f"vgg{depth}{norm}" for depth in (11, 13, 16, 19) for norm in ("", "_bn")),
    *("googlenet googlenet_bn googlenet_torchvision".split()),
    *(f"resnet{depth}" for depth in (18, 34, 50, 101, 152)),
    *(f"resnet{depth}_v1_5" for depth in (50, 101, 152)),
    *(f"resnet{depth}_cifar" for depth in (20, 32, 44, 56, 110)),
    *(f"densenet{depth}" for depth in (121, 161, 169, 201, 264)),
    *("densenet40_k12_cifar densenet100_k12_cifar densenet100_k24_cifar".split()),
    *("densenet_bc100_k12_cifar densenet_bc250_k24_cifar densenet_bc190_k40_cifar".split()),
    *(f"seresnet{depth}" for depth in ("18", "34", "50", "101", "152", "18_preact")),
    *("seresnext50_32x4d senet154".split()),
    *(f"shufflenet_v1_g{g}_x{x}" for g in (1, 2, 3, 4, 8) for x in ("0_25", "0_5", "1_0", "1_5", "2_0")),
    *(f"shufflenet_v2_x{x}" for x in ("0_5", "1_0", "1_5", "2_0")),
    *(f"mobilenet_v1_x{x}" for x in ("0_25", "0_5", "0_75", "1_0")),
    *(f"mobilenet_v2_x{x}" for x in ("0_35", "0_5", "0_75", "1_0", "1_3", "1_4")),
    *(f"mobilenet_v3_{size}{form}" for size in ("large", "small") for form in ("", "_x0_75", "_minimal")),
    *(f"efficientnet_b{number}" for number in range(8)),
    *(f"efficientnet_lite{number}" for number in range(5)),
]


def counts(name, image_size=None, **options):
    with torch.device("meta"):
        model = create_model(name, **options)
    rows = summary(model, image_size or model_info(name).image_size)
    return sum(parameter.numel() for parameter in model.parameters()), sum(row.macs for row in rows)


def test_every_promised_name_is_there_and_no_other():
    assert sorted(list_models()) == sorted(NAMES)


@pytest.mark.parametrize(
    ("alias", "name"),
    [
        ("mobilenet_v1", "mobilenet_v1_x1_0"),
        ("mobilenet_v2", "mobilenet_v2_x1_0"),
        ("shufflenet_v1", "shufflenet_v1_g3_x1_0"),
        ("shufflenet_v2", "shufflenet_v2_x1_0"),
    ],
)
def test_short_names_mean_width_one(alias, name):
    assert model_info(alias).name == name


# Recorded counts of forms that have no name of their own; the sources are those of facts.json.
@pytest.mark.parametrize(
    ("name", "options", "params", "macs"),
    [
        ("resnet18", {"shortcut": "A"}, 11_515_688, 1_794_805_760),
        ("resnet34", {"shortcut": "A"}, 21_623_848, 3_644_493_824),
        ("resnet20_cifar", {"shortcut": "B"}, 272_474, None),
        ("resnet56_cifar", {"shortcut": "B"}, 855_770, None),
        ("resnet110_cifar", {"shortcut": "B"}, 1_730_714, None),
        ("resnet20_cifar", {"num_classes": 100}, 269_722 + 90 * 65, None),
        ("nin_cifar", {"num_classes": 100}, 984_356, 223_592_448),
        ("densenet40_k12_cifar", {"num_classes": 100}, 1_060_132, None),
        ("densenet_bc100_k12_cifar", {"num_classes": 100}, 800_032, None),
        ("densenet_bc190_k40_cifar", {"num_classes": 100}, 25_821_620, None),
        ("googlenet", {"aux": True}, 13_378_280, 1_582_671_872),
        ("googlenet_bn", {"aux": True}, 13_385_816, 1_582_671_872),
        ("googlenet_torchvision", {"aux": True}, 13_004_888, 1_498_376_192),
        ("mobilenet_v3_large", {"width": 1.0}, 5_483_032, 216_589_760),
        ("shufflenet_v1", {"groups": 8, "scale": 0.5}, 1_011_448, 40_469_760),
        ("efficientnet_b0", {"width": 1.1, "depth": 1.2}, 9_109_994, 658_963_440),
    ],
)
def test_options_reach_the_recorded_forms(name, options, params, macs):
    found = counts(name, **options)
    assert found[0] == params
    assert macs in (None, found[1])


def test_the_articles_densenet_is_an_option_away():
    """Four blocks of four layers, growth 32, no bottleneck: 9 weights per 3x3 kernel, 2 per channel of a norm."""
    channels, params = 64, 3 * 64 * 49 + 2 * 64
    for block in range(4):
        if block:
            params += 2 * channels + channels * (channels // 2)
            channels //= 2
        for _ in range(4):
            params += 2 * channels + channels * 32 * 9
            channels += 32
    params += 2 * channels + channels * 1000 + 1000
    assert counts("densenet121", blocks=(4, 4, 4, 4), bottleneck=False)[0] == params


def test_the_articles_mobilenet_for_32_px_is_an_option_away():
    config = [64, (128, 2), 128, (256, 2), 256, (512, 2), 512, 512, 512, 512, 512, (1024, 2), 1024]
    assert counts("mobilenet_v1", config=config)[0] == 4_231_976
    assert counts("mobilenet_v1", 32, config=config, small_input=True)[1] == counts("mobilenet_v1", 64)[1]


@pytest.mark.parametrize(("name", "macs"), [("efficientnet_b1", 569_651_680), ("efficientnet_b7", 5_169_865_152)])
def test_multiply_adds_at_224_px(name, macs):
    assert counts(name, 224)[1] == macs


def test_senet154_at_320_px():
    assert counts("senet154", 320)[1] == 42_212_171_776


def test_auxiliary_heads_cost_what_is_recorded():
    with torch.device("meta"):
        model = create_model("googlenet", aux=True).eval()
        cost = []
        for head in model.aux.values():
            head[1][0].register_forward_hook(lambda m, _, y: cost.append(y[0].numel() * m.weight[0].numel()))
            for layer in head:
                if isinstance(layer, nn.Linear):
                    cost.append(layer.weight.numel())
        first, second = model.auxiliary_logits(torch.empty(2, 3, 224, 224))
    assert first.shape == second.shape == (2, 1000)
    assert 1_582_671_872 + sum(cost) == 1_591_044_096


@pytest.mark.parametrize("name", ["resnet50", "resnet50_v1_5"])
def test_the_stride_is_where_the_version_has_it(name):
    with torch.device("meta"):
        branch = create_model(name).blocks[3].branch
    strides = [layer.conv.stride[0] for layer in branch]
    assert strides == ([2, 1, 1] if name == "resnet50" else [1, 2, 1])


def test_lenet_of_1998_takes_ten_digits_and_one_channel_only():
    for options in ({"num_classes": 11}, {"in_channels": 3}):
        with pytest.raises(UserError, match="lenet5 takes any number of both"):
            create_model("lenet5_1998", **options)


def test_the_codes_of_1998_are_ten_different_pictures():
    codes = create_model("lenet5_1998").classifier.codes
    assert codes.shape == (10, 84)
    assert set(codes.unique().tolist()) == {-1.0, 1.0}
    distances = torch.cdist(codes, codes, p=1) / 2
    assert distances[~torch.eye(10, dtype=torch.bool)].min() >= 6  # dots that differ


def test_the_answer_of_1998_is_minus_the_distance_to_a_code():
    layer = create_model("lenet5_1998").classifier
    logits = layer(layer.codes)
    assert torch.equal(logits.diagonal(), torch.zeros(10))
    assert logits[0, 1] == -4 * (layer.codes[0] != layer.codes[1]).sum()


def test_subsampling_of_1998_by_hand():
    subsample = create_model("lenet5_1998").s2
    with torch.no_grad():
        subsample.weight[0], subsample.bias[0] = 0.5, 0.25
    x = torch.zeros(1, 6, 2, 2)
    x[0, 0] = torch.tensor([[1.0, 2.0], [3.0, -4.0]])  # sum 2
    assert subsample(x)[0, 0].item() == pytest.approx(1.7159 * torch.tanh(torch.tensor(2 / 3 * 1.25)).item())


def test_c3_of_1998_sees_only_the_maps_of_the_table():
    layer = create_model("lenet5_1998").c3[0]
    x = torch.zeros(1, 6, 14, 14, requires_grad=True)
    layer(x)[0, 0].sum().backward()
    assert [bool(x.grad[0, i].abs().sum()) for i in range(6)] == [True, True, True, False, False, False]


SMALL_MAPS = {
    "alexnet": (256, 3, 3),
    "resnet18": (512, 4, 4),
    "seresnet18": (512, 4, 4),
    "senet154": (2048, 4, 4),
    "shufflenet_v1": (960, 4, 4),
    "efficientnet_b0": (320, 4, 4),
}


@pytest.mark.parametrize("name", SMALL_MAPS)
def test_small_input_leaves_a_map_to_pool(name):
    with torch.device("meta"):
        model = create_model(name, small_input=True).eval()
        seen = []
        part = model.blocks
        part.register_forward_hook(lambda _, __, y: seen.append(tuple(y.shape[1:])))
        assert model(torch.empty(2, 3, 32, 32)).shape == (2, 1000)
    assert seen == [SMALL_MAPS[name]]


@pytest.mark.parametrize("name", [n for n in NAMES if not n.startswith("lenet5")])
def test_every_network_takes_small_pictures(name):
    with torch.device("meta"):
        model = create_model(name, num_classes=7, in_channels=2, small_input=True).eval()
        assert model(torch.empty(2, 2, 32, 32)).shape == (2, 7)


def test_the_average_before_alexnets_linear_layers_is_the_identity_at_its_own_size():
    x = torch.rand(1, 256, 6, 6)
    with torch.device("meta"):
        model = create_model("alexnet").eval()
        assert model.blocks(torch.empty(1, 3, 227, 227)).shape == (1, 256, 6, 6)
    assert torch.equal(model.pool(x), x.flatten(1))


def test_stochastic_depth_keeps_the_mean_and_rests_in_evaluation():
    from depthwise.models.efficientnet import StochasticDepth

    torch.manual_seed(0)
    layer, x = StochasticDepth(0.25), torch.ones(40_000, 1, 1, 1)
    kept = layer(x)
    assert kept.unique().tolist() == pytest.approx([0, 4 / 3])
    assert kept.mean().item() == pytest.approx(1, abs=0.02)
    assert torch.equal(layer.eval()(x), x)


def test_drop_connect_rises_linearly_over_the_blocks():
    with torch.device("meta"):
        model = create_model("efficientnet_b0", drop_connect=0.32)
    assert [round(block.drop.rate, 2) for block in model.blocks] == [round(0.02 * i, 2) for i in range(16)]


def test_alexnet_starts_as_the_paper_says():
    model = create_model("alexnet", num_classes=10)
    biases = [
        layer.bias[0].item() for layer in (*model.blocks, *model.hidden, model.classifier) if hasattr(layer, "bias")
    ]
    assert biases == [0, 1, 0, 1, 1, 1, 1, 0]
    assert model.hidden[0].weight.std().item() == pytest.approx(0.01, rel=0.01)


def test_densenet_s_dropout_is_behind_every_convolution_but_the_first():
    model = create_model("densenet40_k12_cifar", drop_rate=0.2)
    assert sum(isinstance(m, nn.Dropout) for m in model.modules()) == 40 - 1 - 1  # not the stem's, not the classifier's
    bc = create_model("densenet_bc100_k12_cifar", drop_rate=0.2)
    convolutions = sum(isinstance(m, nn.Conv2d) for m in bc.modules())
    assert sum(isinstance(m, nn.Dropout) for m in bc.modules()) == convolutions - 1
    plain = create_model("densenet_bc100_k12_cifar")
    assert not any(isinstance(m, nn.Dropout) for m in plain.modules())
    plain.load_state_dict(bc.state_dict())


@pytest.mark.parametrize("size", [192, 224, 256, 320])
def test_auxiliary_classifiers_take_other_sizes_too(size):
    with torch.device("meta"):
        model = create_model("googlenet", num_classes=5, aux=True)
        logits, others = model.with_auxiliary(torch.empty(2, 3, size, size))
        assert logits.shape == (2, 5) and [other.shape for other in others] == [(2, 5), (2, 5)]
        assert model.has_auxiliary and not create_model("googlenet").has_auxiliary
