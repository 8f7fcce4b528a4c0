import gzip
import struct

import numpy as np
import pytest

from depthwise.data.idx import read_idx
from depthwise.errors import UserError

CONTENT = struct.pack(">HBB3I", 0, 8, 3, 2, 1, 3) + bytes([1, 2, 3, 4, 5, 255])


def test_an_array_of_three_axes_is_read(tmp_path):
    (tmp_path / "a.gz").write_bytes(gzip.compress(CONTENT))
    result = read_idx(tmp_path / "a.gz")
    assert result.tolist() == [[[1, 2, 3]], [[4, 5, 255]]]
    assert result.dtype == np.uint8


def test_labels_of_one_axis_are_read(tmp_path):
    (tmp_path / "a.gz").write_bytes(gzip.compress(struct.pack(">HBBI", 0, 8, 1, 2) + b"\x09\x00"))
    assert read_idx(tmp_path / "a.gz").tolist() == [9, 0]


@pytest.mark.parametrize("length", [0, 1, 10, 15, -9, -4, -1])
def test_a_cut_file_is_named(tmp_path, length):
    (tmp_path / "a.gz").write_bytes(gzip.compress(CONTENT)[:length])
    with pytest.raises(UserError, match=r"a\.gz: not a whole gzipped IDX file \(.+\); fetch it again"):
        read_idx(tmp_path / "a.gz")


def test_a_file_with_a_changed_byte_is_named(tmp_path):
    content = bytearray(gzip.compress(CONTENT))
    content[14] ^= 0xFF
    (tmp_path / "a.gz").write_bytes(content)
    with pytest.raises(UserError, match=r"a\.gz: not a whole gzipped IDX file"):
        read_idx(tmp_path / "a.gz")


@pytest.mark.parametrize("content", [b"<html>404</html>", CONTENT])
def test_a_file_that_is_not_gzipped_is_named(tmp_path, content):
    (tmp_path / "a.gz").write_bytes(content)
    with pytest.raises(UserError, match=r"a\.gz: not a whole gzipped IDX file"):
        read_idx(tmp_path / "a.gz")


@pytest.mark.parametrize(
    "content",
    [
        CONTENT[:-1],
        CONTENT + b"x",
        b"\0\0\x0d" + CONTENT[3:],  # floats
        b"\1\0\x08" + CONTENT[3:],
    ],
)
def test_another_kind_of_content_is_named(tmp_path, content):
    (tmp_path / "a.gz").write_bytes(gzip.compress(content))
    with pytest.raises(
        UserError, match=r"a\.gz: not an IDX file of unsigned bytes, or not a whole one; fetch it again"
    ):
        read_idx(tmp_path / "a.gz")


@pytest.mark.parametrize("length", [0, 3, 9])
def test_a_header_that_ends_early_is_named(tmp_path, length):
    (tmp_path / "a.gz").write_bytes(gzip.compress(CONTENT[:length]))
    with pytest.raises(UserError, match=r"a\.gz: not a whole gzipped IDX file"):
        read_idx(tmp_path / "a.gz")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"a\.gz: no such file"):
        read_idx(tmp_path / "a.gz")
