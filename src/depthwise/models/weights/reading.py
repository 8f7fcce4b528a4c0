"""From a file of weights to tensors, without running anything that is in it."""

import pickle
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from depthwise.errors import UserError
from depthwise.models.weights.hdf5 import read_h5

NESTED = ("state_dict", "model", "state_dict_ema", "model_state", "net")
"""Keys under which training scripts keep the weights."""
MOST_NESTED = 3
"""Tables inside tables that are looked into: a pickled one can contain itself."""


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
    except (SafetensorError, OSError, MemoryError) as error:
        raise UserError(f"{path}: not a safetensors file, or a damaged one: {error}") from error


def _read_pickled(path: Path) -> dict[str, Tensor]:
    _check_packed(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # on pickles of other kinds than torch's own; they are read or refused
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UserError(
            f"{path}: holds more than tensors, so it was not read (a pickle can run any code). If you trust it, save "
            "its tensors alone: torch.save(model.state_dict(), 'weights.pth')"
        ) from error
    except UNREADABLE as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"{path}: cannot be read as PyTorch weights: {reason}") from error
    tensors = _find_tensors(content)
    if not tensors:
        raise UserError(f"{path}: no table of named tensors in it")
    _check_stored(path, tensors)
    return tensors


UNREADABLE = (
    *(OSError, RuntimeError, EOFError, ValueError, LookupError, TypeError, AttributeError),
    *(AssertionError, MemoryError, OverflowError),
)
"""What torch's reader raises on files that are no weights."""


def _check_packed(path: Path) -> None:
    """Raise UserError for an archive that would be larger unpacked than it is: torch packs nothing."""
    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
    except (OSError, ValueError, zipfile.BadZipFile, NotImplementedError):
        return  # an older format, or nothing that torch will read
    if unpacked > path.stat().st_size:
        raise UserError(
            f"{path}: {unpacked:,} bytes once unpacked, more than the file has; torch writes no such files. Save it "
            "anew: torch.save(model.state_dict(), 'weights.pth')"
        )


def _check_stored(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Raise UserError unless the file holds each number of each tensor: a pickle can tell of shapes without them."""
    storages = {}
    for name, tensor in tensors.items():
        is_plain = tensor.layout == torch.strided and not tensor.is_quantized and not tensor.is_nested
        storage = tensor.untyped_storage() if is_plain else None
        if storage is None or tensor.is_meta or tensor.nbytes > storage.nbytes():
            raise UserError(
                f"{path}: {name}, of shape {tuple(tensor.shape)}, does not have a number for each of its places. Save "
                "tensors in full: torch.save({k: v.contiguous() for k, v in model.state_dict().items()}, 'weights.pth')"
            )
        storages[storage.data_ptr()] = storage.nbytes()
    if sum(storages.values()) > path.stat().st_size:
        raise UserError(f"{path}: its tensors are larger than the file; it is damaged. Take another copy")


def _find_tensors(content: Any, depth: int = 0) -> dict[str, Tensor]:
    """Return the names and tensors in a state dict, or in one under a usual key; {} when there is none."""
    if not isinstance(content, Mapping) or depth > MOST_NESTED:
        return {}
    for key in NESTED:
        if isinstance(content.get(key), Mapping):
            return _find_tensors(content[key], depth + 1)
    named = {str(name): value for name, value in content.items() if isinstance(value, Tensor)}
    if len(named) != len(content):
        return {}
    shared = all(name.startswith("module.") for name in named)  # from DataParallel
    return {name.removeprefix("module.") if shared else name: value for name, value in named.items()}
