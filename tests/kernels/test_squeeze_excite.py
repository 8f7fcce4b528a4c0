"""Squeeze-and-excite, against PyTorch."""

import copy

import pytest
import torch
from test_norm_act import distance, leaf, some_gradient
from torch import nn

from depthwise.kernels.squeeze_excite import squeeze_excite
from depthwise.kernels.twins import squeeze_excite as twin


def both(x):
    """Outputs and gradients of x and of the gates' parameters: ours and the twin's in float64."""
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Conv2d(x.shape[1], 4, 1), nn.SiLU(), nn.Conv2d(4, x.shape[1], 1), nn.Sigmoid())
    results = []
    for function, gates, kind in (
        (squeeze_excite, copy.deepcopy(layers).to(x.dtype), x.dtype),
        (twin, layers.double(), torch.float64),
    ):
        inputs, parameters = leaf(x, kind), list(gates.parameters())
        y = function(inputs, gates, parameters)
        y.backward(some_gradient(y.shape, x.dtype).to(kind))
        results.append([y.detach(), inputs.grad, *(p.grad for p in parameters)])
    return zip(*results, strict=True)


@pytest.mark.parametrize("shape", [(3, 20, 7, 9), (1, 8, 1, 1), (2, 33, 4, 1)])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 2e-2)])
def test_it_equals_pytorch(shape, dtype, tolerance):
    torch.manual_seed(1)
    for found, expected in both(torch.randn(shape).to(dtype)):
        assert distance(found, expected) < tolerance


@pytest.mark.usefixtures("two_threads")
def test_the_same_bits_every_time_with_two_threads():
    torch.manual_seed(1)
    x = torch.randn(5, 24, 19, 17)
    first, *others = (list(both(x)) for _ in range(4))
    assert all(distance(found, expected) < 1e-5 for found, expected in first)
    assert all(torch.equal(a, b) for other in others for (a, _), (b, _) in zip(first, other, strict=True))


def test_frozen_gates_get_no_gradient():
    layers = nn.Sequential(nn.Conv2d(6, 6, 1), nn.Sigmoid()).requires_grad_(False)
    x = torch.randn(2, 6, 4, 4, requires_grad=True)
    squeeze_excite(x, layers, list(layers.parameters())).sum().backward()
    assert x.grad is not None and layers[0].weight.grad is None


def test_a_second_backward_adds_the_same_gradient_again():
    layers = nn.Sequential(nn.Conv2d(6, 6, 1), nn.Sigmoid())
    x = torch.randn(2, 6, 4, 4, requires_grad=True)
    y = squeeze_excite(x, layers, list(layers.parameters())).sum()
    y.backward(retain_graph=True)
    once = x.grad.clone()
    y.backward()
    assert torch.equal(x.grad, 2 * once)
