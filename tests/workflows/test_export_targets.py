"""`depthwise export` to OpenVINO and torch.export, in INT8, and what may run the files."""

import json
import os
import subprocess
import sys

import numpy as np
import onnx
import pytest

import depthwise as dw
from conftest import write_photos
from depthwise.cli import run
from depthwise.data.index import Record, read_index, write_manifest
from depthwise.deploy import export as deploy_export
from depthwise.deploy import measure, quantize
from depthwise.deploy.engine import Choice, OnnxEngine, Parts
from depthwise.deploy.export import trace_network
from depthwise.deploy.openvino_engine import OpenVinoEngine
from depthwise.workflows import evidence, exporting, finding, loading, quantizing
from depthwise.workflows.opening import open_engine


@pytest.fixture(scope="module")
def trained_v3(photos, tmp_path_factory):
    """MobileNetV3, narrow: squeeze-and-excite, hard-swish and depthwise layers."""
    out = tmp_path_factory.mktemp("v3") / "run"
    how = ["--model", "mobilenet_v3_small", "--set", "width=0.35", "--epochs", "6", "--batch-size", "6", "--lr", "0.05"]
    how += ["--image-size", "16", "--recipe", "none", "--no-report"]
    assert run(["train", str(photos), "--out", str(out), *how, "--workers", "1", "--threads", "1"]) == 0
    return out


@pytest.fixture(scope="module")
def network(trained_v3):
    """Its graph, which takes seconds to make."""
    engine = dw.load(trained_v3, "cpu").engine
    return trace_network(engine.model, engine.card)


@pytest.fixture
def hasty(monkeypatch, network):
    """The graph is made already, and time is hardly measured."""
    monkeypatch.setattr(deploy_export, "trace_network", lambda model, card: network)
    monkeypatch.setattr(measure, "TURN_S", 0.0)
    monkeypatch.setattr(exporting, "SECONDS", 0.0)


@pytest.fixture(scope="module")
def int8(trained_v3, tmp_path_factory):
    out = tmp_path_factory.mktemp("int8") / "model.onnx"
    exporting.export(trained_v3, out, int8=True, max_loss=0.2)
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


@pytest.mark.parametrize("name", ["model[1].onnx", "float.onnx"])
def test_sizes_of_an_int8_file_do_not_depend_on_its_name(name, trained_v3, hasty, tmp_path):
    cost = dw.export(trained_v3, tmp_path / name, int8=True, max_loss=0.2, fixed_size=True).int8
    assert cost["size_ratio"] > 1.2 and cost["num_bytes"] < cost["num_bytes_float"]


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


def test_int8_is_small_states_its_cost_and_is_verified_by_its_own_tolerance(int8, trained_v3, capsys):
    found = json.loads(int8.with_name("model.onnx.verification.json").read_text())
    cost = found["int8"]
    assert cost["loss"] <= 0.2 and cost["num_calibration"] == 24 and cost["size_ratio"] > 1.2 and cost["p50_ms"] > 0
    assert set(cost["per_class"]) == {"crème brûlée", "猫", "red fox"}
    operations = [node.op_type for node in onnx.load(int8).graph.node]
    assert operations.count("DequantizeLinear") > 100
    assert found["tolerance"] == quantizing.TOLERANCE
    made = f"depthwise export {trained_v3.name} --out model.onnx --int8 --max-loss 0.2"
    assert OnnxEngine(int8).metadata["made"]["command"] == made
    assert run(["verify", str(int8)]) == 0 and run(["verify", str(int8), "--engine", "openvino"]) == 0
    capsys.readouterr()
    assert np.array_equal(*(OnnxEngine(int8).logits(np.full((2, s, s, 3), 99, np.uint8))[:1] for s in (24, 30)))


def test_weights_are_quantised_by_channel(int8):
    proto = onnx.load(int8)
    scales = {c.name: onnx.numpy_helper.to_array(c) for c in proto.graph.initializer}
    depthwise = [name for name in scales if name.endswith("depthwise.conv.weight_scale")]
    assert depthwise and all(
        scales[name].size == scales[name.replace("_scale", "_zero_point")].size > 1 for name in depthwise
    )


