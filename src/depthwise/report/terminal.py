"""Progress and messages for people at a terminal; on standard error, so that standard output holds results only."""

import time
from collections.abc import Iterable, Iterator

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from depthwise.console import Quiet, T


class Rate(ProgressColumn):
    """Items per second."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{speed:,.0f}/s" if speed else "", style="dim")


class Terminal(Quiet):
    """Lines as they are; a progress bar with rate and time left for what takes over a second, at a terminal only."""

    def __init__(self) -> None:
        self.console = Console(stderr=True, highlight=False, soft_wrap=True)

    def say(self, text: str) -> None:
        """Print a line."""
        self.console.print(text, markup=False)

    def warn(self, text: str) -> None:
        """Print a line that stands out."""
        self.console.print(f"note: {text}", style="yellow", markup=False)

    def track(self, items: Iterable[T], total: int, label: str) -> Iterator[T]:
        """Yield `items`; show a bar once they have taken a second."""
        if not self.console.is_terminal:
            yield from items
            return
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), Rate(), TimeRemainingColumn())
        started = time.monotonic()
        with Progress(*columns, console=self.console, transient=True, disable=False, auto_refresh=True) as progress:
            task = progress.add_task(label, total=total or None, visible=False)
            for item in items:
                yield item
                if time.monotonic() - started > 1:
                    progress.update(task, visible=True)
                progress.advance(task)
