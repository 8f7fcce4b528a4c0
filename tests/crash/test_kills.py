"""kill -9 at any moment: the run that goes on ends with the bits of one that was never killed."""

import hashlib
import os
import random
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import count
from pathlib import Path

import pytest
from victims import Kill, Order, finish, start

from conftest import write_photos

pytestmark = pytest.mark.skipif(os.name == "nt", reason="POSIX signals and fork")
SAVE_EVERY = 3
STEPS = 8  # an epoch: 60 training pictures in batches of 8
EPOCHS = 3
FILES = ("best.safetensors", "last.safetensors", "metrics.jsonl", "splits.csv", "config.toml")
NETWORKS = (
    ("--model", "lenet5", "--set", "drop_rate=0.3"),
    ("--model", "mobilenet_v1", "--set", "width=0.1", "--image-size", "16"),
    ("--model", "mobilenet_v2", "--set", "width=0.35", "--image-size", "16", "--kernels", "fused"),
)
WRITES_PER_EPOCH = 4  # checkpoints after steps 3 and 6, metrics and a checkpoint at its end; more where it is the best


@dataclass(frozen=True)
class Scenario:
    """A run that is killed, once or twice, and ends."""

    number: int
    kills: tuple[Kill | float, ...]
    """A moment by event, or a share of the time that an unbroken run takes."""
    network: tuple[str, ...]
    workers: tuple[int, ...]
    """Of each start."""


def scenarios(seed: int) -> Iterator[Scenario]:
    """Yield scenarios without end: a fifth of their kills inside a save, the others in steps, validation, anywhere."""
    rng = random.Random(seed)
    for number in count():
        kills = _kills(("save", "first", "validation", "twice", "any", "save", "last", "any")[number % 8], rng)
        workers = tuple(rng.choice((0, 2)) for _ in range(len(kills) + 1))
        yield Scenario(number, kills, rng.choice(NETWORKS), workers)


def _kills(kind: str, rng: random.Random) -> tuple[Kill | float, ...]:
    if kind == "save":
        event = rng.choice(("write", "write", "sync", "rename", "synced"))
        return (Kill(event, rng.randint(3, EPOCHS * WRITES_PER_EPOCH), rng.random()),)  # 1, 2: manifest, settings
    if kind == "first":
        return (Kill(rng.choice(("step", "stepped")), 1),)
    if kind == "last":
        return (Kill(rng.choice(("step", "stepped")), EPOCHS * STEPS),)
    if kind == "validation":
        return (Kill("validation", rng.randint(1, 6)),)
    if kind == "twice":  # the second one counts from where the first start was cut off, or somewhat before
        first = rng.randint(SAVE_EVERY + 1, STEPS - 2)
        return (Kill("step", first), Kill("stepped", rng.randint(1, STEPS - first)))
    return (rng.random(),)


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three classes of 27 tiny photos, split: 60 to train on, 12 to validate."""
    from depthwise.config import SplitConfig
    from depthwise.workflows.splitting import split

    folder = tmp_path_factory.mktemp("crash")
    write_photos(folder / "photos", per_class=27, size=(16, 16))
    result = split(folder / "photos", folder / "splits.csv", SplitConfig(valid=0.15, test=0.1))
    assert sum(counts["train"] for counts in result.counts.values()) == 60
    return folder / "splits.csv"


class Lab:
    """Runs scenarios, each network's unbroken run once."""

    def __init__(self, manifest: Path, folder: Path) -> None:
        self.manifest, self.folder = manifest, folder
        assert finish(Order(["--version"], folder / "said")) == 0  # the fork server is warm: durations mean something
        self.unbroken = cache(self._unbroken)

    def order(self, name: str, network: tuple[str, ...], workers: int, attempt: int, kill: Kill | None) -> Order:
        flags = ["--epochs", str(EPOCHS), "--batch-size", "8", "--lr", "0.05", "--threads", "1", "--clip-grad", "5"]
        saving = ["--save-every", str(SAVE_EVERY), "--resume", "--workers", str(workers)]
        out = ["--out", str(self.folder / name)]
        arguments = ["train", str(self.manifest), *network, *flags, *saving, *out]
        trace = self.folder / f"{name}.trace{attempt}"
        return Order(arguments, self.folder / f"{name}.said", trace, kill)

    def _unbroken(self, network: tuple[str, ...]) -> tuple[dict[str, str], list[str], float]:
        name = f"unbroken-{network[1]}"
        started = time.monotonic()
        order = self.order(name, network, 0, 0, None)
        assert finish(order) == 0, order.said.read_text()
        return digests(self.folder / name), order.trace.read_text().splitlines(), time.monotonic() - started

    def run(self, scenario: Scenario) -> int:
        """Run one scenario; return how many of its kills struck (a timed one may come too late)."""
        wanted, steps, duration = self.unbroken(scenario.network)
        name, struck = f"{scenario.number}", 0
        for attempt, (kill, workers) in enumerate(zip((*scenario.kills, None), scenario.workers, strict=True)):
            timed = kill if isinstance(kill, float) else None
            order = self.order(name, scenario.network, workers, attempt, None if timed is not None else kill)
            process = start(order)
            if timed is not None:
                time.sleep(timed * duration)
                process.kill()
            process.join(120)
            assert process.exitcode in ((-signal.SIGKILL, 0) if kill is not None else (0,)), order.said.read_text()
            struck += process.exitcode != 0
        assert digests(self.folder / name) == wanted, f"{scenario}: other bits\n{order.said.read_text()}"
        assert not list((self.folder / name).glob(".*")), scenario
        self.check_steps(name, len(scenario.workers), steps)
        return struck

    def check_steps(self, name: str, num_attempts: int, unbroken: list[str]) -> None:
        """Each step saw the samples that it should, and no start repeated more than SAVE_EVERY steps."""
        done = 0
        for attempt in range(num_attempts):
            trace = self.folder / f"{name}.trace{attempt}"
            lines = trace.read_text().splitlines() if trace.exists() else []
            if lines:
                first = int(lines[0].split()[0])
                assert lines == unbroken[first - 1 : first - 1 + len(lines)], f"{name}: other samples"
                assert 0 <= done - (first - 1) <= SAVE_EVERY, f"{name}: {done} steps done, went on with {first}"
                done = first - 1 + len(lines)
        assert done == len(unbroken) == EPOCHS * STEPS


def digests(folder: Path) -> dict[str, str]:
    return {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in FILES}


def run_all(pictures: Path, folder: Path, num_kills: int, seed: int) -> None:
    lab, struck, inside = Lab(pictures, folder), 0, 0
    for scenario in scenarios(seed):
        struck += lab.run(scenario)
        inside += sum(isinstance(k, Kill) and k.event in ("write", "sync", "rename", "synced") for k in scenario.kills)
        if struck >= num_kills:
            break
    print(f"\nkills: {struck}, of which inside a save: {inside}, runs: {scenario.number + 1}; other results: 0")
    assert inside >= num_kills // 5


def test_a_killed_run_ends_with_the_bits_of_an_unbroken_one(pictures: Path, tmp_path: Path):
    run_all(pictures, tmp_path, 25, seed=1)


@pytest.mark.crash
def test_many_killed_runs_end_with_the_bits_of_an_unbroken_one(pictures: Path, tmp_path: Path):
    run_all(pictures, tmp_path, 500, seed=2)
