"""docs/models is what scripts/make_pages.py makes of the registry, and what it says holds."""

import ast
import re
import sys
from itertools import combinations
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "scripts"))

import make_pages
from pages import family, zoo_picture

from depthwise.models.registry import PAPERS, file_of, list_models, model_info
from depthwise.models.weights.origins import public_weights

FOLDER = ROOT / "docs/models"
PAGES = {paper: (FOLDER / f"{paper}.md").read_text(encoding="utf-8") for paper in PAPERS}


@pytest.fixture(scope="module")
def made() -> dict[Path, str]:
    return make_pages.files()


def test_nothing_is_out_of_date_and_nothing_is_left_over(made):
    assert {path.name for path in made} == {path.name for path in FOLDER.iterdir()}
    assert [path.name for path, text in made.items() if path.read_text(encoding="utf-8") != text] == []


def test_check_finds_a_changed_page_and_a_file_that_nothing_makes(made, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(make_pages, "FOLDER", tmp_path)
    monkeypatch.setattr(make_pages, "ROOT", tmp_path)
    monkeypatch.setattr(make_pages, "files", lambda: {tmp_path / "vgg.md": "new", tmp_path / "zoo.svg": "same"})
    (tmp_path / "vgg.md").write_text("old")
    (tmp_path / "zoo.svg").write_text("same")
    assert make_pages.main(is_check=True) == 1
    assert capsys.readouterr().out == "out of date: vgg.md; run: make format\n"
    assert (tmp_path / "vgg.md").read_text() == "old"
    assert make_pages.main(is_check=False) == 0
    assert make_pages.main(is_check=True) == 0
    (tmp_path / "inception.md").write_text("?")
    assert make_pages.main(is_check=True) == 1
    assert "nothing makes: inception.md" in capsys.readouterr().out


def test_every_paper_has_words_and_every_network_a_line():
    assert set(family.WORDS) == {*PAPERS, "options"}
    lines = [
        name for page in PAGES.values() for name in re.findall(r"^\| `(\w+)`(?:, `\w+`)* \| \d+ \|", page, re.MULTILINE)
    ]
    assert sorted(lines) == sorted(list_models())


@pytest.mark.parametrize("paper", PAPERS)
def test_an_idea_has_sixty_to_a_hundred_and_twenty_words_and_stands_on_its_page(paper):
    idea = family.WORDS[paper]["idea"].strip()
    assert 60 <= len(idea.split()) <= 120
    assert max(map(len, idea.splitlines())) <= 125
    assert idea in PAGES[paper]


@pytest.mark.parametrize("paper", PAPERS)
def test_the_example_runs_and_prints_what_the_page_says(paper):
    ((code, output),) = re.findall(r"```python\n(import torch.*?)```\n\n```text\n(.*?)```", PAGES[paper], re.DOTALL)
    assert family.printed(code) == output
    assert output.endswith("(2, 5)\n")
    assert "features(" in code and "reset_classifier(" in code


@pytest.mark.parametrize("paper", PAPERS)
def test_a_page_has_its_parts(paper):
    heads = re.findall(r"^## (.+)$", PAGES[paper], re.MULTILINE)
    parts = ["Networks", "What is followed, and what is not from the paper", "Options", "Small pictures"]
    assert heads == [*parts, "Example", "Weights", "How to cite"]
    assert f"]({paper}.svg)" in PAGES[paper]
    assert "**Not from the paper**" in PAGES[paper]
    for row in family.members(paper):
        assert row.spec.bibtex in PAGES[paper]


@pytest.mark.parametrize("paper", PAPERS)
def test_the_table_says_what_the_registry_does(paper):
    for spec, public in family.members(paper):
        (line,) = re.findall(rf"^\| `{spec.name}`(?:,| \| {spec.image_size} \|).*$", PAGES[paper], re.MULTILINE)
        assert f"{spec.params:,} | {spec.macs:,}" in line
        assert (spec.top1 is None) or f"| {spec.top1:.1f} % (" in line
        assert (public is None) or (public.origin in line and f"{public.top1:.1f} %" in line)


@pytest.mark.parametrize("paper", PAPERS)
def test_options_are_those_of_the_constructor_and_all_are_explained(paper):
    section = PAGES[paper].partition("## Options")[2].partition("## ")[0]
    listed = re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)
    assert listed == list(dict.fromkeys(name for row in family.members(paper) for name in row.spec.allowed_options))


