"""`depthwise export` and `verify`: one file that needs nothing beside it, compared before it is written."""

import base64
import io
import json
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from PIL import Image

import depthwise as dw
from depthwise import files
from depthwise.cli import run
from depthwise.data.decode import decode
from depthwise.deploy import eager
from depthwise.deploy.engine import OnnxEngine
from depthwise.deploy.openvino_engine import OpenVinoEngine, to_openvino
from depthwise.deploy.verify import noise
from depthwise.models.create import create_model
from depthwise.workflows import exporting
from depthwise.workflows.teaching import read_teacher


@pytest.fixture(scope="module")
def exported(trained, tmp_path_factory):
    out = tmp_path_factory.mktemp("export") / "model.onnx"
    assert run(["export", str(trained), "--out", str(out)]) == 0
    return out


def test_the_file_answers_as_the_run_does(exported, trained, photos):
    before, after = dw.load(trained), dw.load(exported)
    assert after.classes == before.classes
    for photo in sorted(photos.rglob("photo 0*.*")):
        first, second = before.predict(photo), after.predict(photo)
        assert first.label == second.label
        assert first.probability == pytest.approx(second.probability, abs=1e-5)


def test_the_file_teaches_as_the_run_does(exported, trained):
    classes = tuple(reversed(dw.load(trained).classes))
    images = np.random.default_rng(0).integers(0, 256, (4, 20, 20, 3), np.uint8)  # the teacher's own size is 32
    answers = []
    for teacher in (trained, exported):
        config = dw.TrainConfig(model="lenet5", teacher=str(teacher))
        answers.append(read_teacher(config, classes, torch.device("cpu"))(images))
    assert answers[0].shape == (4, 3)
    assert answers[1] == pytest.approx(answers[0], abs=1e-4)


def test_an_exported_teacher_of_any_kind_must_compute_what_it_did(exported, trained, tmp_path, monkeypatch):
    monkeypatch.setenv("DEPTHWISE_CACHE", str(tmp_path / "cache"))
    for suffix, part in to_openvino(exported.read_bytes()).items():
        (tmp_path / f"model{suffix}").write_bytes(part)
    images = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), np.uint8)
    for engine, file in ((OnnxEngine, exported), (OpenVinoEngine, tmp_path / "model.xml")):
        config = dw.TrainConfig(model="lenet5", teacher=str(file))
        whole = engine.logits
        with monkeypatch.context() as spoiled:
            spoiled.setattr(engine, "logits", lambda self, x, whole=whole: whole(self, x) + np.float32([1, 0, 0]))
            with pytest.raises(dw.UserError, match="computes something else on this machine"):
                read_teacher(config, dw.load(trained).classes, torch.device("cpu"))
        assert read_teacher(config, dw.load(trained).classes, torch.device("cpu"))(images).shape == (4, 3)


def test_the_command_in_the_file_makes_it_again(trained, tmp_path, monkeypatch):
    out = tmp_path / "elsewhere" / "model.onnx"
    out.parent.mkdir()
    monkeypatch.chdir(trained.parent)
    model, splits, factory = trained.name, f"{trained.name}/splits.csv", "package.module:function"
    dw.export(model, out, splits, fixed_size=True, licence="CC BY 4.0", factory=factory)
    command = OnnxEngine(out).metadata["made"]["command"]
    flags = f"--fixed-size --data {splits} --licence 'CC BY 4.0' --factory {factory}"
    assert command == f"depthwise export {model} --out model.onnx {flags}"
    again = [str(tmp_path / word) if word == "model.onnx" else word for word in shlex.split(command)[1:]]
    assert run(again) == 0
    assert (tmp_path / "model.onnx").read_bytes() == out.read_bytes()


