"""The page of a run: whole, alone, harmless, and with the numbers of the evaluation, however odd the run."""

import base64
import hashlib
import io
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from made_up import made_up_history, made_up_report
from matplotlib.figure import Figure
from PIL import Image

from depthwise.deploy.decision import Decision
from depthwise.deploy.thresholds import PrecisionRule
from depthwise.metrics import proportion_interval
from depthwise.report.confusion import ticks
from depthwise.report.figures import NAMES, write_figures
from depthwise.report.run_page import run_page
from depthwise.workflows import test_reads
from depthwise.workflows.run_history import History

VOID = {"meta", "img", "br", "link", "input", "hr"}


class Reader(HTMLParser):
    """Follows the tags of a page; a tag that is not closed, or closed wrongly, is an error."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.ids: set[str] = set()
        self.words: list[str] = []
        self.feed(page)
        self.close()
        assert not self.open, self.open

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        assert not any(name.startswith("on") for name, _ in attributes)
        self.addresses += [value for name, value in attributes if name in ("src", "href", "srcset", "action", "data")]
        self.ids |= {value for name, value in attributes if name == "id"}
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, tag

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def read(report) -> Reader:
    return Reader(run_page(report).decode())


def sorted_by(page: str) -> list[float]:
    """What the script sorts the numbers of a page's tables by; a cell that is no number to it is an error."""
    tables = re.findall(r'<table class="[^"]*sortable.*?<tbody>(.*?)</table>', page, re.DOTALL)
    cells = [cell for table in tables for cell in re.findall(r'<td class="number([^>]*)>(.*?)</td>', table, re.DOTALL)]
    values = [re.findall(r'data-value="([^"]*)"', attributes) or [text] for attributes, text in cells]
    return [float(value) for (value,) in values]


LETTERS = [f"kind {number}" for number in range(200)]
ODD = {
    "two classes": {"classes": LETTERS[:2]},
    "200 classes": {"classes": LETTERS, "num_images": 400},
    "1,000 mistakes": {"classes": LETTERS[:8], "num_images": 1400, "skill": -1.0},
    "no mistake": {"classes": LETTERS[:3], "skill": 50.0},
    "a class without photos": {"classes": LETTERS[:5], "missing": LETTERS[2:3]},
    "one photo": {"classes": LETTERS[:3], "num_images": 1},
    "a single epoch": {"classes": LETTERS[:3], "history": made_up_history(1, 1)},
    "not finished": {"classes": LETTERS[:3], "history": made_up_history(2, 30)},
    "no history": {"classes": LETTERS[:3], "history": History((), {}, {}, (), {})},
    "the test": {"classes": LETTERS[:3], "split": "test"},
}


@pytest.mark.parametrize("how", ODD.values(), ids=ODD)
def test_pages_of_odd_runs_are_whole_and_need_nothing_from_elsewhere(how):
    found = read(made_up_report(**how))
    inside = [address[1:] for address in found.addresses if address.startswith("#")]
    assert set(inside) <= found.ids
    assert all(address.startswith(("#", "data:image/")) for address in found.addresses)
    assert "link" not in found.tags and "iframe" not in found.tags
    page = run_page(made_up_report(**how)).decode()
    assert "url(" not in page and "@import" not in page and "nan" not in re.sub(r"<[^>]*>", "", page).lower().split()


def test_numbers_are_those_of_the_evaluation():
    report = made_up_report(LETTERS[:7])
    found, scores = read(report), report.assessment.scores
    hits = int(scores.confusion.diagonal().sum())
    low, high = proportion_interval(hits, 60)
    assert f"{hits} of 60 validation photos are answered rightly" in found.text
    assert f"{hits / 60:.1%}" in found.text
    assert f"between {100 * low:.0f} and {100 * high:.0f} (95% interval)" in found.text
    for number in range(7):
        assert f"{report.assessment.classes.recall[number]:.1%}" in found.text
        assert f"{report.assessment.classes.f1[number]:.1%}" in found.text
    assert f"calibration error {report.assessment.calibration_error:.1%}" in found.text