def test_int8_is_the_same_bits_again(network):
    pictures = np.random.default_rng(0).integers(0, 256, (16, 16, 16, 3), np.uint8)
    bits = []
    for _ in range(2):
        with quantize.Quantizer(network, pictures) as quantizer:
            bits.append(quantizer.without(()).SerializeToString())
    assert bits[0] == bits[1]


def spoil(monkeypatch, bad=lambda layer: True):
    """Let some layers come out of the quantiser with weights of the wrong sign and ten times their size."""
    whole = quantize.Quantizer._quantized

    def spoiled(self, excluded, included=()):
        proto = whole(self, excluded, included)
        for constant in proto.graph.initializer:
            if constant.name.endswith("weight_scale") and bad(constant.name):
                values = onnx.numpy_helper.to_array(constant) * np.float32(-10)
                constant.CopyFrom(onnx.numpy_helper.from_array(values, constant.name))
        return proto

    monkeypatch.setattr(quantize.Quantizer, "_quantized", spoiled)


def test_a_spoiled_int8_model_is_refused_with_the_loss_of_each_class_and_leaves_no_file(
    trained_v3, hasty, tmp_path, capsys, monkeypatch
):
    spoil(monkeypatch)
    monkeypatch.setattr(quantizing, "_doublings", lambda num_layers: [4])
    how = ["--out", str(tmp_path / "m.onnx"), "--int8", "--max-loss", "0.1", "--fixed-size"]
    assert run(["export", str(trained_v3), *how]) == 2
    message = capsys.readouterr().err
    assert "INT8 loses" in message and "allowed: 10.0%" in message and "% of its photos" in message
    assert list(tmp_path.iterdir()) == []


def test_the_layer_that_costs_most_goes_back_to_float(trained_v3, network, hasty, tmp_path, monkeypatch):
    spoil(monkeypatch, lambda name: "blocks.3.project" in name)
    result = dw.export(trained_v3, tmp_path / "m.onnx", int8=True, max_loss=0.2, fixed_size=True)
    spoiled = next(node.name for node in network.graph.node if any("blocks.3.project" in name for name in node.input))
    assert result.int8["float_layers"][0] == spoiled
    assert result.int8["loss"] <= 0.2
    names = {c.name for c in onnx.load(tmp_path / "m.onnx").graph.initializer}
    assert not any("blocks.3.project.conv.weight_scale" in name for name in names)


def test_the_gate_counts_what_is_lost():
    before = np.eye(3, dtype=np.float32)[[0, 0, 1, 2]]
    labels = np.array([0, 0, 1, 1])
    judge = quantizing.gate_of(before, labels, ("a", "b", "c"), 0.25)
    gate = judge(np.eye(3, dtype=np.float32)[[0, 1, 1, 2]])
    assert (gate.accuracy_float, gate.accuracy_int8, gate.loss) == (0.75, 0.5, 0.25) and gate.is_passed
    assert gate.per_class == {"a": 0.5, "b": 0.0}
    assert not judge(np.eye(3, dtype=np.float32)[[1, 1, 1, 2]]).is_passed


def test_calibration_photos_are_of_all_classes_and_always_the_same(tmp_path):
    records = [Record(tmp_path / f"{n}", "ab"[n > 2], "train", f"{n:02}") for n in range(20)]
    found = quantizing.stratified(records, 5)
    assert [r.label for r in found] == ["a", "b", "a", "b", "a"]
    assert found == quantizing.stratified(records[::-1], 5)
    assert len(quantizing.stratified(records, 99)) == 20


