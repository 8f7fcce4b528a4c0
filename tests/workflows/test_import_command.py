"""`depthwise import`: other people's weights as a model file of ours."""

import json
from pathlib import Path

import pytest
import torch

from depthwise.artifact import read_card
from depthwise.cli import run
from depthwise.models.create import create_model

PHOTOS = Path(__file__).parents[1] / "photos"


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "tiny.pth"
    torch.save(create_model("mobilenet_v1_x0_25", num_classes=3, in_channels=1).state_dict(), path)
    return path


def test_weights_of_a_package_predict_with_their_own_preprocessing(tmp_path, capsys):
    out = tmp_path / "lite0.safetensors"
    assert run(["import", "efficientnet_lite0", "package", "--out", str(out)]) == 0
    assert "efficientnet_lite0 with package weights, 1,000 classes, 224 px" in capsys.readouterr().out
    card = read_card(out)
    assert (card.origin, card.options, card.kind) == ("package", {"padding": "same_tf"}, "model")
    assert (card.geometry.fit, card.geometry.resample, card.geometry.crop_share) == ("crop", "bicubic", 0.875)
    assert card.geometry.mean == pytest.approx((127 / 255,) * 3)
    assert run(["predict", str(out), str(PHOTOS / "coffee.jpg"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["label"] == "espresso"


def test_a_file_with_names_for_its_classes(tmp_path, weights, capsys):
    (tmp_path / "names.txt").write_text("\ufeffhärte\n\nBeule\n猫\n", encoding="utf-8")
    out = tmp_path / "x.safetensors"
    names = ["--classes", str(tmp_path / "names.txt")]
    assert run(["import", "mobilenet_v1_x0_25", str(weights), "--out", str(out), *names]) == 0
    card = read_card(out)
    assert card.classes == ("härte", "Beule", "猫") and card.geometry.channels == 1
    assert run(["import", "mobilenet_v1_x0_25", str(weights), "--out", str(out)]) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert run(["import", "mobilenet_v1_x0_25", str(weights), "--out", str(out), "--overwrite"]) == 0
    assert read_card(out).classes == ("class 0", "class 1", "class 2")


@pytest.mark.parametrize("text", ["a\nb\n", "a\nb\nb\n", "\xff\xfe"])
def test_names_that_do_not_fit_are_refused(tmp_path, weights, capsys, text):
    (tmp_path / "names.txt").write_text(text, encoding="latin-1")
    names = ["--classes", str(tmp_path / "names.txt")]
    assert run(["import", "mobilenet_v1_x0_25", str(weights), "--out", str(tmp_path / "x"), *names]) == 2
    assert "names.txt" in capsys.readouterr().err
    assert not (tmp_path / "x").exists()


def test_weights_of_another_network_are_refused_with_a_list(tmp_path, weights, capsys):
    assert run(["import", "mobilenet_v1_x0_5", str(weights), "--out", str(tmp_path / "x")]) == 2
    assert "misshapen: blocks.0.depthwise.conv.weight (8, 1, 3, 3), not (16, 1, 3, 3)" in capsys.readouterr().err


def test_a_model_file_of_ours_is_checked_and_cuts_photos_as_before(tmp_path, capsys):
    first, again = tmp_path / "first.safetensors", tmp_path / "again.safetensors"
    assert run(["import", "efficientnet_lite0", "package", "--out", str(first)]) == 0
    assert run(["import", "efficientnet_lite0", str(first), "--out", str(again)]) == 0
    assert again.read_bytes() == first.read_bytes()
    first.write_bytes(first.read_bytes()[:-1] + b"\x77")
    assert run(["import", "efficientnet_lite0", str(first), "--out", str(again), "--overwrite"]) == 2
    assert "its checksum does not fit its contents" in capsys.readouterr().err