def test_the_evidence_lies_beside_it_and_in_it(exported, trained):
    beside = json.loads(exported.with_name("model.onnx.verification.json").read_text())
    assert beside["comparison"]["top1_agreement"] == 1.0
    assert beside["comparison"]["num_images"] == beside["photos"] > 0
    assert beside["comparison"]["max_probability_difference"] < 1e-4
    assert beside["own_size"]["max_probability_difference"] < 1e-4
    inside = dw.load(exported).engine.metadata
    assert inside["verification"]["comparison"] == beside["comparison"]
    assert len(inside["golden"]) == 3  # of three classes
    assert "/" not in json.dumps(inside["card"]["training"])  # no path of the machine that trained it
    made = inside["made"]
    assert made["command"] == f"depthwise export {trained.name} --out model.onnx" and made["licence"] == ""
    assert made["code_sha256"] == files.digest_of_code(Path(dw.__file__).parent)
    assert len(inside["card"]["training"]["pictures"]) == 64  # what it was trained on, by its hash


def test_the_graph_alone_takes_photos_of_any_size_and_gives_probabilities(exported, trained, photos):
    session = onnxruntime.InferenceSession(exported)
    for photo in [sorted(photos.rglob("*.png"))[0]]:
        for size in ((24, 20), (200, 70), (32, 32)):
            pixels = np.asarray(Image.open(photo).convert("RGB").resize(size))
            (found,) = session.run(["probabilities"], {"images": pixels[None]})
            assert found.shape == (1, 3) and found.sum() == pytest.approx(1)
        own = decode(photo, 3)
        (found,) = session.run(["probabilities"], {"images": own[None]})
        assert found.max() == pytest.approx(dw.load(trained).predict(photo).probability, abs=1e-5)


def test_a_batch_of_many(exported):
    images = np.random.default_rng(0).integers(0, 256, (7, 40, 50, 3), np.uint8)
    session = onnxruntime.InferenceSession(exported)
    whole = session.run(["logits"], {"images": images})[0]
    single = np.concatenate([session.run(["logits"], {"images": images[i : i + 1]})[0] for i in range(7)])
    np.testing.assert_allclose(whole, single, rtol=1e-4, atol=1e-5)


def test_predict_and_verify_need_no_torch(exported, photos):
    photo = str(next(photos.rglob("*.png")))
    for arguments in (["predict", str(exported), photo, "--json"], ["verify", str(exported)]):
        code = (
            "import sys; from depthwise.cli import run; status = run(sys.argv[1:]); "
            "sys.exit(status or ('torch' in sys.modules) * 9 or ('onnx' in sys.modules) * 8)"
        )
        reply = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True)
        assert reply.returncode == 0, reply.stderr


def test_verify_finds_a_file_that_computes_something_else(exported, tmp_path, capsys):
    proto = onnx.load(exported)
    last = next(c for c in proto.graph.initializer if c.name.endswith("classifier.bias"))
    values = onnx.numpy_helper.to_array(last) + np.array([1, 0, 0], np.float32)
    last.CopyFrom(onnx.numpy_helper.from_array(values, last.name))
    onnx.save(proto, tmp_path / "spoiled.onnx")
    assert run(["verify", str(tmp_path / "spoiled.onnx")]) == 2
    assert "computes something else on this machine" in capsys.readouterr().err
    assert run(["verify", str(exported)]) == 0


def test_verify_with_photos_tells_the_accuracy(exported, photos, capsys):
    assert run(["verify", str(exported), "--data", str(photos), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["evaluation"]["num_images"] == 36


def test_what_differs_is_not_written_and_the_photos_are_named(trained, tmp_path, capsys, monkeypatch):
    whole = eager.EagerEngine.logits

    def spoiled(self, images):
        return whole(self, images) + np.float32(0.5) * (images.mean((1, 2, 3)) > 110)[:, None] * np.eye(3)[0]

    monkeypatch.setattr(eager.EagerEngine, "logits", spoiled)
    out = tmp_path / "model.onnx"
    assert run(["export", str(trained), "--out", str(out)]) == 2
    message = capsys.readouterr().err
    assert "does not compute what the model does, so it was not written" in message and "photo" in message
    assert list(tmp_path.iterdir()) == []


def test_resizing_that_differs_is_found(trained, tmp_path, capsys, monkeypatch):
    from depthwise.deploy import resize

    monkeypatch.setattr(resize, "PRECISION", 4.0)
    assert run(["export", str(trained), "--out", str(tmp_path / "model.onnx")]) == 2
    assert "with its resizing does not compute" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--out", "{tmp}/model.bin"], "ends in .onnx"),
        (["--out", "{exported}"], "--overwrite"),
        (["--out", "{tmp}/m.onnx", "--data", "{tmp}/nothing"], "nothing"),
        (["--out", "{tmp}/nowhere/m.onnx"], "there is no folder {tmp}/nowhere"),
    ],
)
def test_what_is_asked_wrongly_is_explained(trained, exported, tmp_path, capsys, arguments, message):
    arguments = [a.format(tmp=tmp_path, exported=exported) for a in arguments]
    assert run(["export", str(trained), *arguments]) == 2
    assert message.format(tmp=tmp_path) in capsys.readouterr().err


