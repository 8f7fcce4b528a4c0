"""Whole commands, as typed, in this process."""

import csv
import io
import json
import shutil
from pathlib import Path

import pytest
from PIL import Image

from conftest import FLAGS, write_photos
from depthwise.cli import run
from depthwise.data.index import read_index
from depthwise.data.sources import SOURCES


def test_the_whole_way_from_a_folder_to_answers(photos, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run(["split", str(photos), "--out", "splits.csv"]) == 0
    assert "Next: depthwise train splits.csv --out RUN" in capsys.readouterr().out
    assert run(["train", "splits.csv", "--out", "run", *FLAGS, "--epochs", "4"]) == 0
    said = capsys.readouterr().out
    assert "epoch 4/4" in said
    assert "top-1" in said
    assert "images/s" in said
    assert {path.name for path in Path("run").iterdir()} == {
        "best.safetensors",
        "last.safetensors",
        "previous.safetensors",
        "config.toml",
        "splits.csv",
        "metrics.jsonl",
        "metrics.csv",
        "timings.jsonl",
        "starts.jsonl",
    }
    assert run(["evaluate", "run", "--split", "test", "--json"]) == 0
    scores = json.loads(capsys.readouterr().out)
    assert scores["num_images"] == 6
    assert scores["top1"] == 1.0
    assert scores["skipped"] == []
    assert run(["predict", "run", str(photos / "猫" / "photo 00.jpg"), "--format", "json"]) == 0
    (answer,) = json.loads(capsys.readouterr().out)
    assert answer["label"] == "猫"
    assert answer["error"] is None
    assert set(answer) == {"path", "label", "probability", "top", "rejected", "reason", "error"}


def test_metrics_have_the_promised_fields_and_no_clock(trained):
    rows = [json.loads(line) for line in (trained / "metrics.jsonl").read_text().splitlines()]
    assert [row["epoch"] for row in rows] == [1, 2, 3, 4]
    assert set(rows[0]) == {
        "epoch",
        "step",
        "lr",
        "train_loss",
        "valid_loss",
        "valid_top1",
        "valid_top5",
        "num_train_images",
        "num_valid_images",
    }
    assert rows[0]["num_train_images"] == 24
    assert rows[0]["num_valid_images"] == 6


def test_a_run_keeps_its_split(trained, photos):
    with open(trained / "splits.csv", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 36
    assert {row["split"] for row in rows} == {"train", "valid", "test"}
    index = read_index(trained / "splits.csv")
    assert all(record.path.exists() for record in index.records)
    assert all(record.hash for record in index.part("train"))


def test_a_folder_with_train_and_test_lends_its_validation_pictures(photos, tmp_path, capsys):
    data = tmp_path / "data"
    shutil.copytree(photos, data / "train")
    write_photos(data / "test", per_class=3, seed=1)
    assert run(["train", str(data), "--out", str(tmp_path / "run"), *FLAGS, "--epochs", "1"]) == 0
    assert "taking 15% of each class from train" in capsys.readouterr().out
    index = read_index(tmp_path / "run" / "splits.csv")
    assert [len(index.part(name)) for name in ("train", "valid", "test")] == [30, 6, 9]
    assert run(["evaluate", str(tmp_path / "run"), str(data), "--split", "test", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["num_images"] == 9


def test_grey_pictures_are_learnt_as_grey(tmp_path, capsys):
    for level, name in ((40, "dark"), (200, "light")):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(8):
            Image.new("L", (20, 20), level + number).save(tmp_path / "photos" / name / f"{number}.png")
    assert run(["train", str(tmp_path / "photos"), "--out", str(tmp_path / "run"), *FLAGS, "--epochs", "1"]) == 0
    assert "20 x 20 px in the median, grey. Input: 32 x 32 px, grey" in capsys.readouterr().out


def test_options_of_the_network_are_stored_and_used(photos, tmp_path, capsys):
    out = tmp_path / "run"
    options = ["--set", "width=0.35", "--set", "activation=relu6", "--set", "small_input=false"]
    assert run(["train", str(photos), "--out", str(out), "--model", "mobilenet_v1", "--epochs", "1", *options]) == 0
    capsys.readouterr()
    import depthwise as dw

    classifier = dw.load(out)
    assert classifier.engine.card.options["width"] == 0.35
    assert classifier.engine.card.small_input is False
    assert type(classifier.engine.model.stem.act).__name__ == "ReLU6"
    assert classifier.engine.model.stem.conv.out_channels == 16


def test_lenet_gets_its_own_size(photos, tmp_path, capsys):
    flags = ["--model", "lenet5", "--epochs", "1", "--batch-size", "8"]
    assert run(["train", str(photos), "--out", str(tmp_path / "run"), *flags]) == 0
    assert "Input: 32 x 32 px" in capsys.readouterr().out
    assert run(["train", str(photos), "--out", str(tmp_path / "other"), *flags, "--image-size", "64"]) == 2
    assert "lenet5 takes 32 px only" in capsys.readouterr().err


@pytest.mark.parametrize("fit", ["squash", "letterbox", "crop"])
def test_every_fit_goes_the_whole_way(fit, photos, tmp_path, capsys):
    out = tmp_path / "run"
    assert run(["train", str(photos), "--out", str(out), *FLAGS, "--epochs", "1", "--fit", fit, "--channels", "1"]) == 0
    assert run(["evaluate", str(out)]) == 0
    assert "test: top-1" in capsys.readouterr().out


def test_python_names_do_what_the_commands_do(photos, tmp_path):
    import depthwise as dw

    result = dw.split(photos, tmp_path / "splits.csv", dw.SplitConfig(valid=0.25, test=0.25))
    assert result.counts["猫"] == {"train": 6, "valid": 3, "test": 3}
    config = dw.TrainConfig(model="lenet5", epochs=2, batch_size=4, lr=0.05)
    trained = dw.train(tmp_path / "splits.csv", tmp_path / "run", config)
    assert trained.num_epochs == 2
    assert dw.evaluate(tmp_path / "run", split="valid").scores.top1 == pytest.approx(trained.best_top1)
    prediction = dw.load(tmp_path / "run").predict(photos / "red fox" / "photo 00.jpg", top_k=2)
    assert len(prediction.top) == 2
    assert prediction.top[0].label == prediction.label
    assert sum(
        score.probability for score in dw.load(tmp_path / "run").predict(photos / "猫" / "photo 01.png").top
    ) == (pytest.approx(1))


def test_models_and_summary_print_json(capsys):
    assert run(["models", "mobilenet_v2*", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["params"] for row in rows if row["name"] == "mobilenet_v2_x1_0"] == [3504872]
    assert run(["summary", "mobilenet_v2", "--json"]) == 0
    assert sum(row["macs"] for row in json.loads(capsys.readouterr().out)) == 300774272


def test_data_sets_are_listed_for_people_and_for_programs(capsys):
    assert run(["datasets", "list"]) == 0
    said = capsys.readouterr().out
    assert "fashion-mnist: Fashion-MNIST: 60,000" in said
    assert said.endswith("\nNext: depthwise datasets get NAME data/NAME\n")
    assert run(["datasets", "list", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [one["name"] for one in found] == list(SOURCES) and set(found[0]) == {"name", "title", "licence", "address"}


@pytest.mark.parametrize(
    "arguments",
    [
        ["evaluate", "{run}", "--split", "valid", "--json"],
        ["compare", "{run}", "{run}", "--split", "valid", "--json"],
        ["explain", "{run}", "{photo}", "--out", "{tmp}/why.png", "--json"],
        ["predict", "{run}", "{photo}", "--json"],
        ["predict", "{run}", "{photo}", "--format", "jsonl"],
        ["predict", "{run}", "{photo}", "--format", "csv"],
    ],
    ids=lambda arguments: f"{arguments[0]} {arguments[-1]}",
)
def test_json_is_json_on_a_console_that_cannot_show_the_classes(arguments, trained, photos, tmp_path, monkeypatch):
    places = {"run": trained, "photo": photos / "crème brûlée" / "photo 00.jpg", "tmp": tmp_path}
    console = io.TextIOWrapper(io.BytesIO(), "cp1251", "backslashreplace", newline="")  # as `main` makes it
    monkeypatch.setattr("sys.stdout", console)
    assert run([argument.format(**places) for argument in arguments]) == 0
    console.flush()
    said = console.buffer.getvalue().decode("cp1251")
    if arguments[-1] == "csv":
        (row,) = csv.DictReader(said.splitlines())
        said = row["top"]
    assert '"crème brûlée"' in json.dumps(json.loads(said), ensure_ascii=False)


def test_answers_in_a_file_keep_their_letters(trained, photos, tmp_path):
    for form in ("json", "jsonl", "csv"):
        out = tmp_path / f"answers.{form}"
        assert run(["predict", str(trained), str(photos / "猫" / "photo 00.jpg"), "--out", str(out)]) == 0
        assert "猫" in out.read_text(encoding="utf-8") and "\\u" not in out.read_text(encoding="utf-8")


def test_summary_takes_size_and_options(capsys):
    assert run(["summary", "mobilenet_v1", "--image-size", "128"]) == 0
    assert "186,400,768" in capsys.readouterr().out
    assert run(["summary", "mobilenet_v1", "--set", "width=0.5"]) == 0
    assert "1,331,592" in capsys.readouterr().out


@pytest.mark.parametrize(
    "command",
    [
        "demo",
        "audit",
        "split",
        "train",
        "find-lr",
        "evaluate",
        "calibrate",
        "compare",
        "report",
        "predict",
        "explain",
        "export",
        "verify",
        "bench",
        "bench kernels",
        "recommend",
        "models",
        "summary",
        "import",
        "datasets get",
        "datasets list",
    ],
)
def test_every_command_explains_itself_with_an_example(command, capsys):
    assert run([*command.split(), "--help"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert f"Example: depthwise {command}" in said


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["trian"], "Unknown command"),
        (["train"], "DATA requires an argument"),
        (["train", "x", "--epochs", "many"], "epochs"),
        (["train", "x", "--epochs", "0"], "--epochs 0 is out of range"),
        (["train", "x", "--lr", "-1"], "--lr -1 is out of range"),
        (["predict", "model"], "predict needs photos"),
        (["models", "nothing*"], "no network's name matches 'nothing*'"),
        (["datasets", "get", "nothing", "out"], "there is no data set called 'nothing'; there are: fashion-mnist"),
    ],
)
def test_wrong_command_lines_say_what_is_wrong(arguments, message, capsys):
    assert run(arguments) == 2
    assert message in capsys.readouterr().err


def test_new_batch_norm_statistics_change_the_answers_and_not_the_training(photos, tmp_path):
    from safetensors.numpy import load_file

    out = {}
    for flag in ("--recalibrate", "--no-recalibrate"):
        flags = ["--model", "mobilenet_v1_x0_25", "--batch-size", "8", "--epochs", "2", flag]
        assert run(["train", str(photos), "--out", str(tmp_path / flag), *flags]) == 0
        out[flag] = load_file(tmp_path / flag / "last.safetensors")
    for name, tensor in out["--recalibrate"].items():
        is_equal = (tensor == out["--no-recalibrate"][name]).all()
        assert is_equal == ("running_" not in name and "num_batches" not in name), name


def test_probabilities_are_calibrated_on_validation_pictures(trained, photos):
    """The best model carries a temperature; answers are the softmax of logits over it, whoever computes them."""
    import numpy as np

    import depthwise as dw
    from depthwise.data.cache import read_picture
    from depthwise.deploy.calibrate import calibrate
    from depthwise.metrics import softmax

    classifier = dw.load(trained)
    card = classifier.engine.card
    assert card.temperature != 1 and card.calibration["num_images"] > 0
    index = read_index(trained / "splits.csv")
    pictures = [read_picture(record.path, card.geometry) for record in index.part("valid")]
    labels = np.array([card.classes.index(record.label) for record in index.part("valid")])
    logits = classifier.engine.logits(np.stack(pictures))
    assert calibrate(logits, labels).temperature == pytest.approx(card.temperature, rel=1e-3)
    photo = index.part("test")[0].path
    answer = classifier.predict(photo)
    stated = softmax(classifier.engine.logits(read_picture(photo, card.geometry)[None]) / np.float32(card.temperature))
    assert answer.probability == pytest.approx(stated.max(), rel=1e-5)
