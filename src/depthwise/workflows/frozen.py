"""`train --freeze backbone`: what the network makes of each picture is computed once; only its head learns."""

from dataclasses import replace

import numpy as np
import torch
from torch import nn

from depthwise.console import Quiet
from depthwise.data.cache import Dataset
from depthwise.data.loader import ordered_batches
from depthwise.errors import UserError
from depthwise.models.blocks import Network

BATCH = 32


def check_can_freeze(model: nn.Module, name: str, *, is_warm: bool) -> None:
    """Raise UserError when freezing makes no sense: fresh weights, or a network without a linear head."""
    if not is_warm:
        raise UserError("--freeze backbone keeps weights that were trained before: give them by --pretrained or --init")
    if not isinstance(model, Network) or not isinstance(model.classifier, nn.Linear):
        raise UserError(f"--freeze backbone: {name} has no linear classifier at its end")


def freeze(model: nn.Module) -> None:
    """Let all layers but the head keep their weights, and let the network take what its head takes, not pictures."""
    assert isinstance(model, Network)  # check_can_freeze has seen to it
    model.requires_grad_(False)
    model.classifier.requires_grad_(True)
    model.starts_at = model.head_start


@torch.no_grad()
def embed(model: nn.Module, dataset: Dataset, normalise: nn.Module, device: torch.device, console: Quiet) -> Dataset:
    """Return the data set with what the head takes, float32 (N, D), in place of the pictures."""
    assert isinstance(model, Network)
    model.eval()
    parts = []
    batches = ordered_batches(dataset, BATCH)
    for batch in console.track(batches, -(-len(dataset) // BATCH), "Computing features"):
        images = torch.from_numpy(np.array(batch.images)).to(device)
        parts.append(model.embed(normalise(images)).float().cpu().numpy())
    return replace(dataset, images=np.concatenate(parts), image_size=0)
