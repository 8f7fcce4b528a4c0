"""Commands that make a model: demo, train, find-lr."""

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from depthwise.cli.app import (
    AsJson,
    Device,
    Given,
    Overwrite,
    Threads,
    Workers,
    app,
    name_skipped,
    print_json,
    terminal_of,
)
from depthwise.config import TrainConfig
from depthwise.errors import UserError, require

if TYPE_CHECKING:
    from depthwise.report.terminal import Terminal


@dataclass(frozen=True, kw_only=True)
class TrainFlags(TrainConfig):
    """The flags of `depthwise train`."""

    recipe: str = "auto"
    """Settings for all flags not given: auto (by the pictures), none (the defaults below), a name, or a .toml file."""


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
    config: Annotated[TrainFlags | None, Parameter(name="*")] = None,
    valid: float | None = None,
    test: float | None = None,
    init: Path | None = None,
    group_by: str | None = None,
    quarantine: Path | None = None,
    resume: Literal["never", "auto"] = "never",
    save_every: str = "300s",
    overwrite: Overwrite = False,
    allow_changes: Annotated[bool, Parameter(negative="")] = False,
    tensorboard: Annotated[bool, Parameter(negative="")] = False,
    report: bool = True,
    device: Device = "auto",
    threads: Threads = None,
    workers: Workers = None,
    cache_size: float | None = None,
    given: Given = (),
) -> int:
    """Train a network and keep everything in the folder RUN. Without flags, a recipe is chosen by the pictures.

    Example: depthwise train photos --out runs/first

    Parameters
    ----------
    data
        A splits.csv, a folder with train/ and valid/ or test/, or a folder of class folders.
    out
        The folder RUN; by default runs/DATA-MODEL.
    valid
        Where there is no split, or one without validation: share of each class for it (0.15).
    test
        Where there is no split yet: share of each class for the test (0.15).
    init
        Model file or run folder to start from; classes that both have keep their weights.
    group_by
        Where there is no split, or one without validation: what to keep together, as for depthwise split.
    quarantine
        Where there is no split yet: list of pictures to leave out, as depthwise audit writes it.
    resume
        Go on with the run in RUN, or start one; --resume alone means auto.
    save_every
        Save the state after so many steps (200) or seconds (300s), and at the end of each epoch.
    allow_changes
        With --resume: go on although the settings differ.
    cache_size
        GiB of decoded pictures and features kept on disk for further runs (20, at most a tenth of the free disk);
        0: none.
    tensorboard
        Also write events for TensorBoard to RUN/tensorboard.
    report
        At the end, write the page RUN/report.html.
    """
    require("torch", "train", "training")
    from depthwise.artifact import read_card
    from depthwise.report.judgement import calibration_line
    from depthwise.workflows.run_folder import RunFolder
    from depthwise.workflows.staged_training import train as run_train

    terminal = terminal_of()
    wishes = {name: getattr(config, name) for name in given if hasattr(config, name)}
    asked = {"valid": valid, "test": test, "group_by": group_by, "quarantine": quarantine}
    result = run_train(
        data,
        out,
        wishes,
        split={name: value for name, value in asked.items() if value is not None},
        init=init,
        resume=resume,
        save_every=save_every,
        overwrite=overwrite,
        allow_changes=allow_changes,
        tensorboard=tensorboard,
        device=device,
        threads=threads,
        workers=workers,
        cache_size=cache_size,
        console=terminal,
    )
    if result.rank:
        return 0
    name_skipped(result.skipped, terminal)
    best, folder = RunFolder(result.folder).best, shlex.quote(str(result.folder))
    which = f"epoch {result.best_epoch}" if result.best_epoch else "the last layer alone"
    print(f"Best: {which} with {result.best_top1:.2%} of the validation pictures right; in {folder}")
    if best.exists():
        found = read_card(best).calibration
        print(calibration_line("valid", found["error_before"], found["error_after"]))
    if report:
        _report(result.folder, config or TrainFlags(), device, workers, terminal)
    print(f"Next: depthwise evaluate {folder} --split test")
    return 1 if result.skipped else 0


def _report(folder: Path, config: TrainConfig, device: str, workers: int | None, terminal: "Terminal") -> None:
    """Write the run's page; the run is done, so that a page which cannot be made is a note and no failure."""
    from depthwise.models.foreign import is_code
    from depthwise.report.run_page import write_report

    factory = config.model if is_code(config.model) else None
    try:
        page = write_report(folder, factory=factory, device=device, workers=workers, console=terminal)
        print(f"Report: {page}")
    except UserError as error:
        terminal.warn(f"the run is complete, but its page was not written: {error}")


@app.command(sort_key=4)
def find_lr(
    data: Path,
    /,
    *,
    config: Annotated[TrainFlags | None, Parameter(name="*")] = None,
    init: Path | None = None,
    low: float | None = None,
    high: float | None = None,
    steps: int = 200,
    svg: Path | None = None,
    overwrite: Overwrite = False,
    json_: AsJson = False,
    device: Device = "auto",
    threads: Threads = None,
    workers: Workers = None,
    given: Given = (),
) -> int:
    """Find a learning rate: let it rise in a short trial run, and see where the loss falls and where it breaks.

    Takes all settings of depthwise train, of a recipe's two stages the second's, after the first; what it trains is
    thrown away.

    Example: depthwise find-lr photos --model mobilenet_v3_small --svg lr.svg

    Parameters
    ----------
    data
        A splits.csv, a folder with train/ and valid/ or test/, or a folder of class folders.
    init
        Model file or run folder to start from.
    low
        Learning rate of the first step; by default a thousandth of what train would use.
    high
        Learning rate of the last step; by default a hundred times what train would use.
    steps
        Steps of the trial.
    svg
        File to draw the loss over the learning rate into.
    """
    require("torch", "train", "training")
    from depthwise import files
    from depthwise.report.lr_picture import draw_lr
    from depthwise.report.lr_text import lr_text
    from depthwise.report.target import check_target
    from depthwise.workflows.finding_lr import find_lr as run_find

    if svg:
        check_target(svg, "--svg", ".svg", overwrite=overwrite)
    wishes = {name: getattr(config, name) for name in given if hasattr(config, name)}
    found = run_find(
        data,
        wishes,
        init=init,
        low=low,
        high=high,
        num_steps=steps,
        device=device,
        threads=threads,
        workers=workers,
        console=terminal_of(is_say_result=not json_),
    )
    if svg and found.points:
        files.write_whole(svg, draw_lr(found).encode())
    if json_:
        print_json(found.to_json())
        return 0
    print(lr_text(found))
    if svg and found.points:
        print(f"\nWritten: {svg}")
    if found.suggestion:
        recipe = "" if "recipe" in wishes else f" --recipe {found.recipe}"
        how = f"{recipe} --model {shlex.quote(found.model)} --lr {found.suggestion:.2g}"
        print(f"\nNext, with your other flags: depthwise train {shlex.quote(str(data))}{how}")
    return 0
