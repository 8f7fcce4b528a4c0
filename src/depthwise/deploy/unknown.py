"""Photos that show none of the classes: told by how unlike the training photos they are. NumPy only.

Three scores, each higher for what is known: `max_softmax` (Hendrycks and Gimpel 2017), `energy` (the log-sum-exp of the
logits: Liu et al. 2020), `distance` (Mahalanobis' to the nearest class mean among the features, one covariance for all
classes: Lee et al. 2018). Which one is chosen on the user's photos (`deploy.unknown_choice`).
"""

import base64
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from depthwise.metrics import Labels, Logits, softmax

Features = NDArray[np.float32]
ScoreKind = Literal["max_softmax", "energy", "distance"]
MOST_DIRECTIONS = 64


@dataclass(frozen=True)
class Reference:
    """Where the training photos lie among the features, in float16: what `distance` measures from."""

    means: NDArray[np.float16]
    """(K, D): a mean for each class."""
    directions: NDArray[np.float16]
    """(R, D): the covariance's first axes, of length 1."""
    weights: tuple[float, ...]
    """(R + 1,): one over the variance along each axis; the last is for all other directions."""

    def distance(self, features: Features) -> NDArray[np.float64]:
        """Return the squared Mahalanobis distance to the nearest mean, (B,), of features (B, D)."""
        weights, rest = np.array(self.weights[:-1]), self.weights[-1]
        axes, means = self.directions.astype(np.float64), self.means.astype(np.float64)
        found = features.astype(np.float64)
        along = (found @ axes.T)[:, None] - means @ axes.T  # (B, K, R)
        squares = (found**2).sum(1)[:, None] - 2 * found @ means.T + (means**2).sum(1)  # (B, K)
        distances: NDArray[np.float64] = rest * squares + along**2 @ (weights - rest)
        nearest: NDArray[np.float64] = distances.min(axis=1)
        return nearest

    @property
    def num_bytes(self) -> int:
        """What it adds to a model file."""
        return len(_pack(self.means)["data"]) + len(_pack(self.directions)["data"])

    def to_json(self) -> dict[str, Any]:
        """Return plain values, the arrays in base64."""
        return {
            "means": _pack(self.means),
            "directions": _pack(self.directions),
            "weights": list(self.weights),
        }

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Reference":
        """Build from `to_json`'s values. Raises ValueError, TypeError or KeyError when they do not fit."""
        found = cls(_unpack(values["means"]), _unpack(values["directions"]), tuple(map(float, values["weights"])))
        if len(found.weights) != len(found.directions) + 1 or found.means.shape[1:] != found.directions.shape[1:]:
            raise ValueError("means, directions and weights are not of one reference")
        return found


def fit_reference(features: Features, labels: Labels) -> Reference:
    """Return the reference of training photos: features (N, D), classes' numbers (N,).

    The covariance within classes keeps its first axes; all other directions share their mean variance, as in
    probabilistic PCA (Tipping and Bishop 1999), so that a few hundred photos suffice for a thousand features. A tenth
    of every variance is replaced by the mean one, against axes that look flat for want of photos.
    """
    found = features.astype(np.float64)
    present = np.unique(labels)
    means = np.stack([found[labels == number].mean(axis=0) for number in present])
    rest = found - means[np.searchsorted(present, labels)]
    variances, axes = np.linalg.eigh(rest.T @ rest / len(rest))  # in rising order
    num_axes = max(1, min(MOST_DIRECTIONS, found.shape[1] // 2, len(found) // 4))
    mean = max(float(variances.mean()), 1e-12)
    kept = 0.9 * variances[::-1][:num_axes] + 0.1 * mean
    others = 0.9 * max(float(variances[:-num_axes].mean()) if num_axes < len(variances) else 0.0, 0.0) + 0.1 * mean
    weights = tuple(float(f"{1 / variance:.6g}") for variance in (*kept, others))
    return Reference(means.astype(np.float16), axes[:, ::-1][:, :num_axes].T.astype(np.float16), weights)


@dataclass(frozen=True)
class Unknown:
    """Rejects photos whose score is below a threshold."""

    kind: ScoreKind
    threshold: float
    reject_rate: float
    """Wanted: of photos that show known classes, the share that is rejected."""
    num_rejected: int
    """Of the validation photos, all of known classes."""
    num_images: int
    auroc: dict[str, float] = field(default_factory=dict)
    """Of each score: its mean over classes that were left out in turn (`deploy.unknown_choice`)."""
    worst_auroc: float = 0.0
    """Of the chosen score: that of the class that it tells worst."""
    found_rate: float = 0.0
    """Of the chosen score at its threshold: the share of left out photos that are rejected, mean over classes."""
    reference: Reference | None = None
    """Of `distance`."""

    @property
    def needs_features(self) -> bool:
        """Whether `score` needs features."""
        return self.kind == "distance"

    def score(self, logits: Logits, features: Features | None) -> NDArray[np.float64]:
        """Return how known each photo is, (B,)."""
        return known_score(self.kind, logits, features, self.reference)

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self) | {"reference": self.reference.to_json() if self.reference else None}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Unknown":
        """Build from `to_json`'s values. Raises ValueError, TypeError or KeyError when they do not fit."""
        reference = values.get("reference")
        found = cls(**{**values, "reference": Reference.from_json(reference) if reference else None})
        if found.needs_features and not found.reference:
            raise ValueError("a distance needs a reference")
        return found


def known_score(
    kind: ScoreKind, logits: Logits, features: Features | None, reference: Reference | None
) -> NDArray[np.float64]:
    """Return how known each photo is, (B,), from logits (B, K), or features (B, D) for `distance`."""
    if kind == "max_softmax":
        stated: NDArray[np.float64] = softmax(logits).max(axis=1)
        return stated
    if kind == "energy":
        most = logits.astype(np.float64).max(axis=1)
        known: NDArray[np.float64] = most + np.log(np.exp(logits - most[:, None]).sum(axis=1))
        return known
    assert features is not None and reference is not None
    distance: NDArray[np.float64] = reference.distance(features)
    return -distance


def _pack(array: NDArray[np.float16]) -> dict[str, Any]:
    return {"shape": list(array.shape), "data": base64.b64encode(array.astype("<f2").tobytes()).decode("ascii")}


def _unpack(values: dict[str, Any]) -> NDArray[np.float16]:
    found: NDArray[np.float16] = np.frombuffer(base64.b64decode(values["data"]), "<f2").astype(np.float16)
    return found.reshape([int(side) for side in values["shape"]])
