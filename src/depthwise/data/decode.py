"""The only place where bytes become pixels: training, evaluation, prediction and serving all decode here.

JPEG, PNG, WebP, AVIF, GIF (first frame), BMP and TIFF, by content and not by ending. EXIF orientation is applied, 16
bits are scaled to 8, CMYK is converted, transparency is laid on white. A file ends as pixels or as exactly one
reason.
"""

import os
import stat
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, UnidentifiedImageError

from depthwise.data.jpeg import MAX_BYTES, is_cut
from depthwise.errors import UnusablePicture

Pixels = NDArray[np.uint8]
Channels = Literal[1, 3]

FORMATS = ("JPEG", "PNG", "WEBP", "AVIF", "GIF", "BMP", "TIFF")
SUFFIXES = frozenset(
    [
        ".jpg",
        ".jpeg",
        ".jpe",
        ".jfif",
        ".mpo",
        ".png",
        ".apng",
        ".webp",
        ".avif",
        ".gif",
        ".bmp",
        ".dib",
        ".tif",
        ".tiff",
        ".heic",
        ".heif",
        ".hif",
    ]
)
"""Endings (lower case) of files that are looked at in folders; any other file there is not taken for a picture."""

MAX_PIXELS = 50_000_000
REASONS = {
    "missing": "there is no such file",
    "not_a_file": "not a regular file",
    "unreadable": "the file cannot be read",
    "empty": "the file has zero bytes",
    "not_a_picture": "not a JPEG, PNG, WebP, AVIF, GIF, BMP or TIFF",
    "heic": "HEIC is not read; convert it to JPEG first (on an iPhone: Settings > Camera > Formats > Most Compatible)",
    "too_large": f"more than {MAX_PIXELS // 1_000_000} million pixels",
    "truncated": "the file ends before its picture does",
    "corrupt": "the picture's data are broken",
    "unsupported": "a kind of pixels that is not supported",
    "memory": "there is not enough memory to decode it; try --workers 1",
}
PASSING = ("missing", "not_a_file", "unreadable", "memory")
"""Reasons that say nothing of what a file holds: the next look may find another."""


Source = str | os.PathLike[str] | bytes
"""A picture's file: where it lies, or the bytes in it."""


class Header(NamedTuple):
    """What a file says of itself before its pixels are decoded."""

    width: int  # px, after EXIF orientation
    height: int  # px
    is_grey: bool


class Traits(NamedTuple):
    """What decode saw to; none of it keeps a picture from being used."""

    format: str  # one of FORMATS
    is_turned: bool  # EXIF says so
    is_animated: bool  # or of several pages
    is_16_bit: bool
    is_cmyk: bool
    has_alpha: bool


def decode(path: Source, channels: Channels = 3, at_least: int | None = None) -> Pixels:
    """Return the picture as uint8 (H, W, channels), upright; RGB order, grey by ITU-R 601 luma.

    With `at_least`, a JPEG may come out at 1/2, 1/4 or 1/8 of its size, no side below so many px: quicker, and not the
    pixels that shrinking it later would give. Raises UnusablePicture with one of REASONS.
    """
    return decode_with_traits(path, channels, at_least)[0]


def from_array(pixels: NDArray[Any], channels: Channels = 3) -> Pixels:
    """Return a picture that is decoded already, uint8 (H, W), (H, W, 1), (H, W, 3) or (H, W, 4), as `decode` would.

    Colours in RGB order (OpenCV's are BGR: turn them by `[:, :, ::-1]`), transparency last. Raises UnusablePicture.
    """
    if pixels.dtype != np.uint8 or pixels.ndim not in (2, 3) or (pixels.ndim == 3 and pixels.shape[2] not in (1, 3, 4)):
        raise UnusablePicture("not_a_picture", f"no pixels: {pixels.dtype} {pixels.shape} in place of uint8 (H, W, 3)")
    if not pixels.size:
        raise UnusablePicture("empty", f"no pixels: {pixels.shape}")
    if pixels.shape[0] * pixels.shape[1] > MAX_PIXELS:
        raise _unusable("too_large", f"{pixels.shape[1]} x {pixels.shape[0]} px")
    flat = pixels[:, :, 0] if pixels.shape[2:] == (1,) else pixels
    found = np.array(_converted(Image.fromarray(np.ascontiguousarray(flat)), channels), np.uint8)
    return found.reshape(*found.shape[:2], channels)


def decode_with_traits(path: Source, channels: Channels = 3, at_least: int | None = None) -> tuple[Pixels, Traits]:
    """Return what `decode` returns, and what it met. Raises UnusablePicture with one of REASONS."""
    image, traits = _decode(path, channels, at_least)
    pixels = np.array(image, np.uint8)
    return pixels.reshape(*pixels.shape[:2], channels), traits


def decode_image(path: Source, channels: Channels = 3, at_least: int | None = None) -> Image.Image:
    """Return what `decode` returns as Pillow holds it, mode L or RGB. Raises UnusablePicture with one of REASONS."""
    return _decode(path, channels, at_least)[0]


def _decode(path: Source, channels: Channels, at_least: int | None) -> tuple[Image.Image, Traits]:
    opened = _Opened(path)
    with opened as image:
        try:
            traits = _traits(image)
            num_pixels = image.width * image.height
            draft_size = (at_least, at_least) if at_least else None
            if draft_size:
                image.draft(image.mode, draft_size)
            image.load()
            if image.format == "PNG":  # its EXIF may stand behind its pixels
                traits = traits._replace(is_turned=_orientation(image) > 1)
            if image.format in ("JPEG", "MPO") and is_cut(image, opened.content(), num_pixels, draft_size):
                raise _unusable("truncated")
            return _converted(_upright(image), channels), traits
        except UnusablePicture:
            raise
        except Exception as error:  # decoders of hostile files raise nearly anything
            raise _broken(error) from error