def test_every_public_weight_is_on_a_page_and_every_page_with_none_says_so():
    for row in public_weights():
        assert f"`{row.network}` | `{row.origin}` |" in PAGES[file_of(model_info(row.network).family)]
    silent = [paper for paper, page in PAGES.items() if "Nobody publishes weights" in page]
    assert silent == ["lenet5", "alexnet", "nin", "shufflenet_v1"]


@pytest.mark.parametrize("paper", PAPERS)
def test_the_code_about_weights_names_networks_and_origins_that_exist(paper):
    codes = re.findall(r"```python\n(import depthwise.*?)```", PAGES[paper], re.DOTALL)
    for call in (node for code in codes for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Call)):
        words = {keyword.arg: keyword.value.value for keyword in call.keywords}
        if call.func.attr == "create_model":
            name = model_info(call.args[0].value).name
        if library := words.get("pretrained"):
            known = [row.origin for row in public_weights() if row.network == name]
            assert library == "package" or any(origin.startswith(library) for origin in known)


def test_small_pictures_are_the_docstrings_words():
    assert "the stem and the first row with stride 2 have stride 1" in PAGES["mobilenet_v2"]
    assert all("`small_input`" in page.partition("## Small pictures")[2] for page in PAGES.values())


def test_the_picture_of_the_zoo_shows_each_network_where_it_belongs():
    dots = {dot.name: dot for dot in zoo_picture.dots()}
    assert len(dots) > 60
    assert dots["mobilenet_v2 1.0"][2:] == (2018, 300_774_272, 72.0, True)
    assert not dots["resnet50_v1_5"].is_papers
    assert dots["resnet50_v1_5"].top1 < 81  # at 224 px, not the 288 of the most accurate
    assert dots["alexnet"].at[1] > dots["vgg16"].at[1]  # y runs down
    assert dots["mobilenet_v3_small"].at[0] < dots["mobilenet_v3_large"].at[0]
    assert set(zoo_picture.YEARS) >= {dot.year for dot in dots.values()}


def test_no_name_in_the_picture_lies_on_another_or_on_a_dot():
    dots = zoo_picture.dots()
    taken = [zoo_picture.Rect(x - 5, y - 5, x + 5, y + 5) for x, y in (dot.at for dot in dots)]
    svg = (FOLDER / "zoo.svg").read_text(encoding="utf-8")
    names = {dot.name for dot in dots}
    labels = []
    for x, y, name in re.findall(r'<text x="([\d.]+)" y="([\d.]+)" font-size="10.5"[^>]*>([^<]+)</text>', svg):
        half = 0.6 * 10.5 * len(name) / 2
        labels.append(zoo_picture.Rect(float(x) - half, float(y) - 9, float(x) + half, float(y) + 2))
        names.remove(name)
    assert not names
    assert not any(one.meets(other) for one, other in combinations(labels, 2))
    assert not any(label.meets(dot) for label in labels for dot in taken)


def test_a_crowd_without_room_is_an_error():
    dot = zoo_picture.dots()[0]
    everywhere = [zoo_picture.Rect(0, 0, 5000, 5000)]
    with pytest.raises(ValueError, match=f"no room for the name of {dot.name}"):
        zoo_picture.place_label(dot, everywhere)


def test_areas_meet_when_they_overlap():
    one = zoo_picture.Rect(0, 0, 10, 10)
    assert one.meets(zoo_picture.Rect(9, 9, 20, 20))
    assert not one.meets(zoo_picture.Rect(10, 0, 20, 10))
    assert not one.meets(zoo_picture.Rect(0, 10, 10, 20))
