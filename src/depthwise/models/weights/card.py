"""What a model file of ours says of its network, which names and shapes of tensors cannot tell.

`artifact`, which writes these files and checks their checksum, is a layer above; here is read what weights need.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

from depthwise.errors import UserError
from depthwise.models.create import Build, Preprocessing
from depthwise.models.options import check_option
from depthwise.models.registry import ModelSpec, list_models, model_info

KEY = "depthwise"
"""Of the metadata in which the card is."""
IN_TRAINING = ("drop_rate", "drop_connect", "bn_momentum", "aux")
"""Options with no influence on what a trained network computes: another value than the file's is no contradiction."""


@dataclass(frozen=True)
class FileCard:
    """The part of a model file's card that its weights cannot do without."""

    where: str
    """For messages."""
    model: str
    """Registry name of the network."""
    options: dict[str, Any]
    """The network's own options."""
    small_input: bool
    """Whether the network's strides are adapted to 32 px and less."""
    classes: tuple[str, ...]
    origin: str
    """Whose weights training began with; '' for none."""
    preprocessing: Preprocessing
    """What the weights expect of pictures."""


def read_file_card(path: Path) -> FileCard | None:
    """Return what a model file of ours says of itself; None for other files. Raises UserError when it says nonsense."""
    from safetensors import SafetensorError, safe_open

    if path.suffix != ".safetensors":
        return None
    try:
        with safe_open(path, framework="pt") as file:
            text = (file.metadata() or {}).get(KEY)
    except (SafetensorError, OSError):
        return None  # to read its tensors will fail, too, and say why
    if text is None:
        return None
    try:
        return _parse(str(path), json.loads(text))
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
        raise UserError(
            f"{path}: the model file is damaged: its metadata do not fit: {error}. Take another copy, or train again."
        ) from error


def as_said(card: FileCard, spec: ModelSpec, build: Build, small_input: bool | None) -> Build:
    """Return `build` with the file's options and small_input where none are given.

    Raises UserError when the file is of another network.
    """
    defaults = {name: option.default for name, option in spec.allowed_options.items()}
    changed = {name: value for name, value in _effective(card, spec).items() if not _is_same(value, defaults[name])}
    is_small = card.small_input if small_input is None else small_input
    return replace(build, options={**changed, **build.options}, small_input=is_small)


def check_said(card: FileCard, spec: ModelSpec, build: Build) -> None:
    """Raise UserError, naming the options, when the network made as `build` is not the one that the file is of."""
    theirs = {**_effective(card, spec), "small_input": card.small_input}
    ours = {**{name: option.default for name, option in spec.allowed_options.items()}, **build.options}
    ours["small_input"] = build.small_input
    differing = [name for name in ours if name not in IN_TRAINING and not _is_same(ours[name], theirs[name])]
    if differing:
        there, here = (", ".join(f"{name}={values[name]!r}" for name in differing) for values in (theirs, ours))
        raise UserError(
            f"{card.where}: its weights were trained with {there}; this {spec.name} has {here}. Leave these options "
            "out: create_model(..., pretrained=FILE) and --pretrained FILE take them from the file"
        )


def check_counts(card: FileCard, build: Build) -> None:
    """Raise UserError when the file's tensors are not for as many classes and channels as it says."""
    said, found = (len(card.classes), len(card.preprocessing.mean)), (build.num_classes, build.in_channels)
    if said != found:
        raise UserError(
            f"{card.where}: the model file is damaged: it names {said[0]:,} classes and colours of {said[1]} channels, "
            f"but its weights are for {found[0]:,} and {found[1]}. Take another copy, or train again."
        )


def _effective(card: FileCard, spec: ModelSpec) -> dict[str, Any]:
    """Return every option of the file's network. Raises UserError unless that is the network `spec`.

    It may have another name, when it has the same constructor and the options that `spec` is named for.
    """
    is_listed = card.model in list_models()  # anything else, a file could let be imported
    own = spec if card.model == spec.name else model_info(card.model) if is_listed else None
    if own is None or _constructor(own) != _constructor(spec):
        raise _of_another(card, spec)
    for name, value in card.options.items():
        try:
            check_option(own.name, own.allowed_options, name, value)
        except UserError as error:
            raise UserError(f"{card.where}: the options in it do not fit: {error}") from error
    found = {**{name: option.default for name, option in own.allowed_options.items()}, **card.options}
    named = [name for name in spec.options if name not in IN_TRAINING]
    if own is not spec and not all(_is_same(found[name], spec.options[name]) for name in named):
        raise _of_another(card, spec)
    return found


def _of_another(card: FileCard, spec: ModelSpec) -> UserError:
    return UserError(f"{card.where} is a {card.model}, not a {spec.name}: create {card.model} for it")


def _constructor(spec: ModelSpec) -> Any:
    """Return what two networks have in common that differ in options only."""
    builder = spec.builder
    return (builder.func, builder.args) if isinstance(builder, partial) else builder


def _is_same(one: Any, other: Any) -> bool:
    """Return whether two options are equal once they have been in JSON, which has lists only."""
    return bool(_listed(one) == _listed(other))


def _listed(value: Any) -> Any:
    return [_listed(item) for item in value] if isinstance(value, list | tuple) else value


def _parse(where: str, values: Any) -> FileCard:
    """Return the card in parsed JSON. Raises ValueError, TypeError or KeyError."""
    if _get(values, "kind", str) != "model":
        raise UserError(f"{where}: a checkpoint to go on from, not a model; take best.safetensors beside it")
    classes = _get(values, "classes", list)
    if not all(isinstance(name, str) for name in classes):
        raise TypeError("classes are not names")
    return FileCard(
        where,
        _get(values, "model", str),
        _get(values, "options", dict),
        _get(values, "small_input", bool),
        tuple(classes),
        _get({"origin": "", **values}, "origin", str),
        _preprocessing(_get(values, "geometry", dict)),
    )


def _get(values: Any, name: str, kind: type) -> Any:
    value = values[name]
    if not isinstance(value, kind):
        raise TypeError(f"{name}={value!r}")
    return value


def _preprocessing(geometry: Mapping[str, Any]) -> Preprocessing:
    mean, std = (tuple(float(value) for value in geometry[name]) for name in ("mean", "std"))
    side, share = _get(geometry, "image_size", int), float(geometry.get("crop_share", 1.0))
    resample: Literal["bilinear", "bicubic"] = geometry.get("resample", "bilinear")
    is_sound = len(mean) == len(std) and all(map(math.isfinite, (*mean, *std))) and min(std, default=0) > 0
    if not is_sound or side < 1 or not 0 < share <= 1 or resample not in ("bilinear", "bicubic"):
        raise ValueError(f"geometry={dict(geometry)}")
    return Preprocessing(mean, std, resample, share, side)
