"""The eight ways in which a square can lie: as it is, mirrored, turned by quarters; of pictures and of their hashes.

People make more of few photos by mirroring and turning them, and deal the copies out with the originals. A mirrored
picture's cosine coefficients are the picture's with the sign of every second one changed, a transposed one's are
transposed: so one transform gives the hashes of all eight.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image


class Form(NamedTuple):
    """How a picture is changed, in this order."""

    is_transposed: bool  # rows become columns
    is_mirrored: bool  # left to right
    is_flipped: bool  # top to bottom
    name: str


FORMS = (
    Form(False, False, False, ""),
    Form(False, True, False, "mirrored"),
    Form(False, False, True, "mirrored top to bottom"),
    Form(False, True, True, "turned by 180 degrees"),
    Form(True, False, False, "turned and mirrored"),
    Form(True, True, False, "turned by 90 degrees"),
    Form(True, False, True, "turned by 90 degrees"),
    Form(True, True, True, "turned and mirrored"),
)
"""The first leaves the picture as it is."""
BACK = (0, 1, 2, 3, 4, 6, 5, 7)
"""Which form undoes which."""


def coefficients(low: NDArray[np.float64]) -> Iterator[NDArray[np.float64]]:
    """Yield the cosine coefficients (N, N), rows by their frequency from top to bottom, of all forms but the first."""
    signs = (-1.0) ** np.arange(len(low))
    for form in FORMS[1:]:
        found = low.T if form.is_transposed else low
        found = found * signs if form.is_mirrored else found
        yield found * signs[:, None] if form.is_flipped else found


def turn(image: Image.Image, form: int) -> Image.Image:
    """Return the picture in one of FORMS."""
    wanted = FORMS[form]
    if wanted.is_transposed:
        image = image.transpose(Image.Transpose.TRANSPOSE)
    if wanted.is_mirrored:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return image.transpose(Image.Transpose.FLIP_TOP_BOTTOM) if wanted.is_flipped else image
