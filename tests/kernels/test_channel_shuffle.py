"""Joining and shuffling two tensors, against PyTorch: to the bit."""

import pytest
import torch

from depthwise.kernels import twins
from depthwise.kernels.channel_shuffle import join_shuffled


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", [(3, 58, 7, 5), (1, 1, 1, 1), (2, 33, 4, 6)])
def test_it_equals_pytorch(shape, dtype):
    torch.manual_seed(0)
    whole = torch.randn(shape[0], 2 * shape[1], *shape[2:]).to(dtype)
    whole = whole.contiguous(memory_format=torch.channels_last).requires_grad_()
    results = []
    for function in (join_shuffled, twins.join_shuffled):
        left, right = whole.chunk(2, 1)  # views of memory that is wider than they are
        y = function(left, 2 * right)
        y.backward(torch.arange(y.numel()).view(y.shape).to(dtype))
        results.append((y.detach(), whole.grad))
        whole.grad = None
    for found, expected in zip(*results, strict=True):
        assert torch.equal(found, expected)
