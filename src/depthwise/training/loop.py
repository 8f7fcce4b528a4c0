"""The training loop: a generator of reports that touches no file. Whoever drives it prints, saves and stops."""

import math
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from depthwise.config import TrainConfig
from depthwise.data.cache import Dataset
from depthwise.data.loader import Batch, epoch_batches, ordered_batches
from depthwise.data.order import batch_sizes, mix
from depthwise.errors import Diverged
from depthwise.metrics import Logits, Scores, cross_entropy, score
from depthwise.training import ema
from depthwise.training.batchnorm import StepStatistics, recalibrate
from depthwise.training.compute import Compute
from depthwise.training.distributed import ALONE, Group
from depthwise.training.loss import Loss, build_loss
from depthwise.training.optim import set_learning_rate
from depthwise.training.reports import EpochReport, Report, StepReport, ValidationReport
from depthwise.training.schedule import is_finished, learning_rate
from depthwise.training.stages import freeze_stages, start_learning
from depthwise.training.state import TrainState

DROPOUT = 11  # salt of the seeds for torch's own draws, plus the number of the part
AUXILIARY_WEIGHT = 0.3
"""Of auxiliary classifiers' losses (GoogLeNet, Szegedy et al. 2014, arXiv:1409.4842, section 5)."""
EVAL_BATCH = 64
"""Pictures between two reports of a validation: a stop signal waits no longer than they take."""
MOST_MEASURED = 256
"""Pictures at a time while batch norm's statistics are measured: larger ones are computed in parts, or do not fit."""
Teacher = Callable[[NDArray[np.uint8]], Logits]
"""From a batch's pictures, as the network sees them, uint8 (B, S, S, C), to logits (B, K) of the same classes."""


def run(
    state: TrainState,
    train: Dataset,
    valid: Dataset,
    config: TrainConfig,
    *,
    normalise: nn.Module,
    device: torch.device,
    workers: int,
    group: Group = ALONE,
    teacher: Teacher | None = None,
    compute: Compute | None = None,
) -> Iterator[Report]:
    """Train from the state's position to the end of the last epoch, yielding after every step and every epoch.

    `compute` is made of the state's network; by default it computes in float32. Raises Diverged when the loss is not
    finite. What comes out depends on data, configuration, state, `compute` and the number of processes only. All
    processes of `group` yield the same reports (but for `ids`) and end with the same state.
    """
    compute = compute or Compute(state.model)
    loss = build_loss(config, train.labels, device)
    loop = Loop(state, train, valid, config, normalise, device, workers, group, compute, loss, teacher)
    while not is_finished(state.epoch, state.best_epoch, config):
        started, seen_before = time.perf_counter(), state.num_seen
        yield from loop.steps()
        train_s, num_images = time.perf_counter() - started, state.num_seen - seen_before
        started = time.perf_counter()
        logits = yield from loop.validate()
        is_best, row = loop.close_epoch(score(logits, valid.labels))
        yield EpochReport(row, train_s, time.perf_counter() - started, num_images, is_best, logits, valid.labels)


def seed(value: int, device: torch.device) -> None:
    """Seed what dropout draws from there. torch.manual_seed seeds devices of all kinds, a tenth of a LeNet-5's step."""
    torch.default_generator.manual_seed(value)
    if device.type != "cpu":
        torch.get_device_module(device).manual_seed(value)


