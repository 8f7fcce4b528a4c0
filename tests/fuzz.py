"""Broken files by the thousand: each must end as pixels or as exactly one reason.

python tests/fuzz.py --files 100000    # what `make fuzz` runs; prints counts, the slowest file and the memory's growth
"""

import argparse
import json
import os
import struct
import sys
import tempfile
import time
import warnings
import zlib
from collections import Counter
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, PngImagePlugin

from depthwise.data.decode import REASONS, decode
from depthwise.errors import UnusablePicture

KINDS = {
    "jpg": ("JPEG", {}),
    "progressive.jpg": ("JPEG", {"progressive": True}),
    "png": ("PNG", {}),
    "webp": ("WEBP", {}),
    "lossless.webp": ("WEBP", {"lossless": True}),
    "avif": ("AVIF", {"speed": 10}),
    "gif": ("GIF", {}),
    "bmp": ("BMP", {}),
    "tif": ("TIFF", {}),
    "lzw.tif": ("TIFF", {"compression": "tiff_lzw"}),
    "jpeg.tif": ("TIFF", {"compression": "jpeg"}),
}
SIZES = ((1, 40), (40, 1), (33, 17), (64, 48))
MODES = {"GIF": ("P", "L"), "JPEG": ("RGB", "L", "CMYK"), "TIFF": ("RGB", "L"), "PNG": ("RGB", "RGBA", "LA", "P", "1")}


def seeds(rng: np.random.Generator) -> list[tuple[str, bytes]]:
    """Whole pictures of every kind, in several modes and all eight EXIF orientations."""
    made = []
    for suffix, (form, options) in KINDS.items():
        for number, size in enumerate(SIZES):
            smooth = np.linspace(0, 200, size[0] * size[1]).reshape(size[1], size[0], 1)
            pixels = (smooth + rng.integers(0, 56, (size[1], size[0], 3))).astype(np.uint8)
            modes = MODES.get(form, ("RGB",))
            exif = Image.Exif()
            exif[ExifTags.Base.Orientation] = 1 + (len(made) + number) % 8
            more = {"exif": exif} if form in ("JPEG", "PNG", "WEBP", "AVIF") else {}
            image = Image.fromarray(pixels).convert("L" if "jpeg" in options.values() else modes[number % len(modes)])
            buffer = BytesIO()
            image.save(buffer, form, **options, **more)
            made.append((suffix, buffer.getvalue()))
    return made


def flipped(content: bytes, rng: np.random.Generator) -> bytes:
    """1 to 16 bytes are others, more often near the start, where the headers are."""
    changed = bytearray(content)
    for _ in range(rng.integers(1, 17)):
        room = max(1, len(content) - 12)  # past the signature, or most would be no pictures at all
        place = (12 + int(room * rng.random() ** 2)) % len(content)
        changed[place] = rng.integers(256) if rng.random() < 0.7 else (0, 255, 127, 128)[rng.integers(4)]
    return bytes(changed)


