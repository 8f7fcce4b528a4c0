"""Squeeze-and-excite: the two passes over the large tensor, and one for the gates' gradient.

x * gate is one read and one write either way. PyTorch's backward multiplies twice, writes both products and sums one of
them; here the gate's gradient sum(g * x) is one pass without a result tensor, and the input's gradient, g * gate plus
the pooling's share, another: 4 reads and a write instead of 7 reads and 4 writes.
"""

from typing import Any

import numpy as np
from numba import prange

from depthwise.kernels.numbers import inline, narrow, widen
from depthwise.kernels.threads import kernel

F = np.float32


@inline
def _add_products(x: Any, g: Any, first: Any, end: Any, partial: Any) -> None:
    for i in range(first, end):
        for c in range(x.shape[1]):
            partial[c] += widen(x[i, c]) * widen(g[i, c])


@inline
def _add(x: Any, first: Any, end: Any, partial: Any) -> None:
    for i in range(first, end):
        for c in range(x.shape[1]):
            partial[c] += widen(x[i, c])


@kernel
def image_sums(x: Any, num_images: int, num_parts: int) -> Any:
    """Return the sums (B, C) of each picture's positions, x (B P, C)."""
    size = len(x) // num_images
    sums = np.zeros((num_images, x.shape[1]), F)
    for t in prange(num_parts):
        for image in range(num_images * t // num_parts, num_images * (t + 1) // num_parts):
            _add(x, image * size, (image + 1) * size, sums[image])
    return sums


@kernel
def image_products(x: Any, g: Any, num_images: int, num_parts: int) -> Any:
    """Return the sums (B, C) of x * g over each picture's positions, both (B P, C)."""
    size = len(x) // num_images
    sums = np.zeros((num_images, x.shape[1]), F)
    for t in prange(num_parts):
        for image in range(num_images * t // num_parts, num_images * (t + 1) // num_parts):
            _add_products(x, g, image * size, (image + 1) * size, sums[image])
    return sums


@kernel
def scale_images(x: Any, factor: Any, term: Any, y: Any, num_parts: int) -> None:
    """Set y to x * factor + term, x and y (B P, C), factor and term (B, C)."""
    num_images = len(factor)
    size = len(x) // num_images
    for t in prange(num_parts):
        for image in range(num_images * t // num_parts, num_images * (t + 1) // num_parts):
            f, s = factor[image], term[image]
            for i in range(image * size, (image + 1) * size):
                for c in range(x.shape[1]):
                    y[i, c] = narrow(widen(x[i, c]) * f[c] + s[c], y.dtype)
