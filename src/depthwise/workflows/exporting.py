"""`depthwise export`: no file leaves that was not compared with the model on photos."""

import json
import platform
import shlex
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from depthwise import files
from depthwise.artifact import Card
from depthwise.config import default_workers
from depthwise.console import Quiet
from depthwise.deploy.engine import SUFFIXES, Exported, run_network
from depthwise.deploy.measure import interleave
from depthwise.deploy.predict import Engine
from depthwise.deploy.verify import TOLERANCE, Comparison, compare, fingerprint, noise
from depthwise.errors import UserError, require
from depthwise.metrics import Logits
from depthwise.workflows import quantizing
from depthwise.workflows.evidence import (
    Photos,
    Pictures,
    compare_own_size,
    find_photos,
    logits_of,
    noise_pictures,
    pack_pictures,
    read_pictures,
    refuse_differing,
    refuse_other_features,
    rule_outcome,
    validation_pictures,
)
from depthwise.workflows.loading import load
from depthwise.workflows.opening import open_engine
from depthwise.workflows.run_folder import find_model

if TYPE_CHECKING:
    from depthwise.deploy.eager import EagerEngine

Pack = Callable[[dict[str, Any]], dict[str, bytes]]
"""From metadata to files: their bytes by suffix, that of --out first."""
MADE_BY = {
    ".onnx": ("onnx", "onnxscript", "onnxruntime"),
    ".xml": ("onnx", "onnxscript", "openvino"),
    ".tflite": ("litert-torch", "ai-edge-litert"),
    ".pt2": (),
}
"""Packages that convert to a kind of file and run it, beside depthwise and torch."""
BESIDE = {".xml": (".bin",)}
"""Suffixes of the files that a kind of file has beside it."""
PACKAGE = Path(__file__).parents[1]
SECONDS = 2.0
"""For comparing the speed of INT8 with float."""


@dataclass(frozen=True)
class ExportResult:
    """An exported file and the evidence that it computes what the model does."""

    path: Path
    num_bytes: int
    comparison: Comparison
    is_on_photos: bool
    """False where there were no photos at hand: compared on noise."""
    evidence: Path
    """JSON beside the file."""
    int8: dict[str, Any] | None = None
    """Of an INT8 file: what it lost on validation photos, its size and its time beside those in float; what the stored
    rule for decisions does in both, where there is one."""
    num_photos_inside: int = 0
    """Photos that travel in the file."""


