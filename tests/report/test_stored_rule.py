"""The rule for answers on a run's page: what is stored, and what it does on the page's photos, counted by hand."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from made_up import made_up_measured, made_up_report
from test_run_page import read

from depthwise.deploy.decision import Decision
from depthwise.deploy.outcome import Count, Outcome
from depthwise.deploy.thresholds import NEVER, MissRule, PrecisionRule
from depthwise.deploy.unknown import Unknown
from depthwise.metrics import proportion_interval, upper_bound
from depthwise.report.rules import calibration_text
from depthwise.report.shares import fine_text

CLASSES = ["ant", "bee", "<b>cat"]
MISS = MissRule("<b>cat", 0.2, 0.05, num_images=22, num_missed=1, bound=0.198, num_others=44, num_false_alarms=9)
PRECISION = (
    PrecisionRule("ant", 0.7, 0.9, num_answers=23, num_kept=12, num_right=11, is_promised=True),
    PrecisionRule("bee", NEVER, 0.9, num_answers=4, num_kept=0, num_right=0, is_promised=False),
)
OUTCOME = Outcome(Count(0, 60), Count(0, 60), Count(50, 60), None, None, {})
UNKNOWN = Unknown("max_softmax", 0.5, 0.02, num_rejected=1, num_images=66, found_rate=0.48)


def told(hits, num):
    """Return the row of a count."""
    low, high = proportion_interval(hits, num)
    return f"{hits} of {num} {hits / num:.1%} {low:.1%} to {high:.1%}"


@pytest.fixture(scope="module")
def answers():
    """Probabilities as stated, and the classes' numbers, of the photos of every page here."""
    found = made_up_measured(CLASSES)
    return found.outputs.stated, found.labels


def test_a_class_that_must_not_be_missed(answers):
    stated, labels = answers
    is_answer, is_own = stated[:, 2] >= 0.2, labels == 2
    text = read(made_up_report(CLASSES, decision=Decision(miss=MISS))).text
    assert "<b>cat is the answer from 20.0% on" in text
    assert "Set on 22 validation photos of it, of which 1 are missed, and 44 others." in text
    assert "So few cannot promise the wanted 5.0%: up to 19.8% may be missed." in text
    assert f"<b>cat missed {told((~is_answer & is_own).sum(), is_own.sum())}" in text
    assert f"<b>cat by false alarm {told((is_answer & ~is_own).sum(), (~is_own).sum())}" in text
    assert "Wanted precision, class by class" not in text


def test_a_promise_that_is_just_missed_is_told_with_the_digits_that_show_it():
    bound = upper_bound(0, 297)
    missed = replace(MISS, max_miss_rate=0.01, num_images=297, num_missed=0, bound=bound)
    text = read(made_up_report(CLASSES, decision=Decision(miss=missed))).text
    assert "So few cannot promise the wanted 1.000%: up to 1.004% may be missed." in text
    found = SimpleNamespace(path="run", decision=Decision(miss=missed), refused=None, outcome=OUTCOME)
    assert "297 photos cannot promise 1.000%: up to 1.004% may be missed. 299 of" in calibration_text(found)
    kept = replace(missed, max_miss_rate=0.0004, bound=0.00035)
    text = read(made_up_report(CLASSES, decision=Decision(miss=kept))).text
    assert "at most 0.035% are missed (wanted: 0.040%)" in text
    texts = [fine_text(share) for share in (1.0, 0.776, 0.1, 0.01, 0.0096, 1e-7)]
    assert texts == ["100.0%", "77.6%", "10.0%", "1.0%", "0.96%", "0.000010%"]


def test_a_wanted_precision(answers):
    stated, labels = answers
    best = stated.argmax(axis=1)
    unsure = (best == 1) | ((best == 0) & (stated[:, 0] < 0.7))
    right = (best == labels) & ~unsure
    kept = (best == 0) & ~unsure
    text = read(made_up_report(CLASSES, decision=Decision(precision=PRECISION))).text
    assert "Set on 27 answers to validation photos, which prove it for 1 of 2 classes." in text
    assert f"rejected as not sure enough {told(unsure.sum(), 60)}" in text
    assert f"right, of the answers that are left {told(right.sum(), (~unsure).sum())}" in text
    assert "ant 70.0% 12 of 23, proved 91.7% 62-100" in text
    assert f"{kept.sum()} {(kept & right).sum() / kept.sum():.1%}" in text
    assert "bee never 0 of 4 - 0 -" in text


def test_unknown_photos():
    found = made_up_measured(CLASSES)
    logits = found.outputs.logits.astype(np.float64)
    single = np.exp(logits - logits.max(axis=1, keepdims=True))
    unknown = (1 / single.sum(axis=1) < 0.5).sum()
    text = read(made_up_report(CLASSES, decision=Decision(unknown=UNKNOWN))).text
    assert "Photos whose max softmax score is below 0.5 are rejected as unknown." in text
    assert "Set on 66 validation photos, all of known classes, of which 1 are rejected (wanted: 2.0%)." in text
    assert f"rejected as unknown {told(unknown, 60)}" in text and unknown


def test_the_validation_page_says_that_it_flatters_and_the_test_page_does_not():
    for split, expected in (("valid", True), ("test", False)):
        text = read(made_up_report(CLASSES, split=split, decision=Decision(miss=MISS))).text
        assert ("It was set on these very photos" in text) is expected


def test_without_a_rule_a_line_tells_how_to_set_one():
    text = read(made_up_report(CLASSES)).text
    assert "The rule for answers" not in text
    assert "no rule is stored" in text and "depthwise calibrate RUN" in text
    assert "no rule is stored" not in read(made_up_report(CLASSES, decision=Decision(miss=MISS))).text
