"""An engine of PyTorch with a number of threads of its own."""

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from depthwise.deploy.predict import FeatureEngine
from depthwise.deploy.unknown import Features
from depthwise.metrics import Logits

Answer = TypeVar("Answer")


class Limited:
    """An engine of PyTorch that answers with so many threads; afterwards PyTorch has as many as before.

    Their number holds for all of PyTorch, so two of these must not be asked at the same time.
    """

    takes_any_size = False

    def __init__(self, engine: FeatureEngine, threads: int) -> None:
        """`threads`: at least 1."""
        self.engine, self.threads = engine, threads
        self.card, self.has_features = engine.card, engine.has_features
        self.metadata: dict[str, Any] = getattr(engine, "metadata", {})  # of an exported file

    def logits(self, images: NDArray[np.uint8]) -> Logits:
        """Return the engine's answers."""
        return self._limited(self.engine.logits, images)

    def with_features(self, images: NDArray[np.uint8]) -> tuple[Logits, Features]:
        """Return the engine's answers and features."""
        return self._limited(self.engine.with_features, images)

    def _limited(self, ask: Callable[[NDArray[np.uint8]], Answer], images: NDArray[np.uint8]) -> Answer:
        before = torch.get_num_threads()
        if before == self.threads:
            return ask(images)
        torch.set_num_threads(self.threads)
        try:
            return ask(images)
        finally:
            torch.set_num_threads(before)
