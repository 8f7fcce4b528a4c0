"""A depthwise convolution between two norms, against PyTorch in float64."""

import pytest
import torch
from test_norm_act import distance, keep, leaf, pair, some_gradient

from depthwise.kernels.norm_depthwise import convolve, norm_depthwise, window_of
from depthwise.kernels.twins import norm_depthwise as twin
from depthwise.models.blocks import SameConv2d

# kernel, stride, before, after, shape: maps of one row or column, odd sizes, channels that fill no group
CASES = [
    (3, 1, "relu6", "relu6", (2, 20, 7, 9)),
    (3, 2, "relu", "none", (3, 17, 8, 7)),
    (5, 2, "hard_swish", "silu", (2, 18, 9, 9)),
    (5, 1, "silu", "relu", (1, 19, 3, 2)),
    (3, 2, "relu", "relu", (3, 16, 1, 6)),
    (5, 1, "relu", "hard_swish", (3, 31, 6, 1)),
    (5, 2, "none", "relu", (2, 33, 12, 11)),
]


def convolution(num_channels, size, stride, padding="symmetric"):
    conv = SameConv2d(num_channels, num_channels, size, stride, size // 2, groups=num_channels, bias=False)
    conv.uses_tf_padding = padding == "same_tf"
    return conv


def both(x, conv, before_act, after_act, *, has_norm_before=True, keeps=(False, False)):
    torch.manual_seed(0)
    before, after = (keep(pair(x.shape[1])) if is_kept else pair(x.shape[1]) for is_kept in keeps)
    window, results = window_of(conv, *x.shape[2:]), []
    for index, (function, dtype) in enumerate(((norm_depthwise, x.dtype), (twin, torch.float64))):
        norm = before[index] if has_norm_before else None
        inputs, weight = leaf(x, dtype), leaf(conv.weight, torch.float32 if index == 0 else dtype)
        y = function(inputs, norm, before_act, weight, window, after[index], after_act)
        y.backward(some_gradient(y.shape, x.dtype).to(dtype))
        norms = [after[index], *([norm] if norm else [])]
        numbers = [t for n in norms for t in (n.weight.grad, n.bias.grad, n.running_mean, n.running_var)]
        results.append([y.detach(), inputs.grad, weight.grad, *numbers])
    return zip(*results, strict=True)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_it_equals_pytorch(case):
    size, stride, before_act, after_act, shape = case
    torch.manual_seed(0)
    conv = convolution(shape[1], size, stride)
    for found, expected in both(2 * torch.randn(shape) + 1, conv, before_act, after_act):
        assert distance(found, expected) < 1e-5


@pytest.mark.parametrize("keeps", [(True, True), (True, False), (False, True)])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_with_statistics_that_are_kept_it_equals_pytorch(case, keeps):
    size, stride, before_act, after_act, shape = case
    torch.manual_seed(0)
    conv = convolution(shape[1], size, stride)
    for found, expected in both(2 * torch.randn(shape) + 1, conv, before_act, after_act, keeps=keeps):
        assert distance(found, expected) < 1e-5


@pytest.mark.parametrize("shape", [(2, 24, 8, 8), (2, 24, 9, 6)])
@pytest.mark.parametrize("size", [3, 5])
def test_tensorflows_padding_and_no_norm_before(size, shape):
    torch.manual_seed(0)
    conv = convolution(24, size, 2, "same_tf")
    x = torch.randn(shape)
    for found, expected in both(x, conv, "none", "relu", has_norm_before=False):
        assert distance(found, expected) < 1e-5
    torch.testing.assert_close(convolve(x, None, "none", conv.weight, window_of(conv, *shape[2:]))[0], conv(x))


@pytest.mark.parametrize("case", CASES[:3], ids=str)
def test_bfloat16_within_its_rounding(case):
    """Against float64: the output of the convolution is rounded before its norm, as PyTorch rounds it."""
    size, stride, before_act, _, shape = case
    torch.manual_seed(0)
    shape = (4, shape[1], 16, 16)  # enough numbers that roundings average out
    x = torch.randn(shape).to(torch.bfloat16)
    for found, expected in both(x, convolution(shape[1], size, stride), before_act, "none"):
        difference = (found.double() - expected).norm() / expected.norm().clamp(min=1e-12)
        assert difference < 2e-2


@pytest.mark.usefixtures("two_threads")
def test_a_part_of_the_batch_for_each_of_two_threads():
    torch.manual_seed(0)
    x, conv = torch.randn(5, 28, 9, 8), convolution(28, 3, 2)
    for found, expected in both(x, conv, "relu6", "relu6"):
        assert distance(found, expected) < 1e-5


@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize(("size", "stride"), [(3, 1), (3, 2), (5, 1), (5, 2)])
def test_the_same_bits_every_time_with_two_threads(size, stride):
    torch.manual_seed(0)
    x, conv = torch.randn(5, 28, 19, 17), convolution(28, size, stride)
    first, *others = ([t for t, _ in both(x, conv, "relu6", "silu")] for _ in range(4))
    assert all(torch.equal(a, b) for other in others for a, b in zip(first, other, strict=True))
