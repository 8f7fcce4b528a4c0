"""From a name to a network, and the record that a network carries of how it was made."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

from torch import nn

from depthwise.errors import UserError
from depthwise.models.options import check_option, parse_settings
from depthwise.models.registry import ModelSpec, model_info

Colours = tuple[float, ...]


@dataclass(frozen=True)
class Preprocessing:
    """What weights expect of pictures."""

    mean: Colours
    std: Colours
    """To be taken from and divided out of each channel, values in [0, 1]."""
    resample: Literal["bilinear", "bicubic"] = "bilinear"
    crop_share: float = 0.875
    """Side of the centre that was cut out for the published accuracy, as a share of the short side."""
    image_size: int | None = None
    """Side of the network's input in px for the published accuracy; None: the paper's."""


@dataclass(frozen=True)
class Build:
    """How a network was made and what its weights expect: `create_model` and the weights make it again."""

    model: str
    num_classes: int
    in_channels: int
    small_input: bool
    options: dict[str, Any] = field(default_factory=dict)
    """The family's options that are not the name's own."""
    origin: str = ""
    """Whose weights it has, e.g. torchvision or timm:tf_efficientnet_b0; '' for none but our own training's."""
    preprocessing: Preprocessing | None = None
    """What the weights expect of pictures; None: not known."""
    classes: tuple[str, ...] = ()
    """Names of the classes where they are known."""


def build_of(model: nn.Module) -> Build:
    """Return the record that `create_model` left on the network. Raises UserError when it has none."""
    build = getattr(model, "build", None)
    if not isinstance(build, Build):
        raise UserError(f"this {type(model).__name__} was not made by depthwise.create_model")
    return build


def keep_build(model: nn.Module, build: Build) -> None:
    """Leave the record on the network, for `build_of`."""
    model.build = build  # type: ignore[assignment]


def create_model(
    name: str,
    num_classes: int | None = None,
    in_channels: int | None = None,
    small_input: bool | None = None,
    pretrained: str | None = None,
    **options: Any,
) -> nn.Module:
    """Build the network `name`: images (B, in_channels, H, W) -> logits (B, num_classes).

    `num_classes` and `in_channels` default to the paper's. `small_input` adapts the strides to pictures of 32 px and
    less by the family's rule (see the family's docstring). `options` are the family's own. `pretrained` takes over
    somebody's weights, all but the classifier's where num_classes differs: "package" (installed with pip),
    "torchvision" or "timm" (downloaded once), or a file; from a model file of ours also `small_input` and those options
    that are not given. `name` may be `timm:NAME` or `package.module:factory`. Draws from torch's global generator.
    Raises UserError for an unknown name or option, an option of the wrong type, or one that the file contradicts.
    """
    spec = model_info(name)
    for what, count in (("num_classes", num_classes), ("in_channels", in_channels)):
        if count is not None and (not isinstance(count, int) or count < 1):
            raise UserError(f"{spec.name}: {what}={count!r} is not a whole number above zero")
    for key, value in options.items():
        check_option(spec.name, spec.allowed_options, key, value)
    build = Build(
        spec.name,
        spec.num_classes if num_classes is None else num_classes,
        spec.in_channels if in_channels is None else in_channels,
        bool(small_input),
        options,
    )
    if pretrained is not None:
        from depthwise.models.weights.pretrained import create_pretrained

        return create_pretrained(spec, build, pretrained, small_input=small_input)
    return build_model(spec, build)


def rebuild(name: str, num_classes: int, in_channels: int, small_input: bool, options: Any) -> nn.Module:
    """Return the network that a file says it holds, with fresh weights; nothing is fetched or read for it.

    Raises UserError when what it says makes no network, or none that anybody would build.
    """
    spec = model_info(name)
    if not isinstance(options, dict):
        raise UserError(f"the model file is damaged: the options of {spec.name} are no table but {options!r:.60}")
    for key, value in options.items():
        check_option(spec.name, spec.allowed_options, key, value)
    try:
        return build_model(spec, Build(spec.name, num_classes, in_channels, small_input, options))
    except (MemoryError, OverflowError, RuntimeError, TypeError) as error:
        raise UserError(f"the model file is damaged: its options make no {spec.name}: {error}") from error


def build_model(spec: ModelSpec, build: Build) -> nn.Module:
    """Return the network with fresh weights and its record. Raises UserError when the options make no network."""
    small_input = {"small_input": build.small_input} if spec.takes_small_input else {}
    try:
        model = spec.builder(
            num_classes=build.num_classes,
            in_channels=build.in_channels,
            **small_input,
            **{**spec.options, **build.options},
        )
    except ValueError as error:
        raise UserError(f"{spec.name}: {error}") from error
    keep_build(model, build)
    return model


def parse_options(spec: ModelSpec, settings: Iterable[str]) -> dict[str, Any]:
    """Return the options in NAME=VALUE strings, checked; `small_input` may be among them. Raises UserError."""
    options = parse_settings(settings)
    for key, value in options.items():
        if key != "small_input":
            check_option(spec.name, spec.allowed_options, key, value)
        elif not isinstance(value, bool):
            raise UserError(f"--set small_input={value}: small_input is true or false")
    return options
