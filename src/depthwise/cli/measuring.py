"""Commands that measure on this machine: bench, bench kernels, recommend."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from depthwise.cli.app import (
    AsJson,
    Factory,
    Overwrite,
    Threads,
    TrustCode,
    Workers,
    app,
    asking,
    bench_app,
    print_json,
    terminal_of,
)
from depthwise.errors import UserError, require

if TYPE_CHECKING:
    from depthwise.workflows.recommending import Recommendation


@bench_app.default
def bench(
    model: Path,
    /,
    *,
    seconds: float = 20.0,
    factory: Factory = None,
    trust_code: TrustCode = False,
    json_: AsJson = False,
) -> int:
    """Measure how fast a model answers on this machine, by engine, threads and batch, and how much memory it takes.

    What answers fastest is remembered, for many pictures and for one at a time: evaluate takes the former from then on,
    depthwise.load in Python either.

    Example: depthwise bench model.onnx

    Parameters
    ----------
    model
        An exported file (.onnx and .xml need no torch), or a run folder or a model file (then PyTorch computes).
    seconds
        About how long to measure times; memory comes on top. What does not fit in is left out, and said so.
    """
    if model.suffix not in (".onnx", ".xml", ".tflite"):
        require("torch", "train", "measuring a model file in PyTorch")
    from depthwise.deploy.engine import SUFFIXES
    from depthwise.report.measured import bench_text
    from depthwise.workflows.benching import bench as run_bench

    terminal = terminal_of(is_say_result=False)
    found = run_bench(model, seconds=seconds, factory=factory, trust_code=trust_code, console=terminal)
    if json_:
        print_json(found.to_json(), indent=1)
        return 0
    exporting = f"depthwise export {shlex.quote(str(model))} --out model.onnx"
    print(f"{bench_text(found)}\n\nNext: {asking(model) if model.suffix in SUFFIXES else exporting}")
    return 0


@bench_app.command(name="kernels")
def bench_kernels(
    *,
    model: str = "mobilenet_v2",
    image_size: int | None = None,
    batch_size: int = 32,
    precision: Literal["auto", "fp32", "bf16"] = "auto",
    threads: Threads = None,
    json_: AsJson = False,
) -> int:
    """Measure where in a network's training the fused kernels beat PyTorch's on this machine, and what is used.

    Example: depthwise bench kernels --model mobilenet_v2

    Parameters
    ----------
    model
        Network; all names: depthwise models.
    image_size
        Side of its input in px; by default the paper's.
    batch_size
        Pictures in a step; no more than 16 of them are measured.
    precision
        auto: bfloat16 where the processor has it.
    """
    require("torch", "train", "measuring kernels")
    from depthwise.report.measured import kernels_text
    from depthwise.workflows.bench_kernels import bench_kernels as run_bench

    found = run_bench(
        model,
        image_size=image_size,
        batch_size=batch_size,
        precision=precision,
        threads=threads,
        console=terminal_of(is_say_result=False),
    )
    if json_:
        print_json(found.to_json(), indent=1)
        return 0
    print(f"{kernels_text(found)}\n\nNext: depthwise train PHOTOS --model {model}   (--kernels auto, torch or fused)")
    return 0


@app.command(sort_key=11)
def recommend(
    data: Path | None = None,
    /,
    *,
    max_ms: float = 10.0,
    max_mb: float | None = None,
    pattern: str = "*",
    image_size: int | None = None,
    num_classes: int | None = None,
    threads: Annotated[int | None, Parameter(help="Processor cores to compute with; by default all.")] = None,
    engine: Literal["onnxruntime", "openvino"] = "onnxruntime",
    minutes: float = 10.0,
    workers: Workers = None,
    svg: Path | None = None,
    refresh: Annotated[bool, Parameter(negative="")] = False,
    overwrite: Overwrite = False,
    json_: AsJson = False,
) -> int:
    """Find the networks that answer in time on this machine, ranked by their published ImageNet accuracy.

    Measures them with random weights, as exported files in what will run them, one picture at a time: time does not
    depend on weights. The first time takes some seconds per network; results are kept. With DATA, the most promising
    are trained on your photos for some epochs and ranked by these; without, nothing is tried on photos.

    Example: depthwise recommend photos --max-ms 10 --max-mb 8

    Parameters
    ----------
    data
        A splits.csv, a folder with splits or one of class folders to try networks on.
    max_ms
        Median milliseconds that one picture may take.
    max_mb
        Megabytes that the exported file may have; by default any.
    pattern
        Networks to look at, with * and ?.
    image_size
        Side of the pictures, px; by default the paper's. The accuracy stays that of the paper's size.
    num_classes
        Classes that the network tells apart: fewer make small networks' files much smaller. By default as many as
        DATA has, else 1000.
    engine
        What runs the exported files: onnxruntime, or openvino where it is installed.
    minutes
        How long the trial on DATA may take; the same command goes on with one that was too short or stopped.
    svg
        File to draw accuracy against time into.
    refresh
        Measure anew what was measured before.
    """
    require("torch", "train", "measuring networks")
    from depthwise.report.measured import recommendation_text
    from depthwise.report.target import check_target
    from depthwise.workflows.recommending import Budget
    from depthwise.workflows.recommending import recommend as run_recommend

    if svg:
        check_target(svg, "--svg", ".svg", overwrite=overwrite)
    if data and num_classes is None:
        from depthwise.data.index import read_index

        num_classes = len(read_index(data).classes)
    found = run_recommend(
        Budget(max_ms, max_mb),
        pattern=pattern,
        image_size=image_size,
        num_classes=1000 if num_classes is None else num_classes,
        threads=threads,
        engine=engine,
        refresh=refresh,
        console=terminal_of(is_say_result=False),
    )
    if data:
        return _try_out(data, found, minutes, workers, svg, json_)
    if svg:
        _draw(svg, found)
    if json_:
        print_json(found.to_json(), indent=1)
        return 0
    print(recommendation_text(found))
    if svg:
        print(f"\nWritten: {svg}")
    best = next((choice for choice in found.choices if choice.is_unbeaten), None)
    if best:
        print(f"\nNext: depthwise train PHOTOS --model {best.name} --image-size {best.image_size}")
    return 0


def _draw(svg: Path, found: "Recommendation", *accuracy: str) -> None:
    from depthwise import files
    from depthwise.report.choice_picture import draw_choices

    files.write_whole(svg, draw_choices(found, *accuracy).encode())


def _try_out(
    data: Path, found: "Recommendation", minutes: float, workers: int | None, svg: Path | None, as_json: bool
) -> int:
    from depthwise.report.trials import trials_text
    from depthwise.workflows.trials import as_tried, candidates, try_out

    chosen = candidates(found)
    if not chosen:
        raise UserError("no network keeps within this budget, so there is nothing to try; allow more ms or MB")
    trials = try_out(data, chosen, minutes=minutes, workers=workers, console=terminal_of(is_say_result=False))
    tried = as_tried(found, trials)
    if svg:
        _draw(svg, tried, "Top-1 on validation photos of yours, after few epochs")
    if as_json:
        print_json(found.to_json() | {"trials": trials.to_json()}, indent=1)
        return 0
    print(trials_text(trials, tried))
    if svg:
        print(f"\nWritten: {svg}")
    if trials.ranked:
        best = trials.ranked[0]
        start = " --pretrained package" if best.weights == "package" else ""
        print(f"\nNext: depthwise train {shlex.quote(str(data))} --model {best.name}{start}")
    return 0
