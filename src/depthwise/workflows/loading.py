"""`depthwise.load`: from a model file to a classifier."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from depthwise import artifact
from depthwise.console import Quiet
from depthwise.data.views import ViewKind
from depthwise.deploy.engine import SUFFIXES, Choice, Exported, OnnxEngine
from depthwise.deploy.predict import Classifier
from depthwise.deploy.verify import check_golden, tolerance_of
from depthwise.errors import UserError, require
from depthwise.workflows import finding
from depthwise.workflows.opening import open_engine
from depthwise.workflows.run_folder import find_model

if TYPE_CHECKING:
    from depthwise.deploy.eager import EagerEngine


def load(
    path: str | Path,
    device: str = "auto",
    factory: str | None = None,
    *,
    image_size: int | None = None,
    views: ViewKind = "1",
    choice: Choice | None = None,
    work: Literal["any", "single", "many"] = "any",
    trust_code: bool = False,
    console: Quiet | None = None,
) -> Classifier:
    """Return the classifier in a model file or a run folder. Raises UserError when there is none or it is damaged.

    An exported `.onnx` file needs no torch. `device`: cpu, cuda, or auto (cuda where there is one); exported files take
    the processor only. `factory`: the package.module:function that makes the network of a file that was trained with
    your own. `trust_code`: open a `.pt2` file, which can run any code in it; nothing in a file of another kind is ever
    called. `image_size` replaces the side of the network's input, where the network takes other sizes and is not
    exported; `views`: of which views of a photo the probabilities are averaged. `choice` says with how many threads,
    and what runs an exported file: by default ONNX Runtime, which starts soonest and answers several photos at once;
    for `work` with single pictures, one after the other, or with many at a time what `depthwise bench` found fastest.
    An engine that was not asked for by name must compute here what the file says; asked once, and remembered.
    """
    path = find_model(path)
    choice = choice or Choice()
    if path.suffix in SUFFIXES:
        if device not in ("auto", "cpu"):
            raise UserError(
                f"--device {device}: {path.name} is exported and computed on the processor; leave --device out, or "
                "give the run folder or the model file that it was made from"
            )
        if image_size is not None:
            raise UserError(
                f"--image-size {image_size}: an exported file computes at the size that it was exported with; give the "
                "run folder or the model file that it was made from"
            )
        found = finding.best(path, choice, work) if work != "any" else None
        exported = open_engine(path, found or choice, trust_code=trust_code)
        if not found and choice.engine == "auto":
            _check(path, exported)
        return _viewed(Classifier(exported, views, is_concurrent=isinstance(exported, OnnxEngine)), console)
    if choice.engine != "auto":
        raise UserError(f"--engine {choice.engine} runs exported files; {path.name} is computed in PyTorch")
    card = artifact.read_card(path)
    if card.kind != "model":
        raise UserError(f"{path}: a checkpoint to go on training from, not a model; take best.safetensors beside it")
    require("torch", "train", f"predicting with {path}")
    from depthwise.deploy.eager import EagerEngine
    from depthwise.deploy.limited import Limited
    from depthwise.workflows.devices import choose_device

    card, tensors = artifact.read(path)
    engine = EagerEngine(card, tensors, choose_device(device), factory=factory)
    if image_size is not None and image_size != card.geometry.image_size:
        _change_size(engine, image_size, console or Quiet())
    return _viewed(Classifier(Limited(engine, choice.threads) if choice.threads else engine, views), console)


def _viewed(classifier: Classifier, console: Quiet | None) -> Classifier:
    """Return the classifier; say what averages over views mean for a rule that was set on single ones."""
    if classifier.views != "1" and (classifier.decision.miss or classifier.decision.precision) and console:
        console.warn(
            f"the file's rule for decisions was set on single views; on averages (--views {classifier.views}) it "
            "promises nothing"
        )
    return classifier


def _check(path: Path, exported: Exported) -> None:
    """Ask the file's own pictures, unless that was done here. Raises UserError when the answers are others."""
    if finding.has_passed(path):
        return
    worst, allowed = check_golden(exported), tolerance_of(exported.metadata)
    if worst is None:
        return
    if not worst <= allowed:
        other = "\nOr name the engine, and it is not asked: --engine onnxruntime" if path.suffix == ".onnx" else ""
        raise UserError(
            f"{path} computes something else on this machine than where it was exported: probabilities differ by up to "
            f"{worst:.2g} (allowed: {allowed:g}). See depthwise verify; export it here, or try another --engine{other}"
        )
    finding.note_passed(path)


def _change_size(engine: "EagerEngine", image_size: int, console: Quiet) -> None:
    """Let the engine take pictures of another side. Raises UserError where its network takes one size only."""
    from depthwise.models.summary import check_image_size

    trained = engine.card.geometry.image_size
    check_image_size(engine.model, image_size, engine.card.geometry.channels)
    more = f"; its rule for decisions, set at {trained} px, is left out" if engine.card.decision else ""
    geometry = replace(engine.card.geometry, image_size=image_size)
    engine.card = replace(engine.card, geometry=geometry, decision={})
    console.warn(
        f"pictures of {image_size} px in a network trained at {trained} px: its batch norm statistics and its "
        f"temperature were measured at {trained} px{more}"
    )
