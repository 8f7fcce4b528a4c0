import csv
import io
import json
import os
import shutil
import subprocess
import sys

import pytest
import torch

from depthwise.cli import run
from depthwise.cli.app import terminal_of
from depthwise.deploy.eager import EagerEngine
from depthwise.deploy.predict import Prediction, Score
from depthwise.workflows.prediction import expand, render

ANSWERS = [
    Prediction("a b.jpg", "猫", 0.75, (Score("猫", 0.75), Score("fox, red", 0.25))),
    Prediction("bad.jpg", reason="empty", error="the file has zero bytes"),
]


def test_expand_keeps_the_order_of_what_was_typed(tmp_path):
    for name in ("b.png", "a.jpg", "notes.txt", ".hidden.png"):
        (tmp_path / name).touch()
    (tmp_path / "deeper").mkdir()
    (tmp_path / "deeper" / "c.webp").touch()
    found = list(
        expand(["x.jpg", str(tmp_path), "-", str(tmp_path / "*.png")], ["one.jpg\n", "\n", "two three.png\r\n"])
    )
    inside = [str(tmp_path / name) for name in ("a.jpg", "b.png", "deeper/c.webp")]
    assert found == ["x.jpg", *inside, "one.jpg", "two three.png", str(tmp_path / "b.png")]


def test_a_file_with_brackets_in_its_name_is_not_a_glob(tmp_path):
    odd = tmp_path / "cat [1].jpg"
    odd.touch()
    assert list(expand([str(odd)], [])) == [str(odd)]


def test_json_is_one_array():
    answers = json.loads("".join(render(ANSWERS, "json")))
    assert answers[0] == {
        "path": "a b.jpg",
        "label": "猫",
        "probability": 0.75,
        "top": [{"label": "猫", "probability": 0.75}, {"label": "fox, red", "probability": 0.25}],
        "rejected": False,
        "reason": None,
        "error": None,
    }
    assert answers[1]["error"] == "the file has zero bytes"
    assert json.loads("".join(render([], "json"))) == []


def test_jsonl_is_an_object_a_line():
    lines = "".join(render(ANSWERS, "jsonl")).splitlines()
    assert [json.loads(line)["path"] for line in lines] == ["a b.jpg", "bad.jpg"]


def test_csv_is_read_back_by_a_csv_reader():
    rows = list(csv.DictReader(io.StringIO("".join(render(ANSWERS, "csv")))))
    assert rows[0] == {
        "path": "a b.jpg",
        "label": "猫",
        "probability": "0.750000",
        "rejected": "false",
        "reason": "",
        "error": "",
        "top": '{"猫": 0.75, "fox, red": 0.25}',
    }
    assert rows[1] == dict.fromkeys(rows[0], "") | {
        "path": "bad.jpg",
        "rejected": "false",
        "reason": "empty",
        "error": "the file has zero bytes",
    }


def test_csv_tells_why_an_answer_is_rejected_and_what_one_view_says():
    scores = (Score("fox", 0.6), Score("cat", 0.4))
    answer = Prediction("a.jpg", "cat", 0.4, scores, True, "unknown: odd", Score("fox", 0.7))
    (row,) = csv.DictReader(io.StringIO("".join(render([answer], "csv", "flip"))))
    assert (row["rejected"], row["reason"], row["single_view"]) == ("true", "unknown: odd", '{"fox": 0.7}')


def test_the_table_shows_the_best_and_the_others():
    text = "".join(render(ANSWERS, "table"))
    assert "75.0%  猫   (fox, red 25.0%)" in text
    assert "not usable: the file has zero bytes" in text


def test_the_table_tells_why_an_answer_is_rejected_and_what_one_view_says():
    scores = (Score("fox", 0.6), Score("cat", 0.4))
    answer = Prediction("a.jpg", "cat", 0.4, scores, True, "unknown: odd", Score("fox", 0.7))
    lines = "".join(render([answer], "table")).splitlines()
    assert lines == ["a.jpg", "     40.0%  cat   (fox 60.0%)", "    one view: fox 70.0%", "    rejected: unknown: odd"]


