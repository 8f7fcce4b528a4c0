import json

import pytest
import torch
from torch import nn

from depthwise.config import TrainConfig
from depthwise.training.optim import build_optimizer, set_learning_rate
from depthwise.training.state import TrainState


def build(seed: int, momentum: float = 0.9) -> TrainState:
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(12, 2))
    return TrainState(
        model.to(memory_format=torch.channels_last),
        build_optimizer(model, TrainConfig(momentum=momentum, weight_decay=0.1)),
    )


def step(state: TrainState, seed: int) -> None:
    images = torch.randn(4, 2, 4, 4, generator=torch.Generator().manual_seed(seed))
    set_learning_rate(state.optimizer, 0.1)
    state.optimizer.zero_grad()
    state.model(images).square().sum().backward()
    state.optimizer.step()
    state.step += 1


def copied(state: TrainState) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().clone() for name, tensor in state.tensors().items()}


def test_tensors_are_weights_statistics_and_momenta():
    state = build(0)
    weights = {f"model.{name}" for name in state.model.state_dict()}
    assert set(state.tensors()) == weights
    assert "model.1.running_mean" in weights
    step(state, 1)
    momenta = {f"optimizer.momentum_buffer.{name}" for name, _ in state.model.named_parameters()}
    assert set(state.tensors()) == weights | momenta


def test_a_restored_state_goes_on_bit_for_bit():
    state = build(0)
    step(state, 1)
    other = build(5)
    step(other, 9)  # what it remembers must go
    other.restore(copied(state), json.loads(json.dumps(state.position())))
    assert other.step == 1
    for seed in (2, 3):
        step(state, seed)
        step(other, seed)
    first, second = state.tensors(), other.tensors()
    assert set(first) == set(second)
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_what_was_remembered_before_is_forgotten():
    used = build(5)
    step(used, 9)
    used.restore(copied(build(0)), build(0).position())
    assert set(used.tensors()) == set(build(0).tensors())


def test_momentum_is_part_of_what_is_restored():
    state = build(0)
    step(state, 1)
    tensors = copied(state)
    without = {name: t for name, t in tensors.items() if not name.startswith("optimizer.")}
    results = []
    for given in (tensors, without):
        other = build(5)
        other.restore(given, state.position())
        step(other, 2)
        results.append(other.model[3].weight.detach().clone())
    assert not torch.equal(*results)


def test_a_restored_state_shares_no_memory_with_what_it_was_given():
    state = build(0)
    step(state, 1)
    tensors = copied(state)
    before = {name: tensor.clone() for name, tensor in tensors.items()}
    other = build(5)
    position = state.position()
    other.restore(tensors, position)
    other.history.append({"epoch": 1})
    step(other, 2)
    assert all(torch.equal(before[name], tensors[name]) for name in tensors)
    assert state.history == []


def test_momenta_lie_in_memory_as_their_weights_do():
    state, other = build(0), build(1)
    step(state, 1)
    other.restore({name: tensor.contiguous() for name, tensor in copied(state).items()}, state.position())
    momentum = other.optimizer.state[other.model[0].weight]["momentum_buffer"]
    assert momentum.is_contiguous(memory_format=torch.channels_last)


def test_position_is_every_number_and_the_history():
    state = build(0)
    numbers = {"epoch": 2, "batch": 3, "step": 23, "loss_sum": 0.1 + 0.2, "num_seen": 48}
    numbers |= {"best_top1": 0.5, "best_loss": 1.25, "best_epoch": 1}
    for name, value in numbers.items():
        setattr(state, name, value)
    state.history = [{"epoch": 1}, {"epoch": 2}]
    assert state.position() == numbers | {"history": [{"epoch": 1}, {"epoch": 2}]}
    other = build(0)
    other.restore(state.tensors(), json.loads(json.dumps(state.position())))
    assert other.position() == state.position()


def test_a_new_state_s_position_survives_json():
    position = build(0).position()
    assert position["best_loss"] == float("inf")
    assert json.loads(json.dumps(position)) == position


def test_without_momentum_there_is_nothing_to_remember():
    state = build(0, momentum=0.0)
    step(state, 1)
    assert not any(name.startswith("optimizer.") for name in state.tensors())


@pytest.mark.parametrize("name", ["model.0.weight", "model.1.running_var"])
def test_tensors_that_do_not_fit_are_refused(name: str):
    state = build(0)
    tensors = copied(state)
    position = state.position()
    with pytest.raises(RuntimeError, match=name.removeprefix("model.")):
        state.restore({key: tensor for key, tensor in tensors.items() if key != name}, position)
    with pytest.raises(KeyError, match="no_such"):
        state.restore(tensors | {"optimizer.momentum_buffer.no_such": torch.zeros(1)}, position)
    with pytest.raises(KeyError, match="loss_sum"):
        state.restore(tensors, {key: value for key, value in position.items() if key != "loss_sum"})
