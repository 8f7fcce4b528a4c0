import subprocess
import sys
from dataclasses import FrozenInstanceError
from typing import Any

import pytest
import torch
from torch import nn

from depthwise.errors import UserError
from depthwise.models import registry
from depthwise.models.create import create_model, parse_options
from depthwise.models.lenet5 import LeNet5
from depthwise.models.registry import list_models, model_info, register

MOBILE = [
    *(f"mobilenet_v1_x{width}" for width in ("0_25", "0_5", "0_75", "1_0")),
    *(f"mobilenet_v2_x{width}" for width in ("0_35", "0_5", "0_75", "1_0", "1_3", "1_4")),
    *(f"mobilenet_v3_large{suffix}" for suffix in ("", "_x0_75", "_minimal")),
    *(f"mobilenet_v3_small{suffix}" for suffix in ("", "_x0_75", "_minimal")),
]

# Name -> (variant in facts.json, parameters, multiply-adds), copied by hand from the shared table of facts.
FACTS = {
    "lenet5": ("classical full C3, parameter-free pooling, linear 84->10", 61_706, 416_520),
    "mobilenet_v1_x0_25": ("0.25 @ 224", 470_072, 41_030_272),
    "mobilenet_v1_x0_5": ("0.5 @ 224", 1_331_592, 149_497_088),
    "mobilenet_v1_x0_75": ("0.75 @ 224", 2_585_560, 325_400_448),
    "mobilenet_v1_x1_0": ("1 @ 224", 4_231_976, 568_740_352),
    "mobilenet_v2_x0_35": ("0.35 @ 224", 1_677_128, 59_285_808),
    "mobilenet_v2_x0_5": ("0.5 @ 224", 1_968_680, 97_131_840),
    "mobilenet_v2_x0_75": ("0.75 @ 224", 2_636_424, 209_069_792),
    "mobilenet_v2_x1_0": ("1 @ 224", 3_504_872, 300_774_272),
    "mobilenet_v2_x1_3": ("1.3 @ 224", 5_386_792, 509_374_560),
    "mobilenet_v2_x1_4": ("1.4 @ 224", 6_108_776, 582_195_824),
    "mobilenet_v3_large": ("Large 1.0", 5_483_032, 216_589_760),
    "mobilenet_v3_large_x0_75": ("Large 0.75", 3_993_528, 154_560_624),
    "mobilenet_v3_large_minimal": ("Large minimalistic 1.0", 3_924_288, 209_136_704),
    "mobilenet_v3_small": ("Small 1.0", 2_542_856, 56_510_400),
    "mobilenet_v3_small_x0_75": ("Small 0.75", 2_041_872, 43_399_344),
    "mobilenet_v3_small_minimal": ("Small minimalistic 1.0", 2_044_736, 52_288_448),
}


def test_networks_come_in_the_papers_order():
    years = [model_info(name).year for name in list_models()]
    assert years == sorted(years)
    assert [name for name in list_models() if name in MOBILE] == MOBILE


def test_the_order_does_not_depend_on_what_was_imported_first():
    code = "import depthwise.models.efficientnet, depthwise as dw; print(*dw.list_models())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == list_models()


@pytest.mark.parametrize("name", FACTS)
def test_recorded_counts_are_those_of_facts_json(name: str):
    variant, params, macs = FACTS[name]
    spec = model_info(name)
    (fact,) = [f for f in registry.facts()["models"] if (f["family"], f["variant"]) == (spec.family, variant)]
    assert (spec.params, spec.macs, spec.image_size) == (fact["params"], fact["macs"], fact["input"])
    assert (spec.params, spec.macs) == (params, macs)
    assert spec.top1 == fact["paper"].get("top1")
    assert spec.witness


def test_a_record_says_where_the_network_is_from():
    spec = model_info("mobilenet_v2_x1_0")
    assert (spec.family, spec.year, spec.url) == ("mobilenet_v2", 2018, "https://arxiv.org/abs/1801.04381")
    assert spec.paper.startswith("M. Sandler") and spec.paper.endswith("CVPR 2018")
    assert (spec.top1, spec.image_size, spec.in_channels, spec.num_classes) == (72.0, 224, 3, 1000)
    assert "keras 3.15.1" in spec.witness and "torchvision 0.29.1" in spec.witness


