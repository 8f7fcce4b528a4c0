"""ShuffleNet V2's join and shuffle: two tensors' channels by turns.

PyTorch writes both behind each other, then writes that again in the new order; here it is one pass each way.
"""

from typing import Any

from numba import prange

from depthwise.kernels.threads import kernel


@kernel
def interleave(left: Any, right: Any, out: Any, num_parts: int) -> None:
    """Set out (M, 2 C) to channels of left and right (M, C) by turns."""
    m, n = left.shape
    for t in prange(num_parts):
        for i in range(m * t // num_parts, m * (t + 1) // num_parts):
            for c in range(n):
                out[i, 2 * c] = left[i, c]
                out[i, 2 * c + 1] = right[i, c]


@kernel
def separate(grad: Any, left: Any, right: Any, num_parts: int) -> None:
    """Undo `interleave`."""
    m, n = left.shape
    for t in prange(num_parts):
        for i in range(m * t // num_parts, m * (t + 1) // num_parts):
            for c in range(n):
                left[i, c] = grad[i, 2 * c]
                right[i, c] = grad[i, 2 * c + 1]
