"""Running the loop: save when it is due, print after each epoch, stop when a signal comes."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from types import FrameType

from depthwise.config import TrainConfig
from depthwise.console import Quiet
from depthwise.errors import Diverged, Interrupted
from depthwise.training.distributed import Group
from depthwise.training.reports import EpochReport, Report, StepReport, ValidationReport
from depthwise.training.schedule import is_finished
from depthwise.training.state import TrainState
from depthwise.workflows.checkpoints import Checkpoints


def drive(
    reports: Iterator[Report],
    state: TrainState,
    checkpoints: Checkpoints,
    config: TrainConfig,
    console: Quiet,
    group: Group,
    *,
    num_reports: int,
) -> None:
    """Run the loop to its end; after a signal save and raise Interrupted. `num_reports`: steps and epochs to come."""
    with _signals() as received:
        attended = _attend(reports, state, checkpoints, config, group, received)
        try:
            for report in console.track(attended, num_reports, "Training"):
                if isinstance(report, EpochReport):
                    console.say(_line(report, config.epochs))
            if state.epoch < config.epochs:
                console.say(f"None of the last {config.patience} epochs was the best: done (--patience).")
        except Diverged as error:
            if group.rank:
                raise group.as_first() from error
            raise Diverged(
                f"{error}\n{checkpoints.where()}"
                "Go on from there with other settings by --resume --allow-changes, or start again by --overwrite."
            ) from error


def _attend(
    reports: Iterator[Report],
    state: TrainState,
    checkpoints: Checkpoints,
    config: TrainConfig,
    group: Group,
    received: list[int],
) -> Iterator[StepReport | EpochReport]:
    """Pass on the reports of steps and epochs, after having saved what is due.

    A signal to any process stops all of them after the same report, with the state of that moment saved.
    """
    for report in reports:
        epoch = report if isinstance(report, EpochReport) else None
        is_stopped, is_due = group.any(bool(received), checkpoints.is_due(state) and group.rank == 0)
        if epoch or is_stopped or is_due:
            is_final = is_stopped or is_finished(state.epoch, state.best_epoch, config)
            group.first(partial(checkpoints.save, state, epoch, is_final=is_final))
        if not isinstance(report, ValidationReport):
            yield report
        if is_stopped:
            told = (
                f"Stopped after step {state.step:,}, {state.epoch} of {config.epochs} epochs done; "
                f"saved in {checkpoints.folder.last}.\nGo on with the same command and --resume."
            )
            raise Interrupted(told if group.rank == 0 else "", received[0] if received else signal.SIGTERM)


def _line(report: EpochReport, num_epochs: int) -> str:
    row = report.row
    return (
        f"epoch {row['epoch']:>{len(str(num_epochs))}}/{num_epochs}  train loss {row['train_loss']:.4f}  "
        f"valid loss {row['valid_loss']:.4f}  top-1 {row['valid_top1']:6.2%}  top-5 {row['valid_top5']:6.2%}  "
        f"lr {row['lr']:.2g}  {report.num_images / report.train_s:,.0f} images/s{'  *' if report.is_best else ''}"
    )


@contextmanager
def _signals() -> Iterator[list[int]]:
    """Yield a list that receives the number of the first SIGINT or SIGTERM; the second one acts as usual."""
    received: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield received
        return
    usual = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def note(number: int, frame: FrameType | None) -> None:
        received.append(number)
        for one, handler in usual.items():
            signal.signal(one, handler)

    for number in usual:
        signal.signal(number, note)
    try:
        yield received
    finally:
        for number, handler in usual.items():
            signal.signal(number, handler)
