"""Commands that make a model and tell how good it is: demo, train, evaluate."""

import json
import shlex
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from depthwise.cli.app import (
    AsJson,
    Device,
    Engine,
    EngineThreads,
    Factory,
    Overwrite,
    Threads,
    Workers,
    app,
    name_skipped,
    terminal_of,
)
from depthwise.config import SplitConfig, TrainConfig
from depthwise.errors import require


@app.command(sort_key=1)
def demo(*, out: Path = Path("depthwise-demo"), seed: int = 0) -> int:
    """Walk the whole way on 1,500 pictures that ship with the package: split, train, evaluate, predict.

    Example: depthwise demo

    Parameters
    ----------
    out
        Folder for the photos and the run; one from an earlier demo is replaced.
    seed
        Decides split, weights and order.
    """
    require("torch", "train", "the demo trains a network; it")
    from depthwise.cli import run
    from depthwise.workflows.demo import prepare, steps

    num_images = prepare(out)
    print(f"{num_images:,} pictures of clothes in 10 class folders: {out / 'photos'}")
    status = 0
    for step in steps(out, seed):
        print(f"\n== {step.title}\n$ depthwise {shlex.join(step.command)}", flush=True)
        status = status or run(step.command)
    print(
        f"\nThat was all of it. Now with your own photos: depthwise train PHOTOS --out RUN\nEverything made here: {out}"
    )
    return status


@app.command(sort_key=4)
def train(
    data: Path,
    /,
    *,
    out: Path | None = None,
    config: Annotated[TrainConfig | None, Parameter(name="*")] = None,
    valid: float | None = None,
    test: float | None = None,
    init: Path | None = None,
    group_by: str | None = None,
    quarantine: Path | None = None,
    resume: Literal["never", "auto"] = "never",
    save_every: str = "300s",
    overwrite: Overwrite = False,
    allow_changes: Annotated[bool, Parameter(negative="")] = False,
    device: Device = "auto",
    threads: Threads = None,
    workers: Workers = None,
) -> int:
    """Train a network and keep everything in the folder RUN.

    Example: depthwise train photos --model mobilenet_v3_small --epochs 30 --out runs/first

    Parameters
    ----------
    data
        A splits.csv, a folder with train/ and valid/ or test/, or a folder of class folders.
    out
        The folder RUN; by default runs/DATA-MODEL.
    valid
        Where there is no split yet: share of each class for validation (0.15).
    test
        Where there is no split yet: share of each class for the test (0.15).
    init
        Model file or run folder to start from; classes that both have keep their weights.
    group_by
        Where there is no split yet: what to keep together, as for depthwise split.
    quarantine
        Where there is no split yet: list of pictures to leave out, as depthwise audit writes it.
    resume
        Go on with the run in RUN, or start one; --resume alone means auto.
    save_every
        Save the state after so many steps (200) or seconds (300s), and at the end of each epoch.
    allow_changes
        With --resume: go on although the settings differ.
    """
    require("torch", "train", "training")
    from depthwise.workflows.training import train as run_train

    config, terminal = config or TrainConfig(), terminal_of()
    wishes = {"valid": valid, "test": test, "group_by": group_by, "quarantine": quarantine}
    shares: dict[str, Any] = {name: value for name, value in wishes.items() if value is not None}
    result = run_train(
        data,
        out,
        config,
        SplitConfig(seed=config.seed, **shares),
        init=init,
        resume=resume,
        save_every=save_every,
        overwrite=overwrite,
        allow_changes=allow_changes,
        device=device,
        threads=threads,
        workers=workers,
        console=terminal,
    )
    if result.rank:
        return 0
    name_skipped(result.skipped, terminal)
    folder = shlex.quote(str(result.folder))
    print(f"Best: epoch {result.best_epoch} with {result.best_top1:.2%} of the validation pictures right; in {folder}")
    print(f"Next: depthwise evaluate {folder} --split test")
    return 1 if result.skipped else 0


@app.command(sort_key=5)
def evaluate(
    model: Path,
    data: Path | None = None,
    /,
    *,
    split: Literal["train", "valid", "test", "all"] = "test",
    allow_other_split: Annotated[bool, Parameter(negative="")] = False,
    json_: AsJson = False,
    factory: Factory = None,
    device: Device = "auto",
    engine: Engine = "auto",
    threads: EngineThreads = None,
    workers: Workers = None,
) -> int:
    """Tell how good a model is: accuracy, loss, recall and precision per class.

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
        allow_other_split=allow_other_split,
        factory=factory,
        device=device,
        choice=Choice(engine, threads),
        workers=workers,
        console=terminal,
    )
    from depthwise.report.tables import evaluation_table

    print(json.dumps(result.to_json(), ensure_ascii=False) if json_ else evaluation_table(result))
    name_skipped(result.skipped, terminal)
    if not json_:
        print(f"\nNext: depthwise predict {shlex.quote(str(model))} PHOTO...")
    return 1 if result.skipped else 0
