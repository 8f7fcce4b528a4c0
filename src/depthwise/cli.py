"""The command line: one sub-command per step, in the data's order. Parses, calls, prints; no logic.

Exit status: 0 done, 1 done but some inputs failed (each named), 2 the user must act, 130 and 143 stopped by Ctrl-C and
SIGTERM.
"""

import json
import os
import shlex
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import App, CycloptsError, Parameter

from depthwise import __version__
from depthwise.config import SplitConfig, TrainConfig
from depthwise.errors import Interrupted, UserError, require

if TYPE_CHECKING:
    from depthwise.data.audit import Skipped
    from depthwise.report.terminal import Terminal

app = App(
    name="depthwise",
    version=__version__,
    help="From a folder of labelled photos to a small, fast, honest image classifier. First look: depthwise demo",
    default_parameter=Parameter(negative_iterable=()),
    result_action="return_value",
    suppress_keyboard_interrupt=False,  # `run` says what happened
)
datasets_app = App(
    name="datasets",
    sort_key=15,
    help="Public data sets as class folders.\n\nExample: depthwise datasets get fashion-mnist data/fm",
)
app.command(datasets_app)
bench_app = App(name="bench", sort_key=10)
app.command(bench_app)

Factory = Annotated[
    str | None, Parameter(help="package.module:function of yours that made the model's network; only if it did.")
]
Workers = Annotated[int | None, Parameter(help="Threads that decode pictures; by default one per processor.")]
Threads = Annotated[int | None, Parameter(help="Processor cores to compute with; by default PyTorch's choice, all.")]
Device = Annotated[Literal["auto", "cpu", "cuda"], Parameter(help="Where to compute; auto: CUDA where there is one.")]
AsJson = Annotated[bool, Parameter(name="--json", negative="", help="Print the result as JSON.")]
Overwrite = Annotated[bool, Parameter(negative="", help="Replace what is there.")]


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


@app.command(sort_key=2)
def audit(
    photos: Path,
    /,
    *,
    splits: Path | None = None,
    html: Path | None = None,
    quarantine: Path | None = None,
    model: Path | None = None,
    factory: Factory = None,
    json_: AsJson = False,
    overwrite: Overwrite = False,
    workers: Workers = None,
) -> int:
    """Look for what ruins classifiers: broken files, copies, leaks between splits, odd pictures. Changes no photo.

    Exit status: 0 clean, 1 something found, 2 it could not be done.

    Example: depthwise audit photos --html audit.html

    Parameters
    ----------
    photos
        A folder of class folders, one with train/ and valid/ or test/, an archive, or a CSV.
    splits
        Manifest that says which photo is in which split, to look for leaks.
    html
        Page to write, with the pictures side by side.
    quarantine
        List to write of what to leave out; for split --quarantine and train --quarantine.
    model
        A run folder or model file: look for wrong labels and outliers among photos that it was not trained on.
    """
    from depthwise.workflows.auditing import audit as run_audit

    terminal = _terminal(is_say_result=False)
    if html:
        require("jinja2", "train", "the page")
        if html.exists() and not overwrite:
            raise UserError(f"{html} exists; choose another --html, or replace it with --overwrite")
    if model:
        require("torch", "train", "asking a model")
    result = run_audit(
        photos,
        splits=splits,
        quarantine=quarantine,
        model=model,
        factory=factory,
        workers=workers,
        console=terminal,
    )
    if html:
        from depthwise.report.audit_page import write_audit_page

        write_audit_page(result, html)
    from depthwise.report.audit_text import audit_text

    print(json.dumps(result.to_json()) if json_ else audit_text(result))
    if not json_:
        page = f"\nPage: {html}" if html else ""
        listed = f"\nTo leave out: {quarantine}" if quarantine else ""
        more = f" --quarantine {shlex.quote(str(quarantine))}" if quarantine else ""
        print(f"{page}{listed}\nNext: depthwise split {shlex.quote(str(photos))} --out splits.csv{more}")
    return 0 if result.is_clean else 1


