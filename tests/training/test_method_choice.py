import json
import random
from dataclasses import replace
from typing import Any

import pytest
import torch

from depthwise import files
from depthwise.config import TrainConfig
from depthwise.console import Quiet
from depthwise.errors import UserError
from depthwise.training import choice, make_step
from depthwise.training.choice import Choice, Wish, check_can, choose, nominal_s
from depthwise.training.compute import PLAIN, Compute, Method
from depthwise.training.loop import StepReport, run
from depthwise.training.step import Task, build_step, random_pictures

TASK = Task(model="mobilenet_v1_x0_25", num_classes=10, in_channels=1, small_input=True, image_size=28, batch_size=4)
MANY = 10**9
CPU = torch.device("cpu")


class Warned(Quiet):
    def __init__(self) -> None:
        self.texts: list[str] = []

    def warn(self, text: str) -> None:
        self.texts.append(text)


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    """A processor with bfloat16, and nothing kept."""
    monkeypatch.setenv("DEPTHWISE_CACHE", str(tmp_path))
    monkeypatch.setattr(choice, "has_bfloat16", lambda device: True)


@pytest.fixture
def times(monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """Seconds that a step is said to take, by its method's words; each is asked for in `asked`."""
    told = {"float32": 1.0, "bfloat16": 1.0}
    monkeypatch.setattr(choice, "_time", lambda step: told[step.method.describe()])
    return told


def torch_only(precision: str = "auto") -> Wish:
    return Wish(precision=precision, kernels="torch")


def test_short_runs_are_plain_without_measuring(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(choice, "_time", lambda step: pytest.fail("measured"))
    assert choose(TASK, Wish(), num_images=1_000) == Choice(PLAIN, {})
    assert not (files.cache_folder() / "methods.json").exists()


def test_what_is_asked_for_is_done_without_measuring(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(choice, "_time", lambda step: pytest.fail("measured"))
    for precision in ("fp32", "bf16"):
        assert choose(TASK, torch_only(precision), MANY).method == Method(precision)


def test_a_long_run_takes_the_faster_one_and_keeps_what_was_measured(times: dict[str, float]):
    times["bfloat16"] = 0.5
    first = choose(TASK, torch_only(), MANY)
    assert first == Choice(Method("bf16"), {"float32": 1.0, "bfloat16": 0.5})
    times["bfloat16"] = 2.0  # the machine is busy now
    assert choose(TASK, torch_only(), MANY) == first
    assert choose(replace(TASK, image_size=32), torch_only(), MANY).method == PLAIN


def test_what_was_measured_for_one_wish_is_not_taken_for_another(times: dict[str, float]):
    times["bfloat16"] = 0.5
    choose(TASK, torch_only(), MANY)
    times["float32, fused kernels"], times["bfloat16, fused kernels"] = 0.4, 0.1
    assert choose(TASK, Wish(precision="bf16", kernels="torch"), MANY).method == Method("bf16")
    assert choose(TASK, Wish(kernels="fused"), MANY).method == Method("bf16", "fused")
    assert choose(TASK, torch_only(), MANY).method == Method("bf16")


def test_a_little_faster_is_not_faster(times: dict[str, float]):
    times["bfloat16"] = 0.93
    assert choose(TASK, torch_only(), MANY).method == PLAIN


@pytest.mark.parametrize(
    "damage", ["", "[]", "{", '{"KEY": {"method": {"colour": "red"}, "times_s": {}}}', '{"KEY": 3}']
)
def test_what_cannot_be_read_is_measured_anew(damage: str, times: dict[str, float]):
    first = choose(TASK, torch_only(), MANY)
    path = files.cache_folder() / "methods.json"
    (key,) = json.loads(path.read_text())
    path.write_text(damage.replace('"KEY"', json.dumps(key)))
    assert choose(TASK, torch_only(), MANY) == first
    assert key in json.loads(path.read_text())


def test_without_bfloat16_there_is_nothing_to_choose(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(choice, "has_bfloat16", lambda device: False)
    assert choose(TASK, torch_only(), MANY) == Choice(PLAIN, {})


def test_bfloat16_without_instructions_is_done_with_a_warning_and_not_gone_on_with(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(choice, "has_bfloat16", lambda device: False)
    console = Warned()
    assert choose(TASK, torch_only("bf16"), MANY, console).method == Method("bf16")
    assert console.texts == ["--precision bf16: this cpu has no bfloat16 instructions; float32 will be faster"]
    with pytest.raises(UserError, match="it computes in bfloat16, which this machine's cpu has no instructions for"):
        check_can(Method("bf16"), CPU)
    check_can(PLAIN, CPU)


def test_on_a_gpu_nothing_is_measured():
    task = replace(TASK, device="cuda")
    assert choose(task, Wish(), MANY) == Choice(Method("bf16"), {})
    with pytest.raises(UserError, match="--kernels fused: these kernels are for CPUs, and the run is on cuda"):
        choose(task, Wish(kernels="fused"), MANY)


def test_compiling_needs_a_compiler(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(
        UserError, match=r"--compile needs a C\+\+ compiler on the CPU, and there is no no-such-compiler"
    ):
        choose(TASK, Wish(compile=True), MANY)
    with pytest.raises(UserError, match="--kernels fused does not go with it"):
        TrainConfig(compile=True, kernels="fused")


def test_the_count_of_a_run_worked_out_on_paper():
    """MobileNetV2 at 224 px: 299.5 million multiply-adds and 19.46 million outputs of layers per picture."""
    task = Task(model="mobilenet_v2", num_classes=10, in_channels=3, image_size=224, batch_size=32)
    assert nominal_s(task, 1000) == pytest.approx(3000 * (299.5e6 / 1e11 + 19.46e6 / 1e9), rel=1e-3)


def test_make_step_takes_the_loops_own_step_to_the_bit():
    step = make_step(
        "mobilenet_v2_x0_35", batch_size=4, image_size=32, kernels="torch", precision="fp32", num_classes=3
    )
    config = step.loop.config
    other = build_step(
        replace(TASK, model="mobilenet_v2_x0_35", num_classes=3, in_channels=3, small_input=False, image_size=32), PLAIN
    )
    data = random_pictures(replace(TASK, num_classes=3, in_channels=3, image_size=32))
    state = other.loop.state
    normalise = other.loop.normalise
    reports = run(state, data, data, config, normalise=normalise, device=CPU, workers=0, compute=Compute(state.model))
    report = next(reports)
    assert isinstance(report, StepReport)
    random.random()
    torch.rand(3)  # what else was drawn does not matter
    assert step() == report.loss
    one, two = step.loop.state.tensors(), state.tensors()
    assert all(torch.equal(one[name], two[name]) for name in two) and set(one) == set(two)
    assert step() != report.loss  # the weights have moved


def test_make_step_computes_as_a_long_run_would(times: dict[str, float]):
    times["bfloat16"] = 0.5
    step = make_step("mobilenet_v1_x0_25", batch_size=2, image_size=32, kernels="torch")
    assert step.method == Method("bf16")


def test_a_cache_that_cannot_be_written_is_said_and_the_run_goes_on(
    times: dict[str, float], tmp_path: Any, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "file").touch()
    monkeypatch.setenv("DEPTHWISE_CACHE", str(tmp_path / "file"))
    times["bfloat16"] = 0.5
    console = Warned()
    assert choose(TASK, torch_only(), MANY, console).method == Method("bf16")
    (said,) = console.texts
    assert "methods.json" in said and "measured again" in said
