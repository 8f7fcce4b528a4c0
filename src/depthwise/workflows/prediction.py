"""`depthwise predict`: from what people type to a stream of photos, and from answers to text."""

import glob
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, TextIO

from depthwise import files
from depthwise.console import Quiet, shown
from depthwise.data.folders import find_pictures
from depthwise.data.table import csv_line, harmless
from depthwise.data.views import ViewKind
from depthwise.deploy.engine import Choice
from depthwise.deploy.predict import Classifier, Prediction, Score
from depthwise.errors import Interrupted, UserError
from depthwise.workflows.answer_file import ANY_NAME, AnswerFile, maker
from depthwise.workflows.loading import load
from depthwise.workflows.run_folder import find_model
from depthwise.workflows.stopping import Stopped, signum_of, stoppable

Format = Literal["table", "json", "jsonl", "csv"]
ENDINGS: dict[str, Format] = {".json": "json", ".jsonl": "jsonl", ".csv": "csv"}
COLUMNS = ("path", "label", "probability", "rejected", "reason", "error", "top")
"""Of CSV, what JSON has; `top` is a JSON object from class to probability, best first."""


def expand(arguments: Iterable[str], lines: Iterable[str]) -> Iterator[str]:
    """Yield the photos that the arguments mean, in order: files, folders, globs, and '-' for `lines`, one path each.

    What is nothing of these is yielded as it is, so that it becomes an answer with an error and not silence.
    """
    for argument in arguments:
        if argument == "-":
            yield from (line.rstrip("\r\n") for line in lines if line.strip())
        elif os.path.isdir(argument):
            yield from find_pictures(Path(argument))[0]
        elif not os.path.lexists(argument) and (matches := sorted(glob.glob(argument, recursive=True))):
            for match in matches:
                yield from find_pictures(Path(match))[0] if os.path.isdir(match) else [match]
        else:
            yield argument


@dataclass
class Tally:
    """How many photos there were."""

    num_answers: int = 0
    """With those that could not be used."""
    num_failed: int = 0
    """Those that could not be used."""
    num_kept: int = 0
    """Those of `num_answers` that were in the file already."""


@dataclass(frozen=True)
class Output:
    """Where answers go, and in which form."""

    form: Format
    path: Path | None
    """File to write; None: `stream` gets the answers as they come."""
    stream: TextIO
    is_resumed: bool = False
    """Go on with the file that is there."""

    def __post_init__(self) -> None:
        if self.is_resumed and (self.path is None or self.form not in ("csv", "jsonl")):
            raise UserError(
                "--resume goes on with a file of rows: it needs --out FILE, and csv or jsonl as --format or ending"
            )


def predict(
    model: str | Path,
    arguments: list[str],
    lines: Iterable[str],
    output: Output,
    *,
    top_k: int = 5,
    views: ViewKind = "1",
    image_size: int | None = None,
    factory: str | None = None,
    device: str = "auto",
    choice: Choice | None = None,
    trust_code: bool = False,
    workers: int | None = None,
    console: Quiet | None = None,
) -> Tally:
    """Answer for all photos that `arguments` and `lines` mean, by the model as `load` opens it.

    CSV and JSON lines grow in their file, and Ctrl-C or SIGTERM leaves whole rows there (raises Interrupted); the other
    forms are written whole or not at all. Lines that come slowly are answered as they come.
    """
    is_live = "-" in arguments
    is_one = len(arguments) == 1 and not is_live and os.path.isfile(arguments[0])
    options: dict[str, Any] = {"views": views, "image_size": image_size}
    console, choice = console or Quiet(), choice or Choice()
    choice = choice if is_one else _for_many(model, choice)
    classifier = load(model, device, factory, **options, choice=choice, trust_code=trust_code, console=console)
    photos = expand(arguments, lines) if is_live else list(expand(arguments, lines))
    work = _Work(classifier, top_k, workers, is_live, console)
    if output.path is None:
        for piece in render(work.answers(photos), output.form, views, is_ascii=True):
            output.stream.write(piece)
            output.stream.flush()
    elif output.form in ("csv", "jsonl"):
        made_by = maker(find_model(model), output.form, top_k=top_k, **options)
        _grow(work, photos, AnswerFile(output.path, made_by, header(output.form, views), is_resumed=output.is_resumed))
    else:
        text = "".join(render(work.tracked(photos), output.form, views))
        files.write_whole(output.path, text.encode(*ANY_NAME))
    return work.tally


def _for_many(model: str | Path, choice: Choice) -> Choice:
    """Return the choice for many photos: in ONNX Runtime each processor reads some and computes their answers.

    One photo has all processors to itself, and so has each group of photos in the other engines, which answer one group
    at a time.
    """
    is_by_each = find_model(model).suffix == ".onnx" and not choice.engine.startswith("openvino")
    return replace(choice, threads=1) if is_by_each and choice.threads is None else choice


