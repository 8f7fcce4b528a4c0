"""A million 64-bit hashes, a tenth of them near another: seconds, memory, and whether all planted pairs are found."""

import resource
import time

import numpy as np
from record import write

from depthwise.data.hamming import near_pairs


def main() -> None:
    """Measure and write bench/results/hamming.json."""
    rng = np.random.default_rng(0)
    number, radius = 1_000_000, 10
    hashes = rng.integers(0, 2**64, number, np.uint64)
    copies = np.arange(0, number // 5, 2)
    for _ in range(radius):  # up to that many bits: a bit may be drawn twice
        hashes[copies + 1] = np.where(_ == 0, hashes[copies], hashes[copies + 1]) ^ (
            np.uint64(1) << rng.integers(0, 64, len(copies), np.uint64)
        )
    started = time.monotonic()
    pairs = near_pairs(hashes, radius)
    took = time.monotonic() - started
    found = set(map(tuple, pairs.tolist()))
    num_missed = sum((first, first + 1) not in found for first in copies.tolist())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    result = {"hashes": number, "radius": radius, "pairs": len(pairs), "planted": len(copies), "missed": num_missed}
    write("hamming", result | {"wall_s": round(took, 1), "peak_mib": peak})


if __name__ == "__main__":
    main()