def test_no_error_is_not_said_to_be_certainty():
    found = read(made_up_report(LETTERS[:3], skill=50.0, num_images=300))
    assert "300 of 300" in found.text and "between 99 and 100" in found.text
    assert "No mistake on these photos." in found.text


HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "{{ 7 * 7 }}",
    "a\u202eb",
)


def test_names_of_others_are_words_and_nothing_else():
    start = made_up_history().starts[0] | {
        "command": HOSTILE[0],
        "notes": list(HOSTILE),
        "skipped": [{"path": name, "error": name} for name in HOSTILE],
        "machine": {"device": HOSTILE[1]},
    }
    history = replace(made_up_history(evil=HOSTILE[0]), starts=(start, start))
    report = made_up_report(list(HOSTILE), history=history, skill=0.0)
    photo = replace(report.mistakes[0], path=Path("/photos") / HOSTILE[1])
    report = replace(
        report, mistakes=(photo, *report.mistakes), model=Path(HOSTILE[1]) / "best.safetensors", no_heat=HOSTILE[0]
    )
    page = run_page(report).decode()
    found = Reader(page)
    assert found.tags.count("script") == 1 and page.count("<script") == 1
    assert all(address.startswith(("#", "data:image/")) for address in found.addresses)
    assert "{{ 7 * 7 }}" in page and "\u202e" not in page
    assert HOSTILE[0] in found.text


def test_the_figures_shorten_names_as_the_page_does(tmp_path, monkeypatch):
    told = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, *_, **__: told.append(figure.axes[0].get_yticklabels()))
    report = made_up_report(["ant", "a class of many words and $"])
    write_figures(report, tmp_path)
    assert [label.get_text() for label in told[NAMES.index("confusion.png")]] == ["ant", "a class of many w…"]
    assert "<span>a class of many w…</span>" in run_page(report).decode()


def test_columns_of_numbers_are_sorted_as_numbers_from_a_thousand_photos_on():
    precise = PrecisionRule(LETTERS[0], 0.1, 0.9, num_answers=1500, num_kept=1200, num_right=1100, is_promised=True)
    report = made_up_report(LETTERS[:2], num_images=3000, decision=Decision(precision=(precise,)))
    many = replace(report, counts={LETTERS[0]: {"train": 12_000, "valid": 1500, "test": 1500}})
    page = run_page(many).decode()
    kept = many.measured.decide().precisions[LETTERS[0]].num
    assert kept > 1000 and f">{kept:,}</td>" in page
    assert {1500, kept, 15_000} <= set(sorted_by(page))


def test_the_browser_may_run_the_page_s_own_script_and_no_other():
    page = run_page(made_up_report(LETTERS[:2])).decode()
    (script,) = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', page)
    assert policy == f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"


def test_many_classes_are_a_picture_and_few_are_counts():
    few, many = (run_page(made_up_report(LETTERS[:number])).decode() for number in (20, 21))
    assert 'class="confusion"' in few and "matrix" not in re.sub(r"<style>.*?</style>", "", few, flags=re.DOTALL)
    (picture,) = re.findall(r'matrix">\n<img class="pixels" src="data:image/png;base64,([^"]*)"', many)
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(picture))))
    assert pixels.shape == (21, 21, 4)
    confusion = made_up_report(LETTERS[:21]).assessment.scores.confusion
    np.testing.assert_array_equal(pixels[..., 3] > 0, confusion > 0)


@pytest.mark.parametrize(("num_classes", "last"), [(21, 20), (50, 50), (200, 200), (1000, 1000), (10_450, 10_000)])
def test_sides_of_a_large_confusion_matrix_have_some_numbers(num_classes, last):
    found = ticks(num_classes)
    assert 4 <= len(found) <= 10 and found[-1].number == last
    assert [tick.number for tick in found] == [found[0].number * (place + 1) for place in range(len(found))]
    assert all(tick.place == pytest.approx(100 * (tick.number - 0.5) / num_classes) for tick in found)


