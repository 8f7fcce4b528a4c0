"""`depthwise predict`: from what people type to a stream of photos, and from answers to text."""

import csv
import glob
import io
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Literal, TextIO

from depthwise import files
from depthwise.console import Quiet
from depthwise.data.index import find_pictures
from depthwise.data.table import harmless
from depthwise.deploy.predict import Classifier, Prediction

FEW = 64
"""Photos for which the fastest engine is not worth loading: ONNX Runtime starts sooner."""
Format = Literal["table", "json", "jsonl", "csv"]


def is_large(arguments: Sequence[str]) -> bool:
    """Return whether many photos may be meant: many names, a list, a folder or a glob."""
    return len(arguments) > FEW or any(argument == "-" or not os.path.isfile(argument) for argument in arguments)


def expand(arguments: Iterable[str], lines: Iterable[str]) -> Iterator[str]:
    """Yield the photos that the arguments mean, in order: files, folders, globs, and '-' for `lines`, one path each.

    What is nothing of these is yielded as it is, so that it becomes an answer with an error and not silence.
    """
    for argument in arguments:
        if argument == "-":
            yield from (line.rstrip("\r\n") for line in lines if line.strip())
        elif os.path.isdir(argument):
            yield from map(os.fspath, find_pictures(Path(argument))[0])
        elif not os.path.lexists(argument) and (matches := sorted(glob.glob(argument, recursive=True))):
            for match in matches:
                yield from map(os.fspath, find_pictures(Path(match))[0]) if os.path.isdir(match) else [match]
        else:
            yield argument


class Output:
    """Where answers go, and in which form."""

    def __init__(self, form: Format, path: Path | None, stream: TextIO) -> None:
        """`path` is written whole or not at all; without it, `stream` gets the answers as they come."""
        self.form, self.path, self.stream = form, path, stream

    def write(
        self,
        classifier: Classifier,
        arguments: Iterable[str],
        lines: Iterable[str],
        *,
        top_k: int,
        workers: int | None,
        console: Quiet,
    ) -> tuple[int, int]:
        """Answer for all photos that `arguments` and `lines` mean; return how many there were, and how many failed."""
        photos = list(expand(arguments, lines)) if "-" not in arguments else expand(arguments, lines)
        num_photos = len(photos) if isinstance(photos, list) else 0
        counts = [0, 0]

        def counted() -> Iterator[Prediction]:
            for answer in classifier.predict_many(photos, top_k, workers=workers):
                counts[0] += 1
                counts[1] += answer.error is not None
                yield answer

        # Answers on a terminal are progress enough; a bar is for those that go to a file.
        answers = console.track(counted(), num_photos, "Predicting") if self.path else counted()
        pieces = render(answers, self.form)
        if self.path:
            files.write_whole(self.path, "".join(pieces).encode("utf-8", "surrogateescape"))
        else:
            for piece in pieces:
                self.stream.write(piece)
                self.stream.flush()
        return counts[0], counts[1]


def render(answers: Iterable[Prediction], form: Format) -> Iterator[str]:
    """Yield the answers as text, piece by piece, in their order."""
    if form == "json":
        yield "["
        for number, answer in enumerate(answers):
            yield ("," if number else "") + "\n" + json.dumps(answer.to_json(), ensure_ascii=False)
        yield "\n]\n"
    elif form == "jsonl":
        for answer in answers:
            yield json.dumps(answer.to_json(), ensure_ascii=False) + "\n"
    elif form == "csv":
        yield _csv_line(("path", "label", "probability", "rejected", "error"))
        for a in answers:
            share = "" if a.probability is None else f"{a.probability:.6f}"
            yield _csv_line((a.path, a.label or "", share, str(a.rejected).lower(), a.error or ""))
    else:
        for answer in answers:
            yield _table_line(answer)


def _csv_line(values: tuple[str, ...]) -> str:
    buffer = io.StringIO(newline="")
    csv.writer(buffer, lineterminator="\n").writerow([harmless(value) for value in values])
    return buffer.getvalue()


def _table_line(answer: Prediction) -> str:
    if answer.error:
        return f"{answer.path}\n    not usable: {answer.error}\n"
    best, *others = answer.top
    rest = ", ".join(f"{score.label} {score.probability:.1%}" for score in others if score.probability >= 0.001)
    return f"{answer.path}\n    {best.probability:6.1%}  {best.label}{f'   ({rest})' if rest else ''}\n"
