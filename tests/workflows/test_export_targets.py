"""`depthwise export` to OpenVINO and torch.export, and what may run the files."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

import depthwise as dw
from depthwise.cli import run
from depthwise.deploy.engine import Choice, OnnxEngine, Parts
from depthwise.deploy.openvino_engine import OpenVinoEngine
from depthwise.workflows import finding, loading
from depthwise.workflows.opening import open_engine


@pytest.fixture(scope="module")
def exported(trained, tmp_path_factory):
    out = tmp_path_factory.mktemp("exported") / "model.onnx"
    dw.export(trained, out)
    return out


@pytest.mark.parametrize("suffix", [".xml", ".pt2"])
def test_other_kinds_of_file_answer_as_the_run_does(suffix, trained, photos, tmp_path, capsys):
    out = tmp_path / f"model{suffix}"
    result = dw.export(trained, out)
    assert result.is_on_photos and result.comparison.is_passed
    before, after = dw.load(trained), dw.load(out, trust_code=True)
    assert after.engine.card.geometry == before.engine.card.geometry and after.classes == before.classes
    for first, second in zip(
        before.predict_many(photos.rglob("*0.*")), after.predict_many(photos.rglob("*0.*")), strict=True
    ):
        assert first.label == second.label
        assert first.probability == pytest.approx(second.probability, abs=1e-4)
    trust = ["--trust-code"] * (suffix == ".pt2")
    assert run(["verify", str(out), *trust]) == 0
    assert json.loads(result.evidence.read_text())["comparison"]["top1_agreement"] == 1
    assert capsys.readouterr().out.endswith(f"Next: depthwise predict {' '.join([str(out), 'PHOTO...', *trust])}\n")


REFUSED = "opening a .pt2 file can run any code that is in it"


@pytest.mark.parametrize(
    "command",
    [
        "predict {file} {photos}",
        "evaluate {file} {photos} --split all",
        "verify {file}",
        "verify {file} --data {photos}",
        "bench {file}",
        "compare {run} {file} {photos}",
        "report {file} --data {photos} --out {tmp}/page.html",
        "train {photos} --out {tmp}/run --recipe none --model lenet5 --teacher {file}",
    ],
)
def test_a_program_is_not_opened_without_the_users_word(command, trained, photos, tmp_path, capsys, monkeypatch):
    from depthwise.deploy import program

    monkeypatch.setattr(program.torch.export, "load", lambda *_, **__: pytest.fail("opened"))
    (tmp_path / "m.pt2").write_bytes(b"any")
    given = {"file": tmp_path / "m.pt2", "photos": photos, "run": trained, "tmp": tmp_path}
    assert run([word.format(**given) for word in command.split()]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert REFUSED in said and ".onnx" in said and "--trust-code" in said


def test_a_trusted_program_is_opened_by_every_command_that_has_the_flag(trained, photos, tmp_path, capsys):
    out, photo = tmp_path / "m.pt2", str(next(photos.rglob("*.png")))
    dw.export(trained, out)
    for command in (["predict", out, photo], ["evaluate", out, photos], ["verify", out, "--data", photos]):
        assert run([*map(str, command), "--trust-code", "--threads", "1"]) == 0
    assert run(["compare", str(trained), str(out), str(trained / "splits.csv"), "--trust-code"]) == 0
    assert run(["export", str(out), "--out", str(tmp_path / "m.onnx")]) == 2
    assert "is exported already" in capsys.readouterr().err


def test_of_many_photos_each_thread_of_onnx_runtime_computes_some_and_others_have_all_cores(
    trained, photos, tmp_path, capsys, monkeypatch
):
    one, many = next(photos.rglob("*.png")), photos
    for suffix in (".onnx", ".xml"):
        dw.export(trained, tmp_path / f"m{suffix}")
    asked = []
    monkeypatch.setattr(
        loading, "open_engine", lambda path, choice, **how: asked.append(choice.threads) or open_engine(path, choice)
    )
    for file, more in (
        ("m.onnx", []),
        ("m.onnx", ["--engine", "openvino"]),
        ("m.xml", []),
        ("m.xml", ["--threads", "2"]),
    ):
        for what in (one, many):
            assert run(["predict", str(tmp_path / file), str(what), *more]) == 0
    assert asked == [None, 1, None, None, None, None, 2, 2]
    capsys.readouterr()


def test_files_that_are_there_are_replaced_on_request_only(trained, tmp_path, capsys):
    for there in ("model.bin", "model.xml.verification.json"):
        (tmp_path / there).write_text("mine")
        assert run(["export", str(trained), "--out", str(tmp_path / "model.xml")]) == 2
        said = capsys.readouterr().err
        assert f"{tmp_path / there} would be written over" in said and "--overwrite" in said
        assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {there: "mine"}
        (tmp_path / there).unlink()
    found = [dw.export(trained, tmp_path / f"model{suffix}").evidence for suffix in (".xml", ".onnx")]
    assert [path.name for path in found] == ["model.xml.verification.json", "model.onnx.verification.json"]
    assert all(json.loads(path.read_text())["sha256"] for path in found)
    assert dw.export(trained, tmp_path / "model.xml", overwrite=True).comparison.is_passed


def test_an_openvino_file_needs_no_torch(trained, photos, tmp_path):
    dw.export(trained, tmp_path / "model.xml")
    code = "import sys; from depthwise.cli import run; sys.exit(run(sys.argv[1:]) or ('torch' in sys.modules) * 9)"
    command = [sys.executable, "-c", code, "predict", str(tmp_path / "model.xml"), str(next(photos.rglob("*.png")))]
    reply = subprocess.run(command, capture_output=True, text=True)
    assert reply.returncode == 0, reply.stderr


CTRL_C = """
import signal, sys
from pathlib import Path
from depthwise.deploy.engine import Choice
from depthwise.workflows.opening import open_engine
import numpy as np