def test_classes_have_the_numbers_of_the_matrix_s_sides(tmp_path, monkeypatch):
    told = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, *_, **__: told.append(figure.axes[0].get_yticklabels()))
    few, many = (made_up_report(LETTERS[:number]) for number in (20, 21))
    page = run_page(many).decode()
    assert re.findall(r'<span class="row"[^>]*>(\d+)</span>', page) == ["5", "10", "15", "20"]
    assert re.search(rf'data-value="10">10</td><td>{LETTERS[9]}</td>', page) and ">no.</th>" in page
    assert ">no.</th>" not in run_page(few).decode()
    write_figures(many, tmp_path)
    assert [label.get_text() for label in told[NAMES.index("confusion.png")]] == ["5", "10", "15", "20"]


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"history": made_up_history(2, 30)}, "2 of 30 epochs are done"),
        ({"missing": ["kind 1"]}, "no photos here of kind 1"),
        ({"skill": -3.0}, "it is not shown that this model does better"),
        ({}, "Only 60 photos"),
    ],
)
def test_what_to_know_before_believing_the_numbers(how, words):
    assert words in read(made_up_report(LETTERS[:4], **how)).text


def test_a_run_that_stopped_by_itself_is_finished():
    history = made_up_history(4, 30, patience=2)  # its best epoch is the second
    assert "is not finished" not in read(made_up_report(LETTERS[:4], history=history)).text
    history = made_up_history(4, 30, patience=3)
    assert "is not finished" in read(made_up_report(LETTERS[:4], history=history)).text


def test_a_good_finished_run_on_many_photos_has_no_warning():
    assert 'class="notice"' not in run_page(made_up_report(LETTERS[:4], num_images=400, skill=4.0)).decode()


def test_the_test_s_page_says_so_and_the_other_says_what_it_flatters():
    assert "test photos are answered rightly" in read(made_up_report(LETTERS[:2], split="test")).text
    text = read(made_up_report(LETTERS[:2])).text
    assert "the number flatters a little. The test photos are not among them." in text


def test_every_number_of_evaluate_is_there_with_its_interval():
    report = made_up_report(LETTERS[:7])
    found, text = report.assessment, read(report).text
    assert f"{found.nll:.4f}" in text and f"{found.scores.loss:.4f}" in text
    for value in (found.scores.top5, found.calibration_error, *found.averages.macro, *found.averages.weighted):
        assert f"{value:.1%}" in text
    assert f"by chance up to {found.error_by_chance:.1%}" in text
    for name in ("top1", "top5", "balanced_accuracy"):
        assert f"{found.intervals[name].low:.1%} to {found.intervals[name].high:.1%}" in text
    assert f"{found.intervals['nll'].low:.3f} to {found.intervals['nll'].high:.3f}" in text


def test_the_page_tells_what_so_many_photos_can_tell():
    report = made_up_report(LETTERS[:4])
    top1, interval = report.assessment.scores.top1, report.assessment.intervals["top1"]
    text = read(report).text
    assert f"whose accuracies differ by less than about {100 * interval.width:.0f} points" in text
    told = "These photos do not prove an error of at most 1%: that takes 368 independent ones without a mistake"
    assert f"{told}; with {1 - top1:.2%} wrong, as here, no number is enough." in text
    assert "independent groups" not in text
    in_groups = replace(report, assessment=replace(report.assessment, num_groups=50))
    assert "These 60 photos come in 50 independent groups." in read(in_groups).text


@pytest.mark.parametrize(
    ("num_images", "words"),
    [
        (300, "do not prove an error of at most 1%: that takes 368 independent ones without a mistake."),
        (400, "These photos prove an error of at most 1%."),
    ],
)
def test_photos_without_a_mistake_prove_as_much_as_they_can(num_images, words):
    text = read(made_up_report(LETTERS[:3], skill=50.0, num_images=num_images)).text
    assert words in text and "cannot tell models apart" not in text


def test_the_page_tells_how_often_the_test_was_read():
    report = made_up_report(LETTERS[:3], split="test")
    text = read(replace(report, reads=test_reads.TestReads(3, 2, Path("test_reads.jsonl")))).text
    assert "looked at 3 times so far, with 2 models; whoever chooses by them" in text


def test_a_page_does_not_grow_with_the_number_of_mistakes():
    small, large = (len(run_page(made_up_report(LETTERS[:4], num_images=n, skill=-2.0))) for n in (100, 3000))
    assert large < 1.2 * small
