"""Squeeze-and-excite as a differentiable function, over the kernels of `squeeze`."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from depthwise.kernels import squeeze as kernels
from depthwise.kernels.norm_act import channels_last, positions
from depthwise.kernels.threads import launch


class _Excite(torch.autograd.Function):
    """x * gates(mean(x)); the gates' own graph is inside, so that both ways back to x become one pass."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, gates: Callable[[Tensor], Tensor], *parameters: Tensor) -> Tensor:
        num_positions = x.shape[2] * x.shape[3]
        flat = positions(x)
        pooled = torch.from_numpy(launch(kernels.image_sums, flat, len(x)) / num_positions)
        pooled = pooled.to(x.dtype)[:, :, None, None]
        with torch.enable_grad():
            pooled.requires_grad_()
            weights = gates(pooled)
        y = torch.empty_like(x)
        factors = weights.detach().float()[:, :, 0, 0].contiguous().numpy()
        launch(kernels.scale_images, flat, factors, 0 * factors, positions(y))
        ctx.save_for_backward(x, *parameters)
        ctx.pooled, ctx.weights = pooled, weights
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, *parameters = ctx.saved_tensors
        pooled, weights = ctx.pooled, ctx.weights
        flat, g = positions(x), positions(channels_last(grad))
        d_weights = torch.from_numpy(launch(kernels.image_products, flat, g, len(x)))
        inputs = [pooled, *(parameter for parameter in parameters if parameter.requires_grad)]
        d_weights = d_weights.to(weights.dtype)[:, :, None, None]
        found = iter(torch.autograd.grad(weights, inputs, d_weights, retain_graph=True))  # it goes with ctx
        d_pooled = next(found).float() / (x.shape[2] * x.shape[3])
        dx = torch.empty_like(x)
        factors = weights.detach().float()[:, :, 0, 0].contiguous().numpy()
        launch(kernels.scale_images, g, factors, d_pooled[:, :, 0, 0].contiguous().numpy(), positions(dx))
        return dx, None, *(next(found) if parameter.requires_grad else None for parameter in parameters)


def squeeze_excite(x: Tensor, gates: Callable[[Tensor], Tensor], parameters: list[Tensor]) -> Tensor:
    """Return x * gates(mean of x over its positions): gates from (B, C, 1, 1) to the same, made of `parameters`."""
    y: Tensor = _Excite.apply(channels_last(x), gates, *parameters)
    return y
