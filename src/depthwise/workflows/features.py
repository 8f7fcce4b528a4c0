"""Features: what a network's head takes of each picture; computed once and kept in the user's cache folder.

Their last bits depend on machine, threads and the other pictures of their batch. All that is part of their name, so
what is taken from the folder is what would be computed.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from functools import cached_property, lru_cache
from itertools import takewhile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from depthwise.config import TrainConfig
from depthwise.console import Quiet
from depthwise.data.augment import Augmentation, augment, resolve
from depthwise.data.cache import Dataset
from depthwise.data.decode import Pixels
from depthwise.data.store import CannotStore, Store, Words, Work
from depthwise.files import digest_of_code
from depthwise.machine import processor
from depthwise.models.blocks import Network
from depthwise.workflows.run_record import PACKAGES, environment

BATCH = 32
"""Pictures that go through the network at once."""
WORDS = Words("features", "Computing", "computes", "computed")
CODE = ("data", "kernels", "models")
"""Folders of this package that have a part in what comes out."""


class View(NamedTuple):
    """How pictures are shown: as they are (number 0), or changed as in the epoch of that number."""

    number: int = 0
    seed: int = 0
    how: Augmentation = Augmentation()

    def of(self, dataset: Dataset, rows: NDArray[np.intp]) -> NDArray[np.uint8]:
        """Return these pictures as the network takes them, uint8 (B, S, S, C)."""
        if self.number == 0:
            return dataset.shown(rows)
        return augment(dataset.images, rows, dataset.ids[rows], self.seed, self.number, self.how, dataset.side)

    def describe(self) -> list[Any]:
        """Return plain values, equal where pixels are."""
        return [self.number, self.seed, asdict(self.how)]


def training_views(config: TrainConfig) -> list[View]:
    """Return the views that a run's epochs show in turn: the plain one first, and no more than there are epochs."""
    how = replace(resolve(config), augment_warmup=0.0)  # each view but the first is a changed one
    count = 1 if how.is_none else min(config.frozen_views, config.epochs)
    return [View(), *(View(number, config.seed, how) for number in range(1, count))]


@dataclass(frozen=True)
class Backbone:
    """A network up to its head, in evaluation mode."""

    model: Network
    normalise: nn.Module
    device: torch.device

    @torch.no_grad()
    def __call__(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return float32 (B, D) for uint8 (B, S, S, C)."""
        features = self.model.embed(self.normalise(torch.from_numpy(images).to(self.device)))
        found: NDArray[np.float32] = features.float().cpu().numpy()
        return found

    @property
    def num_features(self) -> int:
        """D."""
        assert isinstance(self.model.classifier, nn.Linear)  # check_can_freeze has seen to it
        return self.model.classifier.in_features

    @cached_property
    def digest(self) -> str:
        """SHA-256: equal where layers, weights, code, machine and threads are. The head has no part in it."""
        name = torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else processor()
        place = [self.device.type, name, torch.backends.cpu.get_cpu_capability(), torch.get_num_threads()]
        versions = [environment().get(package) for package in PACKAGES]
        code = [digest_of_code(Path(__file__).parents[1] / folder) for folder in CODE]
        digest = hashlib.sha256(json.dumps([BATCH, *place, *versions, *code]).encode())
        for part in (self.normalise, *_layers(self.model)):
            digest.update(repr(part).encode())
            for path, tensor in (*part.named_parameters(), *part.named_buffers()):
                digest.update(f"{path} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
                digest.update(tensor.detach().cpu().contiguous().numpy().data)
        return digest.hexdigest()


def _layers(model: Network) -> Iterator[nn.Module]:
    """Yield the children before the head."""
    children = takewhile(lambda child: child[0] != model.head_start, model.named_children())
    return (layer for name, layer in children if name not in model.beside)


def embed(
    backbone: Backbone, dataset: Dataset, console: Quiet, *, store: Store | None = None, view: View | None = None
) -> NDArray[Any]:
    """Return the features of all pictures of a data set, float32 (N, D): from the store, else computed and kept there.

    The bits are the same either way. Without a store, or when that has no room, they are kept in memory alone.
    """
    view = view or View()

    @lru_cache(maxsize=1)
    def compute(start: int) -> NDArray[np.float32]:
        return backbone(view.of(dataset, np.arange(start, min(start + BATCH, len(dataset)))))

    def read(row: int) -> Pixels:
        return compute(row - row % BATCH)[row % BATCH, :, None].view(np.uint8)

    if store:
        told = json.dumps([backbone.digest, *dataset.images.shape[1:], dataset.side, *view.describe()])
        kind = hashlib.sha256(told.encode()).hexdigest()[:16]
        work = Work(kind, _names(dataset), (backbone.num_features, 4), read, WORDS)
        try:
            return store.fetch(work, 0, console).images.view(np.float32)[..., 0]
        except CannotStore as error:
            console.warn(f"Features are kept for this run only: {error}")
    starts = range(0, len(dataset), BATCH)
    return np.concatenate([compute(start) for start in console.track(starts, len(starts), "Computing features")])


def _names(dataset: Dataset) -> list[str]:
    """Return 32 hexadecimal digits for each picture: of all pixels and ids in its batch, and its place there."""
    names: list[str] = []
    sums = dataset.picture_sums()
    for start in range(0, len(dataset), BATCH):
        part = slice(start, start + BATCH)
        batch = hashlib.sha256(sums[part].tobytes() + dataset.ids[part].tobytes())
        places = range(len(dataset.ids[part]))
        names += [hashlib.sha256(batch.digest() + bytes([place])).hexdigest()[:32] for place in places]
    return names
