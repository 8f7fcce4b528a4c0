"""`depthwise evaluate`, `calibrate` and `compare`: what is said of a model, and the rule in its file."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

import depthwise as dw
from conftest import COLOURS, FLAGS, write_photos
from depthwise import artifact
from depthwise.cli import run
from depthwise.data.index import read_index, write_manifest
from depthwise.deploy.engine import SUFFIXES
from depthwise.deploy.openvino_engine import to_openvino
from depthwise.metrics import proportion_interval, upper_bound


def copied(source, target):
    """Copy a run to where it may be changed; its split goes on naming the same photos."""
    shutil.copytree(source, target)
    write_manifest(target / "splits.csv", read_index(source / "splits.csv").records)
    (target / "test_reads.jsonl").unlink(missing_ok=True)
    return target


@pytest.fixture
def own(trained, tmp_path):
    return copied(trained, tmp_path / "own")


@pytest.fixture(scope="module")
def ruled(trained, tmp_path_factory):
    """A run with a rule for unknown photos, and its export."""
    folder = copied(trained, tmp_path_factory.mktemp("ruled") / "run")
    assert run(["calibrate", str(folder), "--reject-rate", "0.2"]) == 0
    assert run(["export", str(folder), "--out", str(folder / "model.onnx")]) == 0
    return folder


def ask(capsys, *arguments):
    capsys.readouterr()
    status = run([str(argument) for argument in arguments])
    return status, capsys.readouterr()


@pytest.mark.skipif(sys.platform == "win32", reason="links")
def test_a_run_knows_its_photos_by_whatever_link_they_are_reached(own, photos, tmp_path, capsys):
    (tmp_path / "elsewhere").symlink_to(photos.parent)
    same = tmp_path / "elsewhere" / photos.name
    status, said = ask(capsys, "evaluate", own, same)
    assert status == 0 and "Using the run's own split: 6 test pictures" in said.err
    write_manifest(tmp_path / "test.csv", [replace(r, split="test") for r in read_index(same).records])
    status, said = ask(capsys, "compare", own, own, tmp_path / "test.csv")
    assert status == 2 and "of these 36 test pictures were used otherwise by the run" in said.err


def test_evaluate_states_intervals_and_counts_the_readings(own, capsys):
    _, first = ask(capsys, "evaluate", own, "--json")
    found = json.loads(first.out)
    assert found["intervals"]["top1"] == list(proportion_interval(round(found["top1"] * 6), 6))
    assert found["classes"][0]["recall_interval"] is not None
    assert found["test_reads"] == {"reads": 1, "models": 1}
    ask(capsys, "evaluate", own, "--split", "valid")
    _, second = ask(capsys, "evaluate", own, "--target-error", "0.01")
    assert "has read these test photos 2 times; choosing by it makes it a validation set" in second.out
    assert (
        "These photos do not prove an error of at most 1%: that takes 368 independent ones without a mistake"
        in second.out
    )
    assert "So few photos cannot tell models apart whose accuracies differ by less than about" in second.out
    rows = [json.loads(line) for line in (own / "test_reads.jsonl").read_text().splitlines()]
    assert [row["num_images"] for row in rows] == [6, 6]


@pytest.mark.parametrize(
    ("target", "message"), [("0", "above 0 and below 1"), ("1e-7", "not even 10,000,000 photos without a mistake")]
)
def test_an_error_that_nobody_can_prove_is_refused_before_the_test_is_read(target, message, own, capsys):
    status, reply = ask(capsys, "evaluate", own, "--target-error", target)
    assert status == 2 and message in reply.err and not (own / "test_reads.jsonl").exists()
    status, reply = ask(capsys, "evaluate", own, "--target-error", "1e-6")
    assert status == 0 and "an error of at most 0.0001%: that takes 3,688,878 independent ones" in reply.out


def test_a_miss_rate_that_nobody_can_promise_is_set_and_said(own, capsys):
    status, reply = ask(capsys, "calibrate", own, "--positive", "猫", "--max-miss-rate", "1e-7")
    assert status == 0
    assert "2 photos cannot promise 0.000010%: up to 77.6" in reply.out
    assert "More than 10,000,000 of this class without a miss would." in reply.out


def test_other_test_photos_are_counted_apart_and_a_cut_line_is_passed_over(own, capsys):
    ask(capsys, "evaluate", own)
    line = (own / "test_reads.jsonl").read_text()
    other = json.dumps(json.loads(line) | {"photos_sha256": "0"})
    (own / "test_reads.jsonl").write_text(f"{other}\n{line}{line[:30]}\n")
    _, reply = ask(capsys, "evaluate", own, "--json")
    assert json.loads(reply.out)["test_reads"] == {"reads": 2, "models": 1}


@pytest.mark.parametrize("views", ["flip", "10", "multiscale"])
def test_views_stand_beside_the_single_one(views, trained, ruled, photos, capsys):
    plain = dw.evaluate(trained)
    status, reply = ask(capsys, "evaluate", ruled / "model.onnx", ruled / "splits.csv", "--views", views, "--json")
    found = json.loads(reply.out)
    assert status == 0
    assert found["top1"] == plain.scores.top1 and found["loss"] == pytest.approx(plain.scores.loss, abs=1e-4)
    assert found["views"]["kind"] == views and found["views"]["nll"] != found["nll"]
    photo = next(photos.rglob("*.png"))
    _, reply = ask(capsys, "predict", trained, photo, "--views", views, "--json")
    (answer,) = json.loads(reply.out)
    single = dw.load(trained).predict(photo)
    assert answer["single_view"] == {"label": single.label, "probability": pytest.approx(single.probability)}
    assert answer["probability"] != answer["single_view"]["probability"]


def test_flip_averages_probabilities(trained, photos):
    from depthwise.data.cache import read_picture
    from depthwise.metrics import softmax

    engine, photo = dw.load(trained).engine, next(photos.rglob("*.png"))
    pixels = read_picture(photo, engine.card.geometry)
    both = softmax(engine.logits(np.stack([pixels, pixels[:, ::-1]])) / np.float32(engine.card.temperature)).mean(
        axis=0
    )
    from depthwise.workflows.loading import load

    answer = load(trained, views="flip").predict(photo)
    assert [score.probability for score in answer.top] == pytest.approx(sorted(both, reverse=True))


def test_another_image_size(trained, ruled, photos, tmp_path, capsys):
    status, reply = ask(capsys, "evaluate", trained, "--image-size", "64")
    assert status == 2 and "LeNet-5 takes pictures of 32 x 32 px, not 64 x 64" in reply.err
    status, reply = ask(capsys, "evaluate", ruled / "model.onnx", ruled / "splits.csv", "--image-size", "64")
    assert status == 2 and "computes at the size that it was exported with" in reply.err
    flags = ["--model", "mobilenet_v1_x0_25", "--epochs", "1", "--batch-size", "8"]
    assert run(["train", str(photos), "--out", str(tmp_path / "run"), *flags]) == 0
    status, reply = ask(capsys, "evaluate", tmp_path / "run", "--image-size", "48")
    assert status == 0 and "pictures of 48 px in a network trained at" in reply.err
    assert "batch norm statistics" in reply.err


def test_an_exported_file_refuses_a_device_that_it_cannot_compute_on(ruled, photos, capsys):
    model, photo = ruled / "model.onnx", next(photos.rglob("*.png"))
    for command in (["evaluate", model, ruled / "splits.csv"], ["predict", model, photo], ["compare", model, model]):
        status, reply = ask(capsys, *command, "--device", "cuda")
        assert status == 2 and "--device cuda: model.onnx is exported and computed on the processor" in reply.err
    assert ask(capsys, "predict", model, photo, "--device", "cpu")[0] == 0


def test_calibrate_changes_the_card_and_not_one_weight(own, capsys):
    before_card, before = artifact.read(own / "best.safetensors")
    status, reply = ask(capsys, "calibrate", own, "--positive", "猫", "--max-miss-rate", "0.1")
    assert status == 0
    assert "0 of 2 are missed" in reply.out
    assert (
        "2 photos cannot promise 10.0%: up to 77.6% may be missed. 29 of this class without a miss would." in reply.out
    )
    card, after = artifact.read(own / "best.safetensors")
    assert all((after[name] == tensor).all() for name, tensor in before.items()) and after.keys() == before.keys()
    assert before_card.decision == {} and card.decision["miss"]["label"] == "猫"
    assert ask(capsys, "calibrate", own, "--min-precision", "0.9")[0] == 0
    card = artifact.read_card(own / "best.safetensors")
    assert card.decision["miss"]["label"] == "猫" and len(card.decision["precision"]) == 3  # what was set, stays
    _, reply = ask(capsys, "evaluate", own)
    assert "猫 missed: 0 of 2" in reply.out and "猫 by false alarm:" in reply.out
    _, reply = ask(capsys, "calibrate", own, "--clear", "--json")
    assert json.loads(reply.out)["decision"] == {}
    assert artifact.read_card(own / "best.safetensors").decision == {}


def test_train_and_evaluate_tell_the_calibration_error_before_and_after(own, photos, capsys):
    found = artifact.read_card(own / "best.safetensors").calibration
    errors = f"{found['error_before']:.1%} before the temperature, {found['error_after']:.1%} with it"
    _, reply = ask(capsys, "train", photos, "--out", own, *FLAGS, "--epochs", "4", "--resume")
    assert f"Calibration error (valid): {errors}\n" in reply.out
    _, reply = ask(capsys, "evaluate", own, "--split", "valid")
    assert f"Calibration error (valid): {errors}\n" in reply.out  # on the photos that it was fitted on


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_no_exported_file_is_calibrated(suffix, tmp_path, capsys):
    status, reply = ask(capsys, "calibrate", tmp_path / f"model{suffix}", "--reject-rate", "0.1")
    assert status == 2 and "is exported; calibrate the run that it was made from, then export again" in reply.err


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], "nothing to set: give --positive CLASS"),
        (["--positive", "dog", "--max-miss-rate", "0.1"], "--positive dog: no such class; there are crème brûlée"),
        (["--positive", "猫"], "--positive CLASS and --max-miss-rate R belong together"),
        (["--reject-rate", "2"], "--reject-rate 2: a share above 0 and below 1"),
    ],
)
def test_wishes_that_make_no_sense_are_refused(flags, message, own, capsys):
    status, reply = ask(capsys, "calibrate", own, *flags)
    assert status == 2 and message in reply.err
    assert artifact.read_card(own / "best.safetensors").decision == {}


def test_an_export_carries_the_rule_and_answers_as_the_run(ruled, photos):
    before, after = dw.load(ruled), dw.load(ruled / "model.onnx")
    assert before.decision.unknown.kind == "distance"
    assert after.decision.to_json() == before.decision.to_json()
    paths = sorted(photos.rglob("photo 0*.*"))
    for first, second in zip(before.predict_many(paths), after.predict_many(paths), strict=True):
        assert (first.label, first.rejected, first.reason) == (second.label, second.rejected, second.reason)


def test_an_export_with_other_features_is_not_written(ruled, tmp_path, capsys, monkeypatch):
    from depthwise.deploy.engine import OnnxEngine

    plain = OnnxEngine.with_features
    monkeypatch.setattr(OnnxEngine, "with_features", lambda *a: (plain(*a)[0], plain(*a)[1] * np.float32(1.01)))
    status, reply = ask(capsys, "export", ruled, "--out", tmp_path / "model.onnx")
    assert status == 2 and "gives other features than the model does, so it was not written" in reply.err
    assert not (tmp_path / "model.onnx").exists()


def test_a_photo_of_nothing_known_is_rejected_without_torch(ruled, tmp_path):
    write_photos(tmp_path / "photos", per_class=1)
    from PIL import Image

    Image.fromarray(np.random.default_rng(0).integers(0, 2, (24, 24, 3), np.uint8) * 255).save(tmp_path / "odd.png")
    code = (
        "import sys; from depthwise.cli import run; status = run(sys.argv[1:]); "
        "sys.exit(status or ('torch' in sys.modules) * 9)"
    )
    command = [sys.executable, "-c", code, "predict", str(ruled / "model.onnx"), str(tmp_path / "odd.png")]
    reply = subprocess.run(command, capture_output=True, text=True)
    assert reply.returncode == 0, reply.stderr
    assert "rejected: unknown: unlike the photos that the model was trained on" in reply.stdout


def test_a_class_held_out_in_training_is_rejected_and_known_photos_at_the_stated_rate(tmp_path):
    write_photos(tmp_path / "known", per_class=100)
    write_photos(tmp_path / "never seen", per_class=40, colours={"sea": (40, 60, 220)})
    out, reject_rate = tmp_path / "run", 0.1
    assert run(["train", str(tmp_path / "known"), "--out", str(out), *FLAGS, "--epochs", "4"]) == 0
    assert run(["calibrate", str(out), "--reject-rate", str(reject_rate)]) == 0
    assert run(["export", str(out), "--out", str(tmp_path / "model.onnx")]) == 0
    classifier = dw.load(tmp_path / "model.onnx")
    test = [record.path for record in read_index(out / "splits.csv").records if record.split == "test"]
    decoys, known = (
        [answer.rejected for answer in classifier.predict_many(paths)]
        for paths in (sorted((tmp_path / "never seen").rglob("*.*")), test)
    )
    assert len(decoys) == 40 and sum(decoys) >= 36
    low, high = proportion_interval(sum(known), len(known))
    assert len(known) >= 40 and low <= reject_rate <= high


def test_an_export_without_features_says_so(ruled):
    from depthwise.deploy.predict import Classifier

    class Bare:
        card = dw.load(ruled).engine.card

        def logits(self, images):
            raise AssertionError

    with pytest.raises(dw.UserError, match="needs the network's features, which it does not give"):
        Classifier(Bare())


def test_a_score_that_tells_nothing_is_not_stored(trained, tmp_path, capsys, monkeypatch):
    from depthwise.workflows import calibrating

    monkeypatch.setattr(calibrating, "GOOD", 1.1)
    own = copied(trained, tmp_path / "own")
    _, reply = ask(capsys, "calibrate", own, "--reject-rate", "0.1")
    assert "No score tells unknown photos well enough" in reply.out
    assert artifact.read_card(own / "best.safetensors").decision == {}


@pytest.fixture(scope="module")
def poor(photos, trained, tmp_path_factory):
    """A run on the same split that has learned hardly anything."""
    out = tmp_path_factory.mktemp("poor") / "run"
    flags = ["1e-9" if flag == "0.05" else flag for flag in FLAGS] + ["--epochs", "1"]
    assert run(["train", str(trained / "splits.csv"), "--out", str(out), *flags]) == 0
    return out


def test_compare_tells_a_worse_model_by_its_exit_status(trained, poor, tmp_path, capsys):
    data = write_photos(tmp_path / "new", per_class=10, seed=9)
    status, reply = ask(capsys, "compare", trained, poor, data)
    assert status == 1 and "Worse: the whole interval lies below 0." in reply.out
    status, reply = ask(capsys, "compare", poor, trained, data, "--json")
    found = json.loads(reply.out)
    assert status == 0 and not found["is_worse"]
    assert found["num_images"] == 30 and found["difference"] == pytest.approx(found["new_top1"] - found["old_top1"])
    assert {row["label"] for row in found["classes"]} == set(COLOURS)


def test_compare_takes_exports_and_asks_for_proof_with_a_margin(trained, ruled, capsys):
    status, reply = ask(capsys, "compare", trained, ruled / "model.onnx")
    assert status == 0 and "Not worse beyond chance" in reply.out
    status, reply = ask(capsys, "compare", trained, ruled / "model.onnx", "--margin", "0.01")
    assert status == 1 and "Not shown: it may lose more than 1 point." in reply.out  # 6 photos prove little
    status, reply = ask(capsys, "compare", trained, ruled / "model.onnx", "--margin", "0.6")
    assert status == 0 and "Not worse: shown to lose at most 60 points." in reply.out


def test_compare_needs_no_torch_for_exported_files_of_any_kind(ruled, tmp_path, capsys, monkeypatch):
    for suffix, part in to_openvino((ruled / "model.onnx").read_bytes()).items():
        (tmp_path / f"model{suffix}").write_bytes(part)
    monkeypatch.setitem(sys.modules, "torch", None)  # as if it were not installed
    status, reply = ask(capsys, "compare", ruled / "model.onnx", tmp_path / "model.xml", ruled / "splits.csv")
    assert status == 0 and "Not worse beyond chance" in reply.out
    status, reply = ask(capsys, "compare", tmp_path / "model.xml", tmp_path / "model.pt2", ruled / "splits.csv")
    assert status == 2 and "model.pt2 needs torch, which is not installed" in reply.err


def test_compare_takes_a_network_of_one_s_own_beside_another(trained, tmp_path, capsys, monkeypatch):
    (tmp_path / "mynet.py").write_text(
        "from torch import nn\n\n\ndef net(*, num_classes, in_channels):\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(in_channels * 256, num_classes))\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    own = tmp_path / "run"
    flags = ["--no-report", "--recipe", "none", "--model", "mynet:net", "--image-size", "16", "--epochs", "1"]
    assert run(["train", str(trained / "splits.csv"), "--out", str(own), *flags, "--workers", "2"]) == 0
    status, reply = ask(capsys, "compare", trained, own)
    assert status == 2 and "say so: --factory mynet:net" in reply.err
    for pair in ((trained, own), (own, trained), (own, own)):
        status, reply = ask(capsys, "compare", *pair, "--factory", "mynet:net")
        assert status in (0, 1) and "on the same 6 pictures" in reply.out


def test_compare_refuses_other_classes(trained, tmp_path, capsys):
    photos = write_photos(tmp_path / "photos", per_class=6)
    (photos / "猫").rename(photos / "dog")
    assert run(["train", str(photos), "--out", str(tmp_path / "run"), *FLAGS, "--epochs", "1"]) == 0
    status, reply = ask(capsys, "compare", trained, tmp_path / "run")
    assert status == 2 and "do not know the same classes: only one of them has 'dog', '猫'" in reply.err


def test_groups_count_in_the_rule_too(photos, tmp_path, capsys):
    """Four photos of each class from one animal: none missed proves as much as one photo does for each animal."""
    records = [replace(r, group=f"{r.label} {number // 4}") for number, r in enumerate(read_index(photos).records)]
    write_manifest(tmp_path / "groups.csv", records)
    assert run(["train", str(tmp_path / "groups.csv"), "--out", str(tmp_path / "run"), *FLAGS, "--epochs", "4"]) == 0
    status, said = ask(capsys, "calibrate", tmp_path / "run", "--positive", "猫", "--max-miss-rate", "0.3", "--json")
    rule = json.loads(said.out)["decision"]["miss"]
    assert status == 0 and rule["num_groups"] < rule["num_images"]
    assert rule["bound"] >= upper_bound(0, rule["num_groups"]) - 1e-9
