"""What goes wrong at the user's: each with its own message and exit status."""

import csv
import json
import os
import shutil
import struct
import zlib
from pathlib import Path

import pytest
from PIL import Image

from conftest import FLAGS, write_photos
from depthwise.cli import run

TRAIN = [*FLAGS, "--epochs", "1"]


def png_header_only(width: int, height: int) -> bytes:
    """A PNG that claims a size and has hardly any data."""
    chunk = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = b"IDAT" + zlib.compress(b"\0" * 100)
    parts = [struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c)) for c in (chunk, data, b"IEND")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """120 good photos and five that cannot be used, all in one class."""
    folder = write_photos(tmp_path / "mixed", per_class=40)
    spoilt = folder / "red fox"
    whole = (spoilt / "photo 00.jpg").read_bytes()
    (spoilt / "a empty.jpg").write_bytes(b"")
    (spoilt / "b cut.jpg").write_bytes(whole[: len(whole) // 2])
    (spoilt / "c page.jpg").write_text("<html><body>404</body></html>")
    (spoilt / "d huge.png").write_bytes(png_header_only(30_000, 30_000))
    (spoilt / "e gone.png").symlink_to(tmp_path / "nowhere.png")
    return folder


REASONS = {
    "a empty.jpg": "the file has zero bytes",
    "b cut.jpg": "the file ends before its picture does",
    "c page.jpg": "not a JPEG, PNG, WebP",
    "d huge.png": "more than 50 million pixels (image size (900000000 pixels)",
    "e gone.png": "there is no such file",
}


def test_split_names_each_unusable_picture_and_ends_with_1(mixed, tmp_path, capsys):
    assert run(["split", str(mixed), "--out", str(tmp_path / "splits.csv")]) == 1
    said = capsys.readouterr().err
    for name, reason in REASONS.items():
        assert any(name in line and reason in line for line in said.splitlines()), name
    assert "5 pictures could not be used and were left out" in said
    manifest = (tmp_path / "splits.csv").read_text(encoding="utf-8")
    assert not any(name in manifest for name in REASONS)


def test_train_leaves_unusable_pictures_out_and_ends_with_1(mixed, tmp_path, capsys):
    assert run(["train", str(mixed), "--out", str(tmp_path / "run"), *TRAIN]) == 1
    assert "5 pictures could not be used" in capsys.readouterr().err
    assert (tmp_path / "run" / "best.safetensors").exists()


def test_train_on_a_manifest_leaves_out_what_broke_since(mixed, tmp_path, capsys):
    manifest = tmp_path / "splits.csv"
    assert run(["split", str(mixed), "--out", str(manifest)]) == 1
    with open(manifest, encoding="utf-8") as file:
        victim = next(row["path"] for row in csv.DictReader(file) if row["split"] == "train")
    (tmp_path / victim).write_bytes(b"")
    assert run(["train", str(manifest), "--out", str(tmp_path / "run"), *TRAIN]) == 1
    said = capsys.readouterr()
    assert f"{Path(victim).name}: the file has zero bytes" in said.err
    kept = (tmp_path / "run" / "splits.csv").read_text(encoding="utf-8")
    assert Path(victim).name not in [
        Path(line.split(",")[0]).name for line in kept.splitlines() if "red fox" in line
    ] or (victim not in kept)


def test_evaluate_names_a_broken_test_picture_and_counts_the_others(photos, trained, tmp_path, capsys):
    data = tmp_path / "new"
    write_photos(data, per_class=10, seed=5)
    (data / "猫" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    assert run(["evaluate", str(trained), str(data), "--json"]) == 1
    scores = json.loads(capsys.readouterr().out)
    assert scores["num_images"] == 30
    assert [Path(item["path"]).name for item in scores["skipped"]] == ["broken.png"]


def test_predict_answers_in_order_with_the_reason_of_each_failure(mixed, trained, capsys):
    paths = [str(mixed / "red fox" / name) for name in ("a empty.jpg", "photo 01.png", "c page.jpg", "photo 02.webp")]
    assert run(["predict", str(trained), *paths, str(mixed / "missing.jpg"), "--format", "jsonl"]) == 1
    said = capsys.readouterr()
    answers = [json.loads(line) for line in said.out.splitlines()]
    assert [answer["path"] for answer in answers] == [*paths, str(mixed / "missing.jpg")]
    assert [answer["error"] is None for answer in answers] == [False, True, False, True, False]
    assert answers[0]["label"] is None
    assert answers[1]["label"] == "red fox"
    assert "3 of 5 photos could not be read" in said.err


def test_predict_goes_on_when_all_photos_are_broken(mixed, trained, capsys):
    assert run(["predict", str(trained), str(mixed / "red fox" / "a empty.jpg"), "--format", "csv"]) == 1
    assert capsys.readouterr().out.splitlines()[1].endswith(",,,false,empty,the file has zero bytes,")


@pytest.fixture
def rotten(tmp_path: Path) -> Path:
    folder = write_photos(tmp_path / "rotten")
    for name in os.listdir(folder / "猫")[:6]:
        (folder / "猫" / name).write_bytes(b"no picture")
    return folder


def test_more_than_a_tenth_unusable_stops_split_and_train(rotten, tmp_path, capsys):
    for command in (
        ["split", str(rotten), "--out", str(tmp_path / "s.csv")],
        ["train", str(rotten), "--out", str(tmp_path / "run"), *TRAIN],
    ):
        assert run(command) == 2
        assert "6 of 36 pictures cannot be used, more than a tenth" in capsys.readouterr().err
    assert not (tmp_path / "s.csv").exists()
    assert not (tmp_path / "run").exists()


def test_more_than_a_tenth_unusable_stops_evaluate_but_not_predict(rotten, trained, capsys):
    assert run(["evaluate", str(trained), str(rotten)]) == 2
    assert "more than a tenth" in capsys.readouterr().err
    assert run(["predict", str(trained), str(rotten), "--format", "jsonl"]) == 1
    assert len(capsys.readouterr().out.splitlines()) == 36


def make(folder: Path, classes: dict[str, int]) -> Path:
    for name, count in classes.items():
        (folder / name).mkdir(parents=True)
        for number in range(count):
            Image.new("RGB", (16, 16), (number * 9, len(name) * 20, 99)).save(folder / name / f"{number}.png")
    return folder


def test_folders_that_cannot_be_split_say_why(tmp_path, capsys):
    (tmp_path / "nothing").mkdir()
    cases = {
        tmp_path / "absent": "no such folder or manifest",
        tmp_path / "nothing": "no pictures found; expected one folder per class",
        make(tmp_path / "lonely", {"cat": 5}): "only one class, 'cat'",
        make(tmp_path / "few", {"cat": 5, "dogs": 2}): "'dogs' (2)",
    }
    for folder, message in cases.items():
        assert run(["split", str(folder), "--out", str(tmp_path / "splits.csv")]) == 2
        assert message in capsys.readouterr().err
    assert not (tmp_path / "splits.csv").exists()


def test_copies_of_one_picture_are_one_picture_when_a_class_is_counted(tmp_path, capsys):
    folder = make(tmp_path / "photos", {"cat": 5, "dogs": 2})
    for number in range(10):
        shutil.copy(folder / "dogs" / "0.png", folder / "dogs" / f"copy {number}.png")
    assert run(["split", str(folder), "--out", str(tmp_path / "splits.csv")]) == 2
    assert "'dogs' (2)" in capsys.readouterr().err


def test_hidden_folders_are_reported_and_never_classes(tmp_path, capsys):
    folder = make(tmp_path / "photos", {"cat": 5, "dogs": 5, ".git": 5, ".ipynb_checkpoints": 5})
    assert run(["split", str(folder), "--out", str(tmp_path / "splits.csv")]) == 0
    said = capsys.readouterr()
    assert "hidden folder left out" in said.err
    assert ".ipynb_checkpoints" in said.err
    assert ".git" not in said.out


def test_a_manifest_is_not_replaced_unasked(photos, tmp_path, capsys):
    manifest = tmp_path / "splits.csv"
    manifest.write_text("mine")
    assert run(["split", str(photos), "--out", str(manifest)]) == 2
    assert "replace it with --overwrite" in capsys.readouterr().err
    assert manifest.read_text() == "mine"
    assert run(["split", str(photos), "--out", str(manifest), "--overwrite"]) == 0


def test_a_run_is_not_replaced_unasked(photos, trained, tmp_path, capsys):
    out = tmp_path / "run"
    shutil.copytree(trained, out)
    before = (out / "best.safetensors").read_bytes()
    assert run(["train", str(photos), "--out", str(out), *TRAIN]) == 2
    said = capsys.readouterr().err
    assert "already holds a run" in said
    assert "--overwrite" in said
    assert (out / "best.safetensors").read_bytes() == before
    assert run(["train", str(photos), "--out", str(out), *TRAIN, "--overwrite"]) == 0
    assert len((out / "metrics.jsonl").read_text().splitlines()) == 1


def test_an_unknown_model_is_met_with_suggestions(photos, tmp_path, capsys):
    assert run(["train", str(photos), "--model", "mobilenetv3_small", "--out", str(tmp_path / "run")]) == 2
    assert "did you mean mobilenet_v3_small" in capsys.readouterr().err


def test_files_that_are_no_model_are_told_apart(trained, tmp_path, capsys, photos):
    photo = str(photos / "猫" / "photo 00.jpg")
    whole = (trained / "best.safetensors").read_bytes()
    length = int.from_bytes(whole[:8], "little")
    header = json.loads(whole[8 : 8 + length])
    card = json.loads(header["__metadata__"]["depthwise"]) | {"schema": 99, "version": "7.0.0"}
    newer = json.dumps(header | {"__metadata__": {"depthwise": json.dumps(card)}}).encode()
    cases = {
        "absent": (None, "no such model file"),
        "text": (b"hello, I am a text and no model at all", "not a depthwise model file"),
        "empty": (b"", "not a depthwise model file"),
        "cut": (whole[: len(whole) // 2], "is cut short by"),
        "flipped": (whole[:-5] + bytes([whole[-5] ^ 1]) + whole[-4:], "its checksum does not fit"),
        "newer": (len(newer).to_bytes(8, "little") + newer + whole[8 + length :], "pip install --upgrade depthwise"),
    }
    for name, (data, message) in cases.items():
        path = tmp_path / f"{name}.safetensors"
        if data is not None:
            path.write_bytes(data)
        assert run(["predict", str(path), photo]) == 2
        said = capsys.readouterr().err
        assert message in said
        assert str(path) in said
    assert run(["predict", str(trained / "last.safetensors"), photo]) == 2
    assert "take best.safetensors" in capsys.readouterr().err
    assert run(["predict", str(photos), photo]) == 2
    assert "there is no best.safetensors in this folder" in capsys.readouterr().err


def test_classes_that_differ_are_named(trained, tmp_path, capsys):
    data = write_photos(tmp_path / "data", per_class=6)
    (data / "猫").rename(data / "Katze")
    assert run(["evaluate", str(trained), str(data)]) == 2
    said = capsys.readouterr().err
    assert "only in the model: '猫'" in said
    assert "only in the data: 'Katze'" in said


def test_a_class_missing_from_one_split_is_named(tmp_path, capsys):
    make(tmp_path / "data" / "train", {"cat": 5, "dog": 5})
    make(tmp_path / "data" / "valid", {"cat": 5})
    assert run(["train", str(tmp_path / "data"), "--out", str(tmp_path / "run")]) == 2
    assert "valid has no pictures of 'dog'" in capsys.readouterr().err


def test_evaluating_on_training_pictures_is_refused(photos, trained, tmp_path, capsys):
    manifest = tmp_path / "other.csv"
    assert run(["split", str(photos), "--out", str(manifest), "--seed", "5"]) == 0
    capsys.readouterr()
    assert run(["evaluate", str(trained), str(manifest)]) == 2
    assert "the result would not be honest" in capsys.readouterr().err
    assert run(["evaluate", str(trained), str(manifest), "--allow-other-split"]) == 0
    assert "pictures that the run used otherwise may be among these" in capsys.readouterr().err


def test_a_file_away_from_its_run_says_that_it_knows_no_split(photos, trained, tmp_path, capsys):
    shutil.copy(trained / "best.safetensors", tmp_path / "sent.safetensors")
    assert run(["evaluate", str(tmp_path / "sent.safetensors"), str(photos)]) == 0
    assert "what the model was trained on is not known here: evaluating all 36 pictures" in capsys.readouterr().err


def test_evaluating_on_renamed_copies_of_training_pictures_is_refused(photos, trained, tmp_path, capsys):
    for folder in photos.iterdir():
        (tmp_path / "copy" / folder.name).mkdir(parents=True)
        for number, photo in enumerate(sorted(folder.iterdir())):
            shutil.copy(photo, tmp_path / "copy" / folder.name / f"renamed {number}{photo.suffix}")
    assert run(["evaluate", str(trained), str(tmp_path / "copy")]) == 2
    assert "24 in train and 6 in valid" in capsys.readouterr().err


def test_the_runs_own_split_is_used_for_the_folder_it_came_from(photos, trained, capsys):
    assert run(["evaluate", str(trained), str(photos), "--split", "test"]) == 0
    said = capsys.readouterr()
    assert "Using the run's own split: 6 test pictures" in said.err
    assert "on 6 pictures" in said.out


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,label\na.png,cat\n", "its first line must name the columns path,class,split"),
        ("path,class,split\na.png,cat,trainig\n", "line 2: needs a path, a class, and a split"),
        ("path,class,split\na.png,cat,train\na.png,dog,train\n", "names 1 files twice"),
        ("", "not a manifest"),
    ],
)
def test_broken_manifests_say_what_is_wrong(text, message, tmp_path, capsys):
    manifest = tmp_path / "splits.csv"
    manifest.write_text(text)
    assert run(["train", str(manifest), "--out", str(tmp_path / "run")]) == 2
    assert message in capsys.readouterr().err


def test_a_manifest_of_excel_is_read(photos, tmp_path):
    lines = ["path,class,split"]
    for folder in photos.iterdir():
        for number, photo in enumerate(sorted(folder.iterdir())):
            lines.append(f"{photo},{folder.name},{('train', 'valid', 'test')[number % 3]}")
    (tmp_path / "mine.csv").write_bytes(b"\xef\xbb\xbf" + "\r\n".join(lines).encode())
    assert run(["train", str(tmp_path / "mine.csv"), "--out", str(tmp_path / "run"), *TRAIN]) == 0


@pytest.mark.parametrize(("name", "smallest"), [("vgg16", 32), ("googlenet", 31), ("alexnet", 67), ("densenet121", 29)])
def test_pictures_too_small_for_a_network_are_named_with_the_smallest(name, smallest, capsys):
    assert run(["summary", name, "--image-size", str(smallest - 1)]) == 2
    said = capsys.readouterr().err
    assert f"pictures of {smallest - 1} px are too small for this network; it takes {smallest} px or more" in said
    assert run(["summary", name, "--image-size", str(smallest)]) == 0


def test_training_says_so_before_it_decodes(photos, tmp_path, capsys):
    command = ["train", str(photos), "--model", "vgg16", "--set", "small_input=false", "--image-size", "24"]
    assert run([*command, "--out", str(tmp_path / "run")]) == 2
    assert "it takes 32 px or more" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_network_that_no_machine_holds_is_refused(photos, tmp_path, capsys):
    command = ["train", str(photos), "--model", "mobilenet_v1", "--set", "width=100", "--out", str(tmp_path / "run")]
    assert run(command) == 2
    assert "GiB to train" in capsys.readouterr().err


def test_lenet_says_its_size(capsys):
    assert run(["summary", "lenet5", "--image-size", "48"]) == 2
    assert "takes pictures of 32 x 32 px, not 48 x 48" in capsys.readouterr().err


def test_a_run_folder_that_is_a_file_is_refused(photos, tmp_path, capsys):
    (tmp_path / "run").write_text("mine")
    assert run(["train", str(photos), "--out", str(tmp_path / "run"), *TRAIN]) == 2
    assert "is a file; choose another folder" in capsys.readouterr().err


def test_predicting_nothing_is_no_success(trained, tmp_path, capsys):
    assert run(["predict", str(trained), str(tmp_path)]) == 2
    assert "no photos found in" in capsys.readouterr().err


def test_evaluating_on_training_pictures_by_name_is_said_loudly(trained, capsys):
    assert run(["evaluate", str(trained), "--split", "all"]) == 0
    assert "24 of these pictures were trained on" in capsys.readouterr().err


def test_copies_between_ready_made_splits_are_counted(photos, tmp_path, capsys):
    shutil.copytree(photos, tmp_path / "data" / "train")
    shutil.copytree(photos, tmp_path / "data" / "valid")
    assert run(["train", str(tmp_path / "data"), "--out", str(tmp_path / "run"), *TRAIN]) == 0
    assert "36 validation pictures are copies of training pictures" in capsys.readouterr().err


@pytest.mark.skipif(os.name == "nt" or os.uname().sysname == "Darwin", reason="file systems that take UTF-8 names only")
def test_a_class_name_that_is_not_utf8_is_refused_at_once(photos, tmp_path, capsys):
    shutil.copytree(photos, tmp_path / "data")
    os.rename(tmp_path / "data" / "red fox", os.fsencode(tmp_path / "data") + b"/l\xe4tin")
    assert run(["split", str(tmp_path / "data"), "--out", str(tmp_path / "splits.csv")]) == 2
    assert "is not valid UTF-8" in capsys.readouterr().err


def test_answers_never_replace_a_file_unasked(trained, tmp_path, photos, capsys):
    photo = tmp_path / "mine.png"
    shutil.copy(photos / "猫" / "photo 01.png", photo)
    before = photo.read_bytes()
    assert run(["predict", str(trained), str(photo), "--out", str(photo)]) == 2
    assert "replace it with --overwrite" in capsys.readouterr().err
    assert photo.read_bytes() == before


def test_a_link_to_itself_is_no_class(photos, tmp_path):
    shutil.copytree(photos, tmp_path / "data")
    (tmp_path / "data" / "loop").symlink_to("loop")
    assert run(["split", str(tmp_path / "data"), "--out", str(tmp_path / "splits.csv")]) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["summary", "resnet18", "--image-size", "0"], "at least 1 px"),
        (["summary", "resnet18", "--num-classes", "0"], "num_classes=0 is not a whole number above zero"),
        (["summary", "resnet18", "--in-channels", "0"], "in_channels=0 is not a whole number above zero"),
        (["train", "x", "--resume", "auto", "--overwrite"], "give one of them"),
    ],
)
def test_numbers_and_flags_that_make_no_sense_are_refused(arguments, message, capsys):
    assert run(arguments) == 2
    assert message in capsys.readouterr().err


def test_shares_for_a_manifest_that_has_a_split_are_refused(photos, tmp_path, capsys):
    manifest = tmp_path / "splits.csv"
    assert run(["split", str(photos), "--out", str(manifest)]) == 0
    assert run(["train", str(manifest), "--valid", "0.2", "--out", str(tmp_path / "run")]) == 2
    assert "says itself who is in which split" in capsys.readouterr().err


def test_ctrl_c_outside_training_says_so(photos, tmp_path, capsys, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("depthwise.workflows.splitting.read_index", interrupt)
    assert run(["split", str(photos), "--out", str(tmp_path / "splits.csv")]) == 130
    assert capsys.readouterr().err == "stopped\n"
    assert not (tmp_path / "splits.csv").exists()
