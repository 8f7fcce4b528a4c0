"""From probabilities to an answer, or to none: the rule that `depthwise calibrate` puts into a model file. No torch.

First the class with a wanted miss rate, then the most probable one; then the answer is rejected when the photo is
unlike those of training ("unknown"), or when it is less sure than a wanted precision asks for.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from depthwise.artifact import Card
from depthwise.deploy.thresholds import MissRule, PrecisionRule
from depthwise.deploy.unknown import Features, Unknown
from depthwise.errors import UserError
from depthwise.metrics import Logits

UNKNOWN = "unknown: unlike the photos that the model was trained on"


@dataclass(frozen=True)
class Decision:
    """How answers are decided; empty: the most probable class, always."""

    miss: MissRule | None = None
    precision: tuple[PrecisionRule, ...] = ()
    unknown: Unknown | None = None

    @property
    def is_empty(self) -> bool:
        """Whether it changes nothing."""
        return not (self.miss or self.precision or self.unknown)

    @property
    def needs_features(self) -> bool:
        """Whether the network's features are asked for, beside its logits."""
        return self.unknown is not None and self.unknown.needs_features

    def to_json(self) -> dict[str, Any]:
        """Return plain values; `from_json` is the way back. What is not there is left out."""
        values: dict[str, Any] = {}
        if self.miss:
            values["miss"] = self.miss.to_json()
        if self.precision:
            values["precision"] = [rule.to_json() for rule in self.precision]
        if self.unknown:
            values["unknown"] = self.unknown.to_json()
        return values

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Decision":
        """Build from `to_json`'s values. Raises ValueError, TypeError or KeyError when they do not fit."""
        return cls(
            MissRule(**values["miss"]) if "miss" in values else None,
            tuple(PrecisionRule(**rule) for rule in values.get("precision", ())),
            Unknown.from_json(values["unknown"]) if "unknown" in values else None,
        )

    def decide(
        self, classes: tuple[str, ...], stated: NDArray[np.float64], logits: Logits, features: Features | None
    ) -> tuple[NDArray[np.int64], list[str | None]]:
        """Return for each photo the number of the answer (B,), and why it is rejected, None where it is not.

        `stated`: probabilities (B, K); `logits` and `features` are the single view's.
        """
        answers = stated.argmax(axis=1)
        if self.miss:
            number = classes.index(self.miss.label)
            answers = np.where(stated[:, number] >= self.miss.threshold, number, _best_but(stated, number))
        reasons: list[str | None] = [None] * len(answers)
        for rule in self.precision:
            number = classes.index(rule.label)
            for place in np.flatnonzero((answers == number) & (stated[:, number] < rule.threshold)):
                reasons[place] = f"not sure enough: {rule.label} needs {rule.threshold:.1%}"
                if rule.threshold > 1:
                    reasons[place] = f"not sure enough: {rule.label} never reached the wanted precision"
        if self.unknown:
            for place in np.flatnonzero(self.unknown.score(logits, features) < self.unknown.threshold):
                reasons[place] = UNKNOWN
        return answers, reasons


def read_decision(card: Card) -> Decision:
    """Return the rule in a model file. Raises UserError when it does not fit the classes."""
    try:
        decision = Decision.from_json(card.decision)
        labels = [rule.label for rule in decision.precision] + ([decision.miss.label] if decision.miss else [])
        if unfit := [label for label in labels if label not in card.classes]:
            raise ValueError(f"it names {unfit[0]!r}, which is none of the classes")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(f"the model file is damaged: its rule for decisions does not fit: {error}") from error
    return decision


def _best_but(stated: NDArray[np.float64], number: int) -> NDArray[np.int64]:
    others = stated.copy()
    others[:, number] = -1
    best: NDArray[np.int64] = others.argmax(axis=1)
    return best
