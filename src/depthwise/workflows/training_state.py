"""The state that training starts from: a network, its optimiser, its average; fresh, taken over, or a checkpoint's."""

from copy import deepcopy
from dataclasses import replace
from functools import partial

import torch
from torch import nn

from depthwise.artifact import Card
from depthwise.config import TrainConfig
from depthwise.console import Quiet
from depthwise.data.augment import without_changes
from depthwise.data.store import Store
from depthwise.models.blocks import Network
from depthwise.models.create import rebuild
from depthwise.models.foreign import is_code
from depthwise.models.normalise import Normalise
from depthwise.training.compute import Method, prepare
from depthwise.training.distributed import Group
from depthwise.training.optim import build_optimizer
from depthwise.training.stages import describe_frozen
from depthwise.training.state import TrainState
from depthwise.workflows.features import Backbone, embed, training_views
from depthwise.workflows.frozen import freeze
from depthwise.workflows.training_data import TrainingPictures, shown_as
from depthwise.workflows.training_start import Plan
from depthwise.workflows.warm_start import take_over

SMALL_PART = 16
"""Pictures per process below which batch norm is computed over all processes, on GPUs."""


def build_state(
    start: Plan, card: Card, config: TrainConfig, place: torch.device, group: Group, console: Quiet
) -> TrainState:
    """Return the state where `start` begins, the same in all processes. Draws from torch's global generator."""
    torch.manual_seed(config.seed)
    model = rebuild(card.model, len(card.classes), card.geometry.channels, card.small_input, card.options)
    if start.donor:
        console.say(take_over(model, card.classes, start.donor))
    if config.num_frozen_stages:
        console.say(describe_frozen(model, config))
    if place.type == "cuda" and group.size > 1 and config.batch_size < SMALL_PART * group.size * config.accumulate:
        model = nn.SyncBatchNorm.convert_sync_batchnorm(model, group.steps)  # type: ignore[no-untyped-call]
    model = prepare(model, Method.from_json(card.training["compute"]), place)
    average = deepcopy(model) if config.ema else None
    state = TrainState(model, build_optimizer(model, config), average)
    if start.tensors is not None:
        state.restore(start.tensors, start.position)
    for network in state.networks.values():  # equal seeds draw equal weights on equal machines only
        group.copy_first(list(network.state_dict().values()))
    return state


def what_learns(
    state: TrainState,
    card: Card,
    pictures: TrainingPictures,
    config: TrainConfig,
    place: torch.device,
    console: Quiet,
    store: Store | None = None,
) -> tuple[TrainingPictures, TrainConfig, nn.Module]:
    """Return pictures, configuration and normalisation as the loop takes them.

    With --freeze backbone that is what the last layer takes, computed once or taken from `store`; other layers are left
    out from here on.
    """
    normalise: nn.Module = Normalise(card.geometry.mean, card.geometry.std).to(place)
    config = shown_as(config, card.training)
    if config.freeze != "backbone":
        return pictures, config, normalise
    assert isinstance(state.model, Network)  # check_can_freeze has seen to it
    state.model.eval()
    backbone = Backbone(state.model, normalise, place)
    embedding = partial(embed, backbone, console=console, store=None if is_code(card.model) else store)
    images, *views = (embedding(pictures.training, view=view) for view in training_views(config))
    training = replace(pictures.training, images=images, views=tuple(views), image_size=0)
    valid = replace(pictures.valid, images=embedding(pictures.valid), image_size=0)
    for network in state.networks.values():
        freeze(network)
    config = replace(without_changes(config), progressive=0, keep_statistics=True)
    return replace(pictures, training=training, valid=valid), config, nn.Identity()
