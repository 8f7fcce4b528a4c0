"""`depthwise report`, and what `train` leaves for it."""

import csv
import json
import re
import shlex
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import depthwise as dw
from conftest import FLAGS, write_photos
from depthwise.artifact import read_card
from depthwise.cli import run
from depthwise.console import Quiet
from depthwise.data.cache import load
from depthwise.data.index import read_index
from depthwise.data.loader import epoch_batches
from depthwise.errors import CannotWrite
from depthwise.report.figures import NAMES, write_figures
from depthwise.workflows.reporting import gather

REPORTED = tuple(flag for flag in FLAGS if flag != "--no-report")


@pytest.fixture
def copy(trained, photos, tmp_path):
    """A run of one's own, with its photos where it says."""
    shutil.copytree(photos, tmp_path / "my photos")
    shutil.copytree(trained, tmp_path / "run")
    (tmp_path / "run" / "test_reads.jsonl").unlink(missing_ok=True)
    text = (trained / "splits.csv").read_text(encoding="utf-8")
    names = re.sub(r"^[^,\n]*my photos", "../my photos", text, flags=re.MULTILINE)
    (tmp_path / "run" / "splits.csv").write_text(names, encoding="utf-8")
    return tmp_path / "run"


def reads(folder: Path) -> list[str]:
    """Return the readings of the test photos that are noted in a run."""
    noted = folder / "test_reads.jsonl"
    return noted.read_text(encoding="utf-8").splitlines() if noted.exists() else []


def words(page: Path) -> str:
    text = re.sub(r"<(style|script)>.*?</\1>", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    return " ".join(re.sub(r"<[^>]*>", " ", text).split())


def test_training_ends_with_a_page_and_never_reads_the_test_photos(photos, tmp_path, capsys):
    assert run(["split", str(photos), "--out", str(tmp_path / "splits.csv")]) == 0
    data = tmp_path / "photos"
    shutil.copytree(photos, data)
    text = (tmp_path / "splits.csv").read_text(encoding="utf-8")
    (tmp_path / "splits.csv").write_text(re.sub(r"^[^,\n]*my photos", "photos", text, flags=re.MULTILINE), "utf-8")
    for record in read_index(tmp_path / "splits.csv").part("test"):
        record.path.unlink()
    out = tmp_path / "run"
    assert run(["train", str(tmp_path / "splits.csv"), "--out", str(out), *REPORTED, "--epochs", "2"]) == 0
    said = capsys.readouterr().out
    assert f"Report: {out / 'report.html'}" in said
    page = words(out / "report.html")
    assert "of 6 validation photos are answered rightly" in page
    assert "What the network is shown" in page and "of 2" in page


def test_numbers_on_the_page_are_those_of_evaluate(copy, capsys):
    for flags, split, name in (([], "valid", "report.html"), (["--test"], "test", "report-test.html")):
        assert run(["report", str(copy), *flags]) == 0
        assert f"Written: {copy / name}" in capsys.readouterr().out
        scores = dw.evaluate(copy, split=split).scores
        hits = int(scores.confusion.diagonal().sum())
        told = {"valid": "validation", "test": "test"}[split]
        assert f"{hits} of {scores.num_images} {told} photos are answered rightly" in words(copy / name)


def test_metrics_csv_has_the_rows_of_metrics_jsonl(trained):
    rows = [json.loads(line) for line in (trained / "metrics.jsonl").read_text().splitlines()]
    with open(trained / "metrics.csv", newline="") as file:
        table = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]
    assert table == [{name: float(value) for name, value in row.items()} for row in rows]


