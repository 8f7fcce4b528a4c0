"""`depthwise recommend DATA`: who goes on, what is kept, and when it stops. But for one test, training is played."""

import json
import signal
from dataclasses import replace
from types import SimpleNamespace
from xml.etree import ElementTree

import pytest

from conftest import write_photos
from depthwise.cli import run
from depthwise.console import Quiet
from depthwise.data.index import read_index
from depthwise.errors import CannotWrite, Interrupted, UserError
from depthwise.workflows import measured, trials
from depthwise.workflows.measured import Measured
from depthwise.workflows.recommending import Budget, Choice, Published, Recommendation
from depthwise.workflows.trials import Trial, candidates, try_out

FINAL = {"a": 0.5, "b": 0.9, "c": 0.7, "d": 0.6, "e": 0.2}


def choice(name, top1=70.0, ms=1.0, *, is_in_budget=True, is_unbeaten=False):
    return Choice(name, 64, Published(top1, ""), Measured(ms, ms, ms, 1, 1_000_000), is_in_budget, is_unbeaten)


CHOICES = [choice(name) for name in FINAL]


class Clock:
    """Time that passes only when a played epoch takes it."""

    now = 0.0

    def monotonic(self):
        return self.now


@pytest.fixture
def played(monkeypatch):
    """Training is played: an epoch takes a second, accuracy grows by a tenth of its end each. The list of calls."""
    clock, calls = Clock(), []
    speed = dict.fromkeys(FINAL, 1.0)

    def train(data, out, config, *, resume, workers, console):
        assert resume == "auto" and data.name == "splits.csv" and data.exists()
        calls.append((config.model, config.epochs))
        first = 0 if not out.exists() else len((out / "metrics.jsonl").read_text().splitlines())
        out.mkdir(exist_ok=True)
        for step in console.track(range(2 * first + 1, 2 * config.epochs + 1), config.epochs, "Training"):
            clock.now += speed[config.model] / 2
            if step % 2:
                continue
            epoch = step // 2
            top1 = FINAL[config.model] * (0.9 + epoch / 100)
            with open(out / "metrics.jsonl", "a") as file:
                file.write(json.dumps({"epoch": epoch, "num_valid_images": 6}) + "\n")
        return SimpleNamespace(best_top1=top1 if config.epochs > first else FINAL[config.model])

    monkeypatch.setattr(trials, "EPOCHS", (1, 2, 4, 8))
    monkeypatch.setattr(trials, "train", train)
    monkeypatch.setattr(trials, "time", clock)
    return SimpleNamespace(calls=calls, speed=speed, clock=clock)


@pytest.fixture
def data(tmp_path):
    return write_photos(tmp_path / "photos", per_class=8)


def test_the_better_half_goes_on_to_twice_as_many_epochs(played, data, tmp_path):
    found = try_out(data, CHOICES, minutes=10, kept_in=tmp_path / "kept")
    assert played.calls == [
        *((name, 1) for name in "abcde"),
        *((name, 2) for name in "bcd"),
        *((name, 4) for name in "bc"),
    ]
    assert [(trial.name, trial.epochs) for trial in found.ranked] == [("b", 4), ("c", 4), ("d", 2), ("a", 1), ("e", 1)]
    assert [trial.seconds for trial in found.ranked[:3]] == [4, 4, 2]
    assert found.is_finished and not found.cut_short
    assert (found.num_train, found.num_valid) == (18, 3)  # 3 more are for the test


def test_what_was_tried_is_kept_unless_photos_change(played, data, tmp_path, save_noise):
    first = try_out(data, CHOICES, minutes=10, kept_in=tmp_path / "kept")
    num_calls = len(played.calls)
    again = try_out(data, CHOICES, minutes=10, kept_in=tmp_path / "kept")
    assert len(played.calls) == num_calls and again == first
    save_noise(data / "猫" / "new.png", 1)
    assert try_out(data, CHOICES, minutes=10, kept_in=tmp_path / "kept").folder != first.folder
    assert len(played.calls) == 2 * num_calls


def test_one_that_is_too_slow_does_not_starve_the_others(played, data, tmp_path):
    played.speed["b"] = 202.0
    found = try_out(data, CHOICES[1:], minutes=10, kept_in=tmp_path / "kept")
    # 600 s for 4 candidates' first epoch and 2 candidates' second
    assert found.cut_short == {"b": "up to epoch 1 takes longer than its 100 s"} and not found.is_finished
    assert [(trial.name, trial.epochs) for trial in found.ranked] == [("c", 2), ("d", 2), ("e", 1)]
    assert played.clock.now == 101 + 3 + 2


def test_no_time_at_all_is_said(played, data, tmp_path):
    played.clock.monotonic = iter(range(0, 100_000, 1000)).__next__
    found = try_out(data, CHOICES, minutes=0.01, kept_in=tmp_path / "kept")
    assert not found.ranked and set(found.cut_short) == set(FINAL) and not found.is_finished
    with pytest.raises(UserError, match="--minutes 0: need more than 0"):
        try_out(data, CHOICES, minutes=0)


def test_a_network_that_photos_do_not_suit_is_a_reason(played, data, tmp_path, monkeypatch):
    usual = trials.train

    def train(data, out, config, **more):
        if config.model == "b":
            raise UserError("pictures are too small\nand more")
        return usual(data, out, config, **more)

    monkeypatch.setattr(trials, "train", train)
    found = try_out(data, CHOICES[:3], minutes=10, kept_in=tmp_path / "kept")
    assert found.cut_short == {"b": "pictures are too small"} and found.ranked[0].name == "c"
    assert found.is_finished  # more time would not help