def test_int8_is_calibrated_on_training_photos_only(trained, photos, tmp_path, capsys, monkeypatch):
    model, splits = trained / "best.safetensors", read_index(trained / "splits.csv")
    assert evidence.training_records(model, trained / "splits.csv") == splits.part("train")
    ours = {record.path for record in evidence.training_records(model, photos)}  # no split, but the run's
    assert ours == {record.path for record in splits.part("train")}
    new = write_photos(tmp_path / "new", per_class=2)
    halves = evidence.training_records(model, new), evidence._of_part(model, new, "valid")
    assert [len(half) for half in halves] == [3, 3] and not set(halves[0]) & set(halves[1])
    judging = tmp_path / "judging.csv"
    write_manifest(judging, splits.part("valid") + splits.part("test"))
    monkeypatch.setattr(deploy_export, "trace_network", lambda model, card: None)
    how = ["--out", str(tmp_path / "m.onnx"), "--int8", "--data", str(judging)]
    assert run(["export", str(trained), *how]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "judging.csv has no photos for training" in said and "leave --data out" in said
    write_manifest(judging, splits.part("train") + splits.part("test"))
    assert run(["export", str(trained), *how]) == 2
    assert "judging.csv has no photos for validation" in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "m.onnx").exists()


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


def test_engines_agree_and_parts_are_the_whole(int8, trained, tmp_path):
    out = tmp_path / "model.onnx"
    dw.export(trained, out)
    side = OnnxEngine(out).card.geometry.image_size
    images = np.random.default_rng(0).integers(0, 256, (5, side, side, 3), np.uint8)
    wanted = OnnxEngine(out).logits(images)
    for choice in (Choice("openvino", 1), Choice("openvino", 1, 2), Choice("onnxruntime", 1, 2)):
        found = open_engine(out, choice)
        assert isinstance(found, Parts) == (choice.batch is not None)
        np.testing.assert_allclose(found.logits(images), wanted, rtol=1e-4, atol=1e-4)


def test_what_bench_found_is_taken_for_many_photos_only_and_for_this_file_only(int8, tmp_path, monkeypatch):
    monkeypatch.setenv("DEPTHWISE_CACHE", str(tmp_path))
    assert finding.best(int8, Choice(), "many") is None
    finding.keep(int8, {"single": Choice("openvino", 1, 1), "many": Choice("onnxruntime", 1, 4)})
    assert finding.best(int8, Choice(), "many") == Choice("onnxruntime", 1, 4)
    assert finding.best(int8, Choice(), "single") == Choice("openvino", 1, 1)
    assert finding.best(int8, Choice(threads=2), "many") is None  # asked for otherwise
    assert isinstance(dw.load(int8, work="many").engine.engine, OnnxEngine)
    assert isinstance(dw.load(int8, work="single").engine.engine, OpenVinoEngine)
    assert isinstance(dw.load(int8).engine, OnnxEngine)
    other = tmp_path / "other.onnx"
    other.write_bytes(int8.read_bytes()[:-1] + b" ")
    assert finding.best(other, Choice(), "many") is None
    (tmp_path / "engines.json").write_text("{")
    assert finding.best(int8, Choice(), "many") is None


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
    monkeypatch.setattr(loading, "check_golden", lambda engine, golden: asked.append(len(golden)) or 0.0)
    dw.load(out), dw.load(out)
    assert asked == [3]
    os.utime(out, (0, 0))
    dw.load(out)
    monkeypatch.setattr(finding, "processor", lambda: "another")
    dw.load(out)
    assert asked == [3, 3, 3]
    monkeypatch.setenv("DEPTHWISE_CACHE", str(out / "no folder"))  # nothing can be kept
    dw.load(out)
    assert asked == [3, 3, 3, 3]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["verify", "{model}", "--engine", "openvino", "--threads", "0"], "--threads 0: at least 1"),
        (["evaluate", "{run}", "--engine", "openvino"], "--engine openvino runs exported files"),
    ],
)
def test_engines_asked_for_wrongly(int8, trained, capsys, arguments, message):
    assert run([a.format(model=int8, run=trained) for a in arguments]) == 2
    assert message in capsys.readouterr().err