@app.command(sort_key=3)
def split(
    photos: Path,
    /,
    *,
    out: Path = Path("splits.csv"),
    config: Annotated[SplitConfig | None, Parameter(name="*")] = None,
    previous: Path | None = None,
    copy: Path | None = None,
    link: Path | None = None,
    overwrite: Overwrite = False,
    workers: Workers = None,
) -> int:
    """Deal the photos of class folders out to train, valid and test; write the manifest.

    Example: depthwise split photos --out splits.csv --valid 0.15 --test 0.15

    Parameters
    ----------
    photos
        Folder with one folder of pictures per class.
    out
        The manifest to write: path, class, split, hash, group. One that exists is grown: what it names stays.
    previous
        An older manifest whose photos keep their split; by default what --out names.
    copy
        Folder to make, with train/ valid/ test/ of class folders: copies of the photos.
    link
        The same of symbolic links.
    overwrite
        Deal anew although --out exists.
    """
    from depthwise.workflows.materialising import check_free, materialise
    from depthwise.workflows.splitting import split as run_split

    terminal = _terminal()
    if copy and link:
        raise UserError("--copy and --link make the same folders: give one of them")
    if (folder := copy or link) is not None:
        check_free(folder)
    result = run_split(photos, out, config, previous=previous, overwrite=overwrite, workers=workers, console=terminal)
    from depthwise.report.tables import split_table

    for note in result.notes:
        terminal.warn(note)
    print(split_table(result))
    _name_skipped(result.skipped, terminal)
    if folder is not None:
        materialise(result.records, folder, is_link=link is not None, console=terminal)
    print(f"\nWritten: {result.path}\nNext: depthwise train {shlex.quote(str(result.path))} --out RUN")
    return 1 if result.skipped else 0


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

    config, terminal = config or TrainConfig(), _terminal()
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
    _name_skipped(result.skipped, terminal)
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
    from depthwise.workflows.evaluation import evaluate as run_evaluate

    if model.suffix != ".onnx":
        require("torch", "train", "evaluating a model file")
    terminal = _terminal(is_say_result=False)
    result = run_evaluate(
        model,
        data,
        split,
        allow_other_split=allow_other_split,
        factory=factory,
        device=device,
        workers=workers,
        console=terminal,
    )
    from depthwise.report.tables import evaluation_table

    print(json.dumps(result.to_json(), ensure_ascii=False) if json_ else evaluation_table(result))
    _name_skipped(result.skipped, terminal)
    if not json_:
        print(f"\nNext: depthwise predict {shlex.quote(str(model))} PHOTO...")
    return 1 if result.skipped else 0


@app.command(sort_key=6)
def predict(
    model: Path,
    /,
    *photos: Annotated[str, Parameter(allow_leading_hyphen=True)],
    top_k: int = 5,
    format: Literal["table", "json", "jsonl", "csv"] = "table",
    json_: AsJson = False,
    out: Path | None = None,
    overwrite: Overwrite = False,
    factory: Factory = None,
    device: Device = "auto",
    workers: Workers = None,
) -> int:
    """Say what photos show, in the order given; a photo that cannot be read is a row with its reason.

    Example: depthwise predict runs/first holiday/*.jpg --format csv --out answers.csv

    Parameters
    ----------
    model
        A run folder or a model file.
    photos
        Files, folders, globs; - for paths on standard input, one a line.
    top_k
        How many classes to name per photo.
    format
        table, json (one array), jsonl (one object a line) or csv.
    out
        File to write instead of standard output.
    """
    if not photos:
        raise UserError("predict needs photos: files, folders, globs, or - for paths on standard input")
    if out and out.exists() and not overwrite:
        raise UserError(f"{out} exists; choose another --out, or replace it with --overwrite")
    for photo in photos:  # "-" had to be let through, so other hyphens came too
        if photo.startswith("-") and photo != "-" and not os.path.lexists(photo):
            raise UserError(f"predict has no option {photo}\nHelp: depthwise predict --help")
    from depthwise.workflows.loading import load
    from depthwise.workflows.prediction import Output

    terminal = _terminal(is_say_result=False)
    classifier = load(model, device, factory)
    output = Output("json" if json_ else format, out, sys.stdout)
    num_answers, num_failed = output.write(
        classifier, photos, sys.stdin, top_k=top_k, workers=workers, console=terminal
    )
    if not num_answers:
        raise UserError(f"no photos found in {', '.join(photos)}")
    if num_failed:
        terminal.warn(f"{num_failed} of {num_answers} photos could not be used")
    return 1 if num_failed else 0


@app.command(sort_key=8)
def export(
    model: Path,
    /,
    *,
    out: Path,
    data: Path | None = None,
    fixed_size: Annotated[bool, Parameter(negative="")] = False,
    overwrite: Overwrite = False,
    factory: Factory = None,
    workers: Workers = None,
) -> int:
    """Write a model as one ONNX file: photo in, probabilities out. It is compared with the model first.

    Example: depthwise export runs/first --out model.onnx

    Parameters
    ----------
    model
        A run folder or a model file.
    out
        The file to write; its verification goes beside it as JSON.
    data
        Photos to compare on; by default the run's validation photos.
    fixed_size
        Leave the resizing out of the graph: photos must have the network's size.
    """
    require("torch", "train", "exporting")
    from depthwise.report.tables import export_text
    from depthwise.workflows.exporting import export as run_export

    terminal = _terminal()
    result = run_export(
        model, out, data, fixed_size=fixed_size, overwrite=overwrite, factory=factory, workers=workers, console=terminal
    )
    print(export_text(result))
    print(f"\nNext: depthwise predict {shlex.quote(str(out))} PHOTO...   (needs no torch)")
    return 0


