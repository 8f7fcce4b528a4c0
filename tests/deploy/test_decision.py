import json

import numpy as np
import pytest

from depthwise.artifact import Card
from depthwise.data.geometry import Geometry
from depthwise.deploy.decision import UNKNOWN, Decision, read_decision
from depthwise.deploy.outcome import Count, outcome
from depthwise.deploy.thresholds import MissRule, PrecisionRule
from depthwise.deploy.unknown import Unknown
from depthwise.errors import UserError
from depthwise.metrics import proportion_interval

CLASSES = ("fine", "odd", "sick")
STATED = np.array([[0.7, 0.1, 0.2], [0.5, 0.45, 0.05], [0.1, 0.2, 0.7], [0.3, 0.4, 0.3]])
LOGITS = np.array([[9, 0, 0], [9, 0, 0], [9, 0, 0], [1, 0, 0]], np.float32)
MISS = MissRule("sick", 0.15, 0.01, 50, 0, 0.06, 80, 9)
UNSURE = PrecisionRule("fine", 0.6, 0.95, 30, 20, 20, False)
STRANGE = Unknown("energy", 5.0, 0.02, 1, 50)


def decide(decision):
    return decision.decide(CLASSES, STATED, LOGITS, None)


def test_without_a_rule_the_most_probable_class_is_the_answer():
    answers, reasons = decide(Decision())
    assert answers.tolist() == [0, 0, 2, 1] and reasons == [None] * 4


def test_the_class_not_to_be_missed_goes_first_and_else_never():
    answers, _ = decide(Decision(miss=MISS))
    assert answers.tolist() == [2, 0, 2, 2]
    strict = MissRule("sick", 0.8, 0.01, 50, 0, 0.06, 80, 9)
    assert decide(Decision(miss=strict))[0].tolist() == [0, 0, 1, 1]  # 0.7 is not enough for sick


def test_what_is_unsure_or_unknown_is_rejected_with_its_reason():
    answers, reasons = decide(Decision(precision=(UNSURE,), unknown=STRANGE))
    assert answers.tolist() == [0, 0, 2, 1]
    assert reasons == [None, "not sure enough: fine needs 60.0%", None, UNKNOWN]


def test_the_rule_goes_through_json_and_the_card():
    decision = Decision(MISS, (UNSURE,), STRANGE)
    card = Card("model", "none", {}, False, CLASSES, Geometry(8), decision=decision.to_json())
    again = Card.from_json(json.loads(json.dumps(card.to_json())))
    assert read_decision(again) == decision
    assert Decision().to_json() == {} and Decision.from_json({}).is_empty


@pytest.mark.parametrize(
    "values",
    [
        {"miss": {"label": "sick"}},
        {"miss": {**MISS.to_json(), "label": "blue"}},
        {"unknown": {"kind": 3}},
        {"precision": 5},
    ],
)
def test_a_rule_that_does_not_fit_is_said(values):
    card = Card("model", "none", {}, False, CLASSES, Geometry(8), decision=values)
    with pytest.raises(UserError, match="the model file is damaged: its rule for decisions does not fit"):
        read_decision(card)


def test_counts_of_misses_alarms_and_rejections():
    decision = Decision(MISS, (UNSURE,), STRANGE)
    assert decide(decision)[0].tolist() == [2, 0, 2, 2]
    labels = np.array([2, 2, 1, 2])  # answers: sick, fine (unsure), sick, sick (unknown)
    found = outcome(decision, CLASSES, *decide(decision), labels)
    assert (found.unknown, found.unsure) == (Count(1, 4), Count(1, 4))
    assert found.right == Count(1, 2)
    assert found.misses == Count(0, 3)  # a rejected photo is not missed
    assert found.false_alarms == Count(1, 1)
    assert found.precisions == {"fine": Count(0, 0)}
    assert found.to_json()["precisions"]["fine"]["share"] is None
    assert found.right.interval == proportion_interval(1, 2)
