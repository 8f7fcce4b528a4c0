"""Processes that train on made-up pictures and tell what they computed."""

import os
import socket
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from victims import CONTEXT

Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Lesson:
    """What to train, on what, for how long."""

    model: str
    options: dict[str, Any] = field(default_factory=dict)
    image_size: int = 32
    num_images: int = 40
    num_steps: int = 1
    batch_size: int = 8
    accumulate: int = 1
    recalibrate: bool = True
    is_double: bool = False


class Lore(NamedTuple):
    """What one process has learnt."""

    gradients: Arrays
    """Of the first step."""
    state: Arrays
    """After the last one."""
    logits: NDArray[np.float32]
    """Of 150 pictures, before the first step."""
    scores: list[tuple[float, float]]
    """Top-1 and loss of each epoch that ended."""
    steps: int


def teach(lesson: Lesson, num_processes: int) -> list[Lore | str]:
    """Return what each process has learnt, or the message of its UserError."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    ends, processes = [], []
    for rank in range(num_processes):
        here, there = CONTEXT.Pipe(duplex=False)
        world = {"RANK": str(rank), "WORLD_SIZE": str(num_processes), "LOCAL_RANK": str(rank)}
        world |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        process = CONTEXT.Process(target=_learn, args=(lesson, world, there))
        process.start()
        there.close()
        ends.append(here)
        processes.append(process)
    lore = []
    for end, process in zip(ends, processes, strict=True):
        assert end.poll(120), f"hangs: {lesson}"
        lore.append(end.recv())
        process.join(120)
        assert process.exitcode == 0
    return lore


def _learn(lesson: Lesson, world: dict[str, str], out: Connection) -> None:
    os.environ.update(world)
    from depthwise.errors import UserError
    from depthwise.training.distributed import check_parts, join

    try:
        with join("cpu") as group:
            check_parts(lesson.num_images, lesson.batch_size, group.size, lesson.accumulate)
            out.send(_train(lesson, group))
    except UserError as error:
        out.send(str(error))


def _train(lesson: Lesson, group: Any) -> Lore:
    import torch

    from depthwise.config import TrainConfig
    from depthwise.models.create import create_model
    from depthwise.models.normalise import Normalise
    from depthwise.training.loop import StepReport, compute_logits, run
    from depthwise.training.optim import build_optimizer
    from depthwise.training.state import TrainState

    torch.set_num_threads(1)
    torch.manual_seed(3 + group.rank)
    dtype = torch.float64 if lesson.is_double else torch.float32
    model = create_model(lesson.model, 3, 3, small_input=True, **lesson.options)
    model = model.to(dtype).to(memory_format=torch.channels_last)
    group.copy_first(list(model.state_dict().values()))
    state = TrainState(model, build_optimizer(model, TrainConfig()))
    normalise = torch.nn.Sequential(Normalise((0.5,) * 3, (0.25,) * 3), cast(dtype))
    train, valid = pictures(lesson.num_images, lesson.image_size, 1), pictures(150, lesson.image_size, 2)
    logits = drained(compute_logits(model, valid, normalise, torch.device("cpu"), group))
    num_epochs = -(-lesson.num_steps * lesson.batch_size // lesson.num_images)
    config = TrainConfig(
        epochs=max(1, num_epochs),
        batch_size=lesson.batch_size,
        lr=0.02,
        accumulate=lesson.accumulate,
        recalibrate=lesson.recalibrate,
    )
    gradients: Arrays = {}
    device = torch.device("cpu")
    for report in run(state, train, valid, config, normalise=normalise, device=device, workers=0, group=group):
        if isinstance(report, StepReport) and not gradients:
            gradients = {name: p.grad.numpy().copy() for name, p in model.named_parameters() if p.grad is not None}
        if state.step >= lesson.num_steps and isinstance(report, StepReport) and lesson.num_steps > 1:
            break
    tensors = {name: tensor.detach().numpy().copy() for name, tensor in state.tensors().items()}
    scores = [(row["valid_top1"], row["valid_loss"]) for row in state.history]
    return Lore(gradients, tensors, logits, scores, state.step)


def drained(steps: Any) -> Any:
    """Return what a generator returns."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


def pictures(count: int, side: int, seed: int) -> Any:
    """Make noisy pictures whose class is the brightest of three channels."""
    from depthwise.data.cache import Dataset
    from depthwise.data.order import mix

    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 3
    images = rng.integers(0, 120, (count, side, side, 3))
    images[np.arange(count), :, :, labels] += 60
    return Dataset(images.astype(np.uint8), labels.astype(np.int64), mix(np.arange(count), seed), ())


def cast(dtype: Any) -> Any:
    """Return a module that converts to `dtype`."""
    from torch import nn

    class Cast(nn.Module):
        def forward(self, images: Any) -> Any:
            return images.to(dtype)

    return Cast()
