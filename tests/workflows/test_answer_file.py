"""`predict --out`: a file of rows that is stopped anywhere and goes on to what it would have been."""

import csv
import errno
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from depthwise import files
from depthwise.cli import run
from depthwise.console import Quiet
from depthwise.deploy.predict import BATCH, Classifier
from depthwise.errors import CannotWrite, Interrupted
from depthwise.workflows.prediction import Output, predict

FORMS = ("csv", "jsonl")
OLDER = b"path,label,probability,rejected,error"
"""Columns before there were reason and top."""


class Stopping(Quiet):
    """Sends a signal to this process after a number of answers."""

    def __init__(self, after: int, signum: int) -> None:
        self.after, self.signum = after, signum

    def track(self, items, total, label):
        for number, item in enumerate(items):
            if number == self.after:
                signal.raise_signal(self.signum)
            yield item


@pytest.fixture(scope="module")
def exported(trained, tmp_path_factory):
    path = tmp_path_factory.mktemp("exported") / "model.onnx"
    assert run(["export", str(trained), "--out", str(path)]) == 0
    return path


@pytest.fixture
def folder(photos, tmp_path):
    """The photos, two with line ends in their names, and one that is none."""
    shutil.copytree(photos, tmp_path / "photos")
    os.rename(tmp_path / "photos/猫/photo 04.png", tmp_path / 'photos/猫/a "b",\n04.png')
    os.rename(tmp_path / "photos/猫/photo 05.webp", tmp_path / "photos/猫/c\rd.webp")
    (tmp_path / "photos/猫/empty.png").touch()
    return tmp_path / "photos"


def whole(exported, folder, form):
    out = folder.parent / f"whole.{form}"
    assert run(["predict", str(exported), str(folder), "--out", str(out)]) == 1  # one is no photo
    return out.read_bytes()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("after", [0, 1, 25])
def test_stopped_and_gone_on_with_it_is_as_if_it_had_not_been_stopped(exported, folder, form, signum, after, capsys):
    expected, out = whole(exported, folder, form), folder.parent / f"answers.{form}"
    usual = signal.getsignal(signum)
    with pytest.raises(Interrupted, match=f"holds {after} answers") as caught:
        predict(exported, [str(folder)], [], Output(form, out, sys.stdout), console=Stopping(after, signum))
    assert caught.value.signum == signum and signal.getsignal(signum) is usual
    assert expected.startswith(out.read_bytes()) and out.read_bytes().endswith(b"\n" if after or form == "csv" else b"")
    beside = Path(f"{out}.made_by.json")
    assert not json.loads(beside.read_text())["is_complete"]
    assert run(["predict", str(exported), str(folder), "--out", str(out), "--resume"]) == 1
    assert out.read_bytes() == expected and json.loads(beside.read_text())["is_complete"]
    told = capsys.readouterr().err
    assert f"Written: {out}, 37 answers, {after} of them there already" in told
    assert "1 of 37 photos could not be read: see reason and error" in told


@pytest.mark.parametrize("form", FORMS)
def test_a_row_cut_off_anywhere_is_mended(exported, folder, form, monkeypatch):
    expected, out = whole(exported, folder, form), folder.parent / f"answers.{form}"
    (folder.parent / f"whole.{form}.made_by.json").rename(f"{out}.made_by.json")
    odd = expected.index(b'a ""b""' if form == "csv" else b'a \\"b')  # in the name with a line end
    answered = []
    many = Classifier.predict_many
    monkeypatch.setattr(
        Classifier, "predict_many", lambda self, p, *a, **k: many(self, answered.append(p) or p, *a, **k)
    )
    for size in (0, 5, odd + 3, odd + 12, len(expected) - 1, len(expected)):
        out.write_bytes(expected[:size])
        assert run(["predict", str(exported), str(folder), "--out", str(out), "--resume"]) == 1
        assert out.read_bytes() == expected
    assert [len(photos) for photos in answered[-2:]] == [1, 0]