def test_the_command_on_the_page_makes_the_same_run(photos, tmp_path, capsys):
    options = [
        "--epochs",
        "1",
        "--set",
        "activation=relu",
        "--no-flip",
        "--valid",
        "0.25",
        "--seed",
        "3",
        "--threads",
        "1",
    ]
    assert run(["train", str(photos), "--out", str(tmp_path / "run"), *FLAGS, *options]) == 0
    (start,) = [json.loads(line) for line in (tmp_path / "run" / "starts.jsonl").read_text().splitlines()]
    words = shlex.split(start["command"])
    assert words[:2] == ["depthwise", "train"] and "--epochs" in words and "--momentum" not in words
    words[words.index("--out") + 1] = str(tmp_path / "again")
    assert run(words[1:]) == 0
    for name in ("metrics.jsonl", "best.safetensors", "last.safetensors"):
        assert (tmp_path / "run" / name).read_bytes() == (tmp_path / "again" / name).read_bytes(), name


def test_the_command_names_the_recipe_and_what_differs_from_it(photos, tmp_path):
    (tmp_path / "mine.toml").write_text("# Mine.\nmodel = 'lenet5'\nepochs = 1\nbatch_size = 4\n")
    said = {}
    for recipe, flags in (("lenet5", ["--epochs", "1"]), (str(tmp_path / "mine.toml"), [])):
        out = tmp_path / Path(recipe).stem
        assert run(["train", str(photos), "--out", str(out), "--no-report", "--recipe", recipe, *flags]) == 0
        said[recipe] = json.loads((out / "starts.jsonl").read_text())["command"]
    assert "--recipe lenet5" in said["lenet5"] and "--model" not in said["lenet5"] and "--epochs 1" in said["lenet5"]
    own = said[str(tmp_path / "mine.toml")]
    assert "--recipe none --model lenet5 --epochs 1 --batch-size 4" in own


def test_every_start_is_noted_with_what_was_left_out(photos, tmp_path, capsys):
    data = tmp_path / "photos"
    shutil.copytree(photos, data)
    (data / "猫" / "broken <b>.jpg").write_bytes(b"no picture")
    flags = ["--out", str(tmp_path / "run"), *FLAGS]
    assert run(["train", str(data), *flags, "--epochs", "1"]) == 1
    assert run(["train", str(data), *flags, "--epochs", "2", "--resume"]) == 0
    first, second = (json.loads(line) for line in (tmp_path / "run" / "starts.jsonl").read_text().splitlines())
    assert first["num_skipped"] == 1 and first["skipped"][0]["path"].endswith("broken <b>.jpg")
    assert second["command"].endswith("--resume") and second["environment"]["torch"]
    assert run(["report", str(tmp_path / "run")]) == 0
    page = (tmp_path / "run" / "report.html").read_text()
    assert "broken &lt;b&gt;.jpg" in page and "Started 2 times" in page


def test_a_run_that_was_interrupted_has_a_page_that_says_so(photos, tmp_path, capsys, monkeypatch):
    from depthwise.workflows import checkpoints

    save = checkpoints.Checkpoints.save

    def save_and_signal(self, state, report=None, *, is_final):
        save(self, state, report, is_final=is_final)
        if state.epoch == 1:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(checkpoints.Checkpoints, "save", save_and_signal)
    out = tmp_path / "run"
    assert run(["train", str(photos), "--out", str(out), *REPORTED, "--epochs", "9"]) == 130
    assert not (out / "report.html").exists()
    monkeypatch.undo()
    assert run(["report", str(out)]) == 0
    captured = capsys.readouterr()
    assert "1 of 9 epochs are done" in " ".join(captured.err.split())
    assert "1 of 9 epochs are done" in words(out / "report.html")


def test_grey_photos_and_frozen_networks(tmp_path, capsys):
    for level, name in ((40, "dark"), (200, "light")):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(8):
            Image.new("L", (20, 20), level + number).save(tmp_path / "photos" / name / f"{number}.png")
    base = tmp_path / "base"
    assert run(["train", str(tmp_path / "photos"), "--out", str(base), *REPORTED, "--epochs", "1"]) == 0
    assert gather(base).augmented[0].plain.shape == (32, 32, 1)
    frozen = ["--init", str(base), "--freeze", "backbone", "--epochs", "1"]
    assert run(["train", str(tmp_path / "photos"), "--out", str(tmp_path / "head"), *REPORTED, *frozen]) == 0
    assert "What the network is shown" not in words(tmp_path / "head" / "report.html")


