import gzip
import hashlib
import socket
import struct
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from depthwise.console import Quiet
from depthwise.data import sources
from depthwise.data.decode import decode
from depthwise.data.index import read_index
from depthwise.errors import UserError

CLASSES = ("zebra", "ant", "cow")
IMAGES = {
    "train": np.random.default_rng(0).integers(0, 256, (7, 28, 28), np.uint8),
    "t10k": np.random.default_rng(1).integers(0, 256, (3, 28, 28), np.uint8),
}
LABELS = {"train": np.array([0, 1, 2, 0, 1, 2, 2], np.uint8), "t10k": np.array([2, 1, 0], np.uint8)}


def idx(array: NDArray[np.uint8]) -> bytes:
    header = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
    return gzip.compress(header + array.tobytes(), mtime=0)


CONTENT = {
    f"{prefix}-{what}-idx{axes}-ubyte.gz": idx(arrays[prefix])
    for prefix in IMAGES
    for what, axes, arrays in (("images", 3, IMAGES), ("labels", 1, LABELS))
}
TINY = replace(
    sources.FASHION_MNIST,
    name="tiny",
    classes=CLASSES,
    address="http://127.0.0.1:1/",
    md5={name: hashlib.md5(content).hexdigest() for name, content in CONTENT.items()},
    counts={"train": ("train", 7), "test": ("t10k", 3)},
    debian_folder=Path("/nowhere/tiny"),
)


class Server(ThreadingHTTPServer):
    """Serves CONTENT, and goes wrong in the way that `fault` names, at the file that `at` names."""

    fault = ""
    at = "t10k-images-idx3-ubyte.gz"

    def handle_error(self, *_: object) -> None:
        """Stay silent when a client goes away."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        name = self.path.lstrip("/")
        fault = self.server.fault if name == self.server.at else ""
        body = CONTENT[name]
        if fault == "404":
            self.send_error(404)
            return
        if fault == "nonsense":
            self.wfile.write(b"SSH-2.0-OpenSSH\r\n\r\n")
            self.close_connection = True
            return
        if fault == "cut chunks":
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self.wfile.write(b"%x\r\n" % len(body) + body[: len(body) // 2])
        else:
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write({"cut": body[: len(body) // 2], "changed": body[:-1] + b"?"}.get(fault, body))
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch):
    monkeypatch.setenv("no_proxy", "*")


@pytest.fixture
def offer(monkeypatch):
    """Put TINY, changed as said, among the data sets."""

    def change(**changes: object) -> None:
        monkeypatch.setitem(sources.SOURCES, "tiny", replace(TINY, **changes))

    change()
    return change


@pytest.fixture
def folder(tmp_path) -> Path:
    """A folder with TINY's four files."""
    place = tmp_path / "files"
    place.mkdir()
    for name, content in CONTENT.items():
        (place / name).write_bytes(content)
    return place


def failure(*args: object) -> str:
    with pytest.raises(UserError) as caught:
        sources.get("tiny", *args)
    return str(caught.value)


def check_whole(out: Path) -> None:
    assert sorted(path.name for path in out.iterdir()) == ["test", "train"]
    for split, prefix in (("train", "train"), ("test", "t10k")):
        files = sorted(path.relative_to(out / split).as_posix() for path in (out / split).rglob("*.png"))
        assert files == sorted(f"{CLASSES[label]}/{number:05d}.png" for number, label in enumerate(LABELS[prefix]))
        for number, label in enumerate(LABELS[prefix]):
            path = out / split / CLASSES[label] / f"{number:05d}.png"
            assert np.array_equal(decode(path, 1)[:, :, 0], IMAGES[prefix][number])


# From a server


