import json
import math

import numpy as np
import pytest

from depthwise.metrics import assess, cross_entropy, proportion_interval

LABELS = np.array([0, 0, 0, 1, 1, 1, 2])
ANSWERS = np.array([0, 0, 1, 1, 1, 0, 0])
LOGITS = np.eye(3, dtype=np.float32)[ANSWERS] * np.float32(math.log(2))


def test_everything_is_counted_over_photos():
    found = assess(LOGITS, LABELS, drawings=50)
    assert found.scores.top1 == 4 / 7
    assert found.intervals["top1"] == proportion_interval(4, 7)
    assert found.intervals["top5"] == proportion_interval(7, 7)
    assert found.recall_intervals == [proportion_interval(2, 3), proportion_interval(2, 3), proportion_interval(0, 1)]
    assert found.precision_intervals[:2] == [proportion_interval(2, 4), proportion_interval(2, 3)]
    assert found.precision_intervals[2] is None
    assert found.averages.balanced_accuracy == pytest.approx(4 / 9)
    assert found.num_groups == 7


def test_the_temperature_changes_what_is_stated_and_nothing_else():
    plain, cooled = assess(LOGITS, LABELS, drawings=5), assess(LOGITS, LABELS, temperature=0.5, drawings=5)
    assert plain.nll == pytest.approx(plain.scores.loss) == cooled.scores.loss
    assert cooled.nll == pytest.approx(cross_entropy(LOGITS * 2, LABELS))
    # 1/2 stated for each answer, 4/6 after cooling; 4 of 7 right.
    assert plain.calibration_error == pytest.approx(4 / 7 - 1 / 2)
    assert cooled.calibration_error == pytest.approx(4 / 6 - 4 / 7)
    assert plain.error_before == cooled.error_before == plain.calibration_error
    assert cooled.to_json()["calibration_error_before"] == plain.calibration_error


def test_drawn_intervals_hold_the_number_and_are_the_same_each_time():
    rng = np.random.default_rng(3)
    labels = rng.integers(0, 4, 200)
    logits = (rng.normal(0, 1, (200, 4)) + 2 * np.eye(4)[labels]).astype(np.float32)
    found, again = assess(logits, labels), assess(logits, labels)
    values = {
        "nll": found.nll,
        "macro_f1": found.averages.macro[2],
        "balanced_accuracy": found.averages.balanced_accuracy,
    }
    for name, value in values.items():
        interval = found.intervals[name]
        assert interval is not None and interval.low < value < interval.high
        assert interval.width < 0.4
    assert found.intervals == again.intervals


def test_true_probabilities_stay_within_what_chance_allows():
    """Labels drawn as the probabilities say: in 95 % of the cases, whether photos stand alone or in groups."""
    rng, num_within = np.random.default_rng(5), {"alone": 0, "grouped": 0}
    groups = np.repeat(range(30), 4)
    for _ in range(60):
        sure = np.repeat(rng.uniform(0.5, 1, 30), 4)
        stated = np.log(np.column_stack([sure, 1 - sure])).astype(np.float32)
        for name, luck in (("alone", rng.random(120)), ("grouped", np.repeat(rng.random(30), 4))):
            labels = (luck > sure).astype(int)
            found = assess(stated, labels, groups=groups if name == "grouped" else None, drawings=200)
            assert found.calibration_error > 0.02  # though every probability is true
            num_within[name] += found.calibration_error <= found.error_by_chance
    assert all(52 <= num <= 60 for num in num_within.values())


def test_what_chance_allows_is_left_behind_by_probabilities_that_are_wrong():
    rng = np.random.default_rng(6)
    sure = rng.uniform(0.8, 1, 400)
    labels = (rng.random(400) > sure - 0.2).astype(int)
    found = assess(np.log(np.column_stack([sure, 1 - sure])).astype(np.float32), labels)
    assert found.calibration_error > 2 * found.error_by_chance
    assert found.to_json()["calibration_error_by_chance"] == found.error_by_chance
    assert "calibration_error" not in found.intervals


def test_groups_widen_every_interval():
    rng = np.random.default_rng(4)
    labels = np.repeat(rng.integers(0, 2, 20), 10)
    noise = np.repeat(rng.normal(0, 1, (20, 2)), 10, axis=0)  # ten equal photos a group
    logits = (noise + np.eye(2)[labels]).astype(np.float32)
    alone, grouped = assess(logits, labels), assess(logits, labels, groups=np.repeat(range(20), 10))
    assert (alone.num_groups, grouped.num_groups) == (200, 20)
    for name in ("top1", "nll", "macro_f1"):
        first, second = alone.intervals[name], grouped.intervals[name]
        assert first is not None and second is not None
        assert second.width > 2 * first.width


def test_a_perfect_model_has_no_drawn_interval_and_an_exact_one():
    logits = np.eye(2, dtype=np.float32)[[0, 1, 0, 1]] * 9
    found = assess(logits, np.array([0, 1, 0, 1]), drawings=20)
    assert found.intervals["macro_f1"] is None
    assert found.intervals["top1"].low == pytest.approx(0.025**0.25)


def test_json_has_plain_values_only():
    values = json.loads(json.dumps(assess(LOGITS, LABELS, drawings=10).to_json(), allow_nan=False))
    assert values["top1"] == 4 / 7
    assert values["intervals"]["top1"] == pytest.approx(list(proportion_interval(4, 7)))
    assert sum(found["num_images"] for found in values["reliability"]) == 7