engines = [open_engine(Path(sys.argv[1]), Choice("openvino")) for _ in range(2)]
for engine in engines:
    engine.logits(np.zeros((1, 32, 32, 3), np.uint8))
del engine, engines[0], engines[0]
signal.raise_signal(signal.SIGINT)
"""


def test_ctrl_c_is_no_crash_after_openvino_ran_twice(trained, tmp_path):
    """The plugin of a core that is gone leaves a freed signal stack behind."""
    dw.export(trained, tmp_path / "model.xml")
    command = [sys.executable, "-X", "faulthandler", "-c", CTRL_C, str(tmp_path / "model.xml")]
    reply = subprocess.run(command, capture_output=True, text=True)
    assert reply.stderr.strip().endswith("KeyboardInterrupt")


def test_a_converter_that_spoils_is_found_for_every_kind_of_file(trained, tmp_path, capsys, monkeypatch):
    from depthwise.deploy import openvino_engine

    whole = openvino_engine.OpenVinoEngine.logits
    monkeypatch.setattr(
        openvino_engine.OpenVinoEngine, "logits", lambda self, x: whole(self, x) + np.float32([1, 0, 0])
    )
    assert run(["export", str(trained), "--out", str(tmp_path / "model.xml")]) == 2
    assert "does not compute what the model does" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--out", "{tmp}/m.pt2", "--int8"], "--int8 goes with .onnx and .xml"),
        (["--out", "{tmp}/m.onnx", "--int8", "--max-loss", "2"], "--max-loss 2"),
        (["--out", "{tmp}/m.tflite"], "depthwise[litert]"),
    ],
)
def test_what_is_asked_wrongly_is_explained(trained, tmp_path, capsys, arguments, message, monkeypatch):
    monkeypatch.setitem(sys.modules, "litert_torch", None)
    assert run(["export", str(trained), *(a.format(tmp=tmp_path) for a in arguments)]) == 2
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_engines_agree_and_parts_are_the_whole(exported):
    out = exported
    side = OnnxEngine(out).card.geometry.image_size
    images = np.random.default_rng(0).integers(0, 256, (5, side, side, 3), np.uint8)
    wanted = OnnxEngine(out).logits(images)
    for choice in (Choice("openvino", 1), Choice("openvino", 1, 2), Choice("onnxruntime", 1, 2)):
        found = open_engine(out, choice)
        assert isinstance(found, Parts) == (choice.batch is not None)
        np.testing.assert_allclose(found.logits(images), wanted, rtol=1e-4, atol=1e-4)


def test_what_bench_found_is_taken_for_many_photos_only_and_for_this_file_only(exported, tmp_path, monkeypatch):
    monkeypatch.setenv("DEPTHWISE_CACHE", str(tmp_path))
    assert finding.best(exported, Choice(), "many") is None
    finding.keep(exported, {"single": Choice("openvino", 1, 1), "many": Choice("onnxruntime", 1, 4)})
    assert finding.best(exported, Choice(), "many") == Choice("onnxruntime", 1, 4)
    assert finding.best(exported, Choice(), "single") == Choice("openvino", 1, 1)
    assert finding.best(exported, Choice(threads=2), "many") is None  # asked for otherwise
    assert isinstance(dw.load(exported, work="many").engine.engine, OnnxEngine)
    assert isinstance(dw.load(exported, work="single").engine.engine, OpenVinoEngine)
    assert isinstance(dw.load(exported).engine, OnnxEngine)
    other = tmp_path / "other.onnx"
    other.write_bytes(exported.read_bytes()[:-1] + b" ")
    assert finding.best(other, Choice(), "many") is None
    (tmp_path / "engines.json").write_text("{")
    assert finding.best(exported, Choice(), "many") is None


def test_an_engine_that_computes_something_else_here_is_taken_only_by_name(
    trained, photos, tmp_path, capsys, monkeypatch
):
    monkeypatch.setenv("DEPTHWISE_CACHE", str(tmp_path / "cache"))
    out, photo = tmp_path / "model.onnx", str(next(photos.rglob("*.png")))
    dw.export(trained, out)
    whole = OnnxEngine.logits
    with monkeypatch.context() as spoiled:
        spoiled.setattr(OnnxEngine, "logits", lambda self, images: whole(self, images) + np.float32([1, 0, 0]))
        assert run(["predict", str(out), photo]) == 2
        message = capsys.readouterr().err
        assert "computes something else on this machine" in message and "--engine onnxruntime" in message
        assert run(["predict", str(out), photo, "--engine", "onnxruntime"]) == 0
        assert not (tmp_path / "cache" / "passed.json").exists()
    assert run(["predict", str(out), photo]) == 0
    assert finding.has_passed(out)


def test_a_file_is_asked_once_and_again_when_it_changed(trained, tmp_path, monkeypatch):
    monkeypatch.setenv("DEPTHWISE_CACHE", str(tmp_path / "cache"))
    out, asked = tmp_path / "model.onnx", []
    dw.export(trained, out)
    monkeypatch.setattr(loading, "check_golden", lambda engine: asked.append(1) or 0.0)
    dw.load(out), dw.load(out)
    assert asked == [1]
    os.utime(out, (0, 0))
    dw.load(out)
    monkeypatch.setattr(finding, "processor", lambda: "another")
    dw.load(out)
    assert asked == [1, 1, 1]
    monkeypatch.setenv("DEPTHWISE_CACHE", str(out / "no folder"))  # nothing can be kept
    dw.load(out)
    assert asked == [1, 1, 1, 1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["verify", "{model}", "--engine", "openvino", "--threads", "0"], "--threads 0: at least 1"),
        (["evaluate", "{run}", "--engine", "openvino"], "--engine openvino runs exported files"),
    ],
)
def test_engines_asked_for_wrongly(exported, trained, capsys, arguments, message):
    assert run([a.format(model=exported, run=trained) for a in arguments]) == 2
    assert message in capsys.readouterr().err
