"""The tables of docs/solar_cells.md, with and without runs."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))
import solar_cells

MACHINE = {"cores": 2, "processor": "P", "python": "3.11", "torch": "2.13"}
RULE = {"num_images": 90, "num_missed": 0, "bound": 0.0327, "num_others": 198, "num_false_alarms": 60}


def row(split, method, seed, top1, train_s):
    count = {"hits": 2, "num": 200, "interval": [0.001, 0.036]}
    return {
        "split": split,
        "method": method,
        "seed": seed,
        "cores": 2,
        "train_s": train_s,
        "predict_s": 12.4,
        "file_mb": 13.5,
        "rules": [RULE | {"max_miss_rate": 0.05, "threshold": 0.21}, RULE | {"max_miss_rate": 0.01, "threshold": 0.04}],
        "test": {
            "top1": top1,
            "top1_interval": [top1 - 0.03, top1 + 0.03],
            "decision": {"misses": count, "false_alarms": count | {"hits": 50, "num": 453}},
        },
    }


@pytest.fixture
def with_runs(monkeypatch):
    rows = [
        row("leak-proof", "finetune", 0, 0.86, None),
        row("random", "finetune", 0, 0.87, 300.0),
        row("random", "finetune", 1, 0.89, 240.0),
    ]
    found = {"machine": MACHINE, "date": "2026-01-01", "data": {"photos": {"a": 1803, "b": 821}}, "rows": rows}
    monkeypatch.setattr(solar_cells, "newest", lambda _: found)


@pytest.mark.usefixtures("with_runs")
def test_one_run_has_an_interval_several_have_a_mean_and_others_are_missing():
    lines = solar_cells.elpv_accuracy().splitlines()
    assert lines[2].endswith("then all layers | 88.0% (87.0%, 89.0%) | 86.0% (83.0% to 89.0%) |")
    assert lines[3].endswith("last layer only | not yet run | not yet run |")
    assert "| 88.42% | |" in lines[5]
    assert "2 cores of P" in lines[-1]


def test_which_stage_was_kept_is_told_run_by_run(monkeypatch):
    shares = ({"last layer": 0.858, "all layers": 0.837}, {"last layer": 0.8, "all layers": 0.9})
    rows = [
        row("leak-proof", "finetune", 0, 0.86, None) | {"valid_top1": shares[0]},
        row("random", "finetune", 1, 0.9, 1.0) | {"valid_top1": shares[1]},
    ]
    monkeypatch.setattr(solar_cells, "newest", lambda _: {"rows": rows})
    first, second = solar_cells.elpv_stages().splitlines()
    assert first.endswith("last layer 85.8% of the validation photos, all layers 83.7%; the last layer alone was kept.")
    assert second.startswith("- random split, seed 1") and second.endswith("90.0%; all layers were kept.")


@pytest.mark.usefixtures("with_runs")
def test_the_sentence_for_the_readme_has_both_splits(monkeypatch):
    found = solar_cells.newest("elpv")
    found["rows"][0]["train_s"] = 360.0
    said = solar_cells.elpv_short()
    assert "86.0% (one run, 95 % interval 83.0% to 89.0%) of the test photos right after 6 minutes" in said
    assert "as in the paper, 88.0% (mean of 2 seeds)" in said


@pytest.mark.usefixtures("with_runs")
def test_the_test_photos_are_told_for_the_last_rule_only():
    lines = solar_cells.elpv_rule().splitlines()
    assert lines[2].endswith("| 5% | 21.0% | 0 of 90 | 3.3% | 60 of 198 |  |  |")
    assert lines[3].endswith("| 2 of 200 (0.1% to 3.6%) | 50 of 453 (0.1% to 3.6%) |")
    assert lines[4].count("not yet run") == 1


@pytest.mark.usefixtures("with_runs")
def test_the_first_run_that_was_not_interrupted_is_told():
    assert "| 5.0 min | 2 | 12 s for 2,624 photos | 13.5 MB |" in solar_cells.elpv_cost()


def test_without_any_run_every_table_says_so(monkeypatch):
    monkeypatch.setattr(solar_cells, "newest", lambda _: None)
    for name, part in solar_cells.PARTS.items():
        assert part().count("not yet run") >= (1 if name in ("elpv_short", "elpv_stages") else 3)