def test_a_record_cannot_be_changed():
    with pytest.raises(FrozenInstanceError):
        model_info("lenet5").params = 1  # type: ignore[misc]
    with pytest.raises(TypeError):
        model_info("mobilenet_v2").options["width"] = 2  # type: ignore[index]


@pytest.mark.parametrize(
    ("alias", "name"), [("mobilenet_v1", "mobilenet_v1_x1_0"), ("mobilenet_v2", "mobilenet_v2_x1_0")]
)
def test_a_family_name_means_width_one(alias: str, name: str):
    assert model_info(alias).name == name
    assert list_models(alias) == [name]


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("mobilenet_v3_s*", MOBILE[-3:]),
        ("mobilenet*_x0_25", ["mobilenet_v1_x0_25"]),
        ("mobilenet*", MOBILE),
        ("LENET5", []),
        ("resnets*", []),
    ],
)
def test_list_models_matches_shell_patterns(pattern: str, names: list[str]):
    assert list_models(pattern) == names


def test_an_unknown_name_gets_suggestions():
    with pytest.raises(UserError, match=r"no model called 'mobilenet_v3_smal'; did you mean mobilenet_v3_small") as got:
        model_info("mobilenet_v3_smal")
    assert "All names: depthwise models" in str(got.value)


def test_a_name_like_no_other_gets_no_suggestion():
    with pytest.raises(UserError, match="no model called 'zzzz'") as got:
        create_model("zzzz")
    assert "did you mean" not in str(got.value)


def test_an_unknown_option_lists_the_allowed_ones():
    with pytest.raises(UserError, match="mobilenet_v1_x0_5 has no option 'widht'; did you mean width") as got:
        create_model("mobilenet_v1_x0_5", widht=1)
    listing = (
        "width=0.5, round_to=8, depth_multiplier=1, config=None, activation='relu', "
        "drop_rate=0.001, bn_eps=0.001, bn_momentum=0.1"
    )
    assert f"Its options: {listing}" in str(got.value)


@pytest.mark.parametrize("key", ["num_classes", "in_channels", "table", "last"])
def test_what_is_no_option_of_the_family_cannot_be_set(key: str):
    with pytest.raises(UserError, match=f"has no option '{key}'"):
        parse_options(model_info("mobilenet_v3_small"), [f"{key}=3"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"width": "wide"}, "width='wide' is not of type float"),
        ({"width": True}, "width=True is not of type float"),
        ({"round_to": 4.0}, "round_to=4.0 is not of type int"),
        ({"minimal": 1}, "minimal=1 is not of type bool"),
        ({"width": 0}, "width=0 is not of type float, above zero and at most 100"),
        ({"width": 1e9}, "width=1000000000.0 is not of type float, above zero and at most 100"),
        ({"drop_rate": -0.1}, "drop_rate=-0.1 is not a share from 0 to below 1"),
        ({"drop_rate": 1}, "drop_rate=1 is not a share from 0 to below 1"),
        ({"width": float("inf")}, "width=inf is not of type float, above zero"),
    ],
)
def test_an_option_of_the_wrong_kind_is_named(options: dict[str, Any], message: str):
    with pytest.raises(UserError, match=f"mobilenet_v3_small: {message}"):
        create_model("mobilenet_v3_small", **options)


@pytest.mark.parametrize("config", ["5", "wide", "[]", "[64, (128,)]", "[64, 0]", "[64.0]", "[(64, 2, 1)]", "[True]"])
def test_a_table_of_another_form_is_refused(config: str):
    with pytest.raises(UserError, match=r"config=.* is not of the form \[64, \(128, 2\), \.\.\.\]"):
        parse_options(model_info("mobilenet_v1"), [f"config={config}"])


def test_a_choice_that_does_not_exist_lists_the_choices():
    with pytest.raises(UserError, match="lenet5: activation='gelu' is not one of 'tanh', 'relu'"):
        create_model("lenet5", activation="gelu")


@pytest.mark.parametrize(
    ("name", "top1", "protocol"),
    [
        ("mobilenet_v2", 72.0, ""),
        ("densenet121", 74.98, ""),  # an error of 25.02
        ("seresnet50", 76.71, ""),
        ("resnet34", 75.48, "10-crop"),  # option B, as here, not A
        ("vgg16", 74.4, "dense evaluation, no fixed crop"),
        ("vgg16_bn", None, ""),  # another paper's training
        ("alexnet_owt", None, ""),  # nobody could look it up
        ("resnet50_v1_5", None, ""),
    ],
)
def test_the_papers_accuracy_is_the_papers_and_says_how_it_was_measured(name: str, top1: float | None, protocol: str):
    spec = model_info(name)
    assert (spec.top1, spec.top1_protocol) == (top1, protocol)
    assert bool(spec.top1_source) == (top1 is not None)


