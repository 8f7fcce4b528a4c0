"""bfloat16 in memory costs roundings of what is written, which lean to no side: against float32 on the same numbers.

Truncation in place of rounding, or a sum kept in bfloat16, would be far outside of both bounds.
"""

import copy

import pytest
import torch
from test_norm_act import leaf, pair
from test_norm_depthwise import convolution

from depthwise.kernels.norm_act import channels_last, norm_act
from depthwise.kernels.norm_depthwise import convolve, norm_depthwise, window_of
from depthwise.kernels.squeeze_excite import squeeze_excite

SHAPE = (8, 64, 16, 16)
ROUNDING = 2.0**-8
"""The most that one rounding changes a number, as a share of it."""


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


def numbers(mean=0.0, deviation=1.0, shape=SHAPE):
    return (deviation * torch.randn(shape) + mean).bfloat16()


def num_roundings(found, expected):
    """The largest error of each channel in roundings of its largest number; of parameters, of their largest."""
    dims = (0, 2, 3) if found.shape[:2] == SHAPE[:2] else tuple(range(found.dim()))
    error, size = (t.double().abs().amax(dims) for t in (found.double() - expected.double(), expected))
    return float((error / (ROUNDING * size.clamp(min=1e-30))).max())


def num_standard_errors(errors):
    """How far the mean of (B, C, H, W) is from 0, by what its channels' means scatter."""
    means = errors.mean((0, 2, 3))
    return float(means.mean().abs() / (means.std() / len(means) ** 0.5).clamp(min=1e-30))


def assert_unbiased(found, expected):
    """Errors lean neither to one sign nor towards 0, counted in roundings of each number, or of a usual one."""
    exact = expected.double()
    usual = exact.square().mean((0, 2, 3), keepdim=True).sqrt().clamp(min=1e-30)
    errors = (found.double() - exact) / (ROUNDING * exact.abs().maximum(usual))
    assert num_standard_errors(errors) < 4
    assert num_standard_errors(errors * exact.sign()) < 4


@pytest.mark.parametrize("act", ["none", "relu6", "hard_swish", "silu"])
def test_norm_and_activation_round_once(act):
    x, gradient, norm = numbers(1, 2), numbers(), pair(SHAPE[1])[0]
    found, expected = (after_norm(x, gradient, norm, act, dtype=t) for t in (torch.bfloat16, torch.float32))
    for ours, exact in zip(found, expected, strict=True):
        assert num_roundings(ours, exact) <= 1
    for ours, exact in zip(found[:2], expected[:2], strict=True):
        assert ((ours - exact).abs() <= ROUNDING * exact.abs() + 1e-12).all()  # each number, not only large ones
        assert_unbiased(ours, exact)


@pytest.mark.parametrize("act", ["none", "relu"])
def test_norm_residual_and_activation_round_once(act):
    x, residual, gradient, norm = numbers(1, 2), numbers(), numbers(), pair(SHAPE[1])[0]
    found, expected = (after_norm(x, gradient, norm, act, residual, dtype=t) for t in (torch.bfloat16, torch.float32))
    for ours, exact in zip(found, expected, strict=True):
        assert num_roundings(ours, exact) <= 1
    for ours, exact in zip(found[:2], expected[:2], strict=True):
        assert_unbiased(ours, exact)


def after_norm(x, gradient, norm, act, residual=None, *, dtype):
    """Output, gradients of x, of weight, of bias and of the residual."""
    inputs = [leaf(t, dtype) for t in (x, residual) if t is not None]
    norm = copy.deepcopy(norm)
    y = norm_act(inputs[0], norm, act, *inputs[1:])
    y.backward(gradient.to(dtype))
    return [y.detach(), inputs[0].grad, norm.weight.grad, norm.bias.grad, *(t.grad for t in inputs[1:])]


@pytest.mark.parametrize(("size", "stride"), [(3, 1), (3, 2), (5, 1), (5, 2)])
def test_a_depthwise_convolution_rounds_once_and_what_its_norms_make_of_that_is_bounded(size, stride):
    """The norm behind it divides by a deviation, which may be far smaller than the numbers that were rounded."""
    conv, norms = convolution(SHAPE[1], size, stride), [pair(SHAPE[1])[0] for _ in range(2)]
    x, gradient = numbers(1, 2), numbers(shape=(*SHAPE[:2], SHAPE[2] // stride, SHAPE[3] // stride))
    found, expected = (between_norms(x, gradient, conv, norms, dtype=t) for t in (torch.bfloat16, torch.float32))
    assert num_roundings(found[0], expected[0]) <= 1
    for ours, exact in zip(found, expected, strict=True):
        assert num_roundings(ours, exact) <= 8
    for ours, exact in zip(found[:3], expected[:3], strict=True):
        assert_unbiased(ours, exact)


def between_norms(x, gradient, conv, norms, *, dtype):
    """The convolution alone; with norms and activations output, gradients of x, of the kernel and of the norms."""
    inputs, weight, (before, after) = leaf(x, dtype), leaf(conv.weight), copy.deepcopy(norms)
    window = window_of(conv, *SHAPE[2:])
    z, _ = convolve(channels_last(x.to(dtype)), None, "none", weight, window)
    y = norm_depthwise(inputs, before, "relu6", weight, window, after, "silu")
    y.backward(gradient.to(dtype))
    return [z, y.detach(), inputs.grad, weight.grad, *(p.grad for n in (before, after) for p in n.parameters())]


def test_squeeze_and_excite_rounds_the_means_and_the_result():
    """With gates in float32: their own arithmetic is PyTorch's."""
    x, gradient, weight = numbers(1, 2), numbers(), torch.randn(1, SHAPE[1], 1, 1)
    found, expected = (excited(x, gradient, weight, dtype=t) for t in (torch.bfloat16, torch.float32))
    for ours, exact in zip(found, expected, strict=True):
        assert num_roundings(ours, exact) <= 2
    for ours, exact in zip(found[:2], expected[:2], strict=True):
        assert_unbiased(ours, exact)


def excited(x, gradient, weight, *, dtype):
    """Output, gradients of x and of the gates' weights."""
    inputs, weight = leaf(x, dtype), leaf(weight)
    y = squeeze_excite(inputs, lambda pooled: torch.sigmoid(pooled.float() * weight), [weight])
    y.backward(gradient.to(dtype))
    return [y.detach(), inputs.grad, weight.grad]
