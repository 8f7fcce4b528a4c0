"""Data sets in archives: real download code against a loopback server, small archives of the same layout."""

import hashlib
import io
import tarfile
import threading
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from PIL import Image

from depthwise.data import source_kinds, sources
from depthwise.data.decode import decode
from depthwise.data.index import read_index
from depthwise.errors import UserError

RNG = np.random.default_rng(0)


def tar_gz(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def jpeg(value: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("L", (16, 16), value).save(buffer, "JPEG")
    return buffer.getvalue()


FLOWERS = tar_gz(
    {"jpg/files.txt": b"image_0001.jpg\n", **{f"jpg/image_{n:04d}.jpg": jpeg(3 * n) for n in range(1, 35)}}
)
PICTURES = RNG.integers(0, 256, (12, 3, 32, 32), np.uint8)


def batch(numbers: range, *label_bytes: int) -> bytes:
    return b"".join(bytes([*label_bytes, number % 2]) + PICTURES[number].tobytes() for number in numbers)


CIFAR10 = tar_gz(
    {"cifar-10-batches-bin/batches.meta.txt": b"ship\ncat\n\n"}
    | {f"cifar-10-batches-bin/data_batch_{n}.bin": batch(range(2 * n - 2, 2 * n)) for n in range(1, 6)}
    | {"cifar-10-batches-bin/test_batch.bin": batch(range(10, 12))}
)
CIFAR100 = tar_gz(
    {
        "cifar-100-binary/fine_label_names.txt": b"ship\ncat\n",
        "cifar-100-binary/train.bin": batch(range(10), 9),
        "cifar-100-binary/test.bin": batch(range(10, 12), 9),
    }
)
CONTENT = {"17flowers.tgz": FLOWERS, "cifar-10-binary.tar.gz": CIFAR10, "cifar-100-binary.tar.gz": CIFAR100}


class Silent(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(autouse=True)
def served(tmp_path, monkeypatch):
    """Serve the small archives in place of the real ones; yield the folder that they lie in."""
    folder = tmp_path / "served"
    folder.mkdir()
    for name, content in CONTENT.items():
        (folder / name).write_bytes(content)
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setenv("DEPTHWISE_CACHE", str(tmp_path / "cache"))
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Silent, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        for name in ("flowers17", "cifar10", "cifar100"):
            source = sources.SOURCES[name]
            md5 = {file: sum_ and hashlib.md5(CONTENT[file]).hexdigest() for file, sum_ in source.md5.items()}
            more = {"per_class": 2} if name == "flowers17" else {}
            address = f"http://127.0.0.1:{server.server_port}/"
            monkeypatch.setitem(sources.SOURCES, name, replace(source, address=address, md5=md5, **more))
        yield folder
        server.shutdown()
        thread.join()


def test_flowers_are_17_classes_by_position(tmp_path):
    assert sources.get("flowers17", tmp_path / "out") == 34
    index = read_index(tmp_path / "out")
    assert len(index.classes) == 17
    names = [
        folder.name for folder in sorted((tmp_path / "out").iterdir(), key=lambda f: min(p.name for p in f.iterdir()))
    ]
    assert names == list(sources.FLOWERS17.classes)
    assert [p.name for p in sorted((tmp_path / "out/pansy").iterdir())] == ["image_0033.jpg", "image_0034.jpg"]
    assert abs(int(decode(tmp_path / "out/snowdrop/image_0003.jpg", 1)[0, 0, 0]) - 9) <= 1


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_cifar_pictures_and_labels_are_these(tmp_path, name):
    assert sources.get(name, tmp_path / "out") == 12
    for number in range(12):
        split, place = ("train", number) if number < 10 else ("test", number - 10)
        path = tmp_path / "out" / split / ("ship", "cat")[number % 2] / f"{place:05d}.png"
        assert np.array_equal(decode(path), PICTURES[number].transpose(1, 2, 0))


def test_a_wrong_checksum_leaves_nothing(tmp_path, served):
    (served / "cifar-10-binary.tar.gz").write_bytes(CIFAR10 + b"?")
    with pytest.raises(UserError, match=r"cifar-10-binary.tar.gz: what came has MD5 .*; try again"):
        sources.get("cifar10", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_where_the_authors_give_no_checksum_the_first_download_s_is_kept_to(tmp_path, served):
    sources.get("flowers17", tmp_path / "first")
    sources.get("flowers17", tmp_path / "second")
    (served / "17flowers.tgz").write_bytes(FLOWERS + b"?")
    with pytest.raises(UserError, match=r"17flowers.tgz: what came has MD5 .*, not"):
        sources.get("flowers17", tmp_path / "third")
    assert not (tmp_path / "third").exists()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("flowers17", tar_gz({"jpg/image_0001.jpg": jpeg(1)}), "lacks image_0002.jpg"),
        ("flowers17", FLOWERS[: len(FLOWERS) // 2], "not a whole archive"),
        ("flowers17", b"<html>", "not a whole archive"),
        (
            "cifar100",
            tar_gz({"fine_label_names.txt": b"a\n", "train.bin": bytes(99), "test.bin": bytes(3074)}),
            "train is not",
        ),
        (
            "cifar100",
            tar_gz({"fine_label_names.txt": b"a\n", "train.bin": b"\0\7" + bytes(3072), "test.bin": b""}),
            "a label",
        ),
    ],
)
def test_another_or_a_broken_archive_is_told_and_leaves_nothing(tmp_path, name, content, message):
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / next(iter(sources.SOURCES[name].md5))).write_bytes(content)
    with pytest.raises(UserError, match=message):
        sources.get(name, tmp_path / "out", folder)
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / ".out.partial").exists()


def test_elpv_is_read_from_its_package(tmp_path, save_noise, monkeypatch):
    folder = tmp_path / "site" / "elpv_dataset" / "data"
    rows = [
        ("0001", "1.0", "mono"),
        ("0002", "0.0", "poly"),
        ("0003", "0.3333333333333333", "mono"),
        ("0004", "0.6666666666666666", "poly"),
    ]
    for number, (name, _, _) in enumerate(rows):
        save_noise(folder / "images" / f"cell{name}.png", number)
    (folder / "labels.csv").write_text("".join(f"images/cell{n}.png  {p}  {kind}\n" for n, p, kind in rows))
    (folder.parent / "__init__.py").touch()
    with monkeypatch.context() as bare:
        bare.setattr(source_kinds, "find_spec", lambda _: None)
        with pytest.raises(UserError, match="pip install elpv-dataset"):
            sources.get("elpv", tmp_path / "out")
    monkeypatch.syspath_prepend(tmp_path / "site")
    assert sources.get("elpv", tmp_path / "out") == 4
    assert read_index(tmp_path / "out").classes == ("defect_000", "defect_033", "defect_067", "defect_100")
