"""How a run is computed is chosen once, stored, told, and the same when it goes on."""

import itertools
import json
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from test_interruption import CONFIG, Stopping, contents

import depthwise as dw
from depthwise import artifact
from depthwise.cli import run
from depthwise.console import Quiet
from depthwise.errors import Interrupted, UserError
from depthwise.kernels import choice as places
from depthwise.training import choice
from depthwise.workflows import computing

BF16 = replace(CONFIG, precision="bf16", kernels="torch", epochs=2)


class Listening(Quiet):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        self.lines.append(text)

    def warn(self, text: str) -> None:
        self.lines.append(text)


@pytest.fixture(scope="module")
def unbroken(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("bf16") / "run"
    dw.train(photos, out, BF16)
    return out


def test_a_run_in_bfloat16_that_was_stopped_ends_with_the_same_bytes(photos, unbroken, tmp_path):
    out = tmp_path / "run"
    with pytest.raises(Interrupted):
        dw.train(photos, out, BF16, console=Stopping(2))
    dw.train(photos, out, BF16, resume="auto")
    assert contents(out) == contents(unbroken)


def test_how_it_is_computed_is_stored_and_told(photos, unbroken, tmp_path):
    card, tensors = artifact.read(unbroken / "last.safetensors")
    stored = {"precision": "bf16", "kernels": "torch", "places": {}, "compile": False}
    assert card.training["compute"] == stored
    assert tomllib.loads((unbroken / "config.toml").read_text())["compute"] == stored
    assert {t.dtype for t in tensors.values() if t.is_floating_point()} == {torch.float32}
    console = Listening()
    dw.train(photos, tmp_path / "run", replace(BF16, epochs=1), console=console)
    assert any(line.endswith("1 epochs on cpu, bfloat16.") for line in console.lines)


def test_precision_reaches_the_weights_and_the_file_answers_in_float32(photos, unbroken, tmp_path):
    dw.train(photos, tmp_path / "run", replace(BF16, precision="fp32"))
    one, other = (artifact.read(folder / "last.safetensors")[1] for folder in (unbroken, tmp_path / "run"))
    assert any(not torch.equal(one[name], other[name]) for name in one)
    logged = [json.loads(line) for line in (unbroken / "metrics.jsonl").read_text().splitlines()]
    best = min(logged, key=lambda row: (-row["valid_top1"], row["valid_loss"]))
    assert dw.evaluate(unbroken, split="valid").scores.top1 == best["valid_top1"]


def test_a_measured_choice_is_stored_and_never_made_again(photos, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setenv("DEPTHWISE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(choice, "WORTH_S", 0.0)
    monkeypatch.setattr(choice, "has_bfloat16", lambda device: True)
    monkeypatch.setattr(choice, "_time", lambda step: asked.append(step) or 1.0 / len(asked))  # the later, the faster
    config, console = replace(CONFIG, kernels="torch", epochs=1), Listening()
    dw.train(photos, tmp_path / "run", config, console=console)
    assert "A step of 8 pictures on this machine: float32 1 s, bfloat16 0.5 s." in console.lines
    assert any(line.endswith("on cpu, bfloat16.") for line in console.lines)
    monkeypatch.setattr(computing, "choose", lambda *arguments: pytest.fail("chosen again"))
    dw.train(photos, tmp_path / "run", replace(config, epochs=2), resume="auto", console=console)
    assert artifact.read(tmp_path / "run/last.safetensors")[0].training["compute"]["precision"] == "bf16"


def test_bfloat16_that_was_asked_for_by_name_goes_on_where_it_is_imitated(photos, tmp_path, monkeypatch):
    monkeypatch.setattr(choice, "has_bfloat16", lambda device: False)
    with pytest.raises(Interrupted):
        dw.train(photos, tmp_path / "run", BF16, console=Stopping(2))
    console = Listening()
    dw.train(photos, tmp_path / "run", BF16, resume="auto", console=console)
    assert any("has no bfloat16 instructions" in line for line in console.lines)


def test_a_machine_that_cannot_do_it_is_refused_unless_asked(photos, tmp_path, monkeypatch):
    out, config = tmp_path / "run", replace(BF16, precision="auto")
    monkeypatch.setenv("DEPTHWISE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(choice, "WORTH_S", 0.0)
    monkeypatch.setattr(choice, "has_bfloat16", lambda device: True)
    times = itertools.cycle((1.0, 0.5))  # bfloat16, the second, is faster
    monkeypatch.setattr(choice, "_time", lambda step: next(times))
    with pytest.raises(Interrupted):
        dw.train(photos, out, config, console=Stopping(2))
    assert artifact.read(out / "last.safetensors")[0].training["compute"]["precision"] == "bf16"
    monkeypatch.setattr(choice, "has_bfloat16", lambda device: False)
    with pytest.raises(UserError) as caught:
        dw.train(photos, out, config, resume="auto")
    assert str(caught.value) == (
        f"{out} cannot go on here: it computes in bfloat16, which this machine's cpu has no instructions for.\n"
        "Go on with it where it was started, or let it be computed otherwise by --allow-changes."
    )
    dw.train(photos, out, config, resume="auto", allow_changes=True)
    assert artifact.read(out / "last.safetensors")[0].training["compute"]["precision"] == "fp32"


def test_another_precision_is_another_setting(photos, unbroken, capsys):
    flags = ["--model", "mobilenet_v2", "--set", "width=0.35", "--epochs", "3", "--batch-size", "8", "--lr", "0.05"]
    more = ["--image-size", "16", "--kernels", "torch", "--precision", "fp32", "--resume"]
    assert run(["train", str(photos), "--out", str(unbroken), *flags, *more]) == 2
    assert "precision: bf16 in the run, fp32 now" in capsys.readouterr().err


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_run_with_fused_kernels_that_was_stopped_ends_with_the_same_bytes(precision, photos, tmp_path):
    config = replace(CONFIG, precision=precision, kernels="fused", epochs=2)
    dw.train(photos, tmp_path / "whole", config)
    out = tmp_path / "run"
    for _ in range(2):
        with pytest.raises(Interrupted):
            dw.train(photos, out, config, resume="auto", console=Stopping(2))
    dw.train(photos, out, config, resume="auto")
    assert contents(out) == contents(tmp_path / "whole")


def test_a_run_of_which_pytorch_computes_some_places_goes_on_with_the_same_ones(photos, tmp_path, monkeypatch):
    """What a machine measures decides it: here every second place is PyTorch's."""
    ways = itertools.cycle([{"torch": 1e-3, "fused": 2e-3}, {"torch": 2e-3, "fused": 1e-3}])
    seconds = iter([2.0, 1.0])
    monkeypatch.setenv("DEPTHWISE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(choice, "WORTH_S", 0.0)
    monkeypatch.setattr(choice, "_time", lambda step: next(seconds))
    monkeypatch.setattr(places, "_measure", lambda key, place, chosen: next(ways))
    config, out = replace(CONFIG, precision="fp32", epochs=1), tmp_path / "run"
    dw.train(photos, tmp_path / "whole", config)
    dw.train(photos, tmp_path / "all", replace(config, kernels="fused"))
    with pytest.raises(Interrupted):
        dw.train(photos, out, config, console=Stopping(2))
    monkeypatch.setattr(computing, "choose", lambda *arguments: pytest.fail("chosen again"))
    dw.train(photos, out, config, resume="auto")
    assert contents(out) == contents(tmp_path / "whole")
    stored = tomllib.loads((out / "config.toml").read_text())["compute"]
    assert stored["kernels"] == "fused" and set(stored["places"].values()) == {"fused", "torch"}
    found, other = (artifact.read(folder / "last.safetensors")[1] for folder in (out, tmp_path / "all"))
    assert any(not torch.equal(found[name], other[name]) for name in found)  # the places count


def test_the_file_of_a_fused_run_answers_as_any_other(photos, tmp_path):
    out = tmp_path / "run"
    dw.train(photos, out, replace(CONFIG, kernels="fused", precision="fp32", epochs=1))
    dw.train(photos, tmp_path / "plain", replace(CONFIG, kernels="torch", precision="fp32", epochs=1))
    card, tensors = artifact.read(out / "last.safetensors")
    plain = artifact.read(tmp_path / "plain/last.safetensors")[1]
    assert card.training["compute"]["kernels"] == "fused" and set(tensors) == set(plain)
    assert any(not torch.equal(tensors[name], plain[name]) for name in plain)  # the kernels were used
    row = json.loads((out / "metrics.jsonl").read_text())
    assert dw.evaluate(out, split="valid").scores.loss == row["valid_loss"]
