"""From tensors under others' names to a state dict of ours: names, shapes, types and values are checked."""

import torch
from torch import Tensor, nn

from depthwise.errors import UserError
from depthwise.models.weights.identified import Identified

SHOWN = 8
FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
"""Types that weights are kept in."""


def fit(found: Identified, model: nn.Module) -> dict[str, Tensor]:
    """Return the tensors under our names and in our shapes. Raises UserError with a list of what does not fit."""
    tensors, paths = found.tensors, found.paths
    fitted, misshapen, mistyped, missing, used = {}, [], [], [], set()
    for name, target in model.state_dict().items():
        layer, _, variable = name.rpartition(".")
        theirs = f"{paths[layer]}.{variable}" if layer in paths else name
        if theirs in tensors:
            used.add(theirs)
            value = tensors[theirs]
            if value.shape != target.shape and not _is_reshape(value, target):
                misshapen.append(f"{theirs} {tuple(value.shape)}, not {tuple(target.shape)}")
            elif target.is_floating_point() and value.dtype not in FLOATS:
                mistyped.append(f"{theirs} {str(value.dtype).removeprefix('torch.')}")
            else:
                fitted[name] = value.reshape(target.shape)
        elif variable == "num_batches_tracked":
            fitted[name] = target  # Keras and old files have none; nothing is computed with it
        else:
            missing.append(theirs)
    over = [
        n for n in tensors if n not in used and not n.endswith("num_batches_tracked") and not _is_auxiliary(n, model)
    ]
    lists = {"missing": missing, "left over": over, "misshapen": misshapen, "not of floating-point numbers": mistyped}
    if listing := "\n".join(_listing(what, which) for what, which in lists.items() if which):
        raise UserError(f"{found.where} does not fit {found.spec.name}:\n{listing}{_advice(found)}")
    return fitted


def check_finite(found: Identified, fitted: dict[str, Tensor]) -> None:
    """Raise UserError when a value is none in float32: not a number, or infinite."""
    real = {name: value for name, value in fitted.items() if value.is_floating_point() and not value.is_meta}
    if broken := [name for name, value in real.items() if not value.float().isfinite().all()]:
        raise UserError(
            f"{found.where}: {_listing('with NaN or infinite values', broken).strip()}. The training that they are of "
            "has diverged, or the file is damaged: take weights of an earlier epoch, or another copy"
        )


def _is_reshape(value: Tensor, target: Tensor) -> bool:
    """Return whether one is a linear layer's weights and the other the same as a convolution's."""
    if {value.ndim, target.ndim} != {2, 4} or len(value) != len(target):
        return False
    return value.flatten(1).shape == target.flatten(1).shape


def _is_auxiliary(name: str, model: nn.Module) -> bool:
    """Return whether the tensor is of GoogLeNet's auxiliary classifiers, which a network need not have."""
    return name.startswith("aux") and hasattr(model, "aux")


def _advice(found: Identified) -> str:
    """Return which network the weights are of, where that is known; else ''."""
    if found.library == "torchvision" and found.spec.name in ("googlenet", "googlenet_bn"):
        return "\ntorchvision's GoogLeNet has batch norm, and 3x3 kernels for 5x5: create googlenet_torchvision for it"
    return ""


def _listing(what: str, found: list[str]) -> str:
    more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    return f"  {what}: {', '.join(sorted(found)[:SHOWN])}{more}"
