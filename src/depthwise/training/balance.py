"""Classes of unequal size: what puts it right in the loss. The way by sampling is `data.order.balanced_order`."""

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[np.int64]
"""Training pictures of each class (K,), all above 0."""


def class_weights(counts: Counts) -> NDArray[np.float32]:
    """Return a weight per class (K,): N / (K n), so that all classes weigh the same and the mean picture weighs 1.

    Inverse frequency (King & Zeng 2001, "Logistic Regression in Rare Events Data", section 3).
    """
    weights: NDArray[np.float32] = (counts.sum() / (len(counts) * counts)).astype(np.float32)
    return weights


def log_priors(counts: Counts) -> NDArray[np.float32]:
    """Return ln(n / N) per class (K,), to be added to the logits in training only.

    The logit-adjusted loss (Menon et al. 2021, arXiv:2007.07314, equation 10, with tau = 1): what the network learns
    without the summand answers as if all classes were equally frequent. A rare class must win by a margin.
    """
    logarithms: NDArray[np.float32] = np.log(counts / counts.sum()).astype(np.float32)
    return logarithms
