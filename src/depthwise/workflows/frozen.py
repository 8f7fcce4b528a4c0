"""`train --freeze backbone`: what the network makes of each picture is computed once; only its head learns."""

from torch import nn

from depthwise.errors import UserError
from depthwise.models.blocks import Network


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
