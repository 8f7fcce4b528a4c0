"""Whether pictures keep their class in a mirror: clothes and photos of things do, letters, digits and arrows do not.

Asked of the pictures themselves: of a sample, each picture and its mirror image look for the picture most like them
among the others, on 16 x 16 px. Where that has the picture's class much more rarely for mirror images, a network that
is shown them learns what is never asked.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

MOST = 2000
"""Pictures that are looked at, from all over their order."""
SIDE = 16
"""Of what is compared, px."""
FEWEST = 30
"""Pictures that must lose their class in the mirror before anything is made of it."""
TELLS = 0.3
"""Share of pictures beyond chance whose class likeness must tell: that of photos of everyday things tells little."""
KEPT = 0.5
"""Share of what likeness tells beyond chance that must be left in the mirror."""


class Mirrored(NamedTuple):
    """How often the most similar other picture has a picture's class."""

    num_images: int
    plain: float
    mirrored: float
    """The same for pictures' mirror images."""
    chance: float
    """How often a picture that is drawn at random has it."""

    @property
    def keeps_class(self) -> bool:
        """True unless many mirror images look like other classes."""
        if (self.plain - self.mirrored) * self.num_images < FEWEST or self.plain - self.chance < TELLS:
            return True
        return self.mirrored - self.chance >= KEPT * (self.plain - self.chance)


def mirrored_likeness(pictures: NDArray[np.uint8], labels: NDArray[np.int64]) -> Mirrored:
    """Compare pictures, uint8 (N, S, S, C), and their mirror images with the others; `labels` are classes' numbers."""
    rows = np.unique(np.linspace(0, len(pictures) - 1, min(MOST, len(pictures))).astype(np.intp))
    small, classes = np.stack([_shrink(pictures[row]) for row in rows]), labels[rows]
    plain, mirrored = (_share(_unit(queries), _unit(small), classes) for queries in (small, small[:, :, ::-1]))
    shares = np.unique(classes, return_counts=True)[1] / len(rows)
    return Mirrored(len(rows), plain, mirrored, float((shares**2).sum()))


def _shrink(picture: NDArray[np.uint8]) -> NDArray[np.float32]:
    image = Image.fromarray(picture[:, :, 0] if picture.shape[2] == 1 else picture)
    shrunk = np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BOX), np.float32)
    return shrunk.reshape(SIDE, SIDE, -1)


def _unit(small: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return rows without mean, of length 1: products do not depend on light and contrast."""
    rows = small.reshape(len(small), -1)
    rows = rows - rows.mean(axis=1, keepdims=True)
    unit: NDArray[np.float32] = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-6)
    return unit


def _share(queries: NDArray[np.float32], others: NDArray[np.float32], classes: NDArray[np.int64]) -> float:
    likeness = queries @ others.T
    np.fill_diagonal(likeness, -np.inf)  # nor is a picture asked about its own mirror image
    return float((classes[likeness.argmax(axis=1)] == classes).mean())
