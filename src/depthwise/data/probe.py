"""What the pictures are like, from the headers of some of them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from depthwise.data.decode import read_header
from depthwise.data.index import Record
from depthwise.errors import UnusablePicture

MOST = 500


@dataclass(frozen=True)
class Probe:
    """Sizes and colour of a sample of pictures."""

    width: int
    """Median, px."""
    height: int
    """Median, px."""
    is_grey: bool
    """True when every one that was looked at is."""
    num_images: int
    shapes: tuple[float, float] = (1.0, 1.0)
    """Width over height, of which a tenth of the pictures have less and a tenth more."""

    @property
    def are_shapes_mixed(self) -> bool:
        """True when squashing them into a square distorts some twice as much as others."""
        return self.shapes[1] >= 2 * self.shapes[0]

    @property
    def image_size(self) -> int:
        """The input side that keeps what pictures show: the shorter median side; from 48 px on in multiples of 32."""
        short = min(self.width, self.height)
        return max(8, short) if short < 48 else round(short / 32) * 32

    @property
    def description(self) -> str:
        """One phrase for people."""
        return f"{self.width} x {self.height} px in the median, {'grey' if self.is_grey else 'in colour'}"


def probe(records: Sequence[Record]) -> Probe:
    """Look at up to 500 evenly spaced pictures; those that cannot be read are passed over."""
    step = max(1, -(-len(records) // MOST))
    headers = []
    for record in records[::step]:
        try:
            headers.append(read_header(record.path))
        except UnusablePicture:
            continue
    if not headers:
        return Probe(224, 224, False, 0)
    low, high = np.quantile([header.width / header.height for header in headers], (0.1, 0.9))
    return Probe(
        width=int(np.median([header.width for header in headers])),
        height=int(np.median([header.height for header in headers])),
        is_grey=all(header.is_grey for header in headers),
        num_images=len(headers),
        shapes=(float(low), float(high)),
    )
