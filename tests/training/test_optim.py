import math

import pytest
import torch
from torch import nn

from depthwise.config import TrainConfig
from depthwise.models.create import create_model
from depthwise.training.optim import build_optimizer, set_learning_rate


def test_only_weights_decay():
    model = nn.Sequential(nn.Conv2d(2, 2, 1), nn.BatchNorm2d(2), nn.Linear(2, 2))
    nn.init.ones_(model[1].bias)
    nn.init.ones_(model[2].bias)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    optimizer = build_optimizer(model, TrainConfig(momentum=0.0, weight_decay=0.5))
    set_learning_rate(optimizer, 0.1)
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    for name, parameter in model.named_parameters():
        factor = 1 - 0.1 * 0.5 if name in ("0.weight", "2.weight") else 1
        torch.testing.assert_close(parameter.detach(), before[name] * factor)


def test_every_parameter_is_in_one_group():
    model = create_model("mobilenet_v3_small_x0_75", 4)
    optimizer = build_optimizer(model, TrainConfig(momentum=0.9, weight_decay=1e-4))
    decaying, plain = (group["params"] for group in optimizer.param_groups)
    assert sorted(map(id, decaying + plain)) == sorted(map(id, model.parameters()))
    assert {p.ndim for p in decaying} == {2, 4} and {p.ndim for p in plain} == {1}
    assert [group["weight_decay"] for group in optimizer.param_groups] == [1e-4, 0.0]


def test_two_steps_with_nesterov_momentum_worked_out_on_paper():
    weight = nn.Parameter(torch.tensor([[1.0]]))
    model = nn.Module()
    model.weight = weight
    optimizer = build_optimizer(model, TrainConfig(momentum=0.5, weight_decay=0.0))
    set_learning_rate(optimizer, 0.1)
    for expected in (1 - 0.1 * 1.5, 1 - 0.1 * 1.5 - 0.1 * (1 + 0.5 * 1.5)):  # v = 1, then 1.5; step = g + v / 2
        weight.grad = torch.tensor([[1.0]])
        optimizer.step()
        assert weight.item() == pytest.approx(expected)


def test_no_step_is_taken_before_a_rate_is_set():
    assert {
        g["lr"] for g in build_optimizer(nn.Linear(2, 2), TrainConfig(momentum=0.0, weight_decay=0.1)).param_groups
    } == {0.0}


def test_the_rate_is_set_for_all_groups():
    optimizer = build_optimizer(nn.Linear(2, 2), TrainConfig(momentum=0.9, weight_decay=0.1))
    set_learning_rate(optimizer, 0.3)
    assert [group["lr"] for group in optimizer.param_groups] == [0.3, 0.3]


def one_weight(value: float = 1.0) -> nn.Module:
    model = nn.Module()
    model.weight = nn.Parameter(torch.tensor([[value]]))
    return model


def step(model: nn.Module, optimizer: torch.optim.Optimizer, gradient: float, lr: float) -> float:
    set_learning_rate(optimizer, lr)
    model.weight.grad = torch.tensor([[gradient]])
    optimizer.step()
    return model.weight.item()


def test_plain_momentum_does_not_look_ahead():
    model = one_weight()
    optimizer = build_optimizer(model, TrainConfig(momentum=0.5, weight_decay=0.0, nesterov=False))
    assert step(model, optimizer, 1.0, 0.1) == pytest.approx(0.9)
    assert step(model, optimizer, 1.0, 0.1) == pytest.approx(0.9 - 0.1 * 1.5)


def test_two_steps_of_tensorflows_rmsprop_worked_out_on_paper():
    """s = 0.9 + 0.1 g^2, then 0.9 s + 0.1 g^2; m = 0.5 m + lr g / sqrt(s + 0.19), with another rate each time."""
    model = one_weight()
    config = TrainConfig(optimizer="rmsprop", momentum=0.5, weight_decay=0.0, epsilon=0.19)
    optimizer = build_optimizer(model, config)
    first = 0.1 * 2 / math.sqrt(0.9 * 1 + 0.1 * 4 + 0.19)
    assert step(model, optimizer, 2.0, 0.1) == pytest.approx(1 - first)
    second = 0.5 * first + 0.3 * -1 / math.sqrt(0.9 * 1.3 + 0.1 * 1 + 0.19)
    assert step(model, optimizer, -1.0, 0.3) == pytest.approx(1 - first - second)


