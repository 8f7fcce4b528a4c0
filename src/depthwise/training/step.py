"""One training step on random pictures, by the loop's own code: what is measured."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from depthwise.config import TrainConfig
from depthwise.data.cache import Dataset
from depthwise.data.loader import Batch
from depthwise.models.create import create_model
from depthwise.models.normalise import Normalise
from depthwise.training.compute import Compute, Method, prepare
from depthwise.training.distributed import ALONE
from depthwise.training.loop import Loop
from depthwise.training.loss import build_loss
from depthwise.training.optim import build_optimizer
from depthwise.training.state import TrainState


@dataclass(frozen=True, kw_only=True)
class Task:
    """What a step computes: a network, as `create_model` takes it, and its input."""

    model: str
    num_classes: int
    in_channels: int
    small_input: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)
    image_size: int
    batch_size: int
    device: str = "cpu"


@dataclass(frozen=True)
class TrainingStep:
    """Computes forward, loss, backward and optimiser, again and again on the same pictures."""

    loop: Loop
    batch: Batch

    @property
    def method(self) -> Method:
        """How it is computed."""
        return self.loop.compute.method

    def __call__(self) -> float:
        """Take the step; return its loss. Raises Diverged when that is not finite."""
        return self.loop.step([self.batch], len(self.batch.labels))


def build_step(task: Task, method: Method, config: TrainConfig | None = None) -> TrainingStep:
    """Return the step with fresh weights and random pictures; both are the same each time.

    Without `config` the learning rate is low, so that many steps on few pictures do not diverge.
    """
    config = config or TrainConfig(model=task.model, epochs=1, batch_size=task.batch_size, lr=1e-3, warmup=0.0)
    device = torch.device(task.device)
    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        model = create_model(task.model, task.num_classes, task.in_channels, task.small_input, **task.options)
    model = prepare(model, method, device)
    optimizer = build_optimizer(model, config)
    grey = (0.5,) * task.in_channels
    normalise = Normalise(grey, grey).to(device)
    data, state = random_pictures(task, config.seed), TrainState(model, optimizer)
    loss = build_loss(config, data.labels, device)
    loop = Loop(state, data, data, config, normalise, device, 0, ALONE, Compute(model, method), loss)
    return TrainingStep(loop, next(iter(loop.batches())))


def random_pictures(task: Task, seed: int = 0) -> Dataset:
    """Return as many pictures of noise as the task has in a step."""
    rng, count = np.random.default_rng(seed), task.batch_size
    images = rng.integers(0, 256, (count, task.image_size, task.image_size, task.in_channels), np.uint8)
    return Dataset(images, np.arange(count) % task.num_classes, np.arange(count, dtype=np.uint64), ())
