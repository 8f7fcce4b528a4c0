"""RUN/tensorboard: the rows of metrics.jsonl as events that TensorBoard shows."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from depthwise.errors import CannotWrite

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

PARTS = ("train", "valid")


class Events:
    """Writes a point per number and epoch.

    Opened with the rows that the run has so far: they are written anew and the files of earlier starts removed, so no
    epoch is there twice, and none is missing, whatever was cut off and whenever events were first asked for.
    """

    def __init__(self, folder: Path, rows: Iterable[dict[str, Any]]) -> None:
        """Raises CannotWrite when the folder cannot be written. The package must be installed."""
        self.writer = _open(folder)
        for row in rows:
            self.add(row)

    def add(self, row: dict[str, Any]) -> None:
        """Write the points of one epoch."""
        for name, value in row.items():
            if name not in ("epoch", "step") and isinstance(value, int | float):
                self.writer.add_scalar(tag(name), value, row["epoch"])
        self.writer.flush()

    def close(self) -> None:
        """Write what is left."""
        self.writer.close()


def tag(name: str) -> str:
    """Return what TensorBoard calls a number: loss/train for train_loss, so that what belongs together is one chart."""
    part, _, rest = name.partition("_")
    return f"{rest}/{part}" if part in PARTS else name


def _open(folder: Path) -> "SummaryWriter":
    from torch.utils.tensorboard import SummaryWriter

    try:
        for old in folder.glob("events.out.tfevents.*"):
            old.unlink()
        return SummaryWriter(str(folder))
    except OSError as error:
        raise CannotWrite(f"cannot write events for TensorBoard to {folder}: {error.strerror}") from error
