"""Writing a run's files while it trains: when, in which order, and what happens when the disk will not have them."""

import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from depthwise import artifact, files
from depthwise.artifact import Card
from depthwise.config import SaveEvery, TrainConfig
from depthwise.console import Quiet
from depthwise.deploy.calibrate import calibrate
from depthwise.errors import CannotWrite, Diverged, UserError
from depthwise.training.reports import EpochReport
from depthwise.training.state import TrainState
from depthwise.workflows.metrics_table import to_csv
from depthwise.workflows.run_folder import RunFolder
from depthwise.workflows.tensorboard_events import Events

PAUSE_S = 1.0
"""Between a failed write and its only repetition."""
KEPT = ("pictures", "split_sha256", "can_mirror", "stored_size")
"""What the best model's card also says of its pictures: by which split, and how training saw them."""


class Checkpoints:
    """Saves a run's state.

    The order is best, metrics, last: `last` is written when all that it speaks of is on disk, so whatever is cut off is
    done again by the run that goes on from it.
    """

    def __init__(
        self,
        folder: RunFolder,
        card: Card,
        config: TrainConfig,
        every: SaveEvery,
        console: Quiet,
        *,
        events: Events | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`card` is the checkpoint's, without a position; `events` also receives each epoch's metrics."""
        self.folder, self.card, self.config, self.every, self.console = folder, card, config, every, console
        self.events, self.clock = events, clock
        self.unwritten: dict[Path, bytes] = {}
        """Best model and metrics that the disk would not have yet."""
        self.saved: int | None = None
        """Step of the checkpoint on disk."""
        self.tried_step, self.tried_at = 0, clock()
        self.epoch_began = clock()
        self.process = round(time.time(), 3)
        """Tells the seconds of this process from those before a stop."""

    def start(self, state: TrainState) -> None:
        """Count steps and seconds from here; `state` is as it is on disk, or new, and then saved at once.

        So there is always something to go on from where there is a best model: `--resume` starts over only where
        nothing is lost.
        """
        if self.folder.has_checkpoint:
            self.saved, self.tried_step, self.tried_at = state.step, state.step, self.clock()
        else:
            self.save(state, is_final=False)

    def begin_with(self, card: Card, content: bytes, state: TrainState) -> None:
        """Let an earlier stage's model, in a file of this `content`, be the best until there is a better one.

        `best_epoch` is then 0.
        """
        row = card.training
        state.best_top1, state.best_loss, state.best_epoch = row["valid_top1"], row["valid_loss"], 0
        self.unwritten[self.folder.best] = content

    def is_due(self, state: TrainState) -> bool:
        """Tell whether steps or seconds enough have passed since the last attempt to save."""
        every = self.every
        is_step_due = every.steps > 0 and state.step - self.tried_step >= every.steps
        return is_step_due or (every.seconds > 0 and self.clock() - self.tried_at >= every.seconds)

    def save(self, state: TrainState, report: EpochReport | None = None, *, is_final: bool) -> None:
        """Write the state; at the end of an epoch (`report`) its metrics too, and the model when it is the best.

        A write that fails is said and tried once more. Then training goes on, unless this save `is_final`: that raises
        UserError. Raises Diverged, and writes nothing, when a weight is no number.
        """
        self.tried_step, self.tried_at = state.step, self.clock()
        if not state.is_finite():
            raise Diverged(
                f"weights are not finite any more after step {state.step}. "
                f"Try a lower --lr (it is {self.config.peak_lr:g}), or --clip-grad 1."
            )
        if report:
            self._close_epoch(state, report)
        try:
            for path in (self.folder.best, self.folder.metrics, self.folder.table):
                if path in self.unwritten:
                    self._write(path, self.unwritten[path])
                    del self.unwritten[path]
            self._write(self.folder.last, self._pack_checkpoint(state), keep=self.folder.previous)
            self.saved = state.step
        except CannotWrite as error:
            if is_final:
                raise UserError(
                    f"{error}\n{self.where()}Make room, then give the same command with --resume."
                ) from error
            self.console.warn(f"{error}. Training goes on and tries again at the next save. {self.where()}")
        if report:
            self.folder.add_timing({**_timing(report), "process": self.process})
            self.epoch_began = self.clock()
            self._add_events(report)
        elif state.num_seen:
            seconds = round(self.clock() - self.epoch_began, 3)
            self.folder.add_timing({"part_of_epoch": state.epoch + 1, "seconds": seconds, "process": self.process})

    def where(self) -> str:
        """Tell what there is to go on from."""
        if self.saved is None:
            return "Nothing has been saved yet. "
        return f"The last good checkpoint: {self.folder.last} (step {self.saved:,}). "

    def _close_epoch(self, state: TrainState, report: EpochReport) -> None:
        if report.is_best:
            kept = {name: value for name, value in self.card.training.items() if name in KEPT}
            training = {"config": self.config.to_json(), **kept, **report.row}
            found = calibrate(report.logits, report.labels)
            card = replace(self.card, kind="model", training=training, calibration=found.to_json())
            self.unwritten[self.folder.best] = artifact.pack(card, state.predictor.state_dict())
        lines = "".join(json.dumps(row) + "\n" for row in state.history)  # whole: never at odds with the checkpoint
        self.unwritten[self.folder.metrics] = lines.encode()
        self.unwritten[self.folder.table] = to_csv(state.history)

    def _add_events(self, report: EpochReport) -> None:
        try:
            if self.events:
                self.events.add(report.row)
        except OSError as error:
            self.console.warn(f"cannot write events for TensorBoard: {error.strerror}. Training goes on.")

    def _pack_checkpoint(self, state: TrainState) -> bytes:
        training = {**self.card.training, "config": self.config.to_json(), "position": state.position()}
        return artifact.pack(replace(self.card, training=training), state.tensors())

    def _write(self, path: Path, data: bytes, keep: Path | None = None) -> None:
        try:
            files.write_whole(path, data, keep=keep)
        except CannotWrite as error:
            self.console.warn(f"{error}. Trying once more.")
            time.sleep(PAUSE_S)
            files.write_whole(path, data, keep=keep)


def _timing(report: EpochReport) -> dict[str, float]:
    seconds = {"train_s": round(report.train_s, 3), "valid_s": round(report.valid_s, 3)}
    rate = {"images_per_s": round(report.num_images / report.train_s, 1)} if report.num_images else {}
    return {"epoch": report.row["epoch"], **seconds, **rate}