def test_csv_tells_what_json_does(exported, folder):
    """Of every photo, and the code of one that could not be read."""
    whole(exported, folder, "csv"), whole(exported, folder, "jsonl")
    with open(folder.parent / "whole.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    answers = [json.loads(line) for line in (folder.parent / "whole.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [row["reason"] for row in rows if row["error"]] == ["empty"]
    for row, answer in zip(rows, answers, strict=True):
        assert set(row) == set(answer)
        assert {name: row[name] for name in ("path", "label", "reason", "error")} == {
            name: answer[name] or "" for name in ("path", "label", "reason", "error")
        }
        assert row["rejected"] == str(answer["rejected"]).lower()
        top = json.loads(row["top"] or "{}")
        assert list(top) == [score["label"] for score in answer["top"]]
        assert list(top.values()) == pytest.approx([score["probability"] for score in answer["top"]], abs=1e-6)


def test_new_photos_are_added(exported, folder, save_noise):
    expected, out = whole(exported, folder, "csv"), folder.parent / "whole.csv"
    save_noise(folder / "new.png", 3)
    assert run(["predict", str(exported), str(folder), "--out", str(out), "--resume"]) == 1
    rows = list(csv.reader(out.read_text().splitlines()))
    assert out.read_bytes().startswith(expected) and rows[-1][0] == str(folder / "new.png")


def test_nothing_else_is_gone_on_with(exported, trained, folder, tmp_path, capsys, monkeypatch):
    whole(exported, folder, "csv")
    out = tmp_path / "whole.csv"
    command = ["predict", str(exported), str(folder), "--out", str(out)]

    def refusal(*more, arguments=command):
        assert run([*arguments, *more]) == 2
        return capsys.readouterr().err

    assert "go on with it by --resume, or replace it with --overwrite" in refusal()
    assert "give one of them" in refusal("--resume", "--overwrite")
    assert "top_k: 5 then, 2 now" in refusal("--resume", "--top-k", "2")
    assert "model_sha256: " in refusal("--resume", arguments=["predict", str(trained), *command[2:]])
    assert "format: csv then, jsonl now" in refusal("--resume", "--format", "jsonl")
    assert "it needs --out FILE" in refusal("--resume", arguments=command[:3])
    assert "csv or jsonl" in refusal("--resume", "--json")
    monkeypatch.chdir(folder)  # then a relative path would be another photo
    assert "folder: " in refusal("--resume")
    monkeypatch.undo()
    content = out.read_bytes()
    out.write_bytes(content.replace(b"rejected", b"refused", 1))
    told = refusal("--resume")
    assert "has other columns" in told and "there: path,label,probability,refused" in told
    out.write_bytes(content.replace(b"path,label,probability,rejected,reason,error,top", OLDER, 1))
    told = refusal("--resume")
    assert f"there: {OLDER.decode()}\n" in told and "replace it with --overwrite" in told
    out.write_bytes(content + b"one,two\n")
    assert "row 39 of" in refusal("--resume")
    (tmp_path / "whole.csv.made_by.json").unlink()
    assert "whole.csv.made_by.json is not beside it" in refusal("--resume")
    assert run([*command, "--overwrite"]) == 1 and out.read_bytes() == content


def test_the_form_is_as_the_name_ends(exported, folder, tmp_path):
    for name, start in (("a.csv", "path,label"), ("a.jsonl", '{"path"'), ("a.json", "[\n{"), ("a.txt", f"{folder}")):
        assert run(["predict", str(exported), str(folder), "--out", str(tmp_path / name)]) == 1
        assert (tmp_path / name).read_text(encoding="utf-8").startswith(start)
    assert run(["predict", str(exported), str(folder), "--out", str(tmp_path / "b.csv"), "--format", "jsonl"]) == 1
    assert (tmp_path / "b.csv").read_text(encoding="utf-8").startswith('{"path"')


def test_a_full_disk_keeps_whole_rows(exported, folder, monkeypatch):
    expected, out = whole(exported, folder, "csv"), folder.parent / "answers.csv"

    class Full(files.Disk):
        room = 300

        def write(self, file, data):
            if file.name == str(out):
                part = data[: self.room]
                self.room -= len(part)
                file.write(part)
                if len(part) < len(data):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            else:
                super().write(file, data)

    monkeypatch.setattr(files, "DISK", Full())
    with pytest.raises(CannotWrite, match=r"No space left.*go on with the same command and --resume"):
        predict(exported, [str(folder)], [], Output("csv", out, sys.stdout))
    assert expected.startswith(out.read_bytes()) and out.read_bytes().endswith(b"\n") and len(out.read_bytes()) > 100
    monkeypatch.undo()
    assert run(["predict", str(exported), str(folder), "--out", str(out), "--resume"]) == 1
    assert out.read_bytes() == expected


def test_answers_come_through_a_pipe_that_stays_open_and_many_come_too(exported, photos):
    """And a photo's answer does not wait for the next photo's path."""
    some = sorted(map(str, photos.rglob("*.jpg")))
    command = [sys.executable, "-m", "depthwise", "predict", str(exported), "-", "--format", "jsonl"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1) as process:
        for photo in some[:2]:
            process.stdin.write(f"{photo}\n")
            assert json.loads(process.stdout.readline())["path"] == photo
        process.stdin.write("".join(f"{photo}\n" for photo in some * BATCH))
        process.stdin.close()
        assert [json.loads(line)["path"] for line in process.stdout] == some * BATCH
    assert process.returncode == 0
