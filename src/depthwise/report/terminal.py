"""Progress and messages for people at a terminal."""

import sys
import time
from collections.abc import Iterable, Iterator

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from depthwise.console import Quiet, T, shown_lines

PATIENCE_S = 1.0
"""Work that takes less gets no bar."""


class Rate(ProgressColumn):
    """Items per second."""

    def render(self, task: Task) -> Text:
        """Return the rate, once there is one."""
        speed = task.finished_speed or task.speed
        return Text(f"{speed:,.0f}/s" if speed else "", style="dim")


class Terminal(Quiet):
    """Lines as they are; a progress bar with rate and time left for what takes over a second, at a terminal only."""

    def __init__(self, *, is_say_result: bool) -> None:
        """`is_say_result`: what is said goes to standard output, as the command's result; else to standard error."""
        self.console = Console(stderr=True, highlight=False, soft_wrap=True, emoji=False)  # a:dog:b.jpg is a name
        self.is_say_result = is_say_result

    def say(self, text: str) -> None:
        """Print a line."""
        print(shown_lines(text), file=sys.stdout if self.is_say_result else sys.stderr, flush=True)

    def warn(self, text: str) -> None:
        """Print a line that stands out, to standard error."""
        self.console.print(f"note: {shown_lines(text)}", style="yellow", markup=False)

    def track(self, items: Iterable[T], total: int, label: str) -> Iterator[T]:
        """Yield `items`; show a bar once they have taken a second."""
        if not self.console.is_terminal:
            yield from items
            return
        is_shared = sys.stdout.isatty()  # then lines that are printed meanwhile must go above the bar
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), Rate(), TimeRemainingColumn())
        progress = Progress(*columns, console=self.console, transient=True, redirect_stdout=is_shared)
        task = progress.add_task(label, total=total or None)
        started, is_shown = time.monotonic(), False
        try:
            for item in items:
                yield item
                progress.advance(task)
                if not is_shown and time.monotonic() - started > PATIENCE_S:
                    progress.start()
                    is_shown = True
        finally:
            if is_shown:
                progress.stop()