def test_an_exported_file_is_not_exported_again(exported, tmp_path, capsys):
    assert run(["export", str(exported), "--out", str(tmp_path / "m.onnx")]) == 2
    assert "is exported already" in capsys.readouterr().err


def test_no_photo_travels_where_none_may(exported, trained, tmp_path, capsys):
    assert "png" in json.dumps(OnnxEngine(exported).metadata["golden"])
    out = tmp_path / "m.onnx"
    assert run(["export", str(trained), "--out", str(out)]) == 0
    assert "3 of these photos travel in the file" in capsys.readouterr().out
    assert run(["export", str(trained), "--out", str(out), "--golden", "noise", "--overwrite"]) == 0
    assert "travel in the file" not in capsys.readouterr().out
    metadata = OnnxEngine(out).metadata
    pixels = [np.asarray(Image.open(io.BytesIO(base64.b64decode(e["png"])))) for e in metadata["golden"]]
    assert np.array_equal(np.stack(pixels), noise(16, 32, 3)[:4])
    assert metadata["made"]["command"].endswith("--out m.onnx --golden noise")
    assert run(["verify", str(out)]) == 0


def test_resizing_that_differs_elsewhere_is_found_by_verify(exported, capsys, monkeypatch):
    whole = OnnxEngine.logits

    def logits(self, images):
        return whole(self, images) + np.float32([1, 0, 0]) * (images.shape[1] != 32)

    monkeypatch.setattr(OnnxEngine, "logits", logits)
    assert run(["verify", str(exported)]) == 2
    assert "computes something else on this machine" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda card: card["classes"].pop(), "cannot be read: cannot reshape"),
        (lambda card: card.update(classes=["a", "b", "a"]), "it names a class twice"),
        (lambda card: card.update(classes=["a", "b", 3]), "a class's name is no text"),
    ],
)
def test_classes_that_do_not_fit_are_told(exported, photos, tmp_path, capsys, spoil, message):
    proto, out = onnx.load(exported), tmp_path / "m.onnx"
    metadata = json.loads(proto.metadata_props[0].value)
    spoil(metadata["card"])
    proto.metadata_props[0].value = json.dumps(metadata)
    onnx.save(proto, out)
    assert run(["verify", str(out)]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "the model file is damaged" in said and message in said
    assert run(["predict", str(out), str(next(photos.rglob("*.png"))), "--engine", "onnxruntime"]) == 2
    assert "the model file is damaged" in capsys.readouterr().err


def test_an_ending_in_capitals_is_explained(exported, tmp_path, capsys):
    (tmp_path / "M.ONNX").write_bytes(exported.read_bytes())
    for command in (["predict", "photo.jpg"], ["verify"], ["bench"]):
        assert run([command[0], str(tmp_path / "M.ONNX"), *command[1:]]) == 2
        assert "name it M.onnx" in capsys.readouterr().err


def test_files_that_are_no_models_are_explained(tmp_path, capsys):
    (tmp_path / "x.onnx").write_bytes(b"hello")
    assert run(["predict", str(tmp_path / "x.onnx"), "photo.jpg"]) == 2
    assert "ONNX Runtime cannot read this model" in capsys.readouterr().err
    node = onnx.helper.make_node("Identity", ["x"], ["y"])
    value = [onnx.helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, [1]) for n in "xy"]
    foreign = onnx.helper.make_model(onnx.helper.make_graph([node], "g", value[:1], value[1:]), ir_version=9)
    foreign.opset_import[0].version = 18
    onnx.save(foreign, tmp_path / "foreign.onnx")
    assert run(["verify", str(tmp_path / "foreign.onnx")]) == 2
    assert "not one of depthwise" in capsys.readouterr().err


