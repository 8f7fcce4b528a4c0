import math

import numpy as np
import pytest
import torch
from torch.nn import functional

from depthwise.config import TrainConfig
from depthwise.training.loss import Loss, build_loss, distillation

LOGITS = torch.tensor([[0.0, math.log(3)], [math.log(4), 0.0]])  # probabilities 1/4 3/4 and 4/5 1/5
LABELS = torch.tensor([1, 1])
CPU = torch.device("cpu")


def test_plain_it_is_the_mean_cross_entropy():
    assert Loss()(LOGITS, [(LABELS, 1.0)]).item() == pytest.approx((-math.log(3 / 4) - math.log(1 / 5)) / 2)
    expected = functional.cross_entropy(LOGITS, LABELS, label_smoothing=0.2)
    assert Loss(smoothing=0.2)(LOGITS, [(LABELS, 1.0)]).item() == pytest.approx(expected.item())


def test_weights_of_classes_are_taken_by_picture_and_the_mean_stays_one_over_the_batch():
    loss = Loss(class_weights=torch.tensor([0.5, 2.0]))
    labels = torch.tensor([0, 1])
    expected = (-0.5 * math.log(1 / 4) - 2 * math.log(1 / 5)) / 2
    assert loss(LOGITS, [(labels, 1.0)]).item() == pytest.approx(expected)


def test_log_priors_are_added_to_the_logits():
    loss = Loss(log_priors=torch.log(torch.tensor([0.9, 0.1])))
    # 9 : 3 makes 3/4 1/4, and 36 : 1 makes 36/37 1/37
    assert loss(LOGITS, [(LABELS, 1.0)]).item() == pytest.approx((math.log(12 / 3) + math.log(37)) / 2)


def test_two_targets_with_their_shares_are_the_cross_entropy_with_the_mixture():
    """The labels of mixup and cutmix."""
    others, share = torch.tensor([0, 1]), torch.tensor([0.7, 0.4])
    mixed = torch.tensor([[0.3, 0.7], [0.0, 1.0]])
    expected = -(mixed * LOGITS.log_softmax(1)).sum(1).mean()
    loss = Loss()(LOGITS, [(LABELS, share), (others, 1 - share)])
    assert loss.item() == pytest.approx(expected.item())
    weighted = Loss(class_weights=torch.tensor([3.0, 1.0]))(LOGITS, [(LABELS, share), (others, 1 - share)])
    assert weighted.item() == pytest.approx(-(mixed * torch.tensor([3.0, 1.0]) * LOGITS.log_softmax(1)).sum(1).mean())


def test_distillation_is_the_divergence_from_the_teacher_at_a_temperature():
    teacher = torch.tensor([[math.log(9) * 2, 0.0], [0.0, 0.0]])
    student = torch.tensor([[0.0, 0.0], [0.0, math.log(3) * 2]])
    # at T = 2: 0.9 0.1 against 0.5 0.5; 0.5 0.5 against 0.25 0.75
    first = 0.9 * math.log(0.9 / 0.5) + 0.1 * math.log(0.1 / 0.5)
    second = 0.5 * math.log(0.5 / 0.25) + 0.5 * math.log(0.5 / 0.75)
    assert distillation(student, teacher, 2.0).item() == pytest.approx(4 * (first + second) / 2)
    assert distillation(teacher, teacher, 3.0).item() == pytest.approx(0, abs=1e-6)


def test_a_teacher_takes_its_share_of_the_loss():
    teacher = LOGITS.flip(1)
    hard, soft = Loss()(LOGITS, [(LABELS, 1.0)]), distillation(LOGITS, teacher, 5.0)
    loss = Loss(distill_weight=0.25, temperature=5.0)(LOGITS, [(LABELS, 1.0)], teacher)
    assert loss.item() == pytest.approx(0.75 * hard.item() + 0.25 * soft.item())


def test_the_way_to_balance_classes_decides_what_the_loss_has():
    labels = np.array([0, 0, 0, 1])
    plain = build_loss(TrainConfig(class_balance="sampler"), labels, CPU)
    assert plain.class_weights is None and plain.log_priors is None and plain.smoothing == 0.1
    weights = build_loss(TrainConfig(class_balance="weights"), labels, CPU)
    assert weights.class_weights.tolist() == pytest.approx([4 / 6, 2]) and weights.log_priors is None
    adjusted = build_loss(TrainConfig(class_balance="logit-adjust"), labels, CPU)
    assert adjusted.log_priors.exp().tolist() == pytest.approx([0.75, 0.25]) and adjusted.class_weights is None
