"""One network of each family on the whole of Fashion-MNIST, the same minutes for each: what docs/results.md shows.

    python bench/results.py [FOLDER]                           # all rows, seed 0; goes on where it was stopped
    python bench/results.py --only 'resnet*' --seeds 0 1 2     # three seeds of some
    python bench/results.py --verify                           # do pages and recipes say what was measured?
    python bench/results.py --write                            # let the recipes say what was measured

FOLDER (data/results) keeps the pictures and the runs. A network's epochs are planned once, from the speed of its steps
on this machine, so that its schedule ends within the minutes; a run is `depthwise train`'s own. Validation pictures,
taken from train, choose the epoch; the test pictures are read once, when a run has ended.
"""

import argparse
import sys
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, NamedTuple

import record

from depthwise.errors import Interrupted, UserError

AUTHORS = "submitted to the data set's authors"


class Published(NamedTuple):
    """Somebody else's test accuracy on Fashion-MNIST."""

    top1: float
    network: str
    source: str = AUTHORS


class Row(NamedTuple):
    """A network with the settings that differ from its recipe's."""

    family: str
    network: str
    settings: dict[str, Any]
    """`TrainConfig`'s fields."""
    published: Published | None = None
    recipe: str = "scratch-small"
    most_epochs: int | None = None
    """In place of the recipe's number; fewer are run where the minutes do not suffice."""
    minutes: float = 15.0
    """For training; more where it pays."""
    name: str = ""
    """What the row is called; the network's name where that is enough."""

    @property
    def title(self) -> str:
        """The row's name."""
        return self.name or self.network


LENET = Published(0.932, "2 convolutions, 3 linear layers")
# Learning rates: 0.1 for 64 pictures a step is the recipe's, for networks with batch norm. Without it 0.02, and for
# Network in Network, whose logits pass a ReLU that must not die, gradients scaled down to 2.
# GoogLeNet: pictures enlarged to 64 px, strides as at 224 px; 28 px with small strides: nine times the work.
ROWS = (
    Row(
        "LeNet-5",
        "lenet5",
        {"image_size": 32, "set": ("activation=relu", "pool=max"), "lr": 0.05, "crop": 0.06, "label_smoothing": 0.0},
        LENET,
        most_epochs=60,
    ),
    Row("LeNet-5", "lenet5", {}, LENET, recipe="lenet5", name="lenet5_recipe"),
    Row(
        "AlexNet",
        "alexnet_owt",
        {"image_size": 28, "batch_size": 128, "lr": 0.02},
        Published(0.899, "AlexNet"),
    ),
    Row(
        "Network in Network",
        "nin_cifar",
        {"image_size": 28, "set": ("drop_rate=0.3",), "lr": 0.02, "clip_grad": 2.0},
    ),
    Row(
        "VGG",
        "vgg11_bn",
        {"image_size": 32, "lr": 0.05},
        Published(0.935, "VGG-16, 26 M parameters"),
        minutes=30.0,
    ),
    Row(
        "GoogLeNet",
        "googlenet_bn",
        {"image_size": 64, "set": ("small_input=false",)},
        Published(0.937, "GoogLeNet"),
        minutes=35.0,
    ),
    Row("ResNet", "resnet20_cifar", {"image_size": 28}, Published(0.949, "ResNet-18")),
    Row(
        "DenseNet",
        "densenet_bc100_k12_cifar",
        {"image_size": 28, "set": ("blocks=[4, 4, 4]", "growth=24")},
        Published(0.954, "DenseNet-BC, 768 K parameters"),
        minutes=35.0,
    ),
    Row("SENet", "seresnet18", {"image_size": 28}),
    Row("ShuffleNet V1", "shufflenet_v1_g3_x0_5", {"image_size": 28}),
    Row("MobileNet V1", "mobilenet_v1_x0_5", {"image_size": 28}, Published(0.950, "MobileNet")),
    Row("MobileNet V2", "mobilenet_v2_x0_5", {"image_size": 28, "set": ("drop_rate=0.1",)}),
    Row("ShuffleNet V2", "shufflenet_v2_x0_5", {"image_size": 28}),
    Row("MobileNet V3", "mobilenet_v3_small", {"image_size": 28}),
    Row(
        "EfficientNet",
        "efficientnet_b0",
        {"image_size": 28, "set": ("width=0.5", "depth=0.5", "drop_connect=0.05")},
    ),
)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", default=Path("data/results"))
    parser.add_argument("--data", type=Path, help="the data set, if it is elsewhere: a folder with train/ and test/")
    parser.add_argument("--minutes", type=float, help="for training each network, in place of the table's")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--only", default="*", help="rows whose name matches")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--trial", action="store_true", help="record in FOLDER, not among the committed results")
    parser.add_argument("--verify", action="store_true", help="compare docs and recipes with the committed results")
    parser.add_argument("--write", action="store_true", help="write the committed results into the recipes")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what is asked for; return the exit status."""
    asked = parse(arguments)
    if asked.verify or asked.write:
        import results_page

        return results_page.verify() if asked.verify else results_page.write()
    import results_run

    from depthwise.data import sources
    from depthwise.report.terminal import Terminal
    from depthwise.workflows.devices import set_threads

    console, photos = Terminal(is_say_result=True), asked.data or asked.folder / "fashion-mnist"
    try:
        if not photos.exists():
            sources.get("fashion-mnist", photos, console=console)
        if asked.threads is not None:
            set_threads(asked.threads)
        result = (asked.folder if asked.trial else record.RESULTS) / "results.json"
        bench = results_run.Bench(photos, asked.folder / "runs", result, asked.minutes, asked.threads, console)
        wanted = [row for row in ROWS if fnmatchcase(row.title, asked.only)]
        results_run.carry_out(bench, wanted, asked.seeds, [row.title for row in ROWS])
    except UserError as error:
        sys.exit(f"error: {error}")
    except Interrupted as error:
        print("Stopped; what was done is kept, and the same command goes on.", file=sys.stderr)
        return 128 + error.signum
    return 0


if __name__ == "__main__":
    sys.exit(main())
