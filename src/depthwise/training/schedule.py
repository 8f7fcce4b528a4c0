"""The learning rate as a pure function of the step."""

import math


def cosine(step: int, num_steps: int, *, lr: float, warmup: float) -> float:
    """Return the learning rate of step 0 ... num_steps - 1.

    It rises linearly to `lr` over the first `warmup` share of the steps (Goyal et al. 2017, arXiv:1706.02677, section
    2.2), then falls along half a cosine to nearly 0 (Loshchilov & Hutter 2017, arXiv:1608.03983, equation 5).
    """
    num_warmup = round(warmup * num_steps)
    if step < num_warmup:
        return lr * (step + 1) / (num_warmup + 1)
    return lr * 0.5 * (1 + math.cos(math.pi * (step - num_warmup) / (num_steps - num_warmup)))
