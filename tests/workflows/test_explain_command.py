"""`depthwise explain`: a PNG file about a class of a photo, and what is refused."""

import json

import numpy as np
import pytest
from PIL import Image

import depthwise as dw
from depthwise.cli import run
from depthwise.workflows.explaining import explain


@pytest.fixture
def photo(photos):
    return sorted(photos.rglob("*.jpg"))[0]


def test_the_answer_and_its_probability_are_those_of_predict(trained, photo, tmp_path, capsys):
    out = tmp_path / "why.png"
    assert run(["explain", str(trained), str(photo), "--out", str(out)]) == 0
    said, answer = capsys.readouterr().out, dw.load(trained).predict(photo)
    assert said.startswith(f"{photo}: {answer.label}, {answer.probability:.1%}\nWritten: {out}")
    with Image.open(out) as picture:
        assert picture.format == "PNG" and picture.width == 448
    found = explain(trained, photo)
    assert (found.label, found.answer) == (answer.label, answer.label)
    assert found.probability == pytest.approx(answer.probability, abs=1e-6)
    assert found.pixels.shape == (32, 32, 3) and found.map.shape == (5, 5)


def test_another_class_has_another_map(trained, photo, tmp_path, capsys):
    answer = dw.load(trained).predict(photo)
    other = answer.top[1]
    command = ["explain", str(trained), str(photo), "--out", str(tmp_path / "why.png"), "--json"]
    assert run([*command, "--class", other.label]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["label"], found["answer"]) == (other.label, answer.label)
    assert found["probability"] == pytest.approx(other.probability, abs=1e-6)
    own = explain(trained, photo)
    assert own.layer == found["layer"] and not np.allclose(own.map, found["map"])


def test_the_picture_is_named_after_the_photo_and_never_replaced_unasked(trained, photo, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    command = ["explain", str(trained), str(photo)]
    assert run(command) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["photo 00-explained.png"]
    assert run(command) == 2 and "--overwrite" in capsys.readouterr().err
    assert run([*command, "--overwrite"]) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{run}", "{photo}", "--class", "red focks"], "did you mean red fox?"),
        (["{run}", "{tmp}/none.jpg"], "none.jpg cannot be used"),
        (["{run}", "{photo}", "--out", "{tmp}/why.jpg"], "ends in .png"),
        (["{tmp}/model.onnx", "{photo}"], "ONNX Runtime cannot read this model"),
        (["{tmp}/model.xml", "{photo}"], "cannot be told of a .xml file"),
    ],
)
def test_what_is_asked_wrongly_is_explained(trained, photo, tmp_path, capsys, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    for name in ("model.onnx", "model.xml"):
        (tmp_path / name).touch()
    arguments = [a.format(run=trained, photo=photo, tmp=tmp_path) for a in arguments]
    assert run(["explain", *arguments]) == 2
    assert message in capsys.readouterr().err
    assert {path.name for path in tmp_path.iterdir()} == {"model.onnx", "model.xml"}
