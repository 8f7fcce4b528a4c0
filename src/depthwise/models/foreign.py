"""Networks from elsewhere: `timm:NAME` and `package.module:factory`, through the same doors as our own.

A factory is called as factory(num_classes=K, in_channels=C, **options) and returns a module that gives logits (B, K);
it is called with small_input=... only if it has such a parameter. Its options are its other keyword-only parameters,
and it may say by attributes `image_size`, `paper` what it is made for.
"""

import inspect
from collections.abc import Callable
from importlib import import_module
from typing import Any

from torch import nn

from depthwise.errors import UserError, require, suggest
from depthwise.models.registry import ModelSpec


def foreign_spec(name: str) -> ModelSpec:
    """Return the record of `timm:NAME` or `package.module:factory`. Raises UserError when there is no such network."""
    place, _, what = name.partition(":")
    return _timm_spec(what) if place == "timm" else _factory_spec(place, what)


def is_code(name: str) -> bool:
    """Return whether building this network runs code that the name points at, as a file's author may choose it."""
    return ":" in name and not name.startswith("timm:")


def _timm_spec(name: str) -> ModelSpec:
    require("timm", "", f"building timm:{name}")
    import timm

    known = timm.list_models()
    if name.partition(".")[0] not in known:  # hub addresses are no names
        raise UserError(f"timm {timm.__version__} has no network called {name!r}{suggest(name, known)}")
    config = timm.get_pretrained_cfg(name, allow_unregistered=True)

    def build(*, num_classes: int, in_channels: int) -> nn.Module:
        model: nn.Module = timm.create_model(name, pretrained=False, num_classes=num_classes, in_chans=in_channels)
        return model

    return _spec(f"timm:{name}", "timm", f"timm {timm.__version__}", config.input_size[-1] if config else 224, build)


def _factory_spec(place: str, what: str) -> ModelSpec:
    name = f"{place}:{what}"
    try:
        factory = getattr(import_module(place), what)
    except (ImportError, TypeError, ValueError) as error:  # TypeError: .module
        raise UserError(
            f"{name}: the module {place} cannot be imported: {error}\nRun depthwise where python can import it, e.g. "
            "with PYTHONPATH=. in front"
        ) from error
    except AttributeError as error:
        raise UserError(f"{name}: the module {place} has no {what!r}") from error
    parameters = inspect.signature(factory).parameters if callable(factory) else {}
    if not {"num_classes", "in_channels"} <= set(parameters):
        raise UserError(f"{name} is no function with parameters num_classes and in_channels that returns a network")
    return _spec(name, place, getattr(factory, "paper", ""), getattr(factory, "image_size", 224), factory)


def _spec(name: str, family: str, paper: str, image_size: int, builder: Callable[..., Any]) -> ModelSpec:
    return ModelSpec(
        name=name,
        family=family,
        paper=paper,
        url="",
        year=0,
        image_size=image_size,
        in_channels=3,
        num_classes=1000,
        params=0,
        macs=0,
        top1=None,
        witness="",
        is_fixed_size=False,
        builder=builder,
    )
