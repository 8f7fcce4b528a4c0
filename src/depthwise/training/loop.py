"""The training loop: a generator of reports that touches no file. Whoever drives it prints, saves and stops."""

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from depthwise.config import TrainConfig
from depthwise.data.cache import Dataset
from depthwise.data.loader import Batch, ordered_batches, training_batches
from depthwise.data.order import batch_sizes, mix
from depthwise.errors import UserError
from depthwise.metrics import Logits, score
from depthwise.training.batchnorm import recalibrate
from depthwise.training.optim import set_learning_rate
from depthwise.training.schedule import cosine
from depthwise.training.state import TrainState

DROPOUT = 11  # salt of the seeds for torch's own draws
EVAL_BATCH = 256


@dataclass(frozen=True)
class StepReport:
    """One optimiser step is done; the state may be saved here."""

    step: int
    loss: float


@dataclass(frozen=True)
class EpochReport:
    """One epoch is done and validated; the state may be saved here."""

    row: dict[str, Any]
    """What goes into metrics.jsonl: no clock in it."""
    train_s: float
    """Seconds spent in this epoch's steps, since this process began it."""
    valid_s: float
    num_images: int
    """Training pictures seen in train_s."""
    is_best: bool


def run(
    state: TrainState,
    train: Dataset,
    valid: Dataset,
    config: TrainConfig,
    *,
    normalise: nn.Module,
    device: torch.device,
    workers: int,
) -> Iterator[StepReport | EpochReport]:
    """Train from the state's position to the end of the last epoch, yielding after every step and every epoch.

    Raises UserError when the loss is not finite. What comes out depends on data, configuration and state only.
    """
    sizes = batch_sizes(len(train), config.batch_size)
    num_steps = config.epochs * len(sizes)
    while state.epoch < config.epochs:
        started, seen_before = time.perf_counter(), state.num_seen
        for batch in _epoch_batches(train, config, state, workers):
            lr = cosine(state.step, num_steps, lr=config.lr, warmup=config.warmup)
            loss = _step(state, batch, lr, config, normalise, device)
            state.loss_sum += loss * len(batch.labels)
            state.num_seen += len(batch.labels)
            state.batch += 1
            state.step += 1
            yield StepReport(state.step, loss)
        train_s, num_images = time.perf_counter() - started, state.num_seen - seen_before
        started = time.perf_counter()
        if config.recalibrate:
            recalibrate(state.model, train, normalise, device, batch_size=config.batch_size, seed=config.seed)
        scores = score(compute_logits(state.model, valid, normalise, device), valid.labels)
        if not math.isfinite(scores.loss):
            raise _diverged("validation", scores.loss, state.step, state, config)
        is_best = (scores.top1, -scores.loss) > (state.best_top1, -state.best_loss)
        state.epoch += 1
        if is_best:
            state.best_top1, state.best_loss, state.best_epoch = scores.top1, scores.loss, state.epoch
        row = {
            "epoch": state.epoch,
            "step": state.step,
            "lr": cosine(state.step - 1, num_steps, lr=config.lr, warmup=config.warmup),
            "train_loss": state.loss_sum / state.num_seen,
            "valid_loss": scores.loss,
            "valid_top1": scores.top1,
            "valid_top5": scores.top5,
            "num_train_images": state.num_seen,
            "num_valid_images": scores.num_images,
        }
        state.history.append(row)
        state.batch, state.loss_sum, state.num_seen = 0, 0.0, 0
        yield EpochReport(row, train_s, time.perf_counter() - started, num_images, is_best)


def _epoch_batches(train: Dataset, config: TrainConfig, state: TrainState, workers: int) -> Iterator[Batch]:
    is_augmented = config.augment == "standard"
    return training_batches(
        train,
        seed=config.seed,
        epoch=state.epoch,
        start=state.batch,
        batch_size=config.batch_size,
        crop=config.crop if is_augmented else 0.0,
        flip=config.flip and is_augmented,
        workers=workers,
    )


def _step(
    state: TrainState, batch: Batch, lr: float, config: TrainConfig, normalise: nn.Module, device: torch.device
) -> float:
    """Take one optimiser step; return the batch's mean training loss. Raises UserError when it is not finite."""
    torch.manual_seed(int(mix(state.step, config.seed, DROPOUT)[0]) >> 1)
    state.model.train()
    set_learning_rate(state.optimizer, lr)
    images, labels = torch.from_numpy(batch.images).to(device), torch.from_numpy(batch.labels).to(device)
    logits = state.model(normalise(images))
    loss = functional.cross_entropy(logits, labels, label_smoothing=config.label_smoothing)
    value = loss.item()
    if not math.isfinite(value):
        raise _diverged("training", value, state.step + 1, state, config)
    state.optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    state.optimizer.step()
    return value


def _diverged(kind: str, loss: float, step: int, state: TrainState, config: TrainConfig) -> UserError:
    return UserError(
        f"the {kind} loss became {loss} at step {step} (epoch {state.epoch + 1}). Nothing was saved "
        f"since the last epoch. Try a lower --lr (it is {config.lr:g})."
    )


@torch.no_grad()
def compute_logits(model: nn.Module, dataset: Dataset, normalise: nn.Module, device: torch.device) -> Logits:
    """Return float32 logits (N, K) of the whole data set, in its order, with the network in evaluation mode."""
    model.eval()
    parts: list[Tensor] = [
        model(normalise(torch.from_numpy(np.ascontiguousarray(batch.images)).to(device))).float().cpu()
        for batch in ordered_batches(dataset, EVAL_BATCH)
    ]
    return torch.cat(parts).numpy()
