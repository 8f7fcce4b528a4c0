"""A JPEG whose data end early is found, whatever stands behind the cut; a whole one never is."""

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from depthwise.data import jpeg
from depthwise.data.decode import decode
from depthwise.errors import UnusablePicture

CHELSEA = Path(__file__).parents[1] / "photos" / "chelsea.jpg"
END = b"\xff\xd9"
ENCODERS = [
    {"progressive": progressive, "subsampling": subsampling, **more}
    for progressive in (False, True)
    for subsampling in ("4:4:4", "4:2:2", "4:2:0")
    for more in ({}, {"restart_marker_rows": 1}, {"optimize": True, "quality": 30})
]


def encoded(size: tuple[int, int], mode: str = "RGB", **options: object) -> bytes:
    buffer = BytesIO()
    with Image.open(CHELSEA) as cat:
        cat.resize(size).convert(mode).save(buffer, "JPEG", **options)
    return buffer.getvalue()


def pixels(content: bytes) -> np.ndarray:
    with Image.open(BytesIO(content)) as image:
        return np.array(image)


def is_cut(content: bytes) -> bool:
    with Image.open(BytesIO(content)) as image:
        image.load()
        return jpeg.is_cut(image, content, image.width * image.height)


def reason(path: Path) -> str:
    with pytest.raises(UnusablePicture) as caught:
        decode(path)
    return caught.value.reason


@pytest.mark.parametrize("options", ENCODERS, ids=str)
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("size", [(300, 260), (64, 64), (17, 9), (1, 40)])
def test_a_whole_picture_is_whole_and_one_with_an_end_marker_behind_the_cut_is_not(size, mode, options):
    content = encoded(size, mode, **options)
    whole = pixels(content)
    assert not is_cut(content)
    first_scan = content.index(b"\xff\xda") + 16
    for share in range(5, 100, 10):
        length = first_scan + (len(content) - 2 - first_scan) * share // 100
        try:
            found, seen = is_cut(content[:length] + END), pixels(content[:length] + END)
        except (OSError, SyntaxError):
            continue  # cut within a header: Pillow says so itself
        assert found or np.array_equal(seen, whole), share  # what is filled in may happen to be what was cut off


def test_a_large_photo_cut_in_half_is_truncated_where_pillow_sees_a_photo(tmp_path):
    content = encoded((1200, 900))
    (tmp_path / "a.jpg").write_bytes(content[: len(content) // 2] + END)
    with Image.open(tmp_path / "a.jpg") as image:
        image.load()  # no complaint
    assert reason(tmp_path / "a.jpg") == "truncated"


def test_a_whole_photo_with_something_behind_it_is_whole(tmp_path):
    content = encoded((300, 200))
    (tmp_path / "a.jpg").write_bytes(content)
    (tmp_path / "b.jpg").write_bytes(content + b"a phone's film" * 1000 + content[:999])
    assert np.array_equal(decode(tmp_path / "a.jpg"), decode(tmp_path / "b.jpg"))


@pytest.mark.parametrize("progressive", [False, True])
def test_a_photo_that_really_ends_in_grey_is_whole(tmp_path, progressive):
    pixels = np.full((600, 500, 3), 128, np.uint8)
    pixels[:300] = np.random.default_rng(0).integers(0, 256, (300, 500, 3))
    Image.fromarray(pixels).save(tmp_path / "a.jpg", progressive=progressive)
    assert decode(tmp_path / "a.jpg")[-1, -1].tolist() == [128, 128, 128]


def test_a_thumbnail_within_does_not_count_as_the_end(tmp_path):
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0x927C] = encoded((40, 30))  # a maker's note that holds a JPEG, end marker and all
    (tmp_path / "a.jpg").write_bytes(encoded((300, 200), exif=exif))
    assert encoded((40, 30)) in (tmp_path / "a.jpg").read_bytes()
    assert decode(tmp_path / "a.jpg").shape == (200, 300, 3)


def test_the_first_of_a_phone_s_two_pictures_is_looked_at(tmp_path):
    with Image.open(CHELSEA) as cat:
        cat.save(tmp_path / "a.jpg", format="MPO", save_all=True, append_images=[cat.copy()])
    assert decode(tmp_path / "a.jpg").shape == (300, 451, 3)