@app.command(sort_key=9)
def verify(model: Path, /, *, data: Path | None = None, json_: AsJson = False, workers: Workers = None) -> int:
    """Check on this machine that an exported file computes what it did where it was exported. Needs no torch.

    Example: depthwise verify model.onnx

    Parameters
    ----------
    model
        An exported .onnx file.
    data
        Photos with classes, to tell its accuracy on, too.
    """
    from depthwise.report.tables import evaluation_table
    from depthwise.workflows.exporting import verify as run_verify

    worst, found = run_verify(model, data, workers=workers, console=_terminal(is_say_result=False))
    if json_:
        print(json.dumps({"max_probability_difference": worst, "evaluation": found.to_json() if found else None}))
        return 0
    print(f"{model} computes here what it did where it was exported: probabilities differ by {worst:.1e} at most")
    if found:
        print(f"\n{evaluation_table(found)}")
    print(f"\nNext: depthwise predict {shlex.quote(str(model))} PHOTO...")
    return 0


@bench_app.default
def bench(model: Path, /, *, seconds: float = 20.0, factory: Factory = None, json_: AsJson = False) -> int:
    """Measure how fast a model answers on this machine, by threads and batch, and how much memory it takes.

    Example: depthwise bench model.onnx

    Parameters
    ----------
    model
        An exported .onnx file (needs no torch), or a run folder or a model file (then PyTorch computes).
    seconds
        About how long to measure times; memory comes on top. What does not fit in is left out, and said so.
    """
    if model.suffix != ".onnx":
        require("torch", "train", "measuring a model file in PyTorch")
    from depthwise.report.measured import bench_text
    from depthwise.workflows.benching import bench as run_bench

    found = run_bench(model, seconds=seconds, factory=factory, console=_terminal(is_say_result=False))
    if json_:
        print(json.dumps(found.to_json(), ensure_ascii=False, indent=1))
        return 0
    named = shlex.quote(str(model))
    step = f"predict {named} PHOTO..." if model.suffix == ".onnx" else f"export {named} --out model.onnx"
    print(f"{bench_text(found)}\n\nNext: depthwise {step}")
    return 0


@app.command(sort_key=7)
def explain(
    model: Path,
    photo: Path,
    /,
    *,
    out: Path | None = None,
    class_: Annotated[str | None, Parameter(name="--class")] = None,
    factory: Factory = None,
    device: Device = "auto",
    overwrite: Overwrite = False,
    json_: AsJson = False,
) -> int:
    """Draw where in a photo a model sees a class (Grad-CAM), as a PNG file.

    Example: depthwise explain runs/first photo.jpg --out why.png

    Parameters
    ----------
    model
        A run folder or a model file; an exported .onnx file keeps no maps.
    photo
        The photo.
    out
        The picture to write; by default PHOTO's name with -explained.png, in this folder.
    class_
        The class to look for; by default the answer.
    """
    if model.suffix != ".onnx":
        require("torch", "train", "explaining an answer")
    from depthwise import files
    from depthwise.report.heat import draw_heat
    from depthwise.report.target import check_target
    from depthwise.workflows.explaining import explain as run_explain

    out = out or Path(f"{photo.stem}-explained.png")
    check_target(out, "--out", ".png", overwrite=overwrite)
    found = run_explain(model, photo, class_, factory=factory, device=device)
    files.write_whole(out, draw_heat(found))
    if json_:
        print(json.dumps(found.to_json(), ensure_ascii=False))
        return 0
    print(f"{photo}: {found.label}, {found.probability:.1%}")
    if found.label != found.answer:
        print(f"The answer is {found.answer}")
    print(f"Written: {out}\n\nNext: depthwise explain {shlex.quote(str(model))} PHOTO --class NAME")
    return 0


