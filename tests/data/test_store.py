import errno
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from depthwise.console import Quiet
from depthwise.data import store as module
from depthwise.data.audit import Skipped
from depthwise.data.pack import Writer, read_pack
from depthwise.data.store import CannotStore, Store, Work, open_store

SHAPE = (8, 8, 3)
BYTES = 8 * 8 * 3


class Photos:
    """A source of pictures that counts what it is asked for; number 2 is broken."""

    def __init__(self, contents=range(6)):
        self.contents, self.asked = list(contents), []

    def picture(self, number: int) -> np.ndarray:
        return np.random.default_rng(self.contents[number]).integers(0, 256, SHAPE, np.uint8)

    def read(self, number: int):
        self.asked.append(number)
        return Skipped(f"{number}.png", "corrupt", "broken") if self.contents[number] == 2 else self.picture(number)

    def work(self, kind: str = "a" * 16) -> Work:
        return Work(kind, [f"{content:032x}" for content in self.contents], SHAPE, self.read)


class Console(Quiet):
    def __init__(self):
        self.warnings = []

    def warn(self, text):
        self.warnings.append(text)


@pytest.fixture
def store(tmp_path) -> Store:
    return Store(tmp_path / "pictures", 2**20)


def fetch(store, photos, kind="a" * 16, console=None):
    return store.fetch(photos.work(kind), 2, console or Quiet())


def packs(store) -> list[str]:
    return sorted(path.name for path in store.folder.iterdir() if path.name != "locks")


def test_pictures_are_decoded_once(store):
    photos = Photos()
    first, second = fetch(store, photos), fetch(store, photos)
    assert sorted(photos.asked) == [0, 1, 2, 3, 4, 5]
    for pack in (first, second):
        assert np.array_equal(pack.images, [photos.picture(number) for number in (0, 1, 3, 4, 5)])
        assert pack.skipped == {f"{2:032x}": ("corrupt", "broken")}
        assert isinstance(pack.images, np.memmap)


def test_other_pictures_another_order_or_another_decode_are_another_pack(store):
    names = {Photos(contents).work(kind).name for contents in ([1, 3], [3, 1], [1, 4]) for kind in ("a" * 16, "b" * 16)}
    assert len(names) == 6


def test_of_changed_pictures_only_the_new_ones_are_decoded(store):
    fetch(store, Photos(range(6)))
    grown = Photos([9, 5, 1, 3, 10])
    pack = fetch(store, grown)
    assert sorted(grown.asked) == [0, 4]
    assert np.array_equal(pack.images, [grown.picture(number) for number in range(5)])
    other = Photos([5, 1])
    fetch(store, other, "b" * 16)
    assert sorted(other.asked) == [0, 1]


@pytest.mark.parametrize("row", [0, 2, 4])
def test_a_damaged_picture_is_noticed_and_made_anew_alone(store, row):
    photos = Photos()
    fetch(store, photos)
    path = store.folder / photos.work().name
    with open(path, "r+b") as file:
        file.seek(row * BYTES + 100)
        byte = file.read(1)[0]
        file.seek(row * BYTES + 100)
        file.write(bytes([byte ^ 1]))
    photos.asked.clear()
    console = Console()
    pack = fetch(store, photos, console=console)
    assert sorted(photos.asked) == sorted({2, (0, 1, 3, 4, 5)[row]})  # what cannot be used is looked at again
    assert np.array_equal(pack.images, [photos.picture(number) for number in (0, 1, 3, 4, 5)])
    assert console.warnings == [f"{path}: 1 of 5 stored pictures are damaged and are decoded again"]
    photos.asked.clear()
    fetch(store, photos)
    assert photos.asked == []


@pytest.mark.parametrize("length", [0, 50, 5 * BYTES, -1])
def test_a_pack_that_was_cut_is_made_anew(store, length):
    photos = Photos()
    fetch(store, photos)
    path = store.folder / photos.work().name
    path.write_bytes(path.read_bytes()[:length])
    console = Console()
    pack = fetch(store, photos, console=console)
    assert len(pack.images) == 5
    assert "its pictures are decoded again" in console.warnings[0]


def test_an_error_while_decoding_leaves_nothing(store):
    photos = Photos()

    def fail(number):
        if number == 4:
            raise RuntimeError("bug")
        return photos.picture(number)

    with pytest.raises(RuntimeError, match="bug"):
        store.fetch(photos.work()._replace(read=fail), 1, Quiet())
    assert packs(store) == []