def test_a_download_becomes_class_folders(tmp_path, server, offer):
    offer(address=f"http://127.0.0.1:{server.server_port}/")
    assert sources.get("tiny", tmp_path / "new/out") == 10
    check_whole(tmp_path / "new/out")
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["out"]
    index = read_index(tmp_path / "new/out")
    assert index.is_split
    assert len(index.records) == 10


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("changed", "t10k-images-idx3-ubyte.gz: what came has MD5"),
        ("cut", "t10k-images-idx3-ubyte.gz"),
        ("cut chunks", "cannot fetch"),
        ("nonsense", "cannot fetch"),
        ("404", "Not Found"),
    ],
)
def test_a_broken_download_is_told_and_leaves_nothing(tmp_path, server, offer, fault, message):
    offer(address=f"http://127.0.0.1:{server.server_port}/")
    server.fault = fault
    text = failure(tmp_path / "out")
    assert message in text
    assert f"http://127.0.0.1:{server.server_port}/t10k-images-idx3-ubyte.gz" in text
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_md5_is_told_with_both_sums(tmp_path, server, offer):
    name = "train-labels-idx1-ubyte.gz"
    offer(address=f"http://127.0.0.1:{server.server_port}/", md5={**TINY.md5, name: "0" * 32})
    assert f"{name}: what came has MD5 {TINY.md5[name]}, not {'0' * 32}; try again" in failure(tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_a_refused_connection_names_the_other_ways(tmp_path, offer):
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # bound, but not listening
        offer(address=f"http://127.0.0.1:{nobody.getsockname()[1]}/")
        text = failure(tmp_path / "out")
    assert "cannot fetch http://127.0.0.1" in text
    assert "refused" in text
    assert "sudo apt install dataset-fashion-mnist" in text
    assert f"name their folder with --from: {', '.join(CONTENT)}" in text
    assert list(tmp_path.iterdir()) == []


def test_the_download_is_shown_in_chunks(tmp_path, server, offer, monkeypatch):
    seen = []

    class Console(Quiet):
        def track(self, items, total, label):
            items = list(items)
            seen.append((label, total, len(items)))
            yield from items

    monkeypatch.setattr("depthwise.download.CHUNK", 1000)
    offer(address=f"http://127.0.0.1:{server.server_port}/")
    sources.get("tiny", tmp_path / "out", console=Console())
    num_chunks = {f"Fetching {name}": -(-len(content) // 1000) for name, content in CONTENT.items()}
    assert {label: total for label, total, _ in seen} == {**num_chunks, "Writing train": 7, "Writing test": 3}
    assert all(total == number for _, total, number in seen)


# From a folder


@pytest.mark.usefixtures("offer")
def test_a_folder_of_files_becomes_class_folders_and_stays(tmp_path, folder):
    assert sources.get("tiny", tmp_path / "out", folder) == 10
    check_whole(tmp_path / "out")
    assert sorted(path.name for path in folder.iterdir()) == sorted(CONTENT)


def test_debian_s_folder_is_used_where_it_is(tmp_path, folder, offer):
    offer(debian_folder=folder)
    assert sources.get("tiny", tmp_path / "out") == 10
    check_whole(tmp_path / "out")


def test_a_given_folder_goes_before_debian_s(tmp_path, folder, offer):
    (tmp_path / "debian").mkdir()
    offer(debian_folder=tmp_path / "debian")
    assert sources.get("tiny", tmp_path / "out", folder) == 10


@pytest.mark.usefixtures("offer")
@pytest.mark.parametrize("name", CONTENT)
def test_a_cut_file_is_named_and_nothing_is_left(tmp_path, folder, name):
    (folder / name).write_bytes(CONTENT[name][:-9])
    assert f"{folder / name}: not a whole gzipped IDX file" in failure(tmp_path / "out", folder)
    assert list(tmp_path.iterdir()) == [folder]


@pytest.mark.usefixtures("offer")
def test_a_missing_file_is_named_and_nothing_is_left(tmp_path, folder):
    (folder / "t10k-labels-idx1-ubyte.gz").unlink()
    assert f"{folder / 't10k-labels-idx1-ubyte.gz'}: no such file" in failure(tmp_path / "out", folder)
    assert list(tmp_path.iterdir()) == [folder]


@pytest.mark.usefixtures("offer")
@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("t10k-images-idx3-ubyte.gz", IMAGES["train"]),
        ("t10k-images-idx3-ubyte.gz", IMAGES["t10k"][:, :27]),
        ("t10k-labels-idx1-ubyte.gz", LABELS["train"]),
        ("t10k-labels-idx1-ubyte.gz", np.array([0, 1, 3], np.uint8)),
    ],
)
def test_files_of_another_data_set_are_told(tmp_path, folder, name, array):
    (folder / name).write_bytes(idx(array))
    assert f"{folder}: the t10k files are not those of tiny" in failure(tmp_path / "out", folder)
    assert list(tmp_path.iterdir()) == [folder]


# The place


@pytest.mark.usefixtures("offer")
def test_a_folder_that_is_not_empty_is_left_alone(tmp_path, folder):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/mine.txt").write_text("mine")
    assert failure(tmp_path / "out", folder) == f"{tmp_path / 'out'} exists and is not empty; choose another folder"
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine.txt"]


@pytest.mark.usefixtures("offer")
def test_a_file_in_the_place_is_left_alone(tmp_path, folder):
    (tmp_path / "out").write_text("mine")
    assert "exists and is not empty" in failure(tmp_path / "out", folder)
    assert (tmp_path / "out").read_text() == "mine"


@pytest.mark.usefixtures("offer")
def test_an_empty_folder_is_filled(tmp_path, folder):
    (tmp_path / "out").mkdir()
    sources.get("tiny", tmp_path / "out", folder)
    check_whole(tmp_path / "out")


@pytest.mark.usefixtures("offer")
def test_what_a_killed_process_left_is_cleared(tmp_path, folder):
    (tmp_path / ".out.partial/train/ant").mkdir(parents=True)
    (tmp_path / ".out.partial/train/ant/99999.png").touch()
    sources.get("tiny", tmp_path / "out", folder)
    check_whole(tmp_path / "out")
    assert sorted(tmp_path.iterdir()) == [folder, tmp_path / "out"]


@pytest.mark.usefixtures("offer")
def test_a_full_disk_is_told_and_nothing_is_left(tmp_path, folder, monkeypatch):
    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", refuse)
    assert failure(tmp_path / "out", folder) == f"cannot make {tmp_path / 'out'}: No space left on device"
    assert list(tmp_path.iterdir()) == [folder]


@pytest.mark.usefixtures("offer")
def test_a_place_that_cannot_be_made_is_told(tmp_path, folder):
    (tmp_path / "file").touch()
    assert failure(tmp_path / "file/out", folder) == f"cannot make {tmp_path / 'file/out'}: Not a directory"


def test_an_unknown_name_lists_the_known_ones(tmp_path):
    with pytest.raises(
        UserError, match="there is no data set called 'mnits'; there are: fashion-mnist, mnist, cifar10"
    ):
        sources.get("mnits", tmp_path / "out")


def test_fashion_mnist_is_described_whole():
    source = sources.FASHION_MNIST
    names = {
        f"{p}-{end}" for p, _ in source.counts.values() for end in ("images-idx3-ubyte.gz", "labels-idx1-ubyte.gz")
    }
    assert set(source.md5) == names
    assert all(len(bytes.fromhex(md5)) == 16 for md5 in source.md5.values())
    assert len(set(source.classes)) == 10


def test_the_sample_comes_with_the_package(tmp_path):
    assert sources.get("sample", tmp_path / "out") == 1500
    with sources.sample_photos() as photos:
        for path in photos.rglob("*.png"):
            assert (tmp_path / "out" / path.relative_to(photos)).read_bytes() == path.read_bytes()
    assert read_index(tmp_path / "out").classes == tuple(sorted(sources.FASHION_MNIST.classes))
