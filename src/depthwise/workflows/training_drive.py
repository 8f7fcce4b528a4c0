"""Running the loop: print and save after each epoch, and when a signal comes."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from types import FrameType

from depthwise import artifact
from depthwise.artifact import Card
from depthwise.config import TrainConfig
from depthwise.console import Quiet
from depthwise.errors import Interrupted
from depthwise.training.loop import EpochReport, StepReport
from depthwise.training.state import TrainState
from depthwise.workflows.run_folder import RunFolder


def drive(
    reports: Iterator[StepReport | EpochReport],
    state: TrainState,
    card: Card,
    config: TrainConfig,
    folder: RunFolder,
    console: Quiet,
    *,
    num_reports: int,
) -> None:
    """Run the loop: print and save after each epoch; after a signal save and raise Interrupted."""
    with _signals() as received:
        for report in console.track(reports, num_reports, "Training"):
            if isinstance(report, EpochReport):
                _save_epoch(report, state, card, config, folder)
                console.say(_line(report, config.epochs))
            if received:
                if not isinstance(report, EpochReport):
                    _save_last(state, card, config, folder)
                raise Interrupted(
                    f"Stopped after step {state.step:,}, {state.epoch} of {config.epochs} epochs done; "
                    f"saved in {folder.last}.\nGo on with the same command and --resume auto.",
                    received[0],
                )


def _save_epoch(report: EpochReport, state: TrainState, card: Card, config: TrainConfig, folder: RunFolder) -> None:
    """Write best (when it is), then last, then metrics: whatever is cut off here is written again by a resumed run."""
    if report.is_best:
        training = {"config": config.to_json(), "pictures": card.training["pictures"]} | report.row
        artifact.write(folder.best, replace(card, kind="model", training=training), state.model.state_dict())
    _save_last(state, card, config, folder)
    folder.write_metrics(state.history)
    seconds = {"train_s": round(report.train_s, 3), "valid_s": round(report.valid_s, 3)}
    rate = {"images_per_s": round(report.num_images / report.train_s, 1)}
    folder.add_timing({"epoch": report.row["epoch"]} | seconds | rate)


def _save_last(state: TrainState, card: Card, config: TrainConfig, folder: RunFolder) -> None:
    training = {**card.training, "config": config.to_json(), "position": state.position()}
    artifact.write(folder.last, replace(card, training=training), state.tensors())


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
