import pytest
import torch
from torch import nn

from depthwise.models.create import create_model
from depthwise.training.optim import build_optimizer, set_learning_rate


def test_only_weights_decay():
    model = nn.Sequential(nn.Conv2d(2, 2, 1), nn.BatchNorm2d(2), nn.Linear(2, 2))
    nn.init.ones_(model[1].bias)
    nn.init.ones_(model[2].bias)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    optimizer = build_optimizer(model, momentum=0.0, weight_decay=0.5)
    set_learning_rate(optimizer, 0.1)
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    for name, parameter in model.named_parameters():
        factor = 1 - 0.1 * 0.5 if name in ("0.weight", "2.weight") else 1
        torch.testing.assert_close(parameter.detach(), before[name] * factor)


def test_every_parameter_is_in_one_group():
    model = create_model("mobilenet_v3_small_x0_75", 4)
    optimizer = build_optimizer(model, momentum=0.9, weight_decay=1e-4)
    decaying, plain = (group["params"] for group in optimizer.param_groups)
    assert sorted(map(id, decaying + plain)) == sorted(map(id, model.parameters()))
    assert {p.ndim for p in decaying} == {2, 4} and {p.ndim for p in plain} == {1}
    assert [group["weight_decay"] for group in optimizer.param_groups] == [1e-4, 0.0]


def test_two_steps_with_nesterov_momentum_worked_out_on_paper():
    weight = nn.Parameter(torch.tensor([[1.0]]))
    model = nn.Module()
    model.weight = weight
    optimizer = build_optimizer(model, momentum=0.5, weight_decay=0.0)
    set_learning_rate(optimizer, 0.1)
    for expected in (1 - 0.1 * 1.5, 1 - 0.1 * 1.5 - 0.1 * (1 + 0.5 * 1.5)):  # v = 1, then 1.5; step = g + v / 2
        weight.grad = torch.tensor([[1.0]])
        optimizer.step()
        assert weight.item() == pytest.approx(expected)


def test_no_step_is_taken_before_a_rate_is_set():
    assert {g["lr"] for g in build_optimizer(nn.Linear(2, 2), momentum=0.0, weight_decay=0.1).param_groups} == {0.0}


def test_the_rate_is_set_for_all_groups():
    optimizer = build_optimizer(nn.Linear(2, 2), momentum=0.9, weight_decay=0.1)
    set_learning_rate(optimizer, 0.3)
    assert [group["lr"] for group in optimizer.param_groups] == [0.3, 0.3]
