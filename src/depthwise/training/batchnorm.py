"""Batch norm's statistics for prediction, measured with the weights as they are instead of averaged over training."""

import torch
from torch import nn

from depthwise.data.cache import Dataset
from depthwise.data.order import batch_sizes, epoch_order

FEWEST, MOST = 256, 4096


def num_recalibration_images(num_train_images: int) -> int:
    """Return how many training pictures are looked at: an eighth, but 256 to 4096, and never more than there are."""
    return min(num_train_images, MOST, max(FEWEST, num_train_images // 8))


@torch.no_grad()
def recalibrate(
    model: nn.Module, train: Dataset, normalise: nn.Module, device: torch.device, *, batch_size: int, seed: int
) -> None:
    """Set every batch norm's running mean and variance to averages over training pictures, shown as they are.

    The running averages of training trail behind weights that move fast: in a short run, or a decay as slow as
    MobileNetV3's 0.99, the network predicts with statistics of weights long gone (Wu & Johnson 2021, arXiv:2105.07576,
    section 3, "PreciseBN"). Weights are not changed, nor is what training computes, which uses each batch's own
    statistics. Which pictures, and in which batches, depends on `seed` only.
    """
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
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
    for size in batch_sizes(len(chosen), batch_size):
        images = torch.from_numpy(train.images[chosen[start : start + size]]).to(device)
        model(normalise(images))
        start += size
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    model.eval()
