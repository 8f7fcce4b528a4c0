"""Keras' HDF5 files: from a file to named arrays, nothing read that is not in it.

Three layouts exist: the whole model (`model_weights/`), the weights alone as Keras 2 wrote them, and Keras 3's
`.weights.h5`, where layers are numbered by class and keep their names in an attribute. HDF5 can name other files, and
arrays that were never written: so links and storage are looked at before anything is read.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from depthwise.errors import UserError, require

NORM_VARIABLES = ("gamma", "beta", "moving_mean", "moving_variance")
MOST_PACKED = 4
"""Bytes of all arrays over bytes of the file: compression saves a tenth of trained weights; unwritten arrays more."""


def read_h5(path: Path) -> dict[str, Tensor]:
    """Return the arrays of a Keras HDF5 file as `layer.variable`, layers in small letters. Raises UserError."""
    require("h5py", "weights", f"reading {path}")
    import h5py

    try:
        with h5py.File(path) as file:
            found = _read(file, MOST_PACKED * path.stat().st_size)
    except (OSError, KeyError, AttributeError, TypeError, ValueError, RuntimeError, MemoryError) as error:
        raise UserError(
            f"{path}: not a Keras weights file, or a damaged one: {error}. Save it anew: "
            "model.save_weights('x.weights.h5')"
        ) from error
    if not found:
        raise UserError(f"{path}: an HDF5 file, but without the weights of a Keras model")
    return found


def _read(file: Any, most_bytes: int) -> dict[str, Tensor]:
    """Return all arrays, which may be `most_bytes` together. Raises ValueError before reading what is more."""
    if file.id.links.exists(b"layers"):
        named = dict(_numbered_layers(_member(file, "layers")))
    else:
        named = dict(_named_layers(_member(file, "model_weights") if file.id.links.exists(b"model_weights") else file))
    found = {}
    for name, dataset in named.items():
        _check_stored(name, dataset, most_bytes)
        most_bytes -= dataset.nbytes
        found[name] = torch.from_numpy(dataset[()]) if dataset.shape else torch.tensor(dataset[()])
    return found


def _named_layers(group: Any) -> Iterator[tuple[str, Any]]:
    """Whole models and Keras 2's weights: a group per layer, whose attribute lists its arrays."""
    for layer in map(_text, group.attrs["layer_names"]):
        part = _member(group, layer)
        for name in map(_text, part.attrs["weight_names"]):
            variable = name.rsplit("/", 1)[-1].removesuffix(":0")
            yield f"{_normal(layer)}.{variable}", _member(part, name)


def _numbered_layers(group: Any) -> Iterator[tuple[str, Any]]:
    """Keras 3's weights: a group per layer, its name an attribute, its arrays numbered."""
    for layer in group:
        variables = _member(group, f"{layer}/vars")
        names = NORM_VARIABLES if len(variables) == len(NORM_VARIABLES) else ("kernel", "bias")
        for number, name in enumerate(names[: len(variables)]):
            yield f"{_normal(_text(variables.attrs['name']))}.{name}", _member(variables, str(number))


def _member(group: Any, path: str) -> Any:
    """Return the group or array under a path. Raises ValueError where a link leads there: it may be of another file."""
    import h5py

    for part in filter(None, path.split("/")):
        if not group.id.links.exists(part.encode()):
            raise ValueError(f"{path!r} is not in {group.name}")
        if group.id.links.get_info(part.encode()).type != h5py.h5l.TYPE_HARD:
            raise ValueError(f"{path!r} in {group.name} is a link to somewhere else, which is not followed")
        group = group[part]
    return group


def _check_stored(name: str, dataset: Any, most_bytes: int) -> None:
    """Raise ValueError unless the array is one of numbers that the file itself can hold."""
    if dataset.dtype.kind not in "fiu":
        raise ValueError(f"{name} is of type {dataset.dtype}, not of numbers")
    if dataset.external or dataset.is_virtual:
        raise ValueError(f"{name} is kept in another file, which is not read")
    if dataset.nbytes > most_bytes:
        raise ValueError(f"{name} is of shape {dataset.shape}, more than a file of this size can hold")


def _text(name: Any) -> str:
    return name.decode() if isinstance(name, bytes) else str(name)


def _normal(layer: str) -> str:
    """Return one spelling for the names of all versions: `Conv/BatchNorm` and `conv_bn` are one layer."""
    return layer.lower().replace("/", "_").replace("batchnorm", "bn")
