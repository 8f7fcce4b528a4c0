"""Whether a JPEG that decodes without complaint has all its data.

libjpeg fills what is missing before an end marker with grey and only warns, and Pillow keeps that warning to itself:
half a photo with FF D9 behind it decodes as a photo. Markers and scans: ITU-T T.81, annexes B and G.
"""

import re
from collections.abc import Iterator
from io import BytesIO

import numpy as np
from PIL import Image

SOF_PROGRESSIVE, SOF_ARITHMETIC, SOS, EOI = 0xC2, (0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF), 0xDA, 0xD9
BARE = {0x01, *range(0xD0, 0xD9)}
"""Markers without a length: TEM, the restarts, the start of the image."""
END_OF_SCAN = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
"""In a scan FF 00 is a byte of data, FF D0 to FF D7 are restarts, and further FF are filling."""
RESTART = re.compile(rb"\xff[\xd0-\xd7]")
PADDINGS = tuple(bytes((37 * n + first) % 251 for n in range(256)) for first in (0xB6, 0x6D, 0xD5, 0x4B))
"""Data without FF. One alone may decode as the zeros that libjpeg fills in, or change nothing that shows."""
MAX_SURE = 65_536
"""Pixels up to which the data are always counted; decoding twice costs under a millisecond then."""
MAX_BYTES = 2**28


def is_cut(image: Image.Image, content: bytes, num_pixels: int, draft_size: tuple[int, int] | None = None) -> bool:
    """Return True when the decoded JPEG `image` of these bytes lacks data that its header promises.

    `num_pixels` says the header, more than `image` has if it was decoded as a draft for `draft_size`.

    A progressive one is cut when a scan is missing. Otherwise the picture is decoded again with other bytes before its
    end marker: only one that lacks data reads them and changes. Large pictures of one scan are spared that unless the
    last corner has the grey that libjpeg fills in; so a cut within their very last block stays unnoticed.
    """
    segments = list(_segments(content))
    kinds = {kind for kind, _, _ in segments}
    if kinds & {*SOF_ARITHMETIC}:  # its encoder may leave out what decodes as zeros
        return False
    scans = [content[start:end] for kind, start, end in segments if kind == SOS]
    if SOF_PROGRESSIVE in kinds and not _has_all_scans(scans):
        return True
    is_small = num_pixels <= MAX_SURE
    is_doubtful = is_small or len(scans) > 1 or _ends_grey(image)
    return (
        is_doubtful
        and EOI in kinds
        and _reads_more(image, content, segments, PADDINGS[: 4 if is_small else 1], draft_size)
    )


def _segments(content: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield (marker, start of its parameters, their end) up to the end marker, which is yielded with its place."""
    place = 2
    while 0 <= place < len(content) - 1:
        kind = content[place + 1]
        if content[place] != 0xFF or kind == 0xFF or kind in BARE:
            place += 1 if content[place] != 0xFF or kind == 0xFF else 2
            continue
        if kind == EOI:
            yield EOI, place, place
            return
        length = int.from_bytes(content[place + 2 : place + 4], "big")
        yield kind, place + 4, place + 2 + length
        place += 2 + max(2, length)
        if kind == SOS:
            found = END_OF_SCAN.search(content, place)
            place = found.start() if found else -1


def _has_all_scans(headers: list[bytes]) -> bool:
    """Return True when the scans bring every coefficient of every component to its last bit (T.81, G.1.1.1)."""
    missing: dict[int, set[int]] = {}
    for header in headers:
        if len(header) < 4 or len(header) < 4 + 2 * header[0]:
            return True  # not for us to say; libjpeg took it
        first, last, bits = header[-3:]
        for component in header[1 : 1 + 2 * header[0] : 2]:
            left = missing.setdefault(component, set(range(64)))
            if bits & 15 == 0:
                left -= set(range(first, last + 1))
    return not any(missing.values())


def _ends_grey(image: Image.Image) -> bool:
    corner = np.asarray(image.getpixel((image.width - 1, image.height - 1)), np.int64)
    return bool(((corner == 127) | (corner == 128)).all())


def _reads_more(
    image: Image.Image,
    content: bytes,
    segments: list[tuple[int, int, int]],
    paddings: tuple[bytes, ...],
    draft_size: tuple[int, int] | None,
) -> bool:
    """Return True when one of the paddings before the end marker changes the picture."""
    end = segments[-1][1]
    restarts = RESTART.findall(content, max(start for kind, start, _ in segments if kind == SOS), end)
    next_restart = bytes([0xFF, 0xD0 + (restarts[-1][1] + 1) % 8 if restarts else 0xD0])  # it may wait for this one
    pixels = np.asarray(image)
    for padding in paddings:
        more = BytesIO(content[:end] + padding + next_restart + padding + b"\xff\xd9")
        try:
            with Image.open(more, formats=("JPEG",)) as again:
                if draft_size:
                    again.draft(again.mode, draft_size)
                again.load()
                if not np.array_equal(pixels, np.asarray(again)):
                    return True
        except (OSError, SyntaxError, ValueError):
            return True
    return False
