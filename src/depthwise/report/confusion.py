"""The confusion matrix for people: a table where there are few classes, else a picture and the most confused pairs."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from depthwise.report.thumbnails import exact

MOST_IN_TABLE = 20
"""Classes up to which every count is written."""
MOST_PAIRS = 15
MOST_TICKS = 10
RIGHT, WRONG = (42, 108, 181), (214, 96, 0)
"""Colours that can be told apart by everybody, on light and on dark paper."""


class Cell(NamedTuple):
    """One count."""

    photos: int
    share: float  # of its row's photos
    is_right: bool


class Tick(NamedTuple):
    """A class's number along the sides of the picture."""

    number: int  # from 1 on
    place: float  # in percent of the side


class Pair(NamedTuple):
    """One class taken for another."""

    label: str
    answer: str
    photos: int
    share: float  # of the class's photos


def cells(confusion: NDArray[np.int64]) -> list[list[Cell]]:
    """Return the counts row by row (true class by answer)."""
    shares = row_shares(confusion)
    return [
        [Cell(int(number), float(shares[i, j]), i == j) for j, number in enumerate(row)]
        for i, row in enumerate(confusion)
    ]


def row_shares(confusion: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return counts as shares of their row's photos; 0 where it has none."""
    shares: NDArray[np.float64] = confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    return shares


def most_confused(confusion: NDArray[np.int64], classes: Sequence[str]) -> list[Pair]:
    """Return the most frequent mistakes, at most MOST_PAIRS."""
    wrong, shares = confusion - np.diag(confusion.diagonal()), row_shares(confusion)
    order = np.argsort(-wrong, axis=None, kind="stable")[:MOST_PAIRS]
    places = [divmod(int(place), len(classes)) for place in order]
    return [Pair(classes[i], classes[j], int(wrong[i, j]), float(shares[i, j])) for i, j in places if wrong[i, j]]


def ticks(num_classes: int) -> list[Tick]:
    """Return at most MOST_TICKS classes in even steps of 5, 10, 20, 50, ... whose numbers help to find the others."""
    steps = (factor * 10**power for power in range(9) for factor in (1, 2, 5))
    step = next(step for step in steps if step >= 5 and num_classes / step <= MOST_TICKS)
    return [Tick(number, 100 * (number - 0.5) / num_classes) for number in range(step, num_classes + 1, step)]


def heat_map(confusion: NDArray[np.int64]) -> str:
    """Return a picture with a point per pair of classes as a data address; nothing is clear, all of a row opaque.

    By the root of the share, so that a single photo of many is seen, too.
    """
    strength = np.sqrt(row_shares(confusion))
    pixels = np.zeros((*confusion.shape, 4), np.uint8)
    is_right = np.eye(len(confusion), dtype=bool)
    pixels[..., :3] = np.where(is_right[..., None], RIGHT, WRONG)
    pixels[..., 3] = np.round(255 * np.where(confusion > 0, np.maximum(strength, 0.4), 0))
    return exact(Image.fromarray(pixels, "RGBA"))


def table_values(confusion: NDArray[np.int64], classes: Sequence[str]) -> dict[str, Any]:
    """Return what the template needs."""
    is_small = len(classes) <= MOST_IN_TABLE
    return {
        "cells": cells(confusion) if is_small else None,
        "map": "" if is_small else heat_map(confusion),
        "ticks": ticks(len(classes)),
        "pairs": most_confused(confusion, classes),
        "num_mistakes": int(confusion.sum() - confusion.diagonal().sum()),
    }
