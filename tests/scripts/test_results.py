"""bench/results.py: epochs that fit the minutes, going on, one reading of the test, figures that are checked."""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "bench"))

import record
import results
import results_page
import results_run
from results import ROWS, Published, Row

from depthwise.errors import Interrupted
from depthwise.models.registry import PAPERS, model_info
from depthwise.workflows.recipes import recipe_names

TINY = (
    Row("LeNet-5", "lenet5", {"batch_size": 8}, Published(1.0, "a perfect one"), recipe="lenet5", most_epochs=2),
    Row("MobileNet V1", "mobilenet_v1", {"image_size": 28, "set": ("width=0.1",), "batch_size": 8}, most_epochs=1),
)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Train and test of two classes of grey pictures, 28 px: dark and bright."""
    rng, folder = np.random.default_rng(0), tmp_path_factory.mktemp("data") / "pictures"
    for part, count in (("train", 30), ("test", 10)):
        for name, level in (("dark", 60), ("bright", 190)):
            (folder / part / name).mkdir(parents=True)
            for number in range(count):
                pixels = np.clip(rng.normal(level, 25, (28, 28)), 0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(folder / part / name / f"{number}.png")
    return folder


@pytest.fixture(scope="module")
def measured(pictures, tmp_path_factory):
    """A folder with the finished runs of TINY, and results.json; tests only read it."""
    folder = tmp_path_factory.mktemp("work")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(results, "ROWS", TINY)
        patch.setattr(results_run, "TIMED_S", 0.0)
        assert start(folder, pictures) == 0
    return folder


@pytest.fixture
def work(measured, tmp_path, monkeypatch):
    """A copy of it to change."""
    monkeypatch.setattr(results, "ROWS", TINY)
    monkeypatch.setattr(results_page, "ROWS", TINY)
    monkeypatch.setattr(results_run, "TIMED_S", 0.0)
    shutil.copytree(measured, tmp_path / "work")
    return tmp_path / "work"


def start(folder, pictures, *more):
    return results.main([str(folder), "--data", str(pictures), "--minutes", "5", "--threads", "1", "--trial", *more])


def rows_of(folder):
    return {row["name"]: row for row in json.loads((folder / "results.json").read_text())["rows"]}


def test_every_family_has_a_row_whose_settings_hold():
    families = {model_info(row.network).family.removesuffix("_cifar") for row in ROWS}
    assert families == {paper for paper in PAPERS if paper != "alexnet"}  # alexnet_owt stands for both
    assert len({row.title for row in ROWS}) == len(ROWS) == 15
    assert {row.recipe for row in ROWS} <= set(recipe_names())
    for row in ROWS:
        task = results_run.task_of(row)
        assert task.image_size in ((64,) if row.family == "GoogLeNet" else (28, 32))
        assert results_run.costs(task)["macs"] > 100_000
        assert results_run.settled(row).epochs == row.most_epochs or row.most_epochs is None


def test_counts_of_a_row_are_those_of_the_paper():
    assert results_run.costs(results_run.task_of(ROWS[1])) == {"params": 61_706, "macs": 416_520}


@pytest.mark.parametrize(("minutes", "most", "epochs"), [(15, 30, 9), (15, 8, 8), (0.1, 30, 1), (100, 100, 60)])
def test_epochs_are_those_that_fit(minutes, most, epochs):
    assert results_run.plan_epochs(600.0, 60_000, minutes, most) == epochs


def test_a_row_tells_what_was_found_and_how_to_repeat_it(measured):
    found = rows_of(measured)
    assert list(found) == ["lenet5", "mobilenet_v1"]
    assert [row["plan"]["epochs"] for row in found.values()] == [2, 1]
    for name, row in found.items():
        (run,) = row["runs"]
        assert (run["seed"], run["num_images"], run["test_reads"]) == (0, 20, 1)
        low, high = run["top1_interval"]
        assert low <= run["top1"] <= high and high - low > 0.1
        assert len(run["last_valid_top1"]) == row["plan"]["epochs"]
        assert run["command"].startswith(f"depthwise train data/fashion-mnist --out runs/{name} --recipe ")
        assert f"--epochs {row['plan']['epochs']}" in run["command"] and "--resume" not in run["command"]
        history = (measured / "runs" / name / "seed0" / "metrics.jsonl").read_text().splitlines()
        assert run["last_valid_top1"] == [json.loads(line)["valid_top1"] for line in history]
    assert "--set width=0.1" in found["mobilenet_v1"]["runs"][0]["command"]


def test_what_is_done_is_not_done_again(work, pictures, monkeypatch):
    before = (work / "results.json").read_bytes()
    monkeypatch.setattr(results_run.dw, "train", lambda *_, **__: pytest.fail("trained again"))
    assert start(work, pictures) == 0
    assert (work / "results.json").read_bytes() == before


def test_a_row_that_is_missing_is_read_from_its_finished_run(work, pictures):
    whole = json.loads((work / "results.json").read_text())
    lost = whole["rows"].pop()
    (work / "results.json").write_text(json.dumps(whole))
    bits = (work / "runs/mobilenet_v1/seed0/best.safetensors").read_bytes()
    assert start(work, pictures) == 0
    assert (work / "runs/mobilenet_v1/seed0/best.safetensors").read_bytes() == bits
    (run,) = rows_of(work)["mobilenet_v1"]["runs"]
    assert run == lost["runs"][0] | {"test_reads": 2}


def test_a_run_that_was_stopped_goes_on_by_its_plan(work, pictures, monkeypatch, capsys):
    (work / "results.json").unlink()
    plan = (work / "runs/lenet5/plan.json").read_bytes()
    stopped = results_run.dw.train

    def stop(*_, **__):
        raise Interrupted("Stopped.", 15)

    monkeypatch.setattr(results_run.dw, "train", stop)
    monkeypatch.setattr(results_run, "measure_speed", lambda *_: pytest.fail("planned again"))
    assert start(work, pictures, "--only", "lenet5") == 143
    assert "the same command goes on" in capsys.readouterr().err
    assert not (work / "results.json").exists()
    monkeypatch.setattr(results_run.dw, "train", stopped)
    assert start(work, pictures, "--only", "lenet5") == 0
    assert (work / "runs/lenet5/plan.json").read_bytes() == plan
    assert len(rows_of(work)["lenet5"]["runs"][0]["last_valid_top1"]) == 2


def test_another_seed_keeps_the_plan_and_another_budget_begins_anew(work, pictures, monkeypatch):
    monkeypatch.setattr(results_run, "measure_speed", lambda *_: pytest.fail("planned again"))
    assert start(work, pictures, "--only", "lenet5", "--seeds", "0", "3") == 0
    assert [run["seed"] for run in rows_of(work)["lenet5"]["runs"]] == [0, 3]
    monkeypatch.setattr(results_run, "measure_speed", lambda *_: 1.0)
    assert start(work, pictures, "--only", "lenet5", "--minutes", "1.01") == 0
    found = rows_of(work)["lenet5"]
    assert (found["plan"]["epochs"], len(found["runs"])) == (1, 1)
    assert not (work / "runs/lenet5/seed3").exists()


@pytest.fixture
def site(work, tmp_path, monkeypatch):
    """A tree with the page and two recipes that say what was measured."""
    root = tmp_path / "root"
    (root / "docs").mkdir(parents=True)
    (root / "src/depthwise/recipes").mkdir(parents=True)
    for name in ("lenet5", "resnet"):
        shutil.copy(ROOT / f"src/depthwise/recipes/{name}.toml", root / "src/depthwise/recipes")
    shutil.copy(ROOT / "src/depthwise/recipes/scratch-small.toml", root / "src/depthwise/recipes")
    monkeypatch.setattr(record, "RESULTS", work)
    (root / "README.md").write_text("Nothing.\n", encoding="utf-8")
    (root / "docs/results.md").write_text(f"{results_page.table()}\n\n{results_page.commands()}\n", encoding="utf-8")
    assert results_page.write(root) == 0
    return root


def test_figures_that_are_right_pass(site, capsys):
    assert results_page.verify(site) == 0
    text = (site / "src/depthwise/recipes/lenet5.toml").read_text(encoding="utf-8")
    assert text.count("# Measured, Fashion-MNIST: lenet5 ") == 1 and results_page.NOT_RUN not in text
    results_page.write(site)
    assert (site / "src/depthwise/recipes/lenet5.toml").read_text(encoding="utf-8") == text
    assert capsys.readouterr().out == "all figures are what was measured\n"


def test_recipes_say_what_was_measured_on_solar_cells(site, work):
    rows = [
        {"method": "finetune", "split": split, "cores": 2, "train_s": 60.0 * minutes, "test": {"top1": top1}}
        for split, minutes, top1 in (("leak-proof", 5, 0.9), ("random", 9, 0.5), ("leak-proof", 7, 0.8))
    ]
    for row in rows:
        row["test"]["num_images"] = 656
    machine = {"cores": 2, "processor": "P", "python": "3.11", "torch": "2.13"}
    (work / "elpv.json").write_text(json.dumps({"machine": machine, "rows": rows}))
    line = "# Measured, solar cells: 85.0 % of 656 test photos, 6.0 min, 2 seeds (docs/solar_cells.md)"
    where = "# Measured, on 2 cores of P, Python 3.11, torch 2.13:"
    assert results_page.figures("finetune", {}) == [where, line]
    assert results_page.figures("linear-probe", {}) == []
    shutil.copy(ROOT / "src/depthwise/recipes/finetune.toml", site / "src/depthwise/recipes")
    results_page.write(site)
    assert line in (site / "src/depthwise/recipes/finetune.toml").read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("src/depthwise/recipes/lenet5.toml", " % of 20", "1 % of 20", "lenet5.toml says: # Measured"),
        ("src/depthwise/recipes/lenet5.toml", "2 epochs", "3 epochs", "lenet5.toml does not say: # Measured"),
        ("src/depthwise/recipes/resnet.toml", "Not run here", "Run here", "resnet.toml says neither"),
        ("docs/results.md", "61,", "62,", "docs/results.md does not say: | LeNet-5"),
        ("docs/results.md", "--epochs 2", "--epochs 3", "docs/results.md says: depthwise train"),
        ("README.md", "Nothing", "`lenet5` 12.3 % of\n20 test pictures", "README.md: says '`lenet5` 12.3 % of 20 test"),
        ("README.md", "Nothing", "vgg16 92.1 % of 20 test pictures", "measured: no row vgg16"),
    ],
)
def test_a_figure_that_was_changed_is_named(site, capsys, file, old, new, message):
    text = (site / file).read_text(encoding="utf-8")
    assert old in text
    (site / file).write_text(text.replace(old, new), encoding="utf-8")
    assert results_page.verify(site) == 1
    assert message in capsys.readouterr().out


def test_a_result_that_changed_makes_pages_and_recipes_wrong(site, work, capsys):
    whole = json.loads((work / "results.json").read_text())
    whole["rows"][0]["runs"][0]["top1"] -= 0.05
    (work / "results.json").write_text(json.dumps(whole))
    assert results_page.verify(site) == 1
    out = capsys.readouterr().out
    assert "lenet5.toml says" in out and "docs/results.md says" in out


def test_the_table_without_results_and_with_three_seeds(work, monkeypatch, tmp_path):
    monkeypatch.setattr(record, "RESULTS", tmp_path / "nowhere")
    assert results_page.table().count(results_page.NOT_YET) == 2
    assert "No result" in results_page.commands()

    whole = json.loads((work / "results.json").read_text())
    (run,) = whole["rows"][0]["runs"]
    accuracies = {0: 0.90, 1: 0.91, 2: 0.92}
    curve = {"last_valid_top1": [0.5, 0.80, 0.85, 0.86, 0.89]}
    whole["rows"][0]["runs"] = [run | {"seed": seed, "top1": top1} | curve for seed, top1 in accuracies.items()]
    (work / "results.json").write_text(json.dumps(whole))
    monkeypatch.setattr(record, "RESULTS", work)
    line = next(line for line in results_page.table().splitlines() if line.startswith("| LeNet-5"))
    assert "91.00 % ± 1.00 (3 seeds)" in line and "100.0 % (a perfect one)" in line
    assert "-9.00; +3.00 an epoch at its end" in line


def test_what_is_committed_is_what_pages_and_recipes_say(capsys):
    assert results.main(["--verify"]) == 0, capsys.readouterr().out