def cut(content: bytes, rng: np.random.Generator) -> bytes:
    """The first so many percent; half of them with the format's end behind them."""
    end = {b"\xff\xd8": b"\xff\xd9", b"\x89P": b"\0\0\0\0IEND\xaeB`\x82", b"GI": b";"}.get(content[:2], b"")
    return content[: len(content) * int(rng.integers(1, 100)) // 100] + end * int(rng.integers(2))


def spliced(content: bytes, rng: np.random.Generator) -> bytes:
    """A piece is missing, doubled, or zeros."""
    start, stop = sorted(int(place) for place in rng.integers(0, len(content), 2))
    middle = (b"", content[start:stop] * 2, bytes(stop - start))[rng.integers(3)]
    return content[:start] + middle + content[stop:]


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def bombs() -> list[tuple[str, bytes]]:
    """Small files that promise, or unpack to, much more than they hold."""
    header = struct.pack(">IIBBBBB", 4, 4, 8, 2, 0, 0, 0)
    start = b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header)
    rows = zlib.compress((b"\0" + bytes(12)) * 4)
    zeros = zlib.compress(bytes(64 * 2**20), 9)
    end = png_chunk(b"IEND", b"")
    texts = PngImagePlugin.PngInfo()
    texts.add_text("a", "b" * 1_000_000, zip=True)
    buffer = BytesIO()
    Image.new("RGB", (4, 4)).save(buffer, "PNG", pnginfo=texts)
    huge = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
    gif = (
        b"GIF89a"
        + struct.pack("<HH", 65535, 65535)
        + b"\0\0\0,\0\0\0\0"
        + struct.pack("<HH", 65535, 65535)
        + b"\0\2\0;"
    )
    return [
        ("text.png", start + png_chunk(b"zTXt", b"a\0\0" + zeros) + png_chunk(b"IDAT", rows) + end),
        ("international.png", start + png_chunk(b"iTXt", b"a\0\1\0\0\0" + zeros) + png_chunk(b"IDAT", rows) + end),
        ("profile.png", start + png_chunk(b"iCCP", b"a\0\0" + zeros) + png_chunk(b"IDAT", rows) + end),
        ("zip.png", start + png_chunk(b"IDAT", zeros) + end),
        ("long text.png", buffer.getvalue()),
        ("huge.png", b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", huge) + png_chunk(b"IDAT", rows) + end),
        ("huge.gif", gif),
    ]


def places(folder: Path) -> list[Path]:
    """What is no regular file, or may not be read: a pipe, loops of links, a folder, a file without permission."""
    folder.mkdir()
    (folder / "loop.jpg").symlink_to(folder / "pool.jpg")
    (folder / "pool.jpg").symlink_to(folder / "loop.jpg")
    (folder / "self.png").symlink_to(folder / "self.png")
    (folder / "gone.png").symlink_to(folder / "nowhere")
    (folder / "folder.png").mkdir()
    os.mkfifo(folder / "pipe.png")
    (folder / "closed.png").write_bytes(b"")
    (folder / "closed.png").chmod(0)
    return sorted(folder.iterdir())


def corpus(folder: Path, number: int, seed: int = 0) -> Iterator[Path]:
    """Yield `number` files, one after the other under the same few names, and the special places and bombs first."""
    rng = np.random.default_rng(seed)
    yield from places(folder / "places")
    whole = seeds(rng)
    fixed = [*bombs(), *whole, ("empty.jpg", b""), ("byte.png", b"\x89")]
    for count in range(max(0, number - 7)):
        if count < len(fixed):
            suffix, content = fixed[count]
        else:
            suffix, content = whole[rng.integers(len(whole))]
            for change in rng.permutation([flipped, cut, spliced])[: 1 + int(rng.random() < 0.2)]:
                content = change(content, rng) or b"\0"
        path = folder / f"file.{suffix.replace(' ', '-')}"
        path.write_bytes(content)
        yield path


def outcome(path: Path) -> str:
    """'pixels' or the reason; anything else than those is raised."""
    try:
        pixels = decode(path)
    except UnusablePicture as error:
        assert error.reason in REASONS
        return error.reason
    assert pixels.dtype == np.uint8
    assert pixels.ndim == 3
    assert pixels.shape[2] == 3
    assert pixels.size
    return "pixels"


def memory_mib() -> float:
    """What the process holds now; what one large picture needed for a moment is no growth."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore", module="PIL")
    counts: Counter[str] = Counter()
    slowest, slowest_s, crashes, before = "", 0.0, 0, 0.0
    with tempfile.TemporaryDirectory() as folder:
        for number, path in enumerate(corpus(Path(folder), arguments.files, arguments.seed)):
            started = time.monotonic()
            try:
                counts[outcome(path)] += 1
            except Exception as error:
                crashes += 1
                print(f"file {number}, {path.name}: {error!r}", file=sys.stderr)
            took = time.monotonic() - started
            if took > slowest_s:
                slowest, slowest_s = f"{number}, {path.name}", took
            if number == 1000:
                before = memory_mib()  # every kind of file has been met: what grows from here on is a leak
    report = {"files": sum(counts.values()), "crashes": crashes, "slowest_s": round(slowest_s, 3), "slowest": slowest}
    report |= {"memory_growth_mib": round(memory_mib() - before, 1), "outcomes": dict(counts.most_common())}
    print(json.dumps(report, indent=1))
    sys.exit(bool(crashes or slowest_s > 2 or memory_mib() - before > 50))


if __name__ == "__main__":
    main()
