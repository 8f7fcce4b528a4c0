"""`depthwise export --int8`: calibrated on training photos, judged on others, by what will run the file."""

import json
from dataclasses import replace

import numpy as np
import onnx
import pytest

import depthwise as dw
from conftest import write_photos
from depthwise import artifact
from depthwise.cli import run
from depthwise.console import Quiet
from depthwise.data.index import Record, read_index, write_manifest
from depthwise.deploy import export as deploy_export
from depthwise.deploy import measure, quantize
from depthwise.deploy.engine import OnnxEngine
from depthwise.deploy.export import trace_network
from depthwise.workflows import evidence, exporting, quantizing


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


@pytest.mark.parametrize("name", ["model[1].onnx", "float.onnx"])
def test_sizes_of_an_int8_file_do_not_depend_on_its_name(name, trained_v3, hasty, tmp_path):
    cost = dw.export(trained_v3, tmp_path / name, int8=True, max_loss=0.2, fixed_size=True).int8
    assert cost["size_ratio"] > 1.2 and cost["num_bytes"] < cost["num_bytes_float"]


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
    splits = read_index(trained / "splits.csv")

    def part(data, name):
        card = artifact.read_card(trained / "best.safetensors")
        return evidence.find_photos(trained / "best.safetensors", card, data, Quiet()).part(name)

    assert part(None, "train") == splits.part("train")
    ours = {record.path for record in part(photos, "train")}  # no split, but the run's
    assert ours == {record.path for record in splits.part("train")}
    new = write_photos(tmp_path / "new", per_class=2)
    halves = part(new, "train"), part(new, "valid")
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


def test_the_file_itself_is_judged_by_what_runs_it(trained_v3, hasty, tmp_path, capsys, monkeypatch):
    whole = exporting.logits_of
    asked = []

    def logits_of(engine, images):  # the exported file's are asked second, and say another class
        asked.append(engine)
        return np.roll(whole(engine, images), len(asked) - 1, axis=1)

    monkeypatch.setattr(exporting, "logits_of", logits_of)
    how = ["--out", str(tmp_path / "m.xml"), "--int8", "--max-loss", "0.2"]
    assert run(["export", str(trained_v3), *how]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "of the validation photos in the whole file, run by OpenVINO" in said and "allowed: 20.0%)" in said
    assert list(tmp_path.iterdir()) == []


def test_what_a_rule_set_in_float_does_in_int8_is_counted(trained_v3, hasty, tmp_path, capsys, monkeypatch):
    path = tmp_path / "m.safetensors"
    card, tensors = artifact.read(trained_v3 / "best.safetensors")
    counts = {"min_precision": 0.9, "num_answers": 9, "num_kept": 9, "num_right": 9, "is_promised": False}
    rules = [{"label": name, "threshold": 0.3341} | counts for name in card.classes]  # below what any answer has
    artifact.write(path, replace(card, decision={"precision": rules}), tensors)
    monkeypatch.setattr(OnnxEngine, "logits", lambda self, images: np.zeros((len(images), 3), np.float32))  # a third
    how = ["--out", str(tmp_path / "m.onnx"), "--int8", "--max-loss", "0.99", "--data", str(trained_v3 / "splits.csv")]
    assert run(["export", str(path), *how]) == 0
    said = capsys.readouterr().out
    assert "The stored rule for decisions was set in float" in said
    assert "rejected as not sure enough: 0 of 6, 6 of 6" in said
    assert "right of the answers red fox: " in said and ", 0 of 0" in said


def test_too_few_photos_to_calibrate_on_are_told(network):
    few = np.zeros((7, 16, 16, 3), np.uint8)
    with pytest.raises(dw.UserError, match="at least 8 training photos; there are 7"):
        quantizing.shrink(network, few, lambda network: None, lambda logits: None, Quiet())