def export(
    model: str | Path,
    out: str | Path,
    data: str | Path | None = None,
    *,
    int8: bool = False,
    max_loss: float = 0.01,
    fixed_size: bool = False,
    licence: str = "",
    golden: Literal["photos", "noise"] = "photos",
    overwrite: bool = False,
    factory: str | None = None,
    workers: int | None = None,
    console: Quiet | None = None,
) -> ExportResult:
    """Write `model` (a run folder or model file) as the file `out`, compared with it on validation photos.

    The suffix says for whom: .onnx (ONNX Runtime, OpenVINO), .xml with a .bin (OpenVINO), .tflite (LiteRT), .pt2
    (torch.export). Photos: the split `valid` of `data`, else of the run; without any, noise, and said so. `int8`:
    computed in whole numbers, calibrated on training photos, as long as no more than the share `max_loss` of the
    validation photos is lost. `fixed_size` leaves the resizing out of an ONNX graph; the others never have it.
    `licence`: what the file's metadata should say of how it may be used. `golden`: what travels in the file for
    `verify`, up to four of these photos at the network's size, or noise where no photo may leave. Raises UserError, and
    writes nothing, when answers differ: with the photos that do.
    """
    from depthwise.deploy.eager import EagerEngine
    from depthwise.deploy.export import trace_network

    console, workers, out = console or Quiet(), default_workers() if workers is None else workers, Path(out)
    if golden not in ("photos", "noise"):
        raise UserError(f"--golden {golden}: photos or noise")
    _check_target(out, is_int8=int8, overwrite=overwrite)
    path = find_model(model)
    if path.suffix in SUFFIXES:
        raise UserError(f"{path} is exported already; give the run folder or the model file that it was made from")
    engine = load(path, "cpu", factory).engine
    assert isinstance(engine, EagerEngine)
    console.say(f"Exporting {engine.card.model}")
    fixed_size = fixed_size or out.suffix != ".onnx"
    photos = find_photos(path, engine.card, data, console)
    pictures = validation_pictures(engine.card, photos, workers, console, only_valid=int8)
    before = logits_of(engine, pictures.images)
    network = trace_network(engine.model, engine.card) if out.suffix in (".onnx", ".xml") else None
    judge = _judge(before, pictures, engine.card, max_loss) if int8 else None
    small = _int8(engine.card, network, photos, pictures, judge, workers, console) if judge else None
    pack = packer(engine, out.suffix, small.network if small else network, fixed_size=fixed_size)
    with tempfile.TemporaryDirectory(prefix="depthwise-export-") as folder:
        parts = pack({})
        exported = open_engine(_write(Path(folder) / f"trial{out.suffix}", parts), trust_code=True)  # we made it
        after = logits_of(exported, pictures.images)
        comparison = compare(before, after, engine.card.temperature, pictures.labels, 1.0 if small else TOLERANCE)
        if small is None:
            refuse_differing(comparison, pictures.names, engine.card.model)
            refuse_other_features(engine, exported, pictures)
        right = exported if small else engine  # what the file is held to
        own_size = None if fixed_size else compare_own_size(right, exported, pictures)
        evidence = _evidence(path, out.suffix, comparison, own_size, len(pictures.records))
        if small and judge:
            small = small.judged(judge(after), "OpenVINO" if out.suffix == ".xml" else "ONNX Runtime")
            like = packer(engine, out.suffix, network, fixed_size=fixed_size)({})
            plain = open_engine(_write(Path(folder) / f"float{out.suffix}", like))
            cost = _beside_float(exported, plain, _size(parts), _size(like)) | _rules(engine, exported, pictures)
            evidence |= {"int8": small.to_json() | cost, "tolerance": quantizing.TOLERANCE}
        asked = pictures if golden == "photos" else noise_pictures(engine.card)
        packed = pack_pictures(right, asked, resizes=not fixed_size)
    told = [("--data", data and _without_home(data)), ("--max-loss", max_loss if int8 else None)]
    told += [("--licence", licence), ("--golden", golden if golden != "photos" else None), ("--factory", factory)]
    flags = ["--int8"] * int8 + ["--fixed-size"] * (fixed_size and out.suffix == ".onnx")
    made = {"licence": licence, "command": _command(model, out, flags, told)}
    made["code_sha256"] = files.digest_of_code(PACKAGE)
    whole = pack({"verification": evidence, **packed, "made": made})
    _write(out, whole)
    beside = _evidence_of(out)
    sealed = evidence | {"sha256": fingerprint(whole[out.suffix])}
    files.write_whole(beside, (json.dumps(sealed, indent=1) + "\n").encode())
    return ExportResult(
        path=out,
        num_bytes=_size(whole),
        comparison=comparison,
        is_on_photos=bool(pictures.records),
        evidence=beside,
        int8=evidence.get("int8"),
        num_photos_inside=len(packed["golden"]) if asked.records else 0,
    )


def _command(model: str | Path, out: Path, flags: Sequence[str], given: Sequence[tuple[str, Any]]) -> str:
    """Return the command line that makes the file again, without folders of this machine: the file may travel."""
    valued = [word for flag, value in given if value not in (None, "") for word in (flag, str(value))]
    return shlex.join(["depthwise", "export", _without_home(model), "--out", out.name, *flags, *valued])


def _without_home(path: str | Path) -> str:
    """Return a path as it was given; of one from the root its name alone."""
    return Path(path).name if Path(path).is_absolute() else str(path)


def _check_target(out: Path, *, is_int8: bool, overwrite: bool) -> None:
    if out.suffix not in SUFFIXES:
        raise UserError(f"--out {out}: the name of an exported file ends in .onnx (or {', '.join([*SUFFIXES][1:])})")
    if is_int8 and out.suffix not in (".onnx", ".xml"):
        raise UserError(f"--int8 goes with .onnx and .xml, not with {out.suffix}")
    files.check_place(out, "--out")
    require("onnxscript", "train", "exporting")
    if out.suffix == ".xml":
        require("openvino", "openvino", "exporting to OpenVINO")
    if out.suffix == ".tflite":
        require("litert_torch", "litert", "exporting to LiteRT")
    written = [out, *map(out.with_suffix, BESIDE.get(out.suffix, ())), _evidence_of(out)]
    there = " and ".join(str(file) for file in written if file.exists())
    if there and not overwrite:
        raise UserError(f"{there} would be written over; choose another --out, or replace what is there by --overwrite")


def _evidence_of(out: Path) -> Path:
    return out.with_name(f"{out.name}.verification.json")


