"""What the commands share: the application they are registered with, and flags that several have."""

import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import App, ArgumentCollection, Parameter, Token

from depthwise import __version__

if TYPE_CHECKING:
    from depthwise.data.audit import Skipped
    from depthwise.report.terminal import Terminal


def note_given(app: App, commands: tuple[str, ...], arguments: ArgumentCollection) -> None:
    """Let a command with a parameter `given` know which flags were typed: a recipe settles only the others."""
    given = [argument for argument in arguments if argument.name == "--given"]
    names = [argument.field_info.name for argument in arguments if argument.tokens]
    for argument in given:
        argument.tokens = [Token(keyword="--given", value=name) for name in names]


app = App(
    name="depthwise",
    config=note_given,
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
Views = Annotated[
    Literal["1", "flip", "10", "multiscale"],  # data.views.ViewKind, which would load NumPy
    Parameter(
        help="Views of each photo whose probabilities are averaged, beside the single one: flip (mirror image), 10 "
        "(corners, centre, mirror images), multiscale (three sizes, mirror images)."
    ),
]
ImageSize = Annotated[int | None, Parameter(help="Side of the network's input, px, in place of the one it has.")]
AsJson = Annotated[bool, Parameter(name="--json", negative="", help="Print the result as JSON.")]
Engine = Annotated[
    Literal["auto", "onnxruntime", "openvino", "openvino-bf16"],
    Parameter(help="What runs an exported file; auto: ONNX Runtime; for evaluate what `depthwise bench` found."),
]
EngineThreads = Annotated[
    int | None, Parameter(name="--threads", help="Processor cores to compute with; default: all.")
]
TrustCode = Annotated[
    bool,
    Parameter(
        negative="",
        help="Open a .pt2 file, which can run any code in it: only for one whose origin you trust.",
    ),
]
Given = Annotated[tuple[str, ...], Parameter(show=False)]
Overwrite = Annotated[bool, Parameter(negative="", help="Replace what is there.")]


def terminal_of(*, is_say_result: bool = True) -> "Terminal":
    """Return where a command shows progress and notes; on standard error alone when its result goes to output."""
    from depthwise.report.terminal import Terminal

    return Terminal(is_say_result=is_say_result)


def print_json(values: Any, indent: int | None = None) -> None:
    """Print a result as JSON, in ASCII: what a console cannot show would become an escape that JSON does not have."""
    print(json.dumps(values, indent=indent))


def asking(model: Path) -> str:
    """Return the command that asks a model about photos."""
    trust = " --trust-code" if model.suffix == ".pt2" else ""
    return f"depthwise predict {shlex.quote(str(model))} PHOTO...{trust}"


def name_skipped(skipped: Sequence["Skipped"], terminal: "Terminal") -> None:
    """Warn of each picture that was left out, and of their number."""
    for item in skipped:
        terminal.warn(f"left out: {item}")
    if skipped:
        terminal.warn(f"{len(skipped)} pictures could not be used and were left out")
