import os
import pickle
import struct
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageFile

from depthwise.data.decode import REASONS, Header, decode, decode_with_traits, read_header
from depthwise.errors import UnusablePicture

EXACT = {
    "JPEG": {"quality": 100, "subsampling": "4:4:4"},
    "PNG": {},
    "WEBP": {"lossless": True},
    "AVIF": {"quality": 100, "subsampling": "4:4:4"},
    "GIF": {},
    "BMP": {},
    "TIFF": {},
}
RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)
QUADRANTS = np.array([[RED, GREEN], [BLUE, WHITE]], np.uint8)


def blocks(values: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Make each pixel 8 x 8, so that lossy formats keep it."""
    return values.repeat(8, axis=0).repeat(8, axis=1)


def reason(path: Path | str, channels: int = 3) -> str:
    with pytest.raises(UnusablePicture) as caught:
        decode(path, channels)
    assert caught.value.detail.startswith(REASONS[caught.value.reason])
    return caught.value.reason


def encoded(pixels: NDArray[np.uint8], kind: str, **options: object) -> bytes:
    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, format=kind, **{**EXACT[kind], **options})
    return buffer.getvalue()


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_without_pixels(width: int, height: int) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = png_chunk(b"IHDR", header) + png_chunk(b"IDAT", b"") + png_chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


# What becomes pixels


@pytest.mark.parametrize("kind", EXACT)
def test_every_format_gives_its_colours(tmp_path, kind):
    path = tmp_path / "picture"
    path.write_bytes(encoded(blocks(QUADRANTS), kind))
    pixels = decode(path)
    assert pixels.shape == (16, 16, 3)
    assert pixels.dtype == np.uint8
    assert np.abs(pixels[4::8, 4::8].astype(int) - QUADRANTS).max() <= 3


@pytest.mark.parametrize("kind", EXACT)
def test_every_format_gives_its_size_from_the_header(tmp_path, kind):
    path = tmp_path / "picture"
    path.write_bytes(encoded(np.zeros((24, 16, 3), np.uint8), kind))
    assert read_header(path)[:2] == (16, 24)


def test_content_counts_and_not_the_ending(tmp_path):
    path = tmp_path / "picture.jpg"
    path.write_bytes(encoded(QUADRANTS, "PNG"))
    assert np.array_equal(decode(path), QUADRANTS)


def test_a_phone_s_multi_picture_jpeg_gives_its_first_picture(tmp_path):
    first, second = Image.new("RGB", (16, 16), RED), Image.new("RGB", (16, 16), BLUE)
    first.save(tmp_path / "a.jpg", format="MPO", save_all=True, append_images=[second])
    assert np.abs(decode(tmp_path / "a.jpg").astype(int) - RED).max() <= 3


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "TIFF", "PNG"])
def test_of_several_frames_the_first_is_taken(tmp_path, kind):
    frames = [Image.new("RGB", (16, 16), colour) for colour in (RED, BLUE)]
    frames[0].save(tmp_path / "a", format=kind, save_all=True, append_images=frames[1:], **EXACT[kind])
    assert np.array_equal(decode(tmp_path / "a"), np.full((16, 16, 3), RED))


LETTERS = "abcdef"  # greys 20, 60, 100, 140, 180, 220
UPRIGHT = {  # stored: abc over def
    1: "abc def",
    2: "cba fed",
    3: "fed cba",
    4: "def abc",
    5: "ad be cf",
    6: "da eb fc",
    7: "fc eb da",
    8: "cf be ad",
}


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "AVIF", "TIFF"])
@pytest.mark.parametrize("orientation", UPRIGHT)
def test_exif_orientation_is_applied_to_pixels_and_header(tmp_path, kind, orientation):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    stored = np.array([[20, 60, 100], [140, 180, 220]], np.uint8)
    path = tmp_path / "picture"
    path.write_bytes(encoded(blocks(stored)[:, :, None].repeat(3, axis=2), kind, exif=exif))

    levels = decode(path, 1)[4::8, 4::8, 0] // 40
    assert " ".join("".join(LETTERS[level] for level in row) for row in levels) == UPRIGHT[orientation]
    assert read_header(path)[:2] == ((24, 16) if orientation <= 4 else (16, 24))


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_an_orientation_that_does_not_exist_changes_nothing(tmp_path, orientation):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    (tmp_path / "a.png").write_bytes(encoded(QUADRANTS[:1], "PNG", exif=exif))
    assert np.array_equal(decode(tmp_path / "a.png"), QUADRANTS[:1])
    assert read_header(tmp_path / "a.png")[:2] == (2, 1)


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's, of broken EXIF
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("block", [b"garbage", b"MM\0*\0\0\0\x08\xff\xff", b"II*\0\xff\xff\xff\x7f", b""])
def test_a_broken_exif_block_does_not_spoil_the_pixels(tmp_path, kind, block):
    path, twin = tmp_path / "broken", tmp_path / "whole"
    path.write_bytes(encoded(blocks(QUADRANTS), kind, exif=b"Exif\0\0" + block))
    twin.write_bytes(encoded(blocks(QUADRANTS), kind))
    assert np.array_equal(decode(path), decode(twin))
    assert read_header(path) == Header(16, 16, is_grey=False)


def test_a_palette_is_looked_up(tmp_path):
    image = Image.new("P", (2, 1))
    image.putpalette([1, 2, 3, 200, 100, 50])
    image.putdata([0, 1])
    image.save(tmp_path / "a.png")
    assert decode(tmp_path / "a.png").tolist() == [[[1, 2, 3], [200, 100, 50]]]


@pytest.mark.parametrize("transparency", [1, b"\xff\x00"])
def test_a_transparent_entry_of_a_palette_becomes_white(tmp_path, transparency):
    image = Image.new("P", (2, 1))
    image.putpalette([1, 2, 3, 200, 100, 50])
    image.putdata([0, 1])
    image.save(tmp_path / "a.png", transparency=transparency)
    assert decode(tmp_path / "a.png").tolist() == [[[1, 2, 3], [255, 255, 255]]]


def test_a_transparent_gif_becomes_white(tmp_path):
    image = Image.new("P", (2, 1))
    image.putpalette([1, 2, 3, 200, 100, 50])
    image.putdata([0, 1])
    image.save(tmp_path / "a.gif", transparency=1)
    assert decode(tmp_path / "a.gif").tolist() == [[[1, 2, 3], [255, 255, 255]]]


@pytest.mark.parametrize(
    ("pixel", "expected"),
    [((100, 255), 100), ((100, 0), 255), ((100, 51), 224)],  # 51/255 = 0.2: 0.2 * 100 + 0.8 * 255 = 224
)
@pytest.mark.parametrize("channels", [1, 3])
def test_grey_with_alpha_lies_on_white(tmp_path, pixel, expected, channels):
    Image.new("LA", (3, 2), pixel).save(tmp_path / "a.png")
    assert decode(tmp_path / "a.png", channels).tolist() == np.full((2, 3, channels), expected).tolist()


@pytest.mark.parametrize(
    ("pixel", "expected"),
    [((10, 20, 30, 255), (10, 20, 30)), ((10, 20, 30, 0), WHITE), ((0, 100, 255, 51), (204, 224, 255))],
)
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
def test_colour_with_alpha_lies_on_white(tmp_path, pixel, expected, kind):
    Image.new("RGBA", (1, 1), pixel).save(tmp_path / "a", format=kind, **EXACT[kind])
    assert tuple(decode(tmp_path / "a")[0, 0]) == expected


def test_the_transparent_colour_of_a_png_without_alpha_becomes_white(tmp_path):
    Image.fromarray(QUADRANTS).save(tmp_path / "a.png", transparency=BLUE)
    assert decode(tmp_path / "a.png").tolist() == [[list(RED), list(GREEN)], [list(WHITE), list(WHITE)]]


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "BMP"])
def test_one_bit_pictures_are_black_and_white(tmp_path, kind):
    Image.fromarray(np.array([[True, False]])).save(tmp_path / "a", format=kind)
    assert decode(tmp_path / "a", 1).tolist() == [[[255], [0]]]


@pytest.mark.parametrize(
    ("ink", "expected"), [((0, 255, 255, 0), RED), ((255, 0, 255, 0), GREEN), ((0, 0, 0, 255), (0, 0, 0))]
)
@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_cmyk_is_converted(tmp_path, kind, ink, expected):
    Image.new("CMYK", (16, 16), ink).save(tmp_path / "a", format=kind)
    assert np.abs(decode(tmp_path / "a").astype(int) - expected).max() <= 3


def test_grey_of_colour_is_luma(tmp_path):
    Image.fromarray(QUADRANTS).save(tmp_path / "a.png")
    pixels = decode(tmp_path / "a.png", 1)
    assert pixels.tolist() == [[[76], [150]], [[29], [255]]]  # 0.299, 0.587, 0.114 of 255


def test_a_grey_picture_in_three_channels_repeats_itself(tmp_path):
    Image.fromarray(np.array([[7, 200]], np.uint8)).save(tmp_path / "a.png")
    assert decode(tmp_path / "a.png").tolist() == [[[7, 7, 7], [200, 200, 200]]]


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_16_bits_are_scaled_and_rounded(tmp_path, kind):
    values = np.array([[0, 128, 129, 257], [32767, 32768, 65406, 65535]], np.uint16)
    Image.fromarray(values).save(tmp_path / "a", format=kind)
    # v / 257: 0.498, 0.502, 1 ... 127.498, 127.502, 254.498
    assert decode(tmp_path / "a", 1)[:, :, 0].tolist() == [[0, 0, 1, 1], [127, 128, 254, 255]]
    assert read_header(tmp_path / "a").is_grey


def test_16_bit_png_equals_its_8_bit_twin(tmp_path):
    deep = np.arange(0, 65536, 16, dtype=np.uint16).reshape(64, 64)
    Image.fromarray(deep).save(tmp_path / "deep.png")
    Image.fromarray((deep >> 8).astype(np.uint8)).save(tmp_path / "twin.png")
    difference = decode(tmp_path / "deep.png").astype(int) - decode(tmp_path / "twin.png")
    assert np.abs(difference).max() <= 1


def test_16_bit_tiff_of_the_other_byte_order_is_read_too(tmp_path):
    values = np.array([[0, 257, 65535]], ">u2")
    fields = [
        (256, 3),
        (257, 1),
        (258, 16),
        (259, 1),
        (262, 1),
        (277, 1),
        (278, 1),
    ]  # sizes, bits, no compression, grey
    entries = [struct.pack(">HHIHH", tag, 3, 1, value, 0) for tag, value in fields]
    entries[5:5] = [struct.pack(">HHII", 273, 4, 1, 8)]
    entries.append(struct.pack(">HHII", 279, 4, 1, 6))
    content = b"MM\0*" + struct.pack(">I", 14) + values.tobytes() + struct.pack(">H", len(entries)) + b"".join(entries)
    (tmp_path / "a.tif").write_bytes(content + b"\0\0\0\0")
    assert decode(tmp_path / "a.tif", 1).tolist() == [[[0], [1], [255]]]


def test_32_bit_integers_are_taken_for_16_where_they_fit(tmp_path):
    Image.fromarray(np.array([[0, 257, 65535]], np.int32)).save(tmp_path / "a.tif")
    assert decode(tmp_path / "a.tif", 1).tolist() == [[[0], [1], [255]]]


@pytest.mark.parametrize("name", ["mein Bild.png", "Überraschung süß.png", "照片 一.png", "a'b&c;d%20#.png"])
def test_any_name_is_read(tmp_path, name):
    Image.fromarray(QUADRANTS).save(tmp_path / name)
    assert np.array_equal(decode(str(tmp_path / name)), QUADRANTS)


@pytest.mark.parametrize(
    ("mode", "is_grey"), [("1", True), ("L", True), ("LA", True), ("RGB", False), ("RGBA", False), ("P", False)]
)
def test_the_header_says_whether_a_picture_is_grey(tmp_path, mode, is_grey):
    Image.new(mode, (3, 2)).save(tmp_path / "a.png")
    assert read_header(tmp_path / "a.png") == Header(3, 2, is_grey)


@pytest.mark.parametrize("kind", EXACT)
def test_reading_the_header_decodes_no_pixels(tmp_path, kind, monkeypatch):
    (tmp_path / "a").write_bytes(encoded(QUADRANTS, kind))
    loads = []

    def load(image: ImageFile.ImageFile) -> None:
        loads.append(image)

    monkeypatch.setattr(ImageFile.ImageFile, "load", load)
    read_header(tmp_path / "a")
    assert not loads


# What does not


@pytest.mark.parametrize(
    "content", [b"<!DOCTYPE html><html>404</html>", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"%PDF-1.7", b"\0" * 100]
)
@pytest.mark.parametrize("read", [decode, read_header])
def test_something_else_under_a_picture_s_name_is_not_a_picture(tmp_path, content, read):
    (tmp_path / "a.jpg").write_bytes(content)
    with pytest.raises(UnusablePicture, match="not_a_picture: not a JPEG, PNG, WebP, AVIF, GIF, BMP or TIFF"):
        read(tmp_path / "a.jpg")


def test_a_format_that_pillow_knows_and_we_do_not_is_not_a_picture(tmp_path):
    Image.fromarray(QUADRANTS).save(tmp_path / "a.png", format="PPM")
    assert reason(tmp_path / "a.png") == "not_a_picture"


def test_a_file_of_zero_bytes_is_empty(tmp_path):
    (tmp_path / "a.jpg").touch()
    with pytest.raises(UnusablePicture, match="empty: the file has zero bytes"):
        decode(tmp_path / "a.jpg")


@pytest.mark.parametrize("brand", [b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1"])
def test_heic_is_told_from_other_files_and_has_a_remedy(tmp_path, brand):
    (tmp_path / "a.heic").write_bytes(b"\0\0\0\x18ftyp" + brand + b"\0\0\0\0mif1heic" + b"\0" * 100)
    with pytest.raises(UnusablePicture, match=r"heic: HEIC is not read; convert it to JPEG first .*Most Compatible"):
        decode(tmp_path / "a.heic")


@pytest.mark.parametrize("share", [0.5, 0.7, 0.9, 0.99])
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_a_cut_picture_is_truncated(tmp_path, kind, share):
    content = encoded(np.random.default_rng(0).integers(0, 256, (40, 30, 3), np.uint8), kind)
    (tmp_path / "a").write_bytes(content[: int(share * len(content))])
    with pytest.raises(UnusablePicture, match="truncated: the file ends before its picture does"):
        decode(tmp_path / "a")


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's, of broken TIFF tags
@pytest.mark.parametrize("kind", EXACT)
def test_wherever_a_file_is_cut_no_wrong_pixels_come_out(tmp_path, kind):
    content = encoded(np.random.default_rng(0).integers(0, 256, (20, 15, 3), np.uint8), kind)
    path = tmp_path / "a"
    path.write_bytes(content)
    whole = decode(path)
    for length in [*range(0, len(content), 17), *range(len(content) - 16, len(content))]:
        path.write_bytes(content[:length])
        try:
            pixels = decode(path)
        except UnusablePicture as error:
            assert error.reason in ("empty", "not_a_picture", "truncated", "corrupt")
        else:
            assert np.array_equal(pixels, whole), f"cut at {length} of {len(content)} bytes"


def test_a_png_with_broken_data_is_corrupt_and_says_what_is_wrong(tmp_path):
    content = encoded(np.zeros((40, 30, 3), np.uint8), "PNG")
    start = content.index(b"IDAT") + 4
    (tmp_path / "a.png").write_bytes(content[:start] + b"\xff" * 8 + content[start + 8 :])
    with pytest.raises(UnusablePicture, match=r"corrupt: the picture's data are broken \(.+\)"):
        decode(tmp_path / "a.png")


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")  # as the command line does not turn it on
@pytest.mark.parametrize("size", [(10_000, 5_001), (10_000, 10_000), (30_000, 30_000)])
@pytest.mark.parametrize("read", [decode, read_header])
def test_a_header_that_claims_too_many_pixels_is_refused_without_decoding(tmp_path, size, read):
    (tmp_path / "a.png").write_bytes(png_without_pixels(*size))
    with pytest.raises(UnusablePicture, match="too_large: more than 50 million pixels"):
        read(tmp_path / "a.png")


def test_exactly_50_million_pixels_are_not_too_many(tmp_path):
    (tmp_path / "a.png").write_bytes(png_without_pixels(10_000, 5_000))
    assert read_header(tmp_path / "a.png") == Header(10_000, 5_000, is_grey=False)


def test_the_size_that_was_too_large_is_told(tmp_path):
    (tmp_path / "a.png").write_bytes(png_without_pixels(8_000, 7_000))
    with pytest.raises(UnusablePicture, match=r"8000 x 7000 px"):
        decode(tmp_path / "a.png")


@pytest.mark.parametrize("value", [-1, 65536, 2**30])
def test_32_bit_integers_outside_16_bits_are_unsupported(tmp_path, value):
    Image.fromarray(np.array([[0, value]], np.int32)).save(tmp_path / "a.tif")
    with pytest.raises(UnusablePicture, match=r"unsupported: a kind of pixels .* \(32-bit integers\)"):
        decode(tmp_path / "a.tif")


def test_floating_point_pixels_are_unsupported(tmp_path):
    Image.fromarray(np.array([[0, 0.5]], np.float32)).save(tmp_path / "a.tif")
    with pytest.raises(UnusablePicture, match=r"unsupported: a kind of pixels .* \(floating-point pixels\)"):
        decode(tmp_path / "a.tif")


@pytest.mark.parametrize("read", [decode, read_header])
def test_a_missing_file_is_missing(tmp_path, read):
    with pytest.raises(UnusablePicture, match="missing: there is no such file"):
        read(tmp_path / "a.jpg")


def test_a_link_to_nowhere_is_missing(tmp_path):
    (tmp_path / "a.jpg").symlink_to(tmp_path / "gone.jpg")
    assert reason(tmp_path / "a.jpg") == "missing"


@pytest.mark.parametrize("read", [decode, read_header])
def test_a_folder_is_not_a_file(tmp_path, read):
    with pytest.raises(UnusablePicture, match="not_a_file: not a regular file"):
        read(tmp_path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.jpg")
    assert reason(tmp_path / "a.jpg") == "not_a_file"


def test_a_file_that_may_not_be_opened_is_unreadable(tmp_path, monkeypatch):
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    (tmp_path / "a.jpg").write_bytes(encoded(QUADRANTS, "JPEG"))
    monkeypatch.setattr("builtins.open", refuse)
    with pytest.raises(UnusablePicture, match=r"unreadable: the file cannot be read \(Permission denied\)"):
        decode(tmp_path / "a.jpg")


def test_a_name_that_no_file_can_have_is_unreadable():
    assert reason("a\0b.jpg") == "unreadable"


@pytest.mark.parametrize("content", [b"GIF89a nonsense", b"<html>", encoded(blocks(QUADRANTS), "JPEG")[:400]])
def test_the_file_is_closed_after_a_failure(tmp_path, content, monkeypatch):
    opened = []
    real_open = open
    monkeypatch.setattr("builtins.open", lambda *args: opened.append(real_open(*args)) or opened[-1])
    (tmp_path / "a").write_bytes(content)
    reason(tmp_path / "a")
    assert [file.closed for file in opened] == [True]


def test_the_reason_survives_the_way_between_processes():
    error = pickle.loads(pickle.dumps(UnusablePicture("corrupt", "broken")))
    assert (error.reason, error.detail, str(error)) == ("corrupt", "broken", "corrupt: broken")


def test_a_png_s_orientation_behind_its_pixels_counts(tmp_path):
    """Some programs write the eXIf chunk at the end, as PNG's third edition allows."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    early, late = tmp_path / "early.png", tmp_path / "late.png"
    content = encoded(QUADRANTS[:1], "PNG", exif=exif)
    early.write_bytes(content)
    start = content.index(b"eXIf") - 4
    chunk = content[start : start + 12 + int.from_bytes(content[start : start + 4], "big")]
    end = content.index(b"IEND") - 4
    late.write_bytes(content[:start] + content[start + len(chunk) : end] + chunk + content[end:])
    for path in (early, late):
        pixels, traits = decode_with_traits(path)
        assert traits.is_turned
        assert pixels.shape == (2, 1, 3)
    assert np.array_equal(decode(early), decode(late))
