"""Commands that judge models: evaluate, calibrate, compare."""

import shlex
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from depthwise.cli.app import (
    AsJson,
    Device,
    Engine,
    EngineThreads,
    Factory,
    ImageSize,
    TrustCode,
    Views,
    Workers,
    app,
    asking,
    name_skipped,
    print_json,
    terminal_of,
)
from depthwise.errors import require


@app.command(sort_key=5)
def evaluate(
    model: Path,
    data: Path | None = None,
    /,
    *,
    split: Literal["train", "valid", "test", "all"] = "test",
    allow_other_split: Annotated[bool, Parameter(negative="")] = False,
    views: Views = "1",
    image_size: ImageSize = None,
    target_error: float | None = None,
    json_: AsJson = False,
    factory: Factory = None,
    device: Device = "auto",
    engine: Engine = "auto",
    threads: EngineThreads = None,
    trust_code: TrustCode = False,
    workers: Workers = None,
) -> int:
    """Tell how good a model is and how sure that is: accuracy, calibration, recall and precision per class.

    Example: depthwise evaluate runs/first --split test

    Parameters
    ----------
    model
        A run folder or a model file.
    data
        Pictures with classes; by default those that the run was given.
    split
        Which part of them.
    allow_other_split
        Evaluate even on pictures that the run used otherwise.
    target_error
        Say how many photos would prove that at most this share of answers is wrong (0.01).
    """
    from depthwise.deploy.engine import SUFFIXES, Choice
    from depthwise.workflows.evaluation import evaluate as run_evaluate

    if model.suffix not in SUFFIXES:
        require("torch", "train", "evaluating a model file")
    terminal = terminal_of(is_say_result=False)
    result = run_evaluate(
        model,
        data,
        split,
        views=views,
        image_size=image_size,
        target_error=target_error,
        allow_other_split=allow_other_split,
        factory=factory,
        device=device,
        choice=Choice(engine, threads),
        trust_code=trust_code,
        workers=workers,
        console=terminal,
    )
    from depthwise.report.judgement import calibration_line, evaluation_text

    if json_:
        print_json(result.to_json())
    else:
        print(evaluation_text(result))
    name_skipped(result.skipped, terminal)
    if not json_:
        print("\n" + calibration_line(split, result.assessment.error_before, result.calibration_error))
        print(f"\nNext: {asking(model)}")
    return 1 if result.skipped else 0


@app.command(sort_key=5)
def calibrate(
    model: Path,
    /,
    *,
    positive: str | None = None,
    max_miss_rate: float | None = None,
    min_precision: float | None = None,
    reject_rate: float | None = None,
    clear: Annotated[bool, Parameter(negative="")] = False,
    json_: AsJson = False,
    factory: Factory = None,
    workers: Workers = None,
) -> int:
    """Set when a model answers with a class and when it rejects a photo, on the run's validation photos.

    The rule is stored in the model file, goes into every export, and predict and evaluate apply it.

    Example: depthwise calibrate runs/first --positive defect --max-miss-rate 0.01 --reject-rate 0.02

    Parameters
    ----------
    model
        A run folder, or the model file in it.
    positive
        The class that must not be missed.
    max_miss_rate
        Share of its photos that may be missed (0.01).
    min_precision
        Reject answers, class by class, so that this share of the others is right (0.95).
    reject_rate
        Reject photos unlike those of training as unknown; this share of good photos may be lost by it (0.02).
    clear
        Drop the rule that was set before.
    """
    require("torch", "train", "calibrating")
    from depthwise.report.rules import calibration_text
    from depthwise.workflows.calibrating import calibrate as run_calibrate

    terminal = terminal_of(is_say_result=False)
    found = run_calibrate(
        model,
        positive=positive,
        max_miss_rate=max_miss_rate,
        min_precision=min_precision,
        reject_rate=reject_rate,
        clear=clear,
        factory=factory,
        workers=workers,
        console=terminal,
    )
    if json_:
        print_json(found.to_json())
    else:
        print(f"{calibration_text(found)}\n\nNext: depthwise evaluate {shlex.quote(str(model))} --split test")
    name_skipped(found.skipped, terminal)
    return 1 if found.skipped else 0


@app.command(sort_key=5)
def compare(
    old: Path,
    new: Path,
    data: Path | None = None,
    /,
    *,
    split: Literal["valid", "test", "all"] = "test",
    margin: float = 0.0,
    allow_other_split: Annotated[bool, Parameter(negative="")] = False,
    json_: AsJson = False,
    factory: Factory = None,
    device: Device = "auto",
    trust_code: TrustCode = False,
    workers: Workers = None,
) -> int:
    """Tell whether a new model is worse than an old one, photo by photo. Exit status 1: it is; 0: it is not.

    Worse is: the 95 % interval of the difference in accuracy lies below 0; with --margin M: it reaches below -M.

    Example: depthwise compare runs/first runs/second photos

    Parameters
    ----------
    old
        A run folder, a model file or an exported file.
    new
        Another one, of the same classes.
    data
        Pictures with classes; by default those that the runs were given.
    split
        Which part of them.
    margin
        Ask for proof that at most this share of the photos is lost (0.01).
    allow_other_split
        Compare even on pictures that a run used otherwise.
    """
    from depthwise.deploy.engine import SUFFIXES
    from depthwise.report.difference import comparison_text
    from depthwise.workflows.comparing import compare as run_compare

    if not {old.suffix, new.suffix} <= {*SUFFIXES}:
        require("torch", "train", "comparing model files")
    terminal = terminal_of(is_say_result=False)
    found = run_compare(
        old,
        new,
        data,
        split,
        margin=margin,
        allow_other_split=allow_other_split,
        factory=factory,
        device=device,
        trust_code=trust_code,
        workers=workers,
        console=terminal,
    )
    if json_:
        print_json(found.to_json())
    else:
        print(comparison_text(found))
    name_skipped(found.skipped, terminal)
    if not json_:
        print(f"\nNext: {asking(old if found.is_worse else new)}")
    return 1 if found.is_worse else 0