def test_what_the_network_is_shown_is_what_training_showed_it(trained, tmp_path):
    report = gather(trained)
    card, records = report.card, read_index(trained / "splits.csv").part("train")
    config = dw.TrainConfig(batch_size=4, epochs=card.training["config"]["epochs"])
    assert len(report.augmented[0].shown) == config.epochs == 4  # all of them
    with load(records, card.classes, card.geometry, folder=tmp_path, workers=1, console=Quiet()) as (every, _):
        np.testing.assert_array_equal(report.augmented[0].plain, every.images[0])
        for epoch, image in enumerate(report.augmented[0].shown):
            batches = epoch_batches(every, config, epoch=epoch, workers=0)
            shown = {number: one for batch in batches for number, one in zip(batch.ids, batch.images, strict=True)}
            np.testing.assert_array_equal(image, shown[every.ids[0]])


def test_a_sampler_that_draws_some_twice_and_others_not_at_all_has_a_page(tmp_path):
    photos, out = write_photos(tmp_path / "photos", per_class=12), tmp_path / "run"
    for path in sorted((photos / "red fox").iterdir())[4:]:
        path.unlink()
    assert run(["train", str(photos), "--out", str(out), *FLAGS, "--epochs", "1", "--class-balance", "sampler"]) == 0
    assert len(gather(out).augmented) == 6


def test_parts_that_are_cut_out_are_shown_from_the_pixels_that_training_had(tmp_path):
    photos, out = write_photos(tmp_path / "photos", per_class=8, size=(60, 48)), tmp_path / "run"
    assert run(["train", str(photos), "--out", str(out), *FLAGS, "--epochs", "1", "--scale-min", "0.5"]) == 0
    card, records = read_card(out / "best.safetensors"), read_index(out / "splits.csv").part("train")
    assert card.training["stored_size"] == 37  # 8/7 of 32
    first, loading = gather(out).augmented[0], {"folder": tmp_path, "workers": 1, "console": Quiet()}
    config = dw.TrainConfig(batch_size=4, epochs=1, scale_min=0.5)
    with load(records, card.classes, card.geometry, stored_size=37, **loading) as (every, _):
        (shown,) = [
            b.images[b.ids == every.ids[0]]
            for b in epoch_batches(every, config, epoch=0, workers=0)
            if every.ids[0] in b.ids
        ]
        np.testing.assert_array_equal(first.plain, every.images[0])
        np.testing.assert_array_equal(first.shown, shown)