@pytest.mark.parametrize("call", ["posix_fallocate", "write"])
def test_a_full_disk_is_told_and_leaves_nothing(store, call, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    if call == "posix_fallocate":
        monkeypatch.setattr(os, call, refuse, raising=False)
    else:
        monkeypatch.setattr(Writer, "add", refuse)
    with pytest.raises(CannotStore, match="No space left on device"):
        fetch(store, Photos())
    assert packs(store) == []


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CannotStore, match="file"):
        fetch(Store(tmp_path / "file" / "pictures", 2**20), Photos())


def test_more_than_the_store_takes_is_refused(tmp_path):
    with pytest.raises(CannotStore, match=r"more than --cache-size allows"):
        fetch(Store(tmp_path, 6 * BYTES - 1), Photos())


def test_the_longest_unused_packs_make_room(store):
    kinds = [digit * 16 for digit in "abc"]
    for age, kind in enumerate(kinds):
        fetch(store, Photos(), kind)
        os.utime(store.folder / Photos().work(kind).name, (1000 + age, 1000 + age))
    sizes = [path.stat().st_size for path in store.folder.glob("*.pack")]
    fetch(store, Photos(), kinds[0])  # used: b is now the oldest
    small = Store(store.folder, sum(sizes) - 1 + BYTES)
    fetch(small, Photos([7]), "d" * 16)
    assert {name[0] for name in packs(store)} == {"a", "c", "d"}


def test_a_pack_in_use_can_be_removed_under_its_reader(store):
    pack = fetch(store, Photos())
    before = pack.images.copy()
    fetch(Store(store.folder, 6 * BYTES), Photos([11, 12, 13, 14, 15, 16]), "b" * 16)
    assert len(packs(store)) == 1
    assert np.array_equal(pack.images, before)


MAKE = """
import sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from test_store import Photos, Quiet, Store
photos = Photos()
pause = float(sys.argv[2])
def read(number):
    print(number, flush=True)
    time.sleep(pause if number else 0)
    return photos.read(number)
pack = Store(Path(sys.argv[1]), 2**20).fetch(photos.work()._replace(read=read), 1, Quiet())
print("sum", int(pack.images.sum()))
"""


def maker(store, pause) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", MAKE, store.folder, str(pause), os.path.dirname(__file__)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_a_killed_writer_leaves_nothing_half_valid(store):
    process = maker(store, 60)
    assert process.stdout and process.stdout.readline() == "0\n"
    assert process.stdout.readline() == "1\n"
    process.kill()
    process.communicate()
    assert [name.rpartition(".")[2] for name in packs(store)] == ["tmp"]
    fetch(store, Photos([30]), "b" * 16)  # what was left behind goes with the next pack, whichever it is
    assert [name.rpartition(".")[2] for name in packs(store)] == ["pack"]
    photos = Photos()
    assert len(fetch(store, photos).images) == 5
    assert len(photos.asked) == 6


def test_of_several_processes_one_decodes_and_all_read(store):
    with ThreadPoolExecutor() as pool:
        answers = list(pool.map(lambda _: maker(store, 0.05).communicate()[0].split(), range(3)))
    assert len({answer[-1] for answer in answers}) == 1
    assert sorted(len(answer) for answer in answers) == [2, 2, 8]


def test_another_pack_can_be_read_while_one_is_made(store):
    other = Photos([21, 22])
    fetch(store, other, "b" * 16)
    process = maker(store, 60)
    try:
        assert process.stdout and process.stdout.readline() == "0\n"
        assert len(fetch(store, other, "b" * 16).images) == 2
    finally:
        process.kill()
        process.communicate()


def test_the_room_is_a_tenth_of_the_free_disk_and_20_gib_at_most(tmp_path, monkeypatch):
    monkeypatch.setenv("DEPTHWISE_CACHE", str(tmp_path / "not yet"))
    usage = type("Usage", (), {"free": 50 * 2**30})
    monkeypatch.setattr(module.shutil, "disk_usage", lambda _: usage)
    store = open_store()
    assert store == Store(tmp_path / "not yet" / "pictures", 5 * 2**30)
    usage.free = 500 * 2**30
    assert open_store().max_bytes == 20 * 2**30
    assert open_store(1.5).max_bytes == 1.5 * 2**30
    assert open_store(0) is None


def test_a_pack_s_time_is_that_of_its_last_use(store):
    fetch(store, Photos())
    path = store.folder / Photos().work().name
    os.utime(path, (1000, 1000))
    fetch(store, Photos())
    assert time.time() - path.stat().st_mtime < 100
    assert read_pack(path).contents