def test_weight_decay_of_rmsprop_is_part_of_the_gradient():
    model = one_weight(3.0)
    config = TrainConfig(optimizer="rmsprop", momentum=0.0, weight_decay=0.5, rms_decay=0.0, epsilon=1e-10)
    assert step(model, build_optimizer(model, config), 1.0, 0.1) == pytest.approx(2.9)  # g / sqrt(g^2), g = 2.5
    assert model.weight.grad.item() == 1.0  # as it was


def test_rmsprop_follows_its_formula_on_a_whole_network():
    """In float64, with and without decay, from step to step; weights laid out as in training."""
    torch.manual_seed(0)
    model = create_model("mobilenet_v3_small_x0_75", 4).to(memory_format=torch.channels_last)
    optimizer = build_optimizer(model, TrainConfig(optimizer="rmsprop", momentum=0.8, weight_decay=1e-2, epsilon=1e-3))
    exact = {p: (p.detach().double(), torch.ones_like(p).double(), 0.0) for p in model.parameters()}
    for lr in (0.01, 0.003, 0.02):
        set_learning_rate(optimizer, lr)
        for parameter, (weight, old_square, old_momentum) in exact.items():
            parameter.grad = torch.randn_like(parameter)
            gradient = parameter.grad.double() + (1e-2 * weight if parameter.ndim > 1 else 0)
            square = 0.9 * old_square + 0.1 * gradient**2
            momentum = 0.8 * old_momentum + lr * gradient / (square + 1e-3).sqrt()
            exact[parameter] = (weight - momentum, square, momentum)
        optimizer.step()
    for parameter, (weight, square, momentum) in exact.items():
        memory = optimizer.state[parameter]
        for found, expected in ((parameter, weight), (memory["mean_square"], square), (memory["momentum"], momentum)):
            torch.testing.assert_close(found.detach().double(), expected, rtol=1e-6, atol=1e-6)


def test_rmsprop_leaves_weights_without_a_gradient_alone():
    model = nn.Linear(2, 2)
    optimizer = build_optimizer(model, TrainConfig(optimizer="rmsprop"))
    set_learning_rate(optimizer, 0.1)
    optimizer.step()
    assert optimizer.state == {}


def test_adamw_s_first_step_has_the_size_of_the_rate_and_its_decay_stands_beside_it():
    model = one_weight(2.0)
    optimizer = build_optimizer(model, TrainConfig(optimizer="adamw", weight_decay=0.5))
    assert step(model, optimizer, -7.0, 0.1) == pytest.approx(2.0 * (1 - 0.1 * 0.5) + 0.1)


@pytest.mark.parametrize(("optimizer", "expected"), [("sgd", 5e-4), ("rmsprop", 1e-5), ("adamw", 0.05)])
def test_each_optimiser_has_its_own_weight_decay(optimizer, expected):
    built = build_optimizer(nn.Linear(2, 2), TrainConfig(optimizer=optimizer))
    assert [group["weight_decay"] for group in built.param_groups] == [expected, 0.0]
    own = build_optimizer(nn.Linear(2, 2), TrainConfig(optimizer=optimizer, weight_decay=0.25))
    assert own.param_groups[0]["weight_decay"] == 0.25


def test_rows_of_numbers_do_not_decay_however_they_are_shaped():
    model = create_model("lenet5_1998")
    decaying, plain = (group["params"] for group in build_optimizer(model, TrainConfig()).param_groups)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    assert {names[id(p)].rpartition(".")[2] for p in decaying} == {"weight"}
    assert {"s2.weight", "s2.bias"} <= {names[id(p)] for p in plain}
    assert build_optimizer(nn.ParameterList([nn.Parameter(torch.tensor(1.0))]), TrainConfig())
