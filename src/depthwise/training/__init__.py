"""The training loop and its parts. Knows nothing of deployment."""

from depthwise.training.choice import make_step

__all__ = ["make_step"]