@app.command(sort_key=11)
def recommend(
    *,
    max_ms: float = 10.0,
    max_mb: float | None = None,
    pattern: str = "*",
    image_size: int | None = None,
    num_classes: int = 1000,
    threads: Annotated[int | None, Parameter(help="Processor cores to compute with; by default all.")] = None,
    svg: Path | None = None,
    refresh: Annotated[bool, Parameter(negative="")] = False,
    overwrite: Overwrite = False,
    json_: AsJson = False,
) -> int:
    """Find the networks that answer in time on this machine, ranked by their published ImageNet accuracy.

    Measures them with random weights, as exported files in ONNX Runtime, one picture at a time: time does not depend on
    weights. The first time takes some seconds per network; results are kept. It does not try networks on your photos.

    Example: depthwise recommend --max-ms 10 --max-mb 8

    Parameters
    ----------
    max_ms
        Median milliseconds that one picture may take.
    max_mb
        Megabytes that the exported file may have; by default any.
    pattern
        Networks to look at, with * and ?.
    image_size
        Side of the pictures, px; by default the paper's. The accuracy stays that of the paper's size.
    num_classes
        Classes that the network tells apart: fewer make small networks' files much smaller.
    svg
        File to draw accuracy against time into.
    refresh
        Measure anew what was measured before.
    """
    require("torch", "train", "measuring networks")
    from depthwise import files
    from depthwise.report.choice_picture import draw_choices
    from depthwise.report.measured import recommendation_text
    from depthwise.report.target import check_target
    from depthwise.workflows.recommending import Budget
    from depthwise.workflows.recommending import recommend as run_recommend

    if svg:
        check_target(svg, "--svg", ".svg", overwrite=overwrite)
    found = run_recommend(
        Budget(max_ms, max_mb),
        pattern=pattern,
        image_size=image_size,
        num_classes=num_classes,
        threads=threads,
        refresh=refresh,
        console=_terminal(is_say_result=False),
    )
    if svg:
        files.write_whole(svg, draw_choices(found).encode())
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
        name, source, out, origin=origin, classes=classes, settings=set, overwrite=overwrite, console=_terminal()
    )
    whose = card.origin or "depthwise"
    print(f"{card.model} with {whose} weights, {len(card.classes):,} classes, {card.geometry.image_size} px: {out}")
    print(f"Next: depthwise predict {shlex.quote(str(out))} PHOTO...")
    return 0


@datasets_app.command(name="list")
def list_datasets() -> int:
    """List the data sets that can be had.

    Example: depthwise datasets list
    """
    from depthwise.data.sources import SOURCES

    for source in SOURCES.values():
        print(f"{source.name}: {source.title}; licence {source.licence}\n  {source.address}")
    return 0


@datasets_app.command(name="get")
def get_dataset(name: str, out: Path, /, *, from_: Annotated[Path | None, Parameter(name="--from")] = None) -> int:
    """Make a folder with train/ and test/ of class folders.

    Example: depthwise datasets get fashion-mnist data/fm

    Parameters
    ----------
    name
        Data set; all names: depthwise datasets list.
    out
        Folder to make.
    from_
        Folder with the data set's own files; by default where Debian's package puts them, else they are fetched.
    """
    from depthwise.data.sources import get

    num_images = get(name, out, from_, _terminal())
    print(f"{num_images:,} pictures in {out}\nNext: depthwise train {shlex.quote(str(out))} --out RUN")
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


def _terminal(*, is_say_result: bool = True) -> "Terminal":
    from depthwise.report.terminal import Terminal

    return Terminal(is_say_result=is_say_result)


def _name_skipped(skipped: Sequence["Skipped"], terminal: "Terminal") -> None:
    for item in skipped:
        terminal.warn(f"left out: {item}")
    if skipped:
        terminal.warn(f"{len(skipped)} pictures could not be used and were left out")


def _spell_out_resume(arguments: Sequence[str]) -> list[str]:
    """Return the command line with `--resume auto` for a `--resume` without a value."""
    spelt = list(arguments)
    if spelt[:1] == ["train"] and "--resume" in spelt:
        place = spelt.index("--resume") + 1
        if spelt[place : place + 1] not in (["auto"], ["never"]):
            spelt.insert(place, "auto")
    return spelt


def _going_on(arguments: Sequence[str]) -> str:
    """Return the command that goes on with the run that `arguments` started."""
    kept = [argument for argument in _spell_out_resume(arguments) if argument not in ("--overwrite", "--resume=never")]
    if "--resume" in kept:
        del kept[kept.index("--resume") : kept.index("--resume") + 2]
    program = "depthwise" if os.environ.get("WORLD_SIZE", "1") == "1" else "torchrun ... -m depthwise"
    return f"{program} {shlex.join([*(a for a in kept if a != '--resume=auto'), '--resume'])}"


def run(arguments: Sequence[str]) -> int:
    """Carry out one command line; return its exit status. Errors that the user can settle are printed, not raised."""
    try:
        result: Any = app(_spell_out_resume(arguments), exit_on_error=False, print_error=False)
    except CycloptsError as error:
        command = " ".join(["depthwise", *error.command_chain]) if error.command_chain else "depthwise"
        print(f"error: {error}\nHelp: {command} --help", file=sys.stderr)
        return 2
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except Interrupted as error:
        if str(error):
            print(f"{error} That is:\n{_going_on(arguments)}", file=sys.stderr)
        return 128 + error.signum
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of our output has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return result if isinstance(result, int) else 0


def main() -> None:
    """Run the command line of this process."""
    for stream in (sys.stdout, sys.stderr):  # a console of 256 characters shows others as escapes instead of failing
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    warnings.filterwarnings("ignore", module="PIL")  # what Pillow finds odd in a file, decode says in our words
    sys.exit(run(sys.argv[1:]))