def test_a_whole_number_passes_for_a_real_one():
    with torch.device("meta"):
        model = create_model("mobilenet_v2_x0_5", width=1)
    assert sum(p.numel() for p in model.parameters()) == FACTS["mobilenet_v2_x1_0"][1]


def test_options_given_override_those_of_the_name():
    with torch.device("meta"):
        model = create_model("mobilenet_v1_x0_25", 10, 1, width=0.5, drop_rate=0.4)
    assert model.stem.conv.weight.shape == (16, 1, 3, 3)
    assert (model.dropout.p, model.classifier.out_features) == (0.4, 10)


def test_classes_and_channels_default_to_the_papers():
    with torch.device("meta"):
        assert create_model("lenet5").c1[0].in_channels == 1
        assert create_model("lenet5").classifier.out_features == 10
        assert create_model("mobilenet_v1_x0_25").classifier.out_features == 1000


def test_the_same_seed_draws_the_same_weights():
    def build(seed: int) -> nn.Module:
        torch.manual_seed(seed)
        return create_model("lenet5")

    first, second, third = build(3).state_dict(), build(3).state_dict(), build(4).state_dict()
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert not torch.equal(first["c5.0.weight"], third["c5.0.weight"])


def test_parse_options_reads_numbers_words_truth_values_and_lists():
    v1, v3 = model_info("mobilenet_v1"), model_info("mobilenet_v3_large")
    assert parse_options(v1, ["width=0.6", "round_to=4", "activation=relu6", "config=[64, (128, 2)]"]) == {
        "width": 0.6,
        "round_to": 4,
        "activation": "relu6",
        "config": [64, (128, 2)],
    }
    assert parse_options(v3, ["minimal=true", "small_input=false"]) == {"minimal": True, "small_input": False}
    assert parse_options(v3, []) == {}


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("width", "--set 'width': expected NAME=VALUE"),
        ("small_input=2", "small_input is true or false"),
        ("width=thin", "width='thin' is not of type float"),
        ("activation=tanh", "activation='tanh' is not one of 'relu', 'relu6'"),
        ("depth_multiply=2", "did you mean depth_multiplier"),
    ],
)
def test_parse_options_names_what_is_wrong(setting: str, message: str):
    with pytest.raises(UserError, match=message):
        parse_options(model_info("mobilenet_v1"), [setting])


@pytest.fixture
def own_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    list_models()  # the families are loaded before the tables are replaced
    monkeypatch.setattr(registry, "_SPECS", dict(registry._SPECS))
    monkeypatch.setattr(registry, "_ALIASES", dict(registry._ALIASES))


FACT = FACTS["lenet5"][0]


@pytest.mark.usefixtures("own_registry")
@pytest.mark.parametrize(
    ("name", "aliases"),
    [("lenet5", ()), ("mobilenet_v1", ()), ("lenet", ("mobilenet_v2_x1_0",)), ("lenet", ("mobilenet_v2",))],
)
def test_a_name_or_alias_cannot_be_registered_twice(name: str, aliases: tuple[str, ...]):
    with pytest.raises(ValueError, match="registered twice"):
        register(name, LeNet5, family="lenet5", image_size=32, fact=FACT, aliases=aliases)
    assert "lenet" not in list_models()


@pytest.mark.usefixtures("own_registry")
def test_a_network_without_recorded_counts_cannot_be_registered():
    with pytest.raises(ValueError, match=r"facts\.json has no record of 'mine' in the family 'lenet5'"):
        register("lenet", LeNet5, family="lenet5", image_size=32, fact="mine")


@pytest.mark.usefixtures("own_registry")
def test_a_new_network_is_found_by_name_and_alias():
    register("lenet", LeNet5, family="lenet5", image_size=32, fact=FACT, aliases=("le",), options={"pool": "max"})
    assert list_models("le*") == ["lenet5", "lenet5_1998", "lenet"]
    assert isinstance(create_model("le").s2, nn.MaxPool2d)
