"""What weights expect that their names and shapes cannot say: padding, epsilon, activation, colours.

Two networks can be alike to the last key and shape and still compute different things: timm's `efficientnet_b1` and
`tf_efficientnet_b1` differ in padding and epsilon. So weights have an origin, and the origin says it.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from typing import Any

from depthwise.errors import UserError, suggest
from depthwise.models.create import Preprocessing
from depthwise.models.registry import ModelSpec

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
HALF = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
CAFFE = ((123.68 / 255, 116.779 / 255, 103.939 / 255), (1 / 255, 1 / 255, 1 / 255))  # means of red, green, blue
LITE = ((127 / 255,) * 3, (128 / 255,) * 3)
PACKAGED = {"package:imagenet": IMAGENET, "package:advprop": HALF}
"""Colours of the efficientnet-pytorch package's two kinds of weights, by the origins that tell them apart."""
AS_IS = "as-is"
"""The origin of weights that need nothing: the network is as it should be."""
LIBRARIES = ("torchvision", "timm", "keras", "package", AS_IS)


@dataclass(frozen=True)
class Expected:
    """What the network must be like for some weights, and what they expect of pictures."""

    settings: dict[str, Any]
    """Options of the network that have no influence on shapes."""
    preprocessing: Preprocessing | None = None
    classes: tuple[str, ...] = ()
    """Their names, where a file says them."""

    @property
    def effect(self) -> tuple[Any, ...]:
        """What two origins must have in common to be one to the network."""
        colours = self.preprocessing and (self.preprocessing.mean, self.preprocessing.std)
        return tuple(sorted(self.settings.items())), colours


@dataclass(frozen=True)
class Public:
    """Weights for anybody to fetch."""

    network: str
    """Name of the network here."""
    origin: str
    """Library and its name for them, e.g. timm:tf_efficientnet_b0.in1k."""
    url: str
    """As the library gives it; not tried from here."""
    sha256_start: str
    """First digits of the file's SHA-256, from its name; '' where the library gives none."""
    preprocessing: Preprocessing
    """With which top1 was measured."""
    top1: float | None
    """ImageNet accuracy in percent, as the library gives it."""


@cache
def public_weights() -> tuple[Public, ...]:
    """Return all public weights that we know of, the most accurate of a network first."""
    listing = json.loads(files("depthwise.models.weights").joinpath("public.json").read_text(encoding="utf-8"))
    found = []
    for row in listing["weights"]:
        expects = row.pop("preprocessing")
        expects |= {"mean": tuple(expects["mean"]), "std": tuple(expects["std"])}
        found.append(Public(preprocessing=Preprocessing(**expects), **row))
    return tuple(found)


@cache
def public_sources() -> dict[str, str]:
    """Return where the list is from: library -> version and place."""
    listing = json.loads(files("depthwise.models.weights").joinpath("public.json").read_text(encoding="utf-8"))
    sources: dict[str, str] = listing["sources"]
    return sources


def best_top1(network: str) -> Public | None:
    """Return the most accurate public weights of a network, or None."""
    known = [row for row in public_weights() if row.network == network and row.top1 is not None]
    return max(known, key=lambda row: row.top1 or 0, default=None)


def expected(origin: str, spec: ModelSpec) -> Expected:
    """Return what weights of this origin expect of the network. Raises UserError for an unknown origin."""
    library, _, name = origin.partition(":")
    if library == AS_IS:
        return Expected({})
    if library == "torchvision":
        return _torchvision(name, spec)
    if library == "timm":
        return _timm(name, spec)
    if library == "keras":
        return _keras(spec)
    if library == "package":
        return _package(origin, spec)
    raise UserError(
        f"origin={origin!r} is not known{suggest(library, list(LIBRARIES))}\nOrigins: {', '.join(LIBRARIES)}"
    )


def _torchvision(name: str, spec: ModelSpec) -> Expected:
    is_large = spec.name in ("efficientnet_b5", "efficientnet_b6", "efficientnet_b7")
    settings = {
        "padding": "symmetric",
        "bn_eps": 1e-3 if is_large or spec.family in ("mobilenet_v3", "googlenet") else 1e-5,
    }
    public = [row for row in public_weights() if row.network == spec.name and row.origin.startswith("torchvision:")]
    named = [row for row in public if row.origin == f"torchvision:{name}"]
    expects = (named or public)[0].preprocessing if public else Preprocessing(*IMAGENET)
    if spec.family == "googlenet":  # torchvision's turns ImageNet's colours into these inside the network
        expects = replace(expects, mean=HALF[0], std=HALF[1])
    return Expected(settings, expects)


def _timm(name: str, spec: ModelSpec) -> Expected:
    known = [row for row in public_weights() if row.origin.startswith("timm:") and row.network == spec.name]
    rows = [row for row in known if row.origin == f"timm:{name}" or row.origin.startswith(f"timm:{name}.")]
    if len({(row.preprocessing.mean, row.preprocessing.std) for row in rows}) != 1:
        found = [row.origin for row in (rows or known)]
        why = "means weights with different colours" if rows else f"has no known weights for {spec.name}"
        raise UserError(f"origin 'timm:{name}' {why}; give one of: {', '.join(found) or AS_IS}")
    is_tf = name.startswith("tf_")
    settings = {"padding": "same_tf" if is_tf else "symmetric", "bn_eps": 1e-3 if is_tf else 1e-5}
    return Expected(settings | {"activation": "relu6"}, rows[0].preprocessing)


def _keras(spec: ModelSpec) -> Expected:
    if spec.family in ("resnet", "vgg"):
        return Expected({"bn_eps": 1.001e-5}, Preprocessing(*CAFFE, crop_share=1.0))
    if spec.family == "densenet":
        return Expected({"bn_eps": 1.001e-5}, Preprocessing(*IMAGENET, crop_share=1.0))
    settings = {"padding": "same_tf", "bn_eps": 1e-3, "activation": "relu6"}
    return Expected(settings, Preprocessing(*(IMAGENET if spec.family == "efficientnet" else HALF), crop_share=1.0))


def _package(origin: str, spec: ModelSpec) -> Expected:
    """`efficientnet-pytorch` cuts out the whole picture's centre, `efficientnet-lite` leaves a border."""
    settings = {"padding": "same_tf", "bn_eps": 1e-3}
    if spec.family == "efficientnet_lite" and origin == "package":
        return Expected(settings, Preprocessing(*LITE, resample="bicubic"))
    if spec.family == "efficientnet" and origin in PACKAGED:
        return Expected(settings, Preprocessing(*PACKAGED[origin], resample="bicubic", crop_share=1.0))
    known = ", ".join(name for name, _ in candidates("package", spec))
    why = "means weights with different colours" if known and origin == "package" else f"is none of {spec.name}'s"
    raise UserError(f"origin {origin!r} {why}; give one of: {known or AS_IS}")


def candidates(library: str, spec: ModelSpec) -> Iterator[tuple[str, Expected]]:
    """Yield every origin of weights that this library's naming may mean, with what it expects."""
    if library == "package":
        origins = {"efficientnet": tuple(PACKAGED), "efficientnet_lite": ("package",)}.get(spec.family, ())
        yield from ((origin, expected(origin, spec)) for origin in origins)
    for row in public_weights():
        if row.network == spec.name and row.origin.startswith(f"{library}:"):
            found = expected(row.origin, spec)
            allowed = {k: v for k, v in found.settings.items() if k in spec.allowed_options}
            yield row.origin, Expected(allowed, found.preprocessing)