@dataclass(frozen=True)
class Loop:
    """What all parts of an epoch need."""

    state: TrainState
    train: Dataset
    valid: Dataset
    config: TrainConfig
    normalise: nn.Module
    device: torch.device
    workers: int
    group: Group
    compute: Compute
    loss: Loss
    teacher: Teacher | None = None

    @property
    def num_parts(self) -> int:
        """Into how many parts each batch is dealt: so many per process, one after the other."""
        return self.group.size * self.config.accumulate

    @property
    def parts(self) -> range:
        """Which of them this process computes."""
        first = self.group.rank * self.config.accumulate
        return range(first, first + self.config.accumulate)

    def lr(self, step: int) -> float:
        """Return the learning rate of a step in the epoch under way, or of the last one before it ends."""
        steps_per_epoch = len(batch_sizes(len(self.train), self.config.batch_size))
        return learning_rate(step, steps_per_epoch, self.config, self.state.history)

    def steps(self) -> Iterator[StepReport]:
        """Take the steps of the epoch under way that are still to be done."""
        state, batches = self.state, self.batches()
        for network in state.networks.values():
            freeze_stages(network, self.config, state.epoch)
        start_learning(state.model, keep_statistics=self.config.keep_statistics)
        for size in batch_sizes(len(self.train), self.config.batch_size)[state.batch :]:
            mine = list(islice(batches, self.config.accumulate))
            loss = self.step(mine, size)
            state.loss_sum += loss * size
            state.num_seen += size
            state.batch += 1
            state.step += 1
            yield StepReport(state.step, loss, np.concatenate([batch.ids for batch in mine]))

    def batches(self) -> Iterator[Batch]:
        """Yield this process's parts of the batches that are still to come in the epoch under way."""
        return epoch_batches(
            self.train,
            self.config,
            epoch=self.state.epoch,
            start=self.state.batch,
            workers=self.workers,
            parts=self.parts,
            num_parts=self.num_parts,
        )

    def step(self, mine: Sequence[Batch], size: int) -> float:
        """Take one optimiser step on `size` pictures, of which `mine` are computed here; return their mean loss.

        Raises Diverged when it is not finite; the weights are then as they were.
        """
        model, optimizer = self.state.model, self.state.optimizer
        optimizer.zero_grad(set_to_none=True)
        statistics = StepStatistics(model, self.num_parts)
        loss = torch.zeros((), dtype=torch.float64)
        for number, batch in zip(self.parts, mine, strict=True):
            seed(int(mix(self.state.step, self.config.seed, DROPOUT + number)[0]) >> 1, self.device)
            loss += self.backward(batch, len(batch.labels) / size)
            statistics.add_part()
        gradients = [p.grad for p in model.parameters() if p.grad is not None]
        self.group.sum([*gradients, *statistics.sums])
        self.group.sum([loss])
        statistics.finish()
        if not math.isfinite(loss.item()):
            raise self.diverged("training", loss.item(), self.state.step + 1)
        if self.config.clip_grad is not None:
            nn.utils.clip_grad_norm_(model.parameters(), self.config.clip_grad)
        set_learning_rate(optimizer, self.lr(self.state.step))
        optimizer.step()
        if self.state.average:
            ema.update(self.state.average, model, ema.decay_at(self.state.step, self.config.ema))
        return loss.item()

    def backward(self, batch: Batch, weight: float) -> float:
        """Add the gradients of the part's mean loss, times its share of the batch; return that product."""
        images = torch.from_numpy(batch.images).to(self.device)
        logits, others = self.compute.all_logits(self.normalise(images))
        targets = [(self.tensor(labels), self.tensor(shares)) for labels, shares in batch.targets]
        taught = self.tensor(self.teacher(batch.images)) if self.teacher else None
        loss = self.loss(logits, targets, taught)
        for other in others:
            loss = loss + AUXILIARY_WEIGHT * self.loss(other, targets, None)
        loss = weight * loss
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.item()

    def tensor(self, values: Any) -> Any:
        """Return an array on the device, and a number as it is."""
        return torch.from_numpy(values).to(self.device) if isinstance(values, np.ndarray) else values

    def validate(self) -> Generator[ValidationReport, None, Logits]:
        """Return the logits of the validation pictures. Raises Diverged when their loss is not finite."""
        model, config = self.state.predictor, self.config
        if config.recalibrate and not config.keep_statistics:
            batch_size, seed = min(MOST_MEASURED, max(2, config.batch_size // self.num_parts)), config.seed
            for _ in recalibrate(model, self.train, self.normalise, self.device, batch_size=batch_size, seed=seed):
                yield ValidationReport()
        looking = compute_logits(model, self.valid, self.normalise, self.device, self.group)
        logits = yield from looking
        loss = cross_entropy(logits, self.valid.labels)
        if not math.isfinite(loss):
            raise self.diverged("validation", loss, self.state.step)
        return logits

    def close_epoch(self, scores: Scores) -> tuple[bool, dict[str, Any]]:
        """Move the state to the next epoch; return whether this one is the best so far, and its row of the metrics."""
        state = self.state
        is_best = (scores.top1, -scores.loss) > (state.best_top1, -state.best_loss)
        state.epoch += 1
        if is_best:
            state.best_top1, state.best_loss, state.best_epoch = scores.top1, scores.loss, state.epoch
        row = {
            "epoch": state.epoch,
            "step": state.step,
            "lr": self.lr(state.step - 1),
            "train_loss": state.loss_sum / state.num_seen,
            "valid_loss": scores.loss,
            "valid_top1": scores.top1,
            "valid_top5": scores.top5,
            "num_train_images": state.num_seen,
            "num_valid_images": scores.num_images,
        }
        state.history.append(row)
        state.batch, state.loss_sum, state.num_seen = 0, 0.0, 0
        return is_best, row

    def diverged(self, kind: str, loss: float, step: int) -> Diverged:
        """Return the error for a loss that is no number."""
        return Diverged(
            f"the {kind} loss became {loss} at step {step} (epoch {self.state.epoch + 1}). "
            f"Try a lower --lr (it is {self.config.peak_lr:g}), or --clip-grad 1."
        )


@torch.no_grad()
def compute_logits(
    model: nn.Module, dataset: Dataset, normalise: nn.Module, device: torch.device, group: Group = ALONE
) -> Generator[ValidationReport, None, Logits]:
    """Return float32 logits (N, K) of the whole data set, in its order, with the network in evaluation mode.

    The batches are the same for any number of processes, and dealt to them whole: so are the logits.
    """
    model.eval()
    mine: list[NDArray[np.float32]] = []
    num_batches = 0
    for number, batch in enumerate(ordered_batches(dataset, EVAL_BATCH)):
        if number % group.size == group.rank:
            images = torch.from_numpy(np.array(batch.images)).to(device)
            mine.append(model(normalise(images)).float().cpu().numpy())
        if number % group.size == 0:  # all processes report as often
            yield ValidationReport()
        num_batches += 1
    dealt = group.gather(mine)
    return np.concatenate([dealt[number % group.size][number // group.size] for number in range(num_batches)])