class _Work:
    """Answers, counted."""

    def __init__(self, classifier: Classifier, top_k: int, workers: int | None, is_live: bool, console: Quiet) -> None:
        self.classifier, self.console, self.tally = classifier, console, Tally()
        self.options: dict[str, Any] = {"top_k": top_k, "workers": workers, "is_live": is_live}

    def answers(self, photos: Iterable[str]) -> Iterator[Prediction]:
        for answer in self.classifier.predict_many(photos, **self.options):
            self.tally.num_answers += 1
            self.tally.num_failed += answer.error is not None
            yield answer

    def tracked(self, photos: Iterable[str]) -> Iterator[Prediction]:
        """Answers on a terminal are progress enough; a bar is for those that go to a file."""
        total = len(photos) if isinstance(photos, list) else 0
        return self.console.track(self.answers(photos), total, "Predicting")


def _grow(work: _Work, photos: Iterable[str], file: AnswerFile) -> None:
    """Add the answers that are missing to the file."""
    num_kept = len(file.kept)
    work.tally = Tally(num_kept, file.num_kept_failed, num_kept)
    missing: Iterable[str] = (photo for photo in photos if photo not in file.kept)
    if isinstance(photos, list):  # then it is known how many are left
        missing = list(missing)
    form, views = file.made_by["format"], file.made_by["views"]
    num_written = num_kept
    try:
        with stoppable(), file:
            for answer in work.tracked(missing):
                file.write(row(answer, form, views).encode(*ANY_NAME))
                num_written += 1
    except (KeyboardInterrupt, Stopped) as stop:
        told = f"Stopped: {file.path} holds {num_written:,} answers.\nGo on with the same command and --resume."
        raise Interrupted(told, signum_of(stop)) from stop


def render(
    answers: Iterable[Prediction], form: Format, views: ViewKind = "1", *, is_ascii: bool = False
) -> Iterator[str]:
    """Yield the answers as text, piece by piece, in their order; `is_ascii` as for `row`."""
    if form == "json":
        yield "["
        for number, answer in enumerate(answers):
            yield ("," if number else "") + "\n" + row(answer, "jsonl", is_ascii=is_ascii).rstrip("\n")
        yield "\n]\n"
        return
    if first := header(form, views):
        yield first
    for answer in answers:
        yield row(answer, form, views, is_ascii=is_ascii)


def header(form: Format, views: ViewKind = "1") -> str:
    """Return the line before the rows, or ''."""
    return _csv_line((*COLUMNS, "single_view") if views != "1" else COLUMNS) if form == "csv" else ""


def row(answer: Prediction, form: Format, views: ViewKind = "1", *, is_ascii: bool = False) -> str:
    """Return one answer as csv, jsonl or table; `views` that it was made of.

    `is_ascii`: the JSON in it is, for a stream of any encoding.
    """
    if form == "csv":
        return _csv_row(answer, has_several_views=views != "1", is_ascii=is_ascii)
    if form == "jsonl":
        return json.dumps(answer.to_json(), ensure_ascii=is_ascii) + "\n"
    return _table_line(answer)


def _csv_row(answer: Prediction, *, has_several_views: bool, is_ascii: bool) -> str:
    share = "" if answer.probability is None else f"{answer.probability:.6f}"
    cells = [answer.path, answer.label or "", share, str(answer.rejected).lower()]
    cells += [answer.reason or "", answer.error or "", _scores(answer.top, is_ascii)]
    if has_several_views:
        cells.append(_scores((answer.single_view,) if answer.single_view else (), is_ascii))
    return _csv_line(cells)


def _scores(scores: tuple[Score, ...], is_ascii: bool) -> str:
    values = {score.label: round(score.probability, 6) for score in scores}
    return json.dumps(values, ensure_ascii=is_ascii) if values else ""


def _csv_line(values: Sequence[str]) -> str:
    return csv_line([harmless(value) for value in values])


def _table_line(answer: Prediction) -> str:
    path = shown(answer.path)
    if answer.error:
        return f"{path}\n    not usable: {shown(answer.error)}\n"
    others = [score for score in answer.top if score.label != answer.label and score.probability >= 0.001]
    rest = ", ".join(f"{shown(score.label)} {score.probability:.1%}" for score in others)
    line = f"{path}\n    {answer.probability:6.1%}  {shown(answer.label)}{f'   ({rest})' if rest else ''}\n"
    if answer.single_view:
        line += f"    one view: {shown(answer.single_view.label)} {answer.single_view.probability:.1%}\n"
    return line + (f"    rejected: {shown(answer.reason)}\n" if answer.rejected else "")
