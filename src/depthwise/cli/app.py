"""What the commands share: the application they are registered with, and flags that several have."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import App, Parameter

from depthwise import __version__

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
Engine = Annotated[
    Literal["auto", "onnxruntime", "openvino", "openvino-bf16"],
    Parameter(help="What runs an exported file; auto: what `depthwise bench` found, else ONNX Runtime."),
]
EngineThreads = Annotated[
    int | None, Parameter(name="--threads", help="Processor cores to compute with; default: all.")
]
Overwrite = Annotated[bool, Parameter(negative="", help="Replace what is there.")]


def terminal_of(*, is_say_result: bool = True) -> "Terminal":
    """Return where a command shows progress and notes; on standard error alone when its result goes to output."""
    from depthwise.report.terminal import Terminal

    return Terminal(is_say_result=is_say_result)


def name_skipped(skipped: Sequence["Skipped"], terminal: "Terminal") -> None:
    """Warn of each picture that was left out, and of their number."""
    for item in skipped:
        terminal.warn(f"left out: {item}")
    if skipped:
        terminal.warn(f"{len(skipped)} pictures could not be used and were left out")
