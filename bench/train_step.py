"""A training step of every family: PyTorch as the tutorials and as experts use it, and ours; and the machine's limit.

    python bench/train_step.py           # the five networks with a target, 8 pictures: 2 minutes
    python bench/train_step.py --full    # one network or more of every family, 32 pictures: half an hour
    python bench/train_step.py --full mobilenet_v2 ...    # these; the others' rows stay
    python bench/train_step.py --full --compiled mobilenet_v2 ...    # and tuned PyTorch by torch.compile

Interleaved: round after round, each way takes a step, in a process of its own, as what one keeps in memory or spins on
is not the other's.
"""

import argparse
import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from multiprocessing import get_context
from multiprocessing.connection import Connection
from statistics import median
from typing import Any

import record
import torch
from baselines import default_step, our_step, tuned_step
from roofline import Limits, limit_s, measure_limits

from depthwise.training.compute import Method
from depthwise.training.step import TrainingStep

WAYS: dict[str, Callable[..., Callable[[], float]]] = {
    "default": default_step,
    "tuned": tuned_step,
    "ours_torch": partial(our_step, kernels="torch"),
    "ours": our_step,
    "compiled": partial(tuned_step, is_compiled=True),
}
USUAL = ("default", "tuned", "ours_torch", "ours")
WARM_UP = 3
"""Steps of each way that do not count: they compile, measure, and get their memory."""
PAUSE_S = 0.02
"""After a step, until PyTorch's threads spin no more."""

TARGETS = ("mobilenet_v2", "mobilenet_v3_large", "mobilenet_v1", "efficientnet_b0", "shufflenet_v2")
OTHERS = ("lenet5", "alexnet", "nin", "vgg11", "googlenet", "resnet18", "densenet121", "seresnet18", "shufflenet_v1")


def main(names: tuple[str, ...], batch_size: int, rounds: int, result: str, ways: Sequence[str] = USUAL) -> None:
    """Measure, print ratios, record after each network; other networks' rows of the same machine stay."""
    limits, threads = measure_limits(), torch.get_num_threads()
    settings = {"batch_size": batch_size, "rounds": rounds, "threads": threads}
    rows = known_rows(result, settings)
    for name in names:
        size = (name, batch_size, 32 if name == "lenet5" else 224)
        rows[name] = {**measure(size, rounds, limits, ways), **record.stamp()}
        tell(rows[name])
        ordered = [rows[model] for model in dict.fromkeys((*TARGETS, *OTHERS, *rows)) if model in rows]
        record.write(result, {**settings, "limits": limits._asdict(), "rows": ordered}, is_quiet=True)


def known_rows(result: str, settings: dict[str, Any]) -> dict[str, Any]:
    """Return what this machine measured before with these settings, by network."""
    path = record.RESULTS / f"{result}.json"
    known = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    is_alike = known.get("machine") == record.machine() and settings.items() <= known.items()
    return {row["model"]: row for row in known["rows"]} if is_alike else {}


def measure(size: tuple[str, int, int], rounds: int, limits: Limits, ways: Sequence[str]) -> dict[str, Any]:
    """Return one network's times by each way, and the limit in our way's precision."""
    with ExitStack() as stack:
        steppers = {way: stack.enter_context(stepping(way, size)) for way in ways}
        times = interleave(steppers, rounds)
        method = Method.from_json(steppers["ours"].asked("method"))
    found = {
        way: {"median_s": round(median(taken), 4), "spread_s": [round(min(taken), 4), round(max(taken), 4)]}
        for way, taken in times.items()
    }
    limit = limit_s(*size, method.precision, limits)
    name, _, image_size = size
    return {"model": name, "image_size": image_size, "method": method.describe(), "ways": found, "roofline": limit}


class Stepper:
    """A process that takes steps when it is asked to."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    def asked(self, what: str) -> Any:
        """Return the seconds of a "step", or the "method" of ours."""
        self.connection.send(what)
        return self.connection.recv()


@contextmanager
def stepping(way: str, size: tuple[str, int, int]) -> Iterator[Stepper]:
    """Yield a process that takes steps in this way; it ends with the block."""
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=take_steps, args=(theirs, way, size), daemon=True)
    process.start()
    theirs.close()
    ours.recv()  # ready: the next one must not be built beside it, nor anything measured
    try:
        yield Stepper(ours)
    finally:
        ours.close()
        process.join()


def take_steps(connection: Connection, way: str, size: tuple[str, int, int]) -> None:
    """Build the step, then take one each time that somebody asks."""
    step = WAYS[way](*size)
    connection.send("ready")
    with suppress(EOFError):
        while (what := connection.recv()) is not None:
            if what == "method":
                assert isinstance(step, TrainingStep)
                connection.send(step.method.to_json())
            else:
                started = time.perf_counter()
                step()
                connection.send(time.perf_counter() - started)


def interleave(ways: dict[str, Stepper], rounds: int) -> dict[str, list[float]]:
    """Return the seconds of each way's steps but for those that warm up."""
    times: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(WARM_UP + rounds):
        for way, stepper in ways.items():
            times[way].append(stepper.asked("step"))
            time.sleep(PAUSE_S)
    return {way: found[WARM_UP:] for way, found in times.items()}


def tell(row: dict[str, Any]) -> None:
    """Print one network's ratios."""
    taken = {way: found["median_s"] for way, found in row["ways"].items()}
    ratios = ", ".join(f"{taken[way] / taken['ours']:.2f} x {way}" for way in taken if not way.startswith("ours"))
    share = row["roofline"]["limit_s"] / taken["ours"]
    print(
        f"{row['model']}: ours {taken['ours']:.3f} s ({row['method']}), {ratios}; {share:.0%} of the limit", flush=True
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--compiled", action="store_true", help="with --full: torch.compile, too; needs a C++ compiler")
    parser.add_argument("models", nargs="*")
    asked = parser.parse_args()
    if asked.full:
        ways = (*USUAL, *["compiled"] * asked.compiled)
        main(tuple(asked.models) or (*TARGETS, *OTHERS), 32, 7, "train_step", ways)
    else:
        main(tuple(asked.models) or TARGETS, 8, 3, "train_step_quick")
