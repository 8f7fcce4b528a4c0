"""What a step makes smaller: cross-entropy with the labels, and with a teacher's answers."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from depthwise.config import TrainConfig
from depthwise.training.balance import class_weights, log_priors

Target = tuple[Tensor, Tensor | float]
"""Classes (B,), and which share of its picture each stands for: (B,), or 1.0 where there is no other."""


@dataclass(frozen=True)
class Loss:
    """The mean loss over pictures: (1 - distill_weight) cross-entropy + distill_weight distillation."""

    smoothing: float = 0.0
    class_weights: Tensor | None = None
    """(K,), 1 on the mean over pictures."""
    log_priors: Tensor | None = None
    """(K,), added to the logits for the cross-entropy."""
    distill_weight: float = 0.9
    temperature: float = 4.0

    def __call__(self, logits: Tensor, targets: Sequence[Target], teacher_logits: Tensor | None = None) -> Tensor:
        """Return the loss () of logits (B, K), summed over `targets`; distilled where there are `teacher_logits`."""
        adjusted = logits if self.log_priors is None else logits + self.log_priors
        loss = torch.stack([self._cross_entropy(adjusted, *target) for target in targets]).sum()
        if teacher_logits is None:
            return loss
        learnt = distillation(logits, teacher_logits, self.temperature)
        return (1 - self.distill_weight) * loss + self.distill_weight * learnt

    def _cross_entropy(self, logits: Tensor, labels: Tensor, share: Tensor | float) -> Tensor:
        """Return the mean over pictures; smoothed labels: Szegedy et al. 2015, arXiv:1512.00567, section 7."""
        losses = functional.cross_entropy(logits, labels, label_smoothing=self.smoothing, reduction="none")
        if self.class_weights is not None:
            losses = losses * self.class_weights[labels]
        return (losses * share).mean()


def distillation(logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
    """Return T^2 KL(teacher || student) of softmax(logits / T), the mean over pictures.

    Hinton et al. 2015, arXiv:1503.02531, section 2: T^2 keeps the gradients' size whatever the temperature.
    """
    student = functional.log_softmax(logits / temperature, 1)
    teacher = functional.log_softmax(teacher_logits / temperature, 1)
    return temperature**2 * functional.kl_div(student, teacher, reduction="batchmean", log_target=True)


def build_loss(config: TrainConfig, labels: NDArray[np.int64], device: torch.device) -> Loss:
    """Return the loss of a run whose training pictures have these classes (N,)."""
    counts = np.bincount(labels)
    weights = torch.from_numpy(class_weights(counts)).to(device) if config.class_balance == "weights" else None
    priors = torch.from_numpy(log_priors(counts)).to(device) if config.class_balance == "logit-adjust" else None
    return Loss(config.label_smoothing, weights, priors, config.distill_weight, config.distill_temperature)
