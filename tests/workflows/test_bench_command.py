"""`depthwise bench`: what is measured, of what, and that an exported file needs no torch. Times are not tested."""

import json
import os
import subprocess
import sys

import pytest
import torch

import depthwise as dw
from depthwise.cli import run
from depthwise.deploy import measure
from depthwise.deploy.eager import EagerEngine
from depthwise.deploy.engine import Choice
from depthwise.deploy.openvino_engine import OpenVinoEngine
from depthwise.deploy.program import ProgramEngine
from depthwise.machine import num_processors, peak_mib
from depthwise.workflows import benching, finding


@pytest.fixture(scope="module")
def exported(trained, tmp_path_factory):
    out = tmp_path_factory.mktemp("bench") / "model.onnx"
    dw.export(trained, out)
    return out


@pytest.fixture
def hasty(monkeypatch):
    """Short turns, no child processes, four processors, and time for all."""
    monkeypatch.setattr(measure, "TURN_S", 0.0)
    monkeypatch.setattr(benching, "_memory", lambda path, setting, factory: 100.0)
    monkeypatch.setattr(benching, "num_processors", lambda: 4)
    monkeypatch.setattr(benching, "affordable", lambda costs, seconds: list(costs))


def test_a_row_for_each_setting_and_each_asks_for_its_batch(exported, hasty, capsys):
    assert run(["bench", str(exported), "--seconds", "0.001", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    settings = [(row["threads"], row["batch"]) for row in found["rows"] if row["engine"] == "onnxruntime"]
    assert settings == [(threads, batch) for threads in (1, 2, 4) for batch in (1, 8, 32)]
    assert {row["engine"] for row in found["rows"]} >= {"onnxruntime", "openvino"}
    assert found["differences"]["openvino"] < found["tolerance"] == 1e-3
    assert found["left_out"] == [] and found["model"] == "lenet5" and found["image_size"] == 32
    assert found["engine"].startswith("ONNX Runtime ") and found["num_processors"] == 4
    for row in found["rows"]:
        assert row["images_per_s"] == pytest.approx(1000 * row["batch"] / row["p50_ms"])
        assert row["num_calls"] >= measure.MIN_ROUNDS and row["p95_ms"] >= row["p50_ms"] > 0


@pytest.fixture
def seen(monkeypatch):
    """Threads and pictures of each call of PyTorch."""
    calls = set()
    for engine in (EagerEngine, ProgramEngine):

        def spy(self, images, whole=engine.logits):
            calls.add((torch.get_num_threads(), len(images)))
            return whole(self, images)

        monkeypatch.setattr(engine, "logits", spy)
    return calls


EACH_ROW = {(threads, batch) for threads in (1, 2, 4) for batch in (1, 8, 32)}


def test_a_run_is_measured_in_pytorch_with_the_threads_of_each_row(trained, hasty, capsys, seen):
    before = torch.get_num_threads()
    assert run(["bench", str(trained), "--seconds", "0.001"]) == 0
    assert seen == EACH_ROW
    assert torch.get_num_threads() == before
    printed = capsys.readouterr().out
    assert "PyTorch" in printed and "best.safetensors" in printed and "Next: depthwise export" in printed


def test_a_program_is_measured_with_the_threads_of_each_row(trained, hasty, capsys, seen, tmp_path):
    out, before = tmp_path / "model.pt2", torch.get_num_threads()
    dw.export(trained, out)
    seen.clear()
    assert run(["bench", str(out), "--seconds", "0.001", "--trust-code"]) == 0
    assert seen == EACH_ROW
    assert torch.get_num_threads() == before
    printed = capsys.readouterr().out
    assert "PyTorch" in printed and printed.endswith(f"Next: depthwise predict {out} PHOTO... --trust-code\n")


def test_where_nothing_can_be_kept_results_are_shown(exported, hasty, capsys, monkeypatch):
    monkeypatch.setenv("DEPTHWISE_CACHE", str(exported / "no folder"))
    assert run(["bench", str(exported), "--seconds", "0.001"]) == 0
    reply = capsys.readouterr()
    assert "images/s" in reply.out and "evaluate now takes" not in reply.out
    assert "what is fastest is not remembered: cannot write" in reply.err


def test_what_takes_too_long_is_named(exported, monkeypatch, capsys):
    monkeypatch.setattr(benching, "_memory", lambda path, setting, factory: None)
    monkeypatch.setattr(benching, "num_processors", lambda: 2)
    assert run(["bench", str(exported), "--seconds", "0.001"]) == 0
    printed = capsys.readouterr().out
    left_out = next(line for line in printed.splitlines() if line.startswith("Left out"))
    assert "onnxruntime 1 x 8, " in left_out and "openvino 1 x 1, " in left_out and "onnxruntime 1 x 1," not in left_out
    assert printed.splitlines()[3].split()[:3] == ["onnxruntime", "1", "1"]
    assert printed.splitlines()[3].split()[6] == "-"


def test_an_engine_that_computes_something_else_is_never_chosen(exported, hasty, capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("DEPTHWISE_CACHE", str(tmp_path))
    monkeypatch.setattr(
        benching, "interleave", lambda calls, s: {key: measure.Timing(1, *[len(key[2])] * 3) for key in calls}
    )
    assert run(["bench", str(exported)]) == 0
    capsys.readouterr()
    assert finding.best(exported, Choice(), "many").engine == "openvino"  # the shorter name: faster here
    whole = OpenVinoEngine.logits
    monkeypatch.setattr(OpenVinoEngine, "logits", lambda self, images: whole(self, images)[:, ::-1])
    assert run(["bench", str(exported)]) == 0
    assert "Never chosen automatically: openvino," in capsys.readouterr().out
    for work in ("single", "many"):
        assert finding.best(exported, Choice(), work).engine == "onnxruntime"


@pytest.mark.skipif(peak_mib() is None, reason="this system does not tell a process' peak")
def test_memory_is_that_of_a_fresh_process_which_needs_no_torch(exported):
    large = bytearray(2**29)  # must not be counted
    setting = benching.Setting(1, 8)
    found = benching._memory(exported, setting, None)
    assert 20 < found < 300 < len(large) / 2**20 < peak_mib()


def test_an_exported_file_is_measured_without_torch(exported):
    code = (
        "import sys; from depthwise.cli import run; from depthwise.workflows.benching import answer_once; "
        "status = run(sys.argv[1:]); answer_once(sys.argv[2], '1', '8'); sys.exit(status or 'torch' in sys.modules)"
    )
    command = [sys.executable, "-c", code, "bench", str(exported), "--seconds", "0.001"]
    reply = subprocess.run(command, capture_output=True, text=True)
    assert reply.returncode == 0, reply.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{tmp}/none.onnx"], "no such model file"),
        (["{exported}", "--seconds", "0"], "--seconds 0: need more than 0"),
        (["{tmp}"], "no best.safetensors"),
    ],
)
def test_what_is_asked_wrongly_is_explained(exported, tmp_path, capsys, arguments, message):
    assert run(["bench", *(a.format(tmp=tmp_path, exported=exported) for a in arguments)]) == 2
    assert message in capsys.readouterr().err


def test_processors_are_those_that_this_process_may_use():
    assert 1 <= num_processors() <= os.cpu_count()
