"""The code on the pages of docs/ does what the pages say."""

import re
import shutil
import sys
from pathlib import Path

import pytest
import torch

import depthwise as dw
from depthwise.cli import run
from depthwise.models.create import build_of, create_model

DOCS = Path(__file__).parents[1] / "docs"


def python_of(page):
    return re.findall(r"```python\n(.*?)```", (DOCS / page).read_text(encoding="utf-8"), re.DOTALL)


def test_the_code_about_weights_runs():
    space = {}
    for code in python_of("weights.md"):
        exec(code, space)
    assert build_of(space["model"]).origin == "as-is"


def test_the_way_from_photos_to_an_answer_in_python_runs(photos, tmp_path, monkeypatch, capsys):
    shutil.copytree(photos, tmp_path / "photos")
    for name in ("photo.jpg", "a.jpg", "b.jpg"):
        shutil.copyfile(next(photos.rglob("*.jpg")), tmp_path / name)
    monkeypatch.chdir(tmp_path)
    space = {}
    exec(python_of("python.md")[0].replace('"epochs": 20', '"epochs": 2'), space)
    assert space["found"].scores.confusion.sum() == 6
    assert capsys.readouterr().out.count("%\n") == 2


def test_a_block_replaced_in_fifteen_lines_trains_and_predicts(photos, tmp_path, monkeypatch, capsys):
    (code,) = python_of("own_networks.md")
    assert sum(bool(line.strip()) for line in code.splitlines()) <= 15
    (tmp_path / "my_networks.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "my_networks", raising=False)
    out = str(tmp_path / "run")
    flags = ["--model", "my_networks:wide", "--batch-size", "8", "--image-size", "24", "--lr", "0.02"]
    assert run(["train", str(photos), "--out", out, *flags, "--epochs", "2"]) == 0
    assert run(["train", str(photos), "--out", out, *flags, "--resume", "auto", "--epochs", "3"]) == 0
    photo = str(next(photos.rglob("*.png")))
    assert run(["predict", out, photo]) == 2
    assert "--factory my_networks:wide" in capsys.readouterr().err
    assert run(["predict", out, photo, "--factory", "my_networks:wide"]) == 0
    assert run(["evaluate", out, "--factory", "my_networks:wide", "--json"]) == 0
    assert any("see" in name for name in dw.load(out, factory="my_networks:wide").engine.model.state_dict())
    sys.modules.pop("my_networks", None)


@pytest.mark.parametrize("page", sorted(DOCS.rglob("*.md")), ids=lambda page: str(page.relative_to(DOCS)))
def test_links_between_pages_lead_somewhere(page):
    text = page.read_text(encoding="utf-8")
    for link in re.findall(r"\]\(([^)#\s]+)\)", text):
        if "://" not in link:
            assert (page.parent / link).exists(), link


def test_summing_kernels_is_what_the_page_says():
    torch.manual_seed(0)
    model = create_model("efficientnet_lite0", in_channels=1, pretrained="package")
    whole = create_model("efficientnet_lite0", pretrained="package")
    assert torch.equal(model.stem.conv.weight, whole.stem.conv.weight.sum(1, keepdim=True))