def test_each_size_of_pictures_has_runs_of_its_own(played, data, tmp_path, monkeypatch):
    usual, sizes = trials.train, {}

    def train(data, out, config, **more):
        assert sizes.setdefault(out, config.image_size) == config.image_size
        return usual(data, out, config, **more)

    monkeypatch.setattr(trials, "train", train)
    for size in (64, 32):
        choices = [replace(one, image_size=size) for one in CHOICES[:2]]
        assert len(try_out(data, choices, minutes=10, kept_in=tmp_path / "kept").ranked) == 2
    assert sorted(sizes.values()) == [32, 32, 64, 64]


class Warned(Quiet):
    def __init__(self):
        self.texts = []

    def warn(self, text):
        self.texts.append(text)


def test_photos_that_are_gone_are_left_out_and_said(played, data, tmp_path):
    assert run(["split", str(data), "--out", str(tmp_path / "splits.csv")]) == 0
    first = try_out(tmp_path / "splits.csv", CHOICES[:2], minutes=10, kept_in=tmp_path / "kept")
    gone = read_index(tmp_path / "splits.csv").part("train")[0].path
    gone.unlink()
    console = Warned()
    found = try_out(tmp_path / "splits.csv", CHOICES[:2], minutes=10, kept_in=tmp_path / "kept", console=console)
    assert found.num_train == first.num_train - 1 and found.num_valid == first.num_valid
    told = console.texts[-1]
    assert told == f"1 of {found.num_train + 1 + found.num_valid} photos are not there and are left out, such as {gone}"
    assert gone not in {record.path for record in read_index(found.folder / "splits.csv").records}


def test_a_cache_folder_that_cannot_be_made_is_told(played, data, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(CannotWrite, match="DEPTHWISE_CACHE"):
        try_out(data, CHOICES, minutes=10, kept_in=tmp_path / "file")


def test_stopped_it_keeps_what_is_done(played, data, tmp_path, monkeypatch):
    usual = trials.train

    def train(data, out, config, **more):
        if (config.model, config.epochs) == ("c", 1):
            raise Interrupted("saved", signal.SIGTERM)
        return usual(data, out, config, **more)

    monkeypatch.setattr(trials, "train", train)
    with pytest.raises(Interrupted, match="2 candidates have a result") as caught:
        try_out(data, CHOICES, minutes=10, kept_in=tmp_path / "kept")
    assert caught.value.signum == signal.SIGTERM
    monkeypatch.setattr(trials, "train", usual)
    try_out(data, CHOICES, minutes=10, kept_in=tmp_path / "kept")
    assert played.calls.count(("a", 1)) == played.calls.count(("b", 1)) == 1


def test_many_photos_are_sampled_by_class(played, data, tmp_path, monkeypatch):
    monkeypatch.setattr(trials, "PHOTOS", {"train": 9, "valid": 3})
    found = try_out(data, CHOICES[:2], minutes=10, kept_in=tmp_path / "kept")
    assert (found.num_train, found.num_valid) == (9, 3)
    rows = (found.folder / "splits.csv").read_text(encoding="utf-8").splitlines()
    assert sum(",train," in row and "猫" in row for row in rows) == 3 and not any(",test," in row for row in rows)


def test_who_is_a_candidate(monkeypatch):
    many = [choice(f"n{number}", number) for number in range(20)]
    many += [
        choice("efficientnet_lite0", 1),
        choice("unbeaten", 2, is_unbeaten=True),
        choice("over", 99, is_in_budget=False),
    ]
    found = Recommendation(Budget(10), 1, 3, "", "", tuple(many), {})
    names = [one.name for one in candidates(found)]
    assert names == ["efficientnet_lite0", "unbeaten", "n19", "n18", "n17", "n16", "n15", "n14"]


def test_the_interval_is_of_the_validation_photos():
    trial = Trial("a", "none", 1, 0.9, 100, 1.0, 64)
    assert trial.interval == pytest.approx((0.8238, 0.9510), abs=1e-4)  # Clopper & Pearson's for 90 of 100
    assert replace(trial, valid_top1=1.0).interval == pytest.approx((0.9638, 1.0), abs=1e-4)


@pytest.fixture
def timed(monkeypatch, tmp_path):
    """Nothing is measured; the cache is a fresh folder."""
    monkeypatch.setenv("DEPTHWISE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(measured.Kept.__init__, "__defaults__", (lambda ask: Measured(2.0, 2.0, 2.0, 9, 3_000_000),))


def test_networks_are_really_tried(timed, data, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(trials, "EPOCHS", (1, 2))
    svg = tmp_path / "choices.svg"
    command = ["recommend", str(data), "--pattern", "mobilenet_v1_x0_*", "--image-size", "32", "--workers", "1"]
    assert run([*command, "--svg", str(svg)]) == 0
    said = capsys.readouterr().out
    assert said.startswith("Tried on 18 training and 3 validation photos of yours")
    rows = [line.split() for line in said.splitlines() if line.startswith("mobilenet_v1_x0_")]
    assert {row[0] for row in rows} == {f"mobilenet_v1_x0_{width}" for width in ("25", "5", "75")}
    assert [row[1:4] for row in rows] == [["none", epochs, "32"] for epochs in "221"]
    assert "test photos were not touched" in " ".join(said.split())
    assert said.splitlines()[-1] == f"Next: depthwise train {data} --model {rows[0][0]}"
    words = [e.text for e in ElementTree.fromstring(svg.read_text()).iter("{http://www.w3.org/2000/svg}text")]
    assert any("Top-1 on validation photos of yours" in (word or "") for word in words)
    assert run([*command, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["num_classes"] == 3 and [row["name"] for row in found["trials"]["ranked"]] == [row[0] for row in rows]
    assert run([*command, "--max-ms", "0.5"]) == 2 and "nothing to try" in capsys.readouterr().err
