"""The IDX format of MNIST and its relatives: a big-endian header, then uint8 values, gzip around it."""

import gzip
import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from depthwise.errors import UserError


def read_idx(path: Path) -> NDArray[np.uint8]:
    """Return the array in a gzipped IDX file of unsigned bytes. Raise UserError naming the file if it is broken."""
    try:
        with gzip.open(path) as file:
            zeros, kind, num_axes = struct.unpack(">HBB", file.read(4))
            shape = struct.unpack(f">{num_axes}I", file.read(4 * num_axes))
            payload = file.read()
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (OSError, EOFError, zlib.error, struct.error) as error:
        raise UserError(f"{path}: not a whole gzipped IDX file ({error}); fetch it again") from error
    if (zeros, kind) != (0, 8) or len(payload) != np.prod(shape, dtype=np.int64):
        raise UserError(f"{path}: not an IDX file of unsigned bytes, or not a whole one; fetch it again")
    return np.frombuffer(payload, np.uint8).reshape(shape)
