"""Commands that use a model: predict, explain, export, verify."""

import os
import shlex
import sys
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
    Overwrite,
    TrustCode,
    Views,
    Workers,
    app,
    asking,
    name_skipped,
    print_json,
    terminal_of,
)
from depthwise.console import shown
from depthwise.errors import UserError, require


@app.command(sort_key=6)
def predict(
    model: Path,
    /,
    *photos: Annotated[str, Parameter(allow_leading_hyphen=True)],
    top_k: int = 5,
    format: Literal["table", "json", "jsonl", "csv"] | None = None,
    json_: AsJson = False,
    out: Path | None = None,
    resume: Annotated[bool, Parameter(negative="")] = False,
    overwrite: Overwrite = False,
    views: Views = "1",
    image_size: ImageSize = None,
    factory: Factory = None,
    device: Device = "auto",
    engine: Engine = "auto",
    threads: EngineThreads = None,
    trust_code: TrustCode = False,
    workers: Workers = None,
) -> int:
    """Say what photos show, in the order given; a photo that cannot be read is a row with its reason.

    Example: depthwise predict runs/first holiday --out answers.csv

    Parameters
    ----------
    model
        A run folder or a model file.
    photos
        Files, folders, globs; - for paths on standard input, one a line.
    top_k
        How many classes to name per photo.
    format
        table, json (one array), jsonl (one object a line) or csv; by default as the file's name ends, else table.
    out
        File to write instead of standard output. Rows of csv and jsonl are in it as soon as they are known.
    resume
        Go on with the csv or jsonl file that is there: only photos without an answer in it are looked at.
    """
    if not photos:
        raise UserError("predict needs photos: files, folders, globs, or - for paths on standard input")
    if resume and overwrite:
        raise UserError("--resume goes on with a file, --overwrite replaces it: give one of them")
    if out and not (resume and out.exists()):
        from depthwise.files import check_place

        check_place(out, "--out")
    if out and out.exists() and not overwrite and not resume:
        raise UserError(
            f"{out} exists; choose another --out, go on with it by --resume, or replace it with --overwrite"
        )
    for photo in photos:  # "-" had to be let through, so other hyphens came too
        if photo.startswith("-") and photo != "-" and not os.path.lexists(photo):
            raise UserError(f"predict has no option {photo}\nHelp: depthwise predict --help")
    from depthwise.deploy.engine import Choice
    from depthwise.workflows.prediction import ENDINGS, Output
    from depthwise.workflows.prediction import predict as run_predict

    terminal = terminal_of(is_say_result=False)
    form = "json" if json_ else format or (ENDINGS.get(out.suffix.lower(), "table") if out else "table")
    output = Output(form, out, sys.stdout, is_resumed=resume)
    tally = run_predict(
        model,
        list(photos),
        sys.stdin or (),  # it may be closed
        output,
        top_k=top_k,
        views=views,
        image_size=image_size,
        factory=factory,
        device=device,
        choice=Choice(engine, threads),
        trust_code=trust_code,
        workers=workers,
        console=terminal,
    )
    if not tally.num_answers:
        raise UserError(f"no photos found in {', '.join(photos)}")
    if tally.num_failed:
        where = "" if form == "table" else ": see reason and error"
        terminal.warn(f"{tally.num_failed:,} of {tally.num_answers:,} photos could not be read{where}")
    if out:
        kept = f", {tally.num_kept:,} of them there already" if resume else ""
        terminal.say(f"Written: {out}, {tally.num_answers:,} answers{kept}")
        if model.suffix not in (".xml", ".tflite", ".pt2"):
            terminal.say(f"\nNext: depthwise explain {shlex.quote(str(model))} PHOTO")
    return 1 if tally.num_failed else 0


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
        A run folder or a model file; an exported .onnx file (needs no torch) where pooling and one linear layer end
        its network.
    photo
        The photo.
    out
        The picture to write; by default PHOTO's name with -explained.png, in this folder.
    class_
        The class to look for; by default the answer.
    """
    from depthwise import files
    from depthwise.deploy.engine import SUFFIXES
    from depthwise.report.heat import draw_heat
    from depthwise.report.target import check_target
    from depthwise.workflows.explaining import explain as run_explain

    if model.suffix not in SUFFIXES:
        require("torch", "train", "explaining an answer")
    out = out or Path(f"{photo.stem}-explained.png")
    check_target(out, "--out", ".png", overwrite=overwrite)
    found = run_explain(model, photo, class_, factory=factory, device=device)
    files.write_whole(out, draw_heat(found))
    if json_:
        print_json(found.to_json())
        return 0
    print(f"{shown(photo)}: {shown(found.label)}, {found.probability:.1%}")
    if found.label != found.answer:
        print(f"The answer is {shown(found.answer)}")
    print(f"Written: {out}\n\nNext: depthwise explain {shlex.quote(str(model))} PHOTO --class NAME")
    return 0


@app.command(sort_key=8)
def export(
    model: Path,
    /,
    *,
    out: Path,
    data: Path | None = None,
    int8: Annotated[bool, Parameter(negative="")] = False,
    max_loss: float = 0.01,
    fixed_size: Annotated[bool, Parameter(negative="")] = False,
    licence: str = "",
    golden: Literal["photos", "noise"] = "photos",
    overwrite: Overwrite = False,
    factory: Factory = None,
    workers: Workers = None,
) -> int:
    """Write a model as one file, photo in, probabilities out, after comparing it with the model on photos.

    Example: depthwise export runs/first --out model.onnx

    Parameters
    ----------
    model
        A run folder or a model file.
    out
        The file to write: .onnx (ONNX Runtime, OpenVINO), .xml (OpenVINO), .tflite (LiteRT) or .pt2 (torch.export);
        its verification goes beside it as JSON.
    data
        Photos to compare on; by default the run's validation photos.
    int8
        Compute in whole numbers, calibrated on training photos: two to three times smaller, not always faster.
    max_loss
        With --int8: the share of the validation photos that may be lost (0.01: one in a hundred); else layers go back
        to float, and if that does not help, nothing is written.
    fixed_size
        Leave the resizing out of an .onnx graph: photos must have the network's size. The others never resize.
    licence
        How the file may be used, e.g. Apache-2.0: kept in its metadata.
    golden
        What travels in the file, for verify to ask again elsewhere: up to four of the photos, at the network's size, or
        noise where no photo may leave.
    """
    require("torch", "train", "exporting")
    from depthwise.report.tables import export_text
    from depthwise.workflows.exporting import export as run_export

    terminal = terminal_of()
    result = run_export(
        model,
        out,
        data,
        int8=int8,
        max_loss=max_loss,
        fixed_size=fixed_size,
        licence=licence,
        golden=golden,
        overwrite=overwrite,
        factory=factory,
        workers=workers,
        console=terminal,
    )
    print(export_text(result))
    no_torch = "" if out.suffix == ".pt2" else "   (needs no torch)"
    print(f"\nNext: {asking(out)}{no_torch}")
    return 0


@app.command(sort_key=9)
def verify(
    model: Path,
    /,
    *,
    data: Path | None = None,
    engine: Engine = "auto",
    threads: EngineThreads = None,
    trust_code: TrustCode = False,
    json_: AsJson = False,
    workers: Workers = None,
) -> int:
    """Check on this machine that an exported file computes what it did where it was exported. Needs no torch.

    Example: depthwise verify model.onnx

    Parameters
    ----------
    model
        An exported file.
    data
        Photos with classes, to tell its accuracy on, too.
    """
    from depthwise.deploy.engine import Choice
    from depthwise.report.judgement import evaluation_text
    from depthwise.workflows.verifying import verify as run_verify

    terminal = terminal_of(is_say_result=False)
    how = Choice(engine, threads)
    worst, found = run_verify(model, data, choice=how, trust_code=trust_code, workers=workers, console=terminal)
    if json_:
        print_json({"max_probability_difference": worst, "evaluation": found.to_json() if found else None})
    else:
        print(f"{model} computes here what it did where it was exported: probabilities differ by {worst:.1e} at most")
        if found:
            print(f"\n{evaluation_text(found)}")
        print(f"\nNext: {asking(model)}")
    name_skipped(found.skipped if found else (), terminal)
    return 1 if found and found.skipped else 0
