"""From a file of weights to tensors, without running anything that is in it."""

import pickle
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from depthwise.errors import UserError
from depthwise.models.weights.keras import read_h5

NESTED = ("state_dict", "model", "state_dict_ema", "model_state", "net")
"""Keys under which training scripts keep the weights."""


def read_weights(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a .safetensors, .h5, or .pth / .pt / .bin file by name. Raises UserError.

    Pickled files go through torch's restricted reader: tensors and plain containers; anything else is refused.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file of weights")
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    if path.suffix in (".h5", ".hdf5", ".keras"):
        if path.suffix == ".keras":
            raise UserError(f"{path}: an archive of Keras; save its weights alone: model.save_weights('x.weights.h5')")
        return read_h5(path)
    return _read_pickled(path)


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path}: not a safetensors file, or a damaged one: {error}") from error


def _read_pickled(path: Path) -> dict[str, Tensor]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # on pickles of other kinds than torch's own; they are read or refused
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UserError(
            f"{path}: holds more than tensors, so it was not read (a pickle can run any code). If you trust it, save "
            "its tensors alone: torch.save(model.state_dict(), 'weights.pth')"
        ) from error
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"{path}: cannot be read as PyTorch weights: {reason}") from error
    tensors = _find_tensors(content)
    if not tensors:
        raise UserError(f"{path}: no table of named tensors in it")
    return tensors


def _find_tensors(content: Any) -> dict[str, Tensor]:
    """Return the names and tensors in a state dict, or in one under a usual key; {} when there is none."""
    if not isinstance(content, Mapping):
        return {}
    for key in NESTED:
        if isinstance(content.get(key), Mapping):
            return _find_tensors(content[key])
    named = {str(name): value for name, value in content.items() if isinstance(value, Tensor)}
    if len(named) != len(content):
        return {}
    shared = all(name.startswith("module.") for name in named)  # from DataParallel
    return {name.removeprefix("module.") if shared else name: value for name, value in named.items()}
