"""`depthwise audit --model`."""

import json
import shutil
from pathlib import Path

import numpy as np

from conftest import write_photos
from depthwise.cli import run
from depthwise.data.index import Record
from depthwise.workflows.suspects import _outliers, confident_classes


def test_confident_classes_by_hand():
    probabilities = np.array([[0.9, 0.1], [0.7, 0.3], [0.2, 0.8], [0.6, 0.4], [0.9, 0.1]])
    labels = np.array([0, 0, 1, 1, 1])
    # 0.8 of the means: 0.8 * (0.9 + 0.7) / 2 = 0.64 and 0.8 * (0.8 + 0.4 + 0.1) / 3 = 0.347
    assert confident_classes(probabilities, labels).tolist() == [0, 0, 1, 1, 0]


def test_wrong_labels_among_new_photos_are_found_worst_first(trained, tmp_path, capsys):
    folder = write_photos(tmp_path / "new", per_class=10, seed=9)
    for number in range(2):
        shutil.copy(
            folder / "red fox" / f"photo 0{number}.jpg" if not number else folder / "red fox" / "photo 01.png",
            folder / "猫" / f"wrong{number}.png",
        )
        (folder / "red fox" / ("photo 00.jpg", "photo 01.png")[number]).unlink()
    assert run(["audit", str(folder), "--model", str(trained), "--json"]) == 1
    found = [f for f in json.loads(capsys.readouterr().out)["findings"] if f["kind"] == "mislabelled"]
    assert {f["paths"][0].rsplit("/", 1)[1] for f in found} == {"wrong0.png", "wrong1.png"}
    assert all("the model says red fox" in f["detail"] for f in found)
    losses = [float(f["detail"].split()[1].strip(";")) for f in found]
    assert losses == sorted(losses, reverse=True)


def test_photos_that_it_was_trained_on_are_passed_over(photos, trained, tmp_path, capsys):
    from depthwise.data.index import read_index

    for record in read_index(trained / "splits.csv").records:
        if record.split == "train":  # under another name, and with a wrong label
            label = "red fox" if record.label != "red fox" else "猫"
            target = tmp_path / "moved" / label / record.path.name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(record.path, target.with_name(f"{record.label} {record.path.name}"))
    assert run(["audit", str(tmp_path / "moved"), "--model", str(trained)]) == 2
    assert "was trained on all of these photos" in capsys.readouterr().err


def test_a_picture_far_below_the_others_scores_is_an_outlier():
    logits = np.random.default_rng(0).normal((6.0, 0, 0), 0.3, (50, 3))
    logits[7] = [0.1, 0.2, 0.0]
    records = [Record(str(Path(f"{number}.png")), "a") for number in range(50)]
    (found,) = _outliers(records, logits)
    assert (found.kind, found.paths) == ("outlier", (Path("7.png"),))


def test_a_class_that_the_model_does_not_know_is_named(trained, tmp_path, capsys):
    folder = write_photos(tmp_path / "new", per_class=3, seed=9)
    (folder / "猫").rename(folder / "cow")
    assert run(["audit", str(folder), "--model", str(trained)]) == 2
    assert "does not know the class 'cow'" in capsys.readouterr().err