def packer(engine: "EagerEngine", suffix: str, network: Any, *, fixed_size: bool) -> Pack:
    """Return what packs the model for the kind of file; the slow part is done. `network`: for .onnx and .xml."""
    from depthwise.deploy.export import assemble, describe, metadata_of

    model, card = engine.model, engine.card
    if suffix in (".pt2", ".tflite"):
        from depthwise.deploy import program
        from depthwise.deploy.litert_engine import with_metadata

        if suffix == ".pt2":
            exported = program.to_program(model, card)
            return lambda more: {suffix: program.pack_program(exported, metadata_of(card, more))}
        lite = program.to_litert(model, card)
        return lambda more: {suffix: with_metadata(lite, json.dumps(metadata_of(card, more), ensure_ascii=False))}
    proto = assemble(network, card, takes_any_size=not fixed_size)
    if suffix == ".onnx":
        return lambda more: {suffix: describe(proto, card, more)}
    from depthwise.deploy.openvino_engine import to_openvino

    return lambda more: to_openvino(describe(proto, card, more))


def _write(out: Path, parts: dict[str, bytes]) -> Path:
    """Write the files, that of --out last: once it is there, all are."""
    for suffix, data in reversed(parts.items()):
        files.write_whole(out.with_suffix(suffix), data)
    return out


def _judge(before: Logits, pictures: Pictures, card: Card, max_loss: float) -> Callable[[Logits], quantizing.Gate]:
    """Return what says of INT8's logits what they cost. Raises UserError where it cannot be told."""
    if not 0 <= max_loss < 1:
        raise UserError(f"--max-loss {max_loss:g}: give a share from 0 to 1 (0.01 is one photo in a hundred)")
    if pictures.labels is None:
        raise UserError("--int8 is calibrated and judged on photos with the model's classes: give them by --data")
    return quantizing.gate_of(before, pictures.labels, card.classes, max_loss)


def _int8(
    card: Card,
    network: Any,
    photos: Photos | None,
    pictures: Pictures,
    judge: Callable[[Logits], quantizing.Gate],
    workers: int,
    console: Quiet,
) -> quantizing.Int8:
    """Return the network in INT8. Raises UserError where photos are missing, or too many of `pictures` are lost."""
    assert photos  # they have been judged
    if photos.used is None and not photos.index.is_split:
        console.warn("what the model was trained on is not known here: it may know the photos that judge INT8 by heart")
    wanted = quantizing.stratified(photos.part("train"), quantizing.NUM_CALIBRATION)
    calibration = read_pictures(card, wanted, photos.index.source, workers, console).images
    levels = pictures.images.transpose(0, 3, 1, 2).astype("float32")
    return quantizing.shrink(
        network, calibration, lambda network: run_network(network.SerializeToString(), levels), judge, console
    )


def _rules(engine: Engine, exported: Engine, pictures: Pictures) -> dict[str, Any]:
    """Return what the stored rule, which was set in float, does with the photos there and in INT8; nothing without."""
    before, after = rule_outcome(engine, pictures), rule_outcome(exported, pictures)
    return {"rule": {"float": before.to_json(), "int8": after.to_json()}} if before and after else {}


def _size(parts: Mapping[str, bytes]) -> int:
    return sum(map(len, parts.values()))


def _beside_float(exported: Exported, plain: Exported, size: int, size_float: int) -> dict[str, Any]:
    """Return bytes, and time of one picture, of an INT8 file and of `plain`, its like in float, measured in turns."""
    geometry = exported.card.geometry
    picture = noise(1, geometry.image_size, geometry.channels)
    times = interleave({"int8": lambda: exported.logits(picture), "float": lambda: plain.logits(picture)}, SECONDS)
    ms, ms_float = times["int8"].p50_ms, times["float"].p50_ms
    return {
        **{"num_bytes": size, "num_bytes_float": size_float, "size_ratio": round(size_float / size, 2)},
        **{"p50_ms": round(ms, 3), "p50_ms_float": round(ms_float, 3), "speedup": round(ms_float / ms, 2)},
    }


def _evidence(
    path: Path, suffix: str, comparison: Comparison, own_size: Comparison | None, num_photos: int
) -> dict[str, Any]:
    """Return what was compared, of which model file, by what."""
    return {
        "photos": num_photos,
        "comparison": comparison.to_json(),
        "own_size": own_size.to_json() if own_size else None,
        "model_sha256": fingerprint(path.read_bytes()),
        "machine": {"processor": platform.machine(), "system": platform.system()},
        "versions": {name: version(name) for name in ("depthwise", "torch", *MADE_BY[suffix])},
    }
