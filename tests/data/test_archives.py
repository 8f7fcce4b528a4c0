import io
import lzma
import random
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from depthwise.data import archives
from depthwise.data.audit import content_hash
from depthwise.data.index import read_index
from depthwise.errors import UserError

FILES = {f"photos/{label}/{n}.png": f"{label}{n}".encode() for label in "ab" for n in range(2)}


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("DEPTHWISE_CACHE", str(tmp_path / "cache"))


def zipped(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def tarred(path: Path, files: dict[str, bytes], *others: tarfile.TarInfo) -> Path:
    form = path.suffix.lower().replace("tgz", "gz").removeprefix(".")
    with tarfile.open(path, "w" if form == "tar" else f"w:{form}") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        for info in others:
            archive.addfile(info)
    return path


MAKERS = {"a.zip": zipped, "a.tar": tarred, "a.tar.gz": tarred, "a.TGZ": tarred}


def refused(path: Path, tmp_path: Path) -> str:
    with pytest.raises(UserError) as caught:
        read_index(path)
    left = [p for p in (tmp_path / "cache").rglob("*") if p.is_file()]
    assert left == []
    return str(caught.value)


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("top", ["photos/", ""])
def test_an_archive_is_read_as_the_folder_in_it(tmp_path, name, top):
    path = MAKERS[name](tmp_path / name, {top + key.removeprefix("photos/"): c for key, c in FILES.items()})
    index = read_index(path)
    assert [(r.label, r.path.name, r.path.read_bytes().decode()) for r in index.records] == [
        (label, f"{n}.png", f"{label}{n}") for label in "ab" for n in range(2)
    ]
    again = read_index(path)
    assert again.records == index.records


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("evil", ["../evil.png", "/evil.png", "a/../../evil.png", "..\\evil.png", "C:\\evil.png"])
def test_a_name_that_leads_outside_is_refused_whole(tmp_path, name, evil):
    path = MAKERS[name](tmp_path / name, {**FILES, evil: b"evil"})
    assert "leads outside; do not trust this archive" in refused(path, tmp_path)
    assert not list(tmp_path.rglob("*evil*"))


def test_a_file_beside_the_folder_changes_nothing(tmp_path):
    index = read_index(zipped(tmp_path / "a.zip", {**FILES, "README.txt": b"hello"}))
    assert index.classes == ("a", "b")


@pytest.mark.skipif(sys.platform == "win32", reason="links")
def test_symbolic_links_devices_and_pipes_are_passed_over_and_hard_links_are_files(tmp_path):
    special = []
    for number, kind in enumerate((tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE)):
        info = tarfile.TarInfo(f"photos/a/special{number}.png")
        info.type, info.linkname = kind, "/etc/passwd" if kind == tarfile.SYMTYPE else "photos/a/0.png"
        special.append(info)
    records = read_index(tarred(tmp_path / "a.tar", FILES, *special)).records
    assert [record.path.name for record in records] == ["0.png", "1.png", "special1.png", "0.png", "1.png"]
    assert records[2].path.read_bytes() == records[0].path.read_bytes()
    link = zipfile.ZipInfo("photos/a/link.png")
    link.external_attr = 0o120777 << 16
    path = zipped(tmp_path / "a.zip", FILES)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(link, "/etc/passwd")
    assert len(read_index(path).records) == 4


@pytest.mark.parametrize("name", MAKERS)
def test_a_bomb_is_stopped_by_what_comes_out_of_it(tmp_path, name, monkeypatch):
    monkeypatch.setattr(archives, "MAX_FILE_BYTES", 10_000)
    path = MAKERS[name](tmp_path / name, {**FILES, "photos/a/bomb.png": bytes(10_001)})
    assert "bomb.png unpacks to too much" in refused(path, tmp_path)


def test_many_small_files_are_counted_together(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "MAX_BYTES", 1000)
    path = zipped(tmp_path / "a.zip", {f"photos/a/{n}.png": bytes(100) for n in range(11)})
    assert "unpacks to too much" in refused(path, tmp_path)
    monkeypatch.setattr(archives, "MAX_FILES", 5)
    assert "more than 5 files" in refused(path, tmp_path)


@pytest.mark.parametrize("name", MAKERS)
def test_a_broken_archive_is_named_and_leaves_nothing(tmp_path, name):
    path = MAKERS[name](tmp_path / name, {key: bytes(range(256)) * 90 for key in FILES})
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    assert str(path) in refused(path, tmp_path)
    path.write_bytes(b"no archive")
    assert str(path) in refused(path, tmp_path)


@pytest.mark.parametrize("name", ["a.zip", "a.tar.gz", "a.tar.bz2", "a.tar.xz"])
def test_of_a_damaged_archive_nothing_comes_but_what_to_do(tmp_path, name):
    maker = zipped if name == "a.zip" else tarred
    content = maker(tmp_path / name, {key: bytes(range(256)) * 90 for key in FILES}).read_bytes()
    rng, causes = random.Random(0), []
    for _ in range(60):
        spoilt = bytearray(content)
        for _ in range(3):
            spoilt[rng.randrange(len(spoilt))] = rng.randrange(256)
        (tmp_path / name).write_bytes(spoilt)
        try:
            found = read_index(tmp_path / name)
        except UserError as error:
            assert str(tmp_path) in str(error)
            causes.append(type(error.__cause__))
        else:  # nothing that counts was hit
            assert {r.path.read_bytes() for r in found.records} == {bytes(range(256)) * 90}
    assert causes
    assert name != "a.tar.xz" or lzma.LZMAError in causes


def test_a_zip_with_a_name_that_is_no_text_is_named(tmp_path):
    path = zipped(tmp_path / "a.zip", {**FILES, "photos/a/\u00e9.png": b"e"})
    path.write_bytes(path.read_bytes().replace("\u00e9".encode(), b"\xff\xff"))
    assert f"{path}: cannot be unpacked: 'utf-8' codec" in refused(path, tmp_path)


def test_two_processes_of_one_number_unpack_at_the_same_time(tmp_path, monkeypatch):
    """As in two containers that share a cache: the second begins and ends while the first unpacks."""
    path, unpack = zipped(tmp_path / "a.zip", FILES), archives._unpack

    def slowly(archive: Path, folder: Path) -> None:
        monkeypatch.setattr(archives, "_unpack", unpack)
        assert len(read_index(path).records) == 4
        unpack(archive, folder)

    monkeypatch.setattr(archives, "_unpack", slowly)
    assert len(read_index(path).records) == 4
    assert [folder.name for folder in (tmp_path / "cache" / "archives").iterdir()] == [content_hash(path)]


def test_a_tar_that_is_damaged_in_the_middle_or_cut_between_two_files_is_not_taken_for_a_short_one(tmp_path):
    content = tarred(tmp_path / "a.tar", FILES).read_bytes()
    second = 2 * tarfile.BLOCKSIZE  # the first file's header and its one block come before
    for spoilt in (content[:second] + b"\xff" + content[second + 1 :], content[:second]):
        (tmp_path / "a.tar").write_bytes(spoilt)
        assert "cut off, or damaged in the middle" in refused(tmp_path / "a.tar", tmp_path)