def test_answers_go_to_a_file_whole(trained, photos, tmp_path, capsys):
    out = tmp_path / "answers.csv"
    assert run(["predict", str(trained), str(photos), "--format", "csv", "--out", str(out)]) == 0
    told = capsys.readouterr()
    assert told.out == "" and f"Written: {out}, 36 answers\n" in told.err and "read" not in told.err
    with open(out, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 36
    assert sum(row["label"] in row["path"] for row in rows) >= 34


def test_paths_come_from_standard_input(trained, photos, capsys, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{photos / '猫' / 'photo 03.jpg'}\n"))
    assert run(["predict", str(trained), "-", "--format", "jsonl", "--top-k", "1"]) == 0
    (answer,) = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [score["label"] for score in answer["top"]] == [answer["label"]]


def test_a_closed_standard_input_has_no_paths(trained, capsys, monkeypatch):
    monkeypatch.setattr("sys.stdin", None)
    assert run(["predict", str(trained), "-"]) == 2
    assert "no photos found in -" in capsys.readouterr().err


def test_an_unknown_option_is_not_taken_for_a_photo(trained, capsys):
    assert run(["predict", str(trained), "x.jpg", "--topk", "3"]) == 2
    assert "predict has no option --topk" in capsys.readouterr().err


def test_a_model_file_answers_away_from_its_run(trained, photos, tmp_path, capsys):
    shutil.copy(trained / "best.safetensors", tmp_path / "model.safetensors")
    photo = str(photos / "red fox" / "photo 05.webp")
    answers = []
    for model in (trained, tmp_path / "model.safetensors"):
        assert run(["predict", str(model), photo, "--format", "json"]) == 0
        answers.append(capsys.readouterr().out)
    assert answers[0] == answers[1]


def test_prediction_and_evaluation_see_the_same_pixels(trained, capsys):
    """The accuracy that evaluate counts is the one that predict gives."""
    from depthwise.data.index import read_index

    test = read_index(trained / "splits.csv").part("test")
    assert run(["evaluate", str(trained), "--json"]) == 0
    top1 = json.loads(capsys.readouterr().out)["top1"]
    assert run(["predict", str(trained), *[str(record.path) for record in test], "--format", "jsonl"]) == 0
    answers = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    right = [answer["label"] == record.label for answer, record in zip(answers, test, strict=True)]
    assert sum(right) / len(right) == pytest.approx(top1)


def test_cells_that_a_spreadsheet_would_compute_are_made_harmless():
    from depthwise.deploy.predict import Prediction, Score
    from depthwise.workflows.prediction import render

    answer = Prediction("=cmd().png", "+1 class", 0.5, (Score("+1 class", 0.5),))
    line = "".join(render([answer], "csv")).splitlines()[1]
    assert line.startswith("'=cmd().png,'+1 class,0.5")
    assert '"path": "=cmd().png"' in "".join(render([answer], "jsonl"))  # JSON is nothing to compute


def test_names_cannot_move_the_cursor_of_the_table():
    evil = "\x1b[31mred\x1b[0m\n"
    answers = [
        Prediction(evil, evil, 0.6, (Score(evil, 0.6), Score(evil + "2", 0.4)), True, evil, Score(evil, 0.6)),
        Prediction(evil, reason="empty", error=evil),
    ]
    text = "".join(render(answers, "table"))
    assert "\x1b" not in text and text.count("\\x1b[31mred\\x1b[0m\\n") == 7
    assert len(text.splitlines()) == 6


def test_names_in_errors_are_shown_escaped_and_lines_stay_lines(capsys):
    assert run(["predict", "no\x1b[31m.onnx", "x"]) == 2
    assert capsys.readouterr().err == "error: no\\x1b[31m.onnx: no such model file\n"
    assert run(["predict", "m.onnx", "x", "--top\x1b[31m", "3"]) == 2
    said = capsys.readouterr().err
    assert "--top\\x1b[31m" in said and said.endswith("\nHelp: depthwise predict --help\n")


def test_a_name_in_a_note_is_not_taken_for_markup_or_a_picture(capsys):
    terminal_of().warn("left out: /x/a:dog:[red]b.jpg")
    assert capsys.readouterr().err == "note: left out: /x/a:dog:[red]b.jpg\n"


@pytest.mark.skipif(os.name == "nt", reason="names of files are text there")
def test_a_name_on_standard_input_that_is_not_utf8_is_a_row(trained, photos, tmp_path):
    whole, odd = photos / "猫" / "photo 03.jpg", os.fsencode(tmp_path) + b"/l\xe4tin.jpg"
    shutil.copy(whole, odd)
    command = [sys.executable, "-m", "depthwise", "predict", str(trained), "-", "--format", "jsonl"]
    environment = os.environ | {"PYTHONIOENCODING": "utf-8:strict"}
    names = odd + b"\n" + os.fsencode(whole) + b"\n"
    reply = subprocess.run(command, input=names, capture_output=True, env=environment)
    assert reply.returncode == 0, reply.stderr
    first, second = map(json.loads, reply.stdout.decode().splitlines())
    assert os.fsencode(first["path"]) == odd
    assert first["label"] == second["label"] == "猫"


@pytest.mark.parametrize("command", ["predict", "evaluate"])
def test_a_run_computes_with_the_threads_asked_for(command, trained, photos, capsys, monkeypatch):
    seen, whole, before = set(), EagerEngine.logits, torch.get_num_threads()
    monkeypatch.setattr(
        EagerEngine, "logits", lambda self, images: seen.add(torch.get_num_threads()) or whole(self, images)
    )
    more = [str(photos)] if command == "predict" else []
    for asked in ([], ["--threads", "2"], ["--threads", "3"]):
        assert run([command, str(trained), *more, *asked]) == 0
    assert seen == {before, 2, 3}
    assert torch.get_num_threads() == before


def test_a_place_that_cannot_be_written_is_told_before_the_work(trained, photos, tmp_path, capsys):
    out = tmp_path / "nowhere" / "answers.csv"
    assert run(["predict", str(trained / "gone"), str(photos), "--out", str(out)]) == 2
    assert f"there is no folder {out.parent}" in capsys.readouterr().err
