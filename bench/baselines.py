"""A training step as users of PyTorch write it: what ours is compared with. Nothing of our loop is in it."""

from collections.abc import Callable

import torch
from torch import nn

import depthwise as dw

CORES_BFLOAT16 = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def pictures(name: str, batch_size: int, image_size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return random images, ready for the network `name`, and labels."""
    spec = dw.model_info(name)
    images = torch.randn(batch_size, spec.in_channels, image_size, image_size)
    return images, torch.randint(0, spec.num_classes, (batch_size,))


def default_step(name: str, batch_size: int, image_size: int) -> Callable[[], float]:
    """Return a step as the tutorials write it: float32, PyTorch's own layout, SGD."""
    images, labels = pictures(name, batch_size, image_size)
    model = dw.create_model(name).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9, nesterov=True, weight_decay=5e-4)
    criterion = nn.CrossEntropyLoss(label_smoothing=0.1)

    def step() -> float:
        optimizer.zero_grad()
        loss = criterion(model(images), labels)
        loss.backward()
        optimizer.step()
        return float(loss.item())

    return step


def tuned_step(name: str, batch_size: int, image_size: int, *, is_compiled: bool = False) -> Callable[[], float]:
    """Return a step as an expert tunes it: channels last, bfloat16 by autocast where there is any, fused SGD.

    `is_compiled`: by torch.compile as well, which needs a C++ compiler and minutes.
    """
    images, labels = pictures(name, batch_size, image_size)
    images = images.to(memory_format=torch.channels_last)
    model = dw.create_model(name).train().to(memory_format=torch.channels_last)
    network = torch.compile(model) if is_compiled else model
    optimizer = torch.optim.SGD(model.parameters(), 1e-3, momentum=0.9, nesterov=True, weight_decay=5e-4, fused=True)
    criterion = nn.CrossEntropyLoss(label_smoothing=0.1)

    def step() -> float:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=CORES_BFLOAT16):
            loss = criterion(network(images), labels)
        loss.backward()
        optimizer.step()
        return float(loss.item())

    return step


def our_step(name: str, batch_size: int, image_size: int, kernels: str = "auto") -> Callable[[], float]:
    """Return the step of depthwise's loop, computed as a long run on this machine would be."""
    from depthwise.training import make_step

    return make_step(name, batch_size=batch_size, image_size=image_size, kernels=kernels)  # type: ignore[arg-type]
