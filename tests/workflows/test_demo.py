"""The demo, and the Python that the pages show. (Their commands: tests/test_tutorials.py.)"""

import re
import shutil
from pathlib import Path

import pytest

from depthwise.cli import run
from depthwise.data.decode import read_header
from depthwise.data.index import read_index
from depthwise.data.sources import FASHION_MNIST, sample_photos
from depthwise.workflows import demo

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
README_OF_MODELS = (ROOT / "docs/models/README.md").read_text(encoding="utf-8")


def test_the_sample_is_what_it_says():
    with sample_photos() as photos:
        index = read_index(photos)
        assert index.classes == tuple(sorted(FASHION_MNIST.classes))
        assert len(index.records) == 1500
        assert {sum(record.label == name for record in index.records) for name in index.classes} == {150}
        assert read_header(index.records[0].path) == (28, 28, True)
        assert sum(record.path.stat().st_size for record in index.records) <= 1_200_000
        assert "MIT License" in (photos.parent / "LICENSE").read_text(encoding="utf-8")


def test_the_demo_walks_the_whole_way(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(demo, "TRAIN_FLAGS", ("--model", "lenet5", "--epochs", "1"))
    assert run(["demo"]) == 0
    said = capsys.readouterr().out
    for command in ("split", "train", "evaluate", "predict"):
        assert f"\n$ depthwise {command} depthwise-demo/" in said
    assert "on 220 pictures" in said
    assert run(["demo"]) == 0  # its own folder is replaced


def test_the_demo_leaves_other_peoples_folders_alone(tmp_path, capsys):
    (tmp_path / "mine.txt").write_text("mine")
    assert run(["demo", "--out", str(tmp_path)]) == 2
    assert "was not made by the demo" in capsys.readouterr().err
    assert (tmp_path / "mine.txt").read_text() == "mine"


@pytest.fixture
def with_photos(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with sample_photos() as photos:
        shutil.copytree(photos, "photos")
    shutil.copy("photos/bag/00023.png", "photo.jpg")  # an ending does not matter


@pytest.mark.usefixtures("with_photos")
def test_the_python_of_the_readme_works(capsys):
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    exec(code.replace("mobilenet_v3_small", "lenet5").replace("epochs=30", "epochs=1"), {})
    assert capsys.readouterr().out


@pytest.mark.parametrize(
    "page", ["README.md", "CONTRIBUTING.md", *(f"docs/{p.name}" for p in (ROOT / "docs").glob("*.md"))]
)
def test_links_between_pages_lead_somewhere(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    for target in re.findall(r"\]\((?!http)([^)#]+)", text):
        assert ((ROOT / page).parent / target).exists(), target


def test_the_separable_convolution_of_the_docs_costs_what_they_say(capsys):
    (code,) = re.findall(r"```python\n(.*?)```", README_OF_MODELS, re.DOTALL)
    exec(code, {})
    assert capsys.readouterr().out == "2057216\n"
