"""Sixteen numbers at a time compute what single numbers do."""

import numba
import numpy as np
import pytest
import torch

from depthwise.kernels.lanes import add_to, fma, load, select, store
from depthwise.kernels.numbers import ACTIVATIONS, activate, slope

F = np.float32
SPECIAL = [0.0, -0.0, 3.0, -3.0, 6.0, 1e-40, 3e38, -3e38, 88.5, -88.5, np.nan, np.inf, -np.inf, 1.0, -1.0, 0.5]
VALUES = np.concatenate([np.linspace(-9, 9, 112), SPECIAL]).astype(F)


@numba.njit
def by_lanes(kind, low, high, x, y, dy):
    for i in range(0, len(x), 16):
        store(y, i, activate(kind, low, high, load(x, i)))
        store(dy, i, slope(kind, low, high, load(x, i)))


@numba.njit
def by_number(kind, low, high, x, y, dy):
    for i in range(len(x)):
        y[i], dy[i] = activate(kind, low, high, x[i]), slope(kind, low, high, x[i])


@numba.njit
def copy(x, y):
    for i in range(0, len(x), 16):
        store(y, i, load(x, i))


@numba.njit
def arithmetic(x, y, out, total):
    a, b = load(x, 0), load(y, 0)
    store(out, 0, a + b)
    store(out, 16, a - b * F(2))
    store(out, 32, a / b)
    store(out, 48, fma(a, b, a))
    store(out, 64, select(a <= b, a, F(7)))
    store(out, 80, select(a >= b, F(7), b))
    add_to(total, 0, a)


@pytest.mark.parametrize("act", ACTIVATIONS)
def test_activations_are_those_of_single_numbers(act):
    found, expected = np.empty((2, len(VALUES)), F), np.empty((2, len(VALUES)), F)
    by_lanes(*ACTIVATIONS[act], VALUES, *found)
    by_number(*ACTIVATIONS[act], VALUES, *expected)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)


def test_bfloat16_is_read_and_rounded_as_pytorch_does():
    numbers = VALUES[~np.isnan(VALUES)][:112]
    bits = np.empty(len(numbers), np.uint16)
    copy(numbers, bits)
    expected = torch.from_numpy(numbers).bfloat16()
    assert torch.equal(torch.from_numpy(bits).view(torch.bfloat16), expected)
    back = np.empty(len(numbers), F)
    copy(bits, back)
    assert np.array_equal(back, expected.float().numpy())


def test_arithmetic_is_numpys():
    rng = np.random.default_rng(0)
    x, y = (rng.standard_normal(16).astype(F) for _ in range(2))
    out, total = np.empty(96, F), np.ones(16)
    arithmetic(x, y, out, total)
    close = {"rtol": 1e-6, "atol": 1e-7}
    for index, expected in enumerate(
        (x + y, x - 2 * y, x / y, x * y + x, np.where(x <= y, x, 7), np.where(x >= y, 7, y))
    ):
        np.testing.assert_allclose(out[16 * index : 16 * index + 16], expected, **close)
    np.testing.assert_array_equal(total, 1 + x.astype(np.float64))