def test_photos_of_one_size_only_on_request(trained, tmp_path):
    out = tmp_path / "fixed.onnx"
    result = dw.export(trained, out, fixed_size=True)
    assert result.comparison.is_passed and result.is_on_photos
    proto = onnx.load(out)
    assert "If" not in {node.op_type for node in proto.graph.node}
    with pytest.raises(Exception, match=r"(?i)dimension"):
        onnxruntime.InferenceSession(out).run(None, {"images": np.zeros((1, 20, 20, 3), np.uint8)})


SMALL = [
    *("lenet5_1998 alexnet nin_cifar alexnet_owt vgg11_bn googlenet resnet20_cifar densenet40_k12_cifar".split()),
    *("seresnet18_preact shufflenet_v1_g8_x0_25 shufflenet_v2_x0_5 mobilenet_v1_x0_25 mobilenet_v2_x0_35".split()),
    *("mobilenet_v3_small_x0_75 efficientnet_b0 efficientnet_lite0".split()),
]


def check_network(name, folder, size, **options):
    """Export a network with random weights and compare on noise."""
    import torch

    from depthwise import artifact
    from depthwise.data.geometry import Geometry
    from depthwise.models.registry import model_info

    torch.manual_seed(0)
    spec = model_info(name)
    num_classes = spec.num_classes if name == "lenet5_1998" else 5
    model = create_model(name, num_classes=num_classes, **options)
    small_input = options.pop("small_input", False)
    classes = tuple(f"class {i}" for i in range(num_classes))
    card = artifact.Card("model", spec.name, options, small_input, classes, Geometry(size, spec.in_channels))
    artifact.write(folder / "m.safetensors", card, model.state_dict())
    result = exporting.export(
        folder / "m.safetensors", folder / "m.onnx", fixed_size=True
    )  # resizing has its own tests
    assert result.comparison.top1_agreement == 1
    return onnx.load(folder / "m.onnx")


@pytest.mark.parametrize("name", SMALL)
def test_one_network_of_each_family_exports_and_verifies(name, tmp_path):
    is_small = name not in ("lenet5_1998", "googlenet", "nin_cifar", "resnet20_cifar", "densenet40_k12_cifar")
    more = {"small_input": True} if is_small else {}
    proto = check_network(name, tmp_path, 64 if name == "googlenet" else 32, **more)
    if name.startswith(("mobilenet", "efficientnet", "vgg11_bn", "shufflenet", "resnet", "googlenet")):
        assert "BatchNormalization" not in {node.op_type for node in proto.graph.node}  # folded


@pytest.mark.slow
@pytest.mark.parametrize("name", dw.list_models())
def test_every_network_exports_and_verifies(name, tmp_path):
    check_network(name, tmp_path, dw.model_info(name).image_size)


def test_tf_padding_survives_export(tmp_path):
    check_network("mobilenet_v2_x0_35", tmp_path, 46, padding="same_tf")


def test_an_exported_file_has_a_page_without_maps(exported, trained, tmp_path, capsys, monkeypatch):
    from depthwise.workflows.reporting import gather

    monkeypatch.chdir(tmp_path)
    assert run(["report", str(exported)]) == 2
    assert "no splits.csv of its training beside it" in capsys.readouterr().err
    assert run(["report", str(exported), "--data", str(trained / "splits.csv")]) == 0
    assert "of 6 given photos are answered rightly" in (tmp_path / "model-report.html").read_text()
    found = gather(exported, data=trained / "splits.csv")
    assert "keeps no maps" in found.no_heat and found.cost.params is None
