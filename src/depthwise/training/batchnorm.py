"""Batch norm's statistics for prediction: measured with the weights as they are, or averaged over a step's parts."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from depthwise.data.cache import Dataset
from depthwise.data.order import batch_sizes, epoch_order
from depthwise.models.blocks import Network
from depthwise.training.stages import is_frozen

FEWEST, MOST = 256, 4096


def num_recalibration_images(num_train_images: int) -> int:
    """Return how many training pictures are looked at: an eighth, but 256 to 4096, and never more than there are."""
    return min(num_train_images, MOST, max(FEWEST, num_train_images // 8))


@torch.no_grad()
def recalibrate(
    model: nn.Module, train: Dataset, normalise: nn.Module, device: torch.device, *, batch_size: int, seed: int
) -> Iterator[None]:
    """Set every batch norm's running mean and variance to averages over training pictures, shown as they are.

    Yields after each batch. The running averages of training trail behind weights that move fast: in a short run, or a
    decay as slow as MobileNetV3's 0.99, the network predicts with statistics of weights long gone (Wu & Johnson 2021,
    arXiv:2105.07576, section 3, "PreciseBN"). Weights are not changed, nor is what training computes, which uses each
    batch's own statistics. Which pictures, and in which batches, depends on `seed` only; of many processes each
    measures all of them, so that all have the same bits as one alone. Frozen layers keep what they have.
    """
    norms = [module for module in model.modules() if isinstance(module, _BatchNorm) and not is_frozen(module)]
    if not norms:
        return
    momenta = [norm.momentum for norm in norms]
    model.eval()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain average over the batches
        norm.train()
    chosen = epoch_order(train.ids, seed, 0)[: num_recalibration_images(len(train))]
    start = 0
    try:
        for size in batch_sizes(len(chosen), batch_size):
            images = torch.from_numpy(train.shown(chosen[start : start + size])).to(device)
            shown = normalise(images)
            model.with_auxiliary(shown) if isinstance(model, Network) else model(shown)
            start += size
            yield
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
        model.eval()


class StepStatistics:
    """Running statistics over a step that is computed in parts, here or in several processes.

    Each part starts from the statistics before the step; after it they are the mean of what the parts made of them. So
    they depend neither on the parts' order nor on which process computed which.
    """

    def __init__(self, model: nn.Module, num_parts: int) -> None:
        everything = model.modules() if num_parts > 1 else ()  # else: no care needed
        learning = [module for module in everything if module.training]
        buffers = (buffer for module in learning for buffer in module.buffers(recurse=False))
        self.buffers = [buffer for buffer in buffers if buffer.is_floating_point()]
        self.num_parts = num_parts
        self.before = [buffer.clone() for buffer in self.buffers]
        self.sums: list[Tensor] = [torch.zeros_like(buffer) for buffer in self.buffers]

    def add_part(self) -> None:
        """Take up what the part that was just computed has made of the statistics."""
        for buffer, before, total in zip(self.buffers, self.before, self.sums, strict=True):
            total.add_(buffer)
            buffer.copy_(before)

    def finish(self) -> None:
        """Set the statistics to the mean over all parts; `sums` are those of all processes by now."""
        for buffer, total in zip(self.buffers, self.sums, strict=True):
            buffer.copy_(total / self.num_parts)
