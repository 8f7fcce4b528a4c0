from typing import Any

import pytest
import torch
from torch import nn

from depthwise.config import TrainConfig
from depthwise.errors import UserError
from depthwise.models.create import create_model
from depthwise.models.registry import list_models, model_info
from depthwise.training.optim import build_optimizer, set_learning_rate
from depthwise.training.stages import (
    check_stages,
    describe_frozen,
    freeze_stages,
    rate_factors,
    stages,
    start_learning,
)


def build(name: str, **options: Any) -> Any:
    with torch.device("meta"):
        return create_model(name, 3, **options)


@pytest.mark.parametrize(
    ("name", "num_stages"),
    [
        ("resnet18", 1 + 4 + 1),
        ("mobilenet_v2", 1 + 7 + 1 + 1),  # stem, the table's lines, the last convolution, classifier
        ("mobilenet_v3_small", 1 + 5 + 1 + 1 + 1),
        ("efficientnet_lite0", 1 + 7 + 1 + 1),
        ("vgg16", 5 + 1 + 1),
        ("vgg11_bn", 5 + 1 + 1),
        ("alexnet", 5),  # an 11x11/4 convolution ends no stage: (1), (2), (3, 4, 5), hidden, classifier
        ("densenet121", 1 + 4 + 1 + 1),
        ("googlenet", 1 + 3 + 1),
        ("shufflenet_v2", 1 + 3 + 1 + 1),
        ("lenet5", 5),
        ("nin_cifar", 4),
    ],
)
def test_a_network_has_the_stages_of_its_paper(name: str, num_stages: int):
    assert len(stages(build(name))) == num_stages


def one_of_each_family() -> list[str]:
    return list({model_info(name).family: name for name in list_models()}.values())


@pytest.mark.parametrize("name", ["seresnet18_preact", *one_of_each_family()])
def test_stages_hold_every_weight_once_in_their_order_and_end_with_the_classifier(name: str):
    model = build(name) if name != "lenet5_1998" else create_model(name)
    found = [p for stage in stages(model) for layer in stage for p in layer.parameters()]
    assert list(map(id, found)) == list(map(id, model.parameters()))
    if any(True for _ in model.classifier.parameters()):
        assert model.classifier in stages(model)[-1]


def test_auxiliary_classifiers_belong_to_the_last_stage():
    model = build("googlenet", aux=True)
    assert stages(model)[-1] == [model.classifier, model.aux]


def test_frozen_stages_keep_their_weights_until_they_are_let_go():
    model = create_model("resnet18", 3, small_input=True)
    config = TrainConfig(freeze="stages:3", unfreeze_after=2)
    freeze_stages(model, config, 1)
    kept = {name.split(".")[0] + name.split(".")[1] for name, p in model.named_parameters() if not p.requires_grad}
    assert kept == {"stem0", "blocks0", "blocks1", "blocks2", "blocks3"}
    freeze_stages(model, config, 2)
    assert all(p.requires_grad for p in model.parameters())
    freeze_stages(model, TrainConfig(freeze="stages:3"), 29)
    assert not model.stem[0].conv.weight.requires_grad


def test_batch_norm_of_frozen_stages_predicts_while_the_rest_learns():
    model = create_model("mobilenet_v2_x0_35", 3, small_input=True)
    freeze_stages(model, TrainConfig(freeze="stages:2"), 0)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    start_learning(model, keep_statistics=False)
    optimizer = build_optimizer(model, TrainConfig(momentum=0.0))
    set_learning_rate(optimizer, 0.1)
    model(torch.rand(4, 3, 16, 16)).square().sum().backward()
    optimizer.step()
    same = {name for name, tensor in model.state_dict().items() if torch.equal(tensor, before[name])}
    assert same == {name for name in before if name.startswith(("stem.", "blocks.0."))}
    assert not model.stem.norm.training and model.blocks[1].project.norm.training


def test_rates_fall_from_the_classifier_to_the_stem():
    model = create_model("lenet5", 3)
    factors = rate_factors(model, 0.5)
    assert [factors[getattr(model, name)[0].weight] for name in ("c1", "c3", "c5", "f6")] == [
        1 / 16,
        1 / 8,
        1 / 4,
        1 / 2,
    ]
    assert factors[model.classifier.bias] == 1
    optimizer = build_optimizer(model, TrainConfig(layer_decay=0.5, momentum=0.0, weight_decay=0.0))
    set_learning_rate(optimizer, 0.8)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    steps = {name: (before[name] - p.detach()).mean().item() for name, p in model.named_parameters()}
    assert steps["c1.0.bias"] == pytest.approx(0.05) and steps["f6.0.weight"] == pytest.approx(0.4)
    assert steps["classifier.weight"] == pytest.approx(0.8)


def test_a_decay_of_one_leaves_the_two_groups_of_old():
    assert len(build_optimizer(nn.Linear(2, 2), TrainConfig()).param_groups) == 2


@pytest.mark.parametrize(
    ("config", "model", "message"),
    [
        (TrainConfig(freeze="stages:5"), "lenet5", "lenet5 has 5 stages, .*; at most stages:4"),
        (TrainConfig(layer_decay=0.7), None, "mine is not a network of depthwise"),
    ],
)
def test_what_cannot_be_followed_is_refused(config: TrainConfig, model: str | None, message: str):
    network = build(model) if model else nn.Linear(2, 2)
    with pytest.raises(UserError, match=message):
        check_stages(network, model or "mine", config)


def test_without_either_flag_nothing_is_checked():
    check_stages(nn.Linear(2, 2), "mine", TrainConfig())
    freeze_stages(nn.Linear(2, 2), TrainConfig(), 0)


def test_what_is_frozen_is_told():
    model = create_model("lenet5", 3)
    num_c1 = 6 * 25 + 6
    told = describe_frozen(model, TrainConfig(freeze="stages:1", unfreeze_after=4))
    assert told.startswith(f"Frozen for 4 epochs: 1 of 5 stages, {num_c1:,} of ")