def read_header(path: Source) -> Header:
    """Return size and kind from the file's header, without decoding its pixels. Raises UnusablePicture."""
    with _Opened(path) as image:
        width, height = image.size
        if _orientation(image) >= 5 and image.format != "TIFF":  # on its side; of a TIFF Pillow gives the upright size
            width, height = height, width
        return Header(width, height, image.mode in ("1", "L", "LA", "La", "I", "F") or image.mode.startswith("I;"))


class _Opened:
    """A context manager that opens a picture, its header checked, and closes it whatever happens."""

    def __init__(self, path: Source) -> None:
        self.path = path

    def __enter__(self) -> Image.Image:
        try:
            self.file: BinaryIO = BytesIO(self.path) if isinstance(self.path, bytes) else _open_regular(Path(self.path))
        except FileNotFoundError:
            raise _unusable("missing") from None
        except (OSError, ValueError) as error:
            raise _unusable("unreadable", getattr(error, "strerror", None) or str(error)) from error
        try:
            image = self._identify()
            if image.width * image.height > MAX_PIXELS:
                raise _unusable("too_large", f"{image.width} x {image.height} px")
        except BaseException:
            self.file.close()
            raise
        return image

    def _identify(self) -> Image.Image:
        try:
            return Image.open(self.file, formats=FORMATS)
        except UnidentifiedImageError:
            self.file.seek(0)
            start = self.file.read(16)
            if not start:
                raise _unusable("empty") from None
            if start[4:8] == b"ftyp" and start[8:12] in (b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1"):
                raise _unusable("heic") from None
            raise _unusable("not_a_picture") from None
        except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
            raise _unusable("too_large", str(error).split(" exceeds")[0].lower()) from None
        except Exception as error:
            raise _broken(error) from error

    def content(self) -> bytes:
        """Return the file's bytes, up to what a JPEG within our limits can have."""
        self.file.seek(0)
        return self.file.read(MAX_BYTES)

    def __exit__(self, *exc: object) -> None:
        self.file.close()


def _open_regular(path: Path) -> BinaryIO:
    """Open for reading what is a regular file; a pipe or a device could block for ever."""
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise _unusable("not_a_file")
    return open(path, "rb")


def _unusable(reason: str, detail: str = "") -> UnusablePicture:
    return UnusablePicture(reason, f"{REASONS[reason]} ({detail})" if detail else REASONS[reason])


def _broken(error: Exception) -> UnusablePicture:
    if isinstance(error, MemoryError):
        return _unusable("memory")
    text = str(error) or type(error).__name__
    is_cut = isinstance(error, EOFError) or "truncated" in text.lower()
    return _unusable("truncated" if is_cut else "corrupt", "" if is_cut else text.splitlines()[0][:120])


def _orientation(image: Image.Image) -> int:
    """Return EXIF's orientation, 1 to 8; 1 where there is none or the EXIF block is broken."""
    try:
        exif = Image.Image.getexif(image)  # a PNG's own getexif would decode its pixels
        value = exif.get(ExifTags.Base.Orientation, 1)
    except Exception:  # a broken EXIF block does not spoil the pixels
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _traits(image: Image.Image) -> Traits:
    """Return the traits of a picture whose pixels are not loaded yet."""
    kind = "JPEG" if image.format == "MPO" else image.format or ""
    try:
        is_animated = kind != "JPEG" and bool(getattr(image, "is_animated", False))
        image.seek(0)
    except Exception:  # a broken second frame does not spoil the first
        is_animated = True
    layout = str(getattr(image, "tile", ""))
    return Traits(
        format=kind,
        is_turned=kind != "PNG" and _orientation(image) > 1,
        is_animated=is_animated,
        is_16_bit=image.mode.startswith("I") or ";16" in layout,
        is_cmyk=image.mode == "CMYK",
        has_alpha=_has_alpha(image),
    )


def _has_alpha(image: Image.Image) -> bool:
    return image.mode in ("RGBA", "LA", "La", "RGBa", "PA") or "transparency" in image.info


_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def _upright(image: Image.Image) -> Image.Image:
    turn = _TURNS.get(_orientation(image))
    return image if turn is None else image.transpose(turn)


def _converted(image: Image.Image, channels: Channels) -> Image.Image:
    """Return the picture in mode L or RGB, from any mode that the formats have."""
    if image.mode.startswith("I;16"):
        image = _from_16_bits(np.asarray(image).astype(np.uint32))
    elif image.mode == "I":  # how some files of 16 bits arrive
        values = np.asarray(image)
        if values.min() < 0 or values.max() > 65535:
            raise _unusable("unsupported", "32-bit integers")
        image = _from_16_bits(values.astype(np.uint32))
    elif image.mode == "F":
        raise _unusable("unsupported", "floating-point pixels")
    if _has_alpha(image):
        image = _on_white(image)
    wanted = "L" if channels == 1 else "RGB"
    return image if image.mode == wanted else image.convert(wanted)


def _from_16_bits(values: NDArray[np.uint32]) -> Image.Image:
    return Image.fromarray(((values * 255 + 32767) // 65535).astype(np.uint8))


def _on_white(image: Image.Image) -> Image.Image:
    rgba = image.convert("RGBA")
    white = Image.new("RGBA", rgba.size, "white")
    return Image.alpha_composite(white, rgba).convert("RGB")
