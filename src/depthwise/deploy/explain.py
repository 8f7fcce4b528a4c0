"""Where in a picture a network sees a class: Grad-CAM (Selvaraju et al. 2017, arXiv:1610.02391, section 3)."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from depthwise.deploy.class_map import Heat
from depthwise.deploy.eager import EagerEngine
from depthwise.errors import UserError


def grad_cam(engine: EagerEngine, image: NDArray[np.uint8], number: int | None = None) -> Heat:
    """Return the map for class `number` (the answer unless given) of one picture, uint8 (S, S, C).

    relu(sum over channels c of w_c A_c): A is the last map that `model.features` gives, and w_c the mean over its
    places of the logit's derivative by A_c (equations 1 and 2). Behind global pooling and a linear layer that is the
    class activation map over the number of places. Raises UserError for a network without `features`, or where its
    last map does not lead to the logits.
    """
    name, images = engine.card.model, engine.normalise(torch.from_numpy(image[None].copy()).to(engine.device))
    layer = _last_map(engine.model, images, name)
    held: list[Tensor] = []

    def hold(_module: nn.Module, _inputs: object, output: Tensor) -> Tensor:
        held.append(output.detach().requires_grad_())
        return held[-1].clone()  # what follows may write into it

    hook = engine.model.get_submodule(layer).register_forward_hook(hold)
    try:
        with torch.enable_grad():
            logits: Tensor = engine.model(images)[0]  # (K,)
            chosen = int(logits.argmax()) if number is None else number
            gradient = torch.autograd.grad(logits[chosen], held, allow_unused=True)[0] if len(held) == 1 else None
    finally:
        hook.remove()
    if gradient is None:
        raise UserError(f"{name}: its logits are not computed from {layer}, the last map of features(), alone")
    weights = gradient.mean((2, 3), keepdim=True)  # (1, C, 1, 1)
    heat = (weights * held[0].detach()).sum(1).clamp(min=0)[0]  # (h, w)
    return Heat(layer, logits.detach().float().cpu().numpy(), chosen, heat.float().cpu().numpy())


def _last_map(model: nn.Module, images: Tensor, name: str) -> str:
    """Return the path of the layer that gives the last map. Raises UserError where there is none to look at."""
    features = getattr(model, "features", None)
    with torch.no_grad():
        maps = features(images) if callable(features) else None
    last = maps[-1] if isinstance(maps, list) and maps else None
    layer, found = getattr(last, "name", ""), getattr(last, "map", None)
    if layer not in dict(model.named_modules()) or not layer or not isinstance(found, Tensor) or found.ndim != 4:
        raise UserError(
            f"{name} cannot be explained: explain needs a network whose features(images) returns its maps, each with "
            "the name of the layer that gives it, as depthwise's own do (depthwise.models.blocks.FeatureMap)"
        )
    if found.shape[2:].numel() == 1:
        side = images.shape[-1]
        raise UserError(
            f"{name}: the last map of a picture of {side} px is {layer} with one place only: nothing to show"
        )
    return layer
