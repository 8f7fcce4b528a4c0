import numpy as np
import pytest

from depthwise.data.pack import END, Writer, picture_sum, read_pack, value_counts

SHAPE = (4, 4, 3)
PICTURES = np.random.default_rng(0).integers(0, 256, (5, *SHAPE), np.uint8)
CONTENTS = [f"{number:032x}" for number in range(5)]


@pytest.fixture
def path(tmp_path):
    writer = Writer(tmp_path / "some.pack", 8, SHAPE)  # room for more than come
    for content, pixels in zip(CONTENTS, PICTURES, strict=True):
        writer.add(content, pixels, picture_sum(pixels), value_counts(pixels))
    writer.close({"f" * 32: ("corrupt", "broken: é")})
    return tmp_path / "some.pack"


def test_what_is_written_is_read(path):
    pack = read_pack(path)
    assert np.array_equal(pack.images, PICTURES)
    assert not pack.images.flags.writeable
    assert pack.contents == tuple(CONTENTS)
    assert [row.tobytes() for row in pack.sums] == [picture_sum(pixels) for pixels in PICTURES]
    assert np.array_equal(pack.counts, value_counts(PICTURES))
    assert pack.skipped == {"f" * 32: ("corrupt", "broken: é")}


def test_counts_are_those_of_each_value_by_channel():
    counts = value_counts(np.array([[[0, 7], [0, 255]]], np.uint8))
    assert counts.shape == (2, 256)
    assert (counts[0, 0], counts[1, 7], counts[1, 255], counts.sum()) == (2, 1, 1, 4)


def test_an_empty_pack_is_one(tmp_path):
    Writer(tmp_path / "none.pack", 0, SHAPE).close({})
    assert read_pack(tmp_path / "none.pack").images.shape == (0, *SHAPE)


def test_a_file_that_was_cut_anywhere_is_none(path):
    whole = path.read_bytes()
    for length in [0, 1, 10, END.size, 240, 250, *range(len(whole) - 80, len(whole))]:
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match=r"too short|no end|damaged table|bytes of pixels"):
            read_pack(path)


def test_a_changed_table_is_noticed(path):
    whole = path.read_bytes()
    for place in range(PICTURES.size, len(whole), 7):
        changed = bytearray(whole)
        changed[place] ^= 4
        path.write_bytes(changed)
        with pytest.raises(ValueError):
            read_pack(path)


def test_a_file_of_something_else_is_none(tmp_path):
    (tmp_path / "other.pack").write_bytes(b"x" * 1000)
    with pytest.raises(ValueError, match="no end"):
        read_pack(tmp_path / "other.pack")
