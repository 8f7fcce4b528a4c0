"""Batch norm, residual sum and activation in one pass, against PyTorch in float64."""

import copy

import pytest
import torch
from torch import nn

from depthwise.kernels.norm_act import Affine, Moments, apply_affine, channels_last, norm_act, positions, values
from depthwise.kernels.numbers import ACTIVATIONS
from depthwise.kernels.twins import norm_act as twin

SHAPES = [(3, 20, 7, 9), (1, 5, 2, 3), (2, 33, 3, 1), (4, 16, 8, 8)]
TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 8e-3}  # bfloat16: 2 units of its last place


def distance(found, expected):
    """The largest difference as a share of the largest value."""
    return float((found.double() - expected.double()).abs().max() / expected.double().abs().max().clamp(min=1e-12))


def pair(num_channels, **options):
    norm = nn.BatchNorm2d(num_channels, **options)
    nn.init.uniform_(norm.weight, 0.5, 2)
    nn.init.normal_(norm.bias)
    return norm, copy.deepcopy(norm).double()


def leaf(x, dtype=None):
    return x.detach().clone().to(dtype or x.dtype).requires_grad_()


def some_gradient(shape, dtype):
    return torch.linspace(-1, 1, shape.numel(), dtype=torch.float64).sin().view(shape).to(dtype)


def keep(norms):
    """Let both norms go on with the same statistics, of other pictures."""
    mean, variance = torch.randn(norms[0].num_features), 0.5 + torch.rand(norms[0].num_features)
    for norm in norms:
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(variance)
        norm.eval()
    return norms


def both(x, act, residual=None, *, keeps=False, **options):
    """Outputs and gradients of x, residual, weight and bias, and the buffers: ours and the twin's in float64."""
    results = []
    norms = keep(pair(x.shape[1], **options)) if keeps else pair(x.shape[1], **options)
    for function, norm, dtype in ((norm_act, norms[0], x.dtype), (twin, norms[1], torch.float64)):
        inputs = [leaf(t, dtype) for t in (x, residual) if t is not None]
        y = function(inputs[0], norm, act, *inputs[1:])
        y.backward(some_gradient(y.shape, x.dtype).to(dtype))
        gradients = [t.grad for t in (*inputs, norm.weight, norm.bias)]
        results.append([y.detach(), *gradients, norm.running_mean, norm.running_var])
        assert norm.num_batches_tracked == int(not keeps)
    return zip(*results, strict=True)


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("act", ACTIVATIONS)
@pytest.mark.parametrize("shape", SHAPES)
def test_it_equals_pytorch(shape, act, dtype):
    x = (2 * torch.randn(shape) + 1).to(dtype)
    for found, expected in both(x, act):
        assert distance(found, expected) < TOLERANCE[dtype]


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("act", ACTIVATIONS)
@pytest.mark.parametrize("shape", [*SHAPES, (1, 7, 1, 1)])
def test_with_statistics_that_are_kept_it_equals_pytorch(shape, act, dtype):
    x = (2 * torch.randn(shape) + 1).to(dtype)
    for found, expected in both(x, act, keeps=True):
        assert distance(found, expected) < TOLERANCE[dtype]


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("keeps", [False, True])
@pytest.mark.parametrize("act", ["none", "relu"])
def test_with_a_residual(act, keeps, dtype):
    x, residual = (torch.randn(3, 20, 7, 9).to(dtype) for _ in range(2))
    for found, expected in both(x, act, residual, keeps=keeps):
        assert distance(found, expected) < TOLERANCE[dtype]


def test_statistics_of_numbers_far_from_zero():
    """A mean 10,000 times the deviation: the difference of float32 sums of squares would be noise."""
    x = 10_000 + torch.randn(8, 4, 32, 32)
    norm = nn.BatchNorm2d(4, momentum=1.0)
    norm_act(x, norm, "none")
    assert distance(norm.running_var, x.double().transpose(0, 1).reshape(4, -1).var(1)) < 1e-4
    assert distance(norm.running_mean, x.double().mean((0, 2, 3))) < 1e-7


def test_plain_averages_when_the_momentum_is_none():
    plain = nn.BatchNorm2d(3, momentum=None)
    norm = copy.deepcopy(plain)
    for _ in range(3):
        x = torch.randn(2, 3, 5, 4)
        plain(x)
        norm_act(x, norm, "none")
    for found, expected in zip(norm.buffers(), plain.buffers(), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-7)


def test_bfloat16_is_rounded_to_nearest_even():
    x = channels_last(torch.randn(1, 64, 64, 64).to(torch.bfloat16))
    one, zero = values(torch.ones(64)), values(torch.zeros(64))
    scale = 1 + 2.0**-8  # products have twice the bits, ties among them
    found = torch.empty_like(x)
    apply_affine(positions(x), Affine(Moments(zero, one, 1), one, scale * one, zero, True), "none", positions(found))
    assert torch.equal(found, (scale * x.float()).to(torch.bfloat16))


def test_not_a_number_is_not_hidden():
    x = torch.randn(2, 4, 3, 3, requires_grad=True)
    with torch.no_grad():
        x[0, 1, 0, 0] = float("nan")
    y = norm_act(x, nn.BatchNorm2d(4), "relu6")
    assert y[:, 1].isnan().all() and not y[:, 0].isnan().any()
    y.sum().backward()
    assert x.grad[:, 1].isnan().all()


def test_any_layout_comes_in():
    x = torch.randn(2, 6, 5, 4)
    norms = [nn.BatchNorm2d(6) for _ in range(3)]
    inputs = (x, x.contiguous(memory_format=torch.channels_last), x.transpose(2, 3).contiguous().transpose(2, 3))
    first, *others = (norm_act(t, norm, "relu") for t, norm in zip(inputs, norms, strict=True))
    assert all(torch.equal(first, other) for other in others)


@pytest.mark.usefixtures("two_threads")
def test_the_same_bits_every_time_with_two_threads():
    x = torch.randn(5, 24, 19, 17)
    first, second = ([t for t, _ in both(x, "silu")] for _ in range(2) if torch.manual_seed(1))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
