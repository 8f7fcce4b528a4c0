"""2,000 of the files that `make fuzz` makes by the 100,000."""

import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from depthwise.data.audit import Skipped
from depthwise.data.cache import read_picture
from depthwise.data.decode import decode
from depthwise.data.examine import examine
from depthwise.data.geometry import Geometry
from depthwise.data.ledger import Ledger
from depthwise.errors import UnusablePicture
from depthwise.machine import peak_mib
from fuzz import bombs, corpus, outcome, seeds

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="pipes and links"),
    pytest.mark.filterwarnings("ignore::UserWarning:PIL", "ignore::PIL.Image.DecompressionBombWarning"),
]
GEOMETRY = Geometry(8, 3)


def test_each_file_ends_as_pixels_or_one_reason_and_the_same_everywhere(tmp_path):
    counts: Counter[str] = Counter()
    ledger = Ledger(tmp_path / "cache")
    for path in corpus(tmp_path, 2000):
        found = outcome(path)
        in_split, in_network = (
            examine(path, ledger),
            read_picture(path, GEOMETRY),
        )  # of split and train; train, evaluate, predict
        for other in (in_split, in_network):
            assert (other.reason if isinstance(other, Skipped) else "pixels") == found
        counts[found] += 1
    assert sum(counts.values()) == 2000
    assert {
        "missing",
        "not_a_file",
        "unreadable",
        "empty",
        "not_a_picture",
        "too_large",
        "truncated",
        "corrupt",
    } <= set(counts)
    assert counts["pixels"] > 100  # of the changes some do no harm, and the whole files are whole


def test_the_whole_files_that_the_broken_ones_are_made_of_are_whole(tmp_path):
    for number, (suffix, content) in enumerate(seeds(np.random.default_rng(0))):
        path = tmp_path / f"{number}.{suffix}"
        path.write_bytes(content)
        decode(path)


@pytest.mark.parametrize(("name", "content"), bombs(), ids=[name for name, _ in bombs()])
def test_a_bomb_is_refused_or_read_without_what_it_unpacks_to(tmp_path, name, content):
    path = Path(tmp_path / name)
    path.write_bytes(content)
    try:
        assert decode(path).shape == (4, 4, 3)
    except UnusablePicture as error:
        assert error.reason in ("corrupt", "too_large", "truncated")


PEAK = """
import sys
from depthwise.data.decode import decode
from depthwise.errors import UnusablePicture
from depthwise.machine import peak_mib
peaks = [peak_mib()]
for path in sys.argv[1:]:
    try:
        decode(path)
    except UnusablePicture:
        pass
    peaks.append(peak_mib())
print(*peaks)
"""


def peaks_mib(*paths: Path) -> list[float]:
    """Return a fresh process's peak memory before the files are decoded, and after each."""
    said = subprocess.check_output([sys.executable, "-W", "ignore", "-c", PEAK, *map(str, paths)], text=True)
    return [float(word) for word in said.split()]


@pytest.mark.skipif(peak_mib() is None, reason="the system does not tell the peak of memory")
def test_bombs_do_not_fill_the_memory(tmp_path):
    small, large = tmp_path / "small.png", tmp_path / "large.png"
    Image.new("RGB", (4, 4)).save(small)
    Image.new("RGB", (5000, 5000)).save(large)  # 72 MiB of pixels: what this test can see
    paths = [tmp_path / name for name, _ in bombs()]
    for path, (_, content) in zip(paths, bombs(), strict=True):
        path.write_bytes(content)
    _, before, *peaks, seen = peaks_mib(small, *paths, large)
    assert seen - before > 60
    assert max(peaks) - before < 20  # the smallest of them unpacks to 64 MiB