def test_networks_that_cannot_be_explained_say_so(photos, tmp_path, capsys, monkeypatch):
    (tmp_path / "mynet.py").write_text(
        "from torch import nn\n\n\ndef net(*, num_classes, in_channels):\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(in_channels * 256, num_classes))\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    flags = ["--model", "mynet:net", "--image-size", "16", "--epochs", "1", "--lr", "1e-9", "--valid", "0.4"]
    assert run(["train", str(photos), "--out", str(tmp_path / "run"), *flags]) == 0
    found = gather(tmp_path / "run", factory="mynet:net")
    assert found.mistakes and "cannot be explained" in found.no_heat
    assert found.cost.params == 3 * 256 * 3 + 3


def test_several_runs_are_compared(copy, trained, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(copy, tmp_path / "other")
    settings = (tmp_path / "other" / "config.toml").read_text()
    (tmp_path / "other" / "config.toml").write_text(settings.replace("momentum = 0.9", "momentum = 0.8"))
    assert run(["report", "run", "other"]) == 0
    said = capsys.readouterr().out
    assert "lenet5" in said and "Written: comparison.html" in said and "Next: depthwise report run\n" in said
    page = words(tmp_path / "comparison.html")
    assert "2 runs compared" in page and "+0.0 points" in page and "momentum 0.9 0.8" in page
    assert run(["report", "run", "other"]) == 2
    assert "comparison.html exists" in capsys.readouterr().err
    assert run(["report", "run", "other", "--figures", "figures", "--overwrite"]) == 2
    assert "--figures draws one run" in capsys.readouterr().err
    assert run(["report", "run", "other", "--test", "--out", "test.html"]) == 0
    told = capsys.readouterr().out.partition("Next: ")[2]
    assert told == "depthwise export RUN --out model.onnx   (RUN: the one that was best on validation photos)\n"


def test_figures_are_pictures(copy, tmp_path, capsys):
    assert run(["report", str(copy), "--figures", str(tmp_path / "figures")]) == 0
    for name in ("curves", "learning_rate", "confusion", "reliability"):
        pixels = np.asarray(Image.open(tmp_path / "figures" / f"{name}.png").convert("L"))
        assert min(pixels.shape) > 300 and pixels.max() == 255 and (pixels < 128).mean() > 0.002


def test_figures_that_cannot_be_written_are_refused_before_the_test_is_read(copy, tmp_path, capsys, monkeypatch):
    (tmp_path / "file").touch()
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures" / "confusion.png").write_text("mine")
    for folder, message in (
        ("file", "--figures {}: {} is no folder"),
        ("file/deeper", "file is no folder; choose another place"),
        ("figures", "confusion.png exists; choose another --figures, or replace it with --overwrite"),
    ):
        assert run(["report", str(copy), "--test", "--figures", str(tmp_path / folder)]) == 2
        assert message.format(tmp_path / folder, tmp_path / folder) in capsys.readouterr().err
    with monkeypatch.context() as locked:
        locked.setattr("os.access", lambda place, mode: Path(place) == copy)
        assert run(["report", str(copy), "--test", "--figures", str(tmp_path / "new")]) == 2
    assert f"the folder {tmp_path} cannot be written to" in capsys.readouterr().err
    assert (tmp_path / "figures" / "confusion.png").read_text() == "mine"
    assert not (copy / "report-test.html").exists() and not reads(copy)
    assert run(["report", str(copy), "--test", "--figures", str(tmp_path / "figures"), "--overwrite"]) == 0
    assert {path.name for path in (tmp_path / "figures").iterdir()} == set(NAMES) and len(reads(copy)) == 1
    with pytest.raises(CannotWrite, match="cannot make the folder"):  # it became a file meanwhile
        write_figures(gather(copy), tmp_path / "file")


def test_a_page_elsewhere_is_not_replaced_unasked(copy, tmp_path, capsys):
    page = tmp_path / "page.html"
    page.write_text("mine")
    assert run(["report", str(copy), "--out", str(page)]) == 2
    assert "page.html exists" in capsys.readouterr().err and page.read_text() == "mine"
    assert run(["report", str(copy), "--out", str(page), "--overwrite"]) == 0
    assert page.stat().st_size > 10_000
    assert run(["report", str(copy), "--out", str(tmp_path / "page.txt")]) == 2
    assert "ends in .html" in capsys.readouterr().err
    (tmp_path / "folder.html").mkdir()
    for place, message in (("folder.html", "is a folder"), ("no/page.html", f"there is no folder {tmp_path / 'no'}")):
        assert run(["report", str(copy), "--out", str(tmp_path / place), "--overwrite"]) == 2
        assert message in capsys.readouterr().err


def test_a_folder_that_is_no_run_is_said(tmp_path, capsys):
    assert run(["report", str(tmp_path)]) == 2
    assert "not a run folder" in capsys.readouterr().err


def test_a_page_that_cannot_be_made_does_not_fail_the_run(photos, tmp_path, capsys, monkeypatch):
    from depthwise.report import run_page

    def fail(report, path):
        raise CannotWrite("cannot write report.html: disk full")

    monkeypatch.setattr(run_page, "write_run_page", fail)
    assert run(["train", str(photos), "--out", str(tmp_path / "run"), *REPORTED, "--epochs", "1"]) == 0
    said = capsys.readouterr()
    assert "Best: epoch 1" in said.out and "its page was not written: cannot write" in " ".join(said.err.split())
