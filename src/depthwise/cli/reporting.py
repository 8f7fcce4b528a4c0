"""The command that shows what came of training: report."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from depthwise.cli.app import Device, Factory, Overwrite, Workers, app, name_skipped, terminal_of
from depthwise.errors import UserError, require

if TYPE_CHECKING:
    from depthwise.report.terminal import Terminal
    from depthwise.workflows.reporting import RunSummary


@app.command(sort_key=5)
def report(
    run: Path,
    /,
    *others: Path,
    test: Annotated[bool, Parameter(negative="")] = False,
    data: Path | None = None,
    out: Path | None = None,
    figures: Path | None = None,
    overwrite: Overwrite = False,
    factory: Factory = None,
    device: Device = "auto",
    workers: Workers = None,
) -> int:
    """Write a page that shows a run: curves, accuracy with intervals, confusion, mistakes, and how it was made.

    Of several runs the page compares them. A page is one file that opens offline.

    Example: depthwise report runs/first

    Parameters
    ----------
    run
        A run folder or a model file.
    others
        More of them, to compare.
    test
        Measure on the test pictures, not on the validation pictures.
    data
        The pictures, for a model file without a splits.csv beside it.
    out
        The page to write; by default RUN/report.html, with --test RUN/report-test.html, of several comparison.html.
    figures
        Folder for PNG files of curves, learning rate, confusion and reliability, too.
    """
    require("torch", "train", "writing a page")
    from depthwise.report.target import check_target, check_targets

    if others and figures:
        raise UserError("--figures draws one run; give it with each RUN alone")
    target = out or _usual_target(run, is_test=test, is_comparison=bool(others))
    is_ours = out is None and not others and run.is_dir()  # made from the run, so it may be made anew
    check_target(target, "--out", ".html", overwrite=overwrite or is_ours)
    if figures:
        from depthwise.report.figures import NAMES

        check_targets(figures, NAMES, "--figures", overwrite=overwrite)
    terminal = terminal_of(is_say_result=False)
    options = {"test": test, "data": data, "factory": factory, "device": device, "workers": workers}
    if others:
        return _compare([run, *others], target, terminal, options)
    return _show(run, target, figures, terminal, options)


def _usual_target(run: Path, *, is_test: bool, is_comparison: bool) -> Path:
    if is_comparison:
        return Path("comparison.html")
    name = "report-test.html" if is_test else "report.html"
    return run / name if run.is_dir() else Path(f"{run.stem}-{name}")


def _show(run: Path, target: Path, figures: Path | None, terminal: "Terminal", options: dict[str, Any]) -> int:
    from depthwise.report.headline import headline, notices
    from depthwise.report.run_page import write_run_page
    from depthwise.workflows.reporting import gather

    found = gather(run, console=terminal, **options)
    written = [target]
    write_run_page(found, target)
    if figures:
        from depthwise.report.figures import write_figures

        written += write_figures(found, figures)
    for words in notices(found):
        terminal.warn(words)
    name_skipped(found.measured.skipped, terminal)
    told = headline(found)
    print(f"{told.told} {told.means}")
    print(f"Written: {', '.join(map(str, written))}")
    named = shlex.quote(str(run))
    step = f"export {named} --out model.onnx" if options["test"] else f"report {named} --test"
    print(f"\nNext: depthwise {step}")
    return 1 if found.measured.skipped else 0


def _compare(runs: list[Path], target: Path, terminal: "Terminal", options: dict[str, Any]) -> int:
    from depthwise.report.comparison_page import is_same_photos, write_comparison_page
    from depthwise.report.tables import comparison_table
    from depthwise.workflows.reporting import summarise

    found = [summarise(run, console=terminal, **options) for run in runs]
    write_comparison_page(found, target)
    if not is_same_photos(found):
        terminal.warn("these runs were not measured on the same photos: their numbers do not tell which is better")
    print(comparison_table(found))
    print(f"Written: {target}")
    print(f"\nNext: depthwise {_after_comparison(found, runs, is_test=options['test'])}")
    return 1 if any(one.measured.skipped for one in found) else 0


def _after_comparison(found: list["RunSummary"], runs: list[Path], *, is_test: bool) -> str:
    """Return the next command; validation photos choose its run, test photos never do."""
    if is_test:
        return "export RUN --out model.onnx   (RUN: the one that was best on validation photos)"
    best = max(zip(found, runs, strict=True), key=lambda pair: pair[0].assessment.scores.top1)[1]
    return f"report {shlex.quote(str(best))}"
