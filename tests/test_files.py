import errno
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from depthwise import files
from depthwise.errors import CannotWrite, UserError
from depthwise.files import keep, read_kept, replace, write_whole


def disk_full(*_: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("data", [b"", b"new", bytes(range(256)) * 1000])
@pytest.mark.parametrize("old", [None, b"old and longer"])
def test_the_new_bytes_replace_the_old(tmp_path, data, old):
    if old is not None:
        (tmp_path / "a").write_bytes(old)
    write_whole(tmp_path / "a", data)
    assert content(tmp_path) == {"a": data}


@pytest.mark.parametrize("name", ["mein Bild.json", "süß", "照片.csv", ".hidden"])
def test_any_name_can_be_written(tmp_path, name):
    write_whole(tmp_path / name, b"x")
    assert content(tmp_path) == {name: b"x"}


def test_a_path_without_a_folder_is_written_here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_whole(Path("a"), b"x")
    assert content(tmp_path) == {"a": b"x"}


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_the_old_file_outlives_a_failed_write(tmp_path, monkeypatch, call):
    (tmp_path / "a").write_bytes(b"old")
    monkeypatch.setattr(os, call, disk_full)
    with pytest.raises(UserError) as caught:
        write_whole(tmp_path / "a", b"x" * 1234)
    assert content(tmp_path) == {"a": b"old"}
    place = tmp_path / "a"
    assert str(caught.value) == (
        f"cannot write {place}: No space left on device (1,234 bytes); the old file is unchanged"
    )


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_nothing_is_left_of_a_new_file_that_fails(tmp_path, monkeypatch, call):
    monkeypatch.setattr(os, call, disk_full)
    with pytest.raises(UserError, match=r"cannot write .*a: No space left .*; nothing was written"):
        write_whole(tmp_path / "a", b"x")
    assert content(tmp_path) == {}


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
def test_an_interrupted_write_leaves_no_temporary_file(tmp_path, monkeypatch, error):
    def interrupt(*_: object) -> None:
        raise error

    (tmp_path / "a").write_bytes(b"old")
    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(error):
        write_whole(tmp_path / "a", b"new")
    assert content(tmp_path) == {"a": b"old"}


def test_a_folder_that_is_not_there_is_told(tmp_path):
    with pytest.raises(UserError, match=r"cannot write .*gone.a: No such file or directory .*nothing was written"):
        write_whole(tmp_path / "gone" / "a", b"x")


def test_what_a_killed_process_left_is_written_over(tmp_path):
    (tmp_path / ".a.tmp").write_bytes(b"half of something longer")
    write_whole(tmp_path / "a", b"new")
    assert content(tmp_path) == {"a": b"new"}


@pytest.mark.skipif(os.name == "nt", reason="no fsync of folders there")
def test_the_bytes_are_on_disk_before_the_name_and_the_name_before_the_end(tmp_path, monkeypatch):
    events = []
    real_fsync, real_replace = os.fsync, os.replace

    def fsync(handle: int) -> None:
        status = os.fstat(handle)
        events.append("folder" if stat.S_ISDIR(status.st_mode) else f"{status.st_size} bytes")
        real_fsync(handle)

    def rename(source: Path, target: Path) -> None:
        events.append(f"rename to {Path(target).name}")
        real_replace(source, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "replace", rename)
    write_whole(tmp_path / "a", b"12345")
    assert events == ["5 bytes", "rename to a", "folder"]


LIMITED = """
import resource, signal, sys
from pathlib import Path
from depthwise.errors import UserError
from depthwise.files import write_whole

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
try:
    write_whole(Path(sys.argv[1]), b"x" * 50_000)
except UserError as error:
    print(error)
"""


@pytest.mark.skipif(os.name == "nt", reason="no such limits there")
@pytest.mark.parametrize("old", [None, b"old"])
def test_a_real_limit_of_the_system_leaves_the_old_file(tmp_path, old):
    if old is not None:
        (tmp_path / "a").write_bytes(old)
    command = [sys.executable, "-c", LIMITED, str(tmp_path / "a")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    outcome = "the old file is unchanged" if old else "nothing was written"
    assert done.stdout == f"cannot write {tmp_path / 'a'}: File too large (50,000 bytes); {outcome}\n"
    assert content(tmp_path) == ({"a": old} if old else {})


@pytest.fixture
def locked(monkeypatch):
    """Let os.replace fail as often as said; the pauses between the tries are listed and not slept."""
    pauses = []
    real_replace = os.replace

    def lock(times: int) -> list[float]:
        def maybe(source: Path, target: Path) -> None:
            if len(pauses) < times:
                raise PermissionError(errno.EACCES, "Permission denied")
            real_replace(source, target)

        monkeypatch.setattr(os, "replace", maybe)
        monkeypatch.setattr(files.time, "sleep", pauses.append)
        return pauses

    return lock


@pytest.mark.parametrize("times", [0, 1, 4])
def test_a_locked_file_is_tried_again(tmp_path, locked, times):
    pauses = locked(times)
    write_whole(tmp_path / "a", b"new")
    assert content(tmp_path) == {"a": b"new"}
    assert len(pauses) == times
    assert sum(pauses) <= 1


def test_a_file_that_stays_locked_is_told(tmp_path, locked):
    (tmp_path / "a").write_bytes(b"old")
    locked(5)
    with pytest.raises(UserError, match=r"Permission denied .* the old file is unchanged"):
        write_whole(tmp_path / "a", b"new")
    assert content(tmp_path) == {"a": b"old"}


def test_other_errors_are_not_tried_again(tmp_path, locked):
    pauses = locked(0)
    with pytest.raises(FileNotFoundError):
        replace(tmp_path / "gone", tmp_path / "a")
    assert pauses == []


def test_those_who_write_a_shared_file_at_a_time_do_not_meet(tmp_path, monkeypatch):
    class Meeting(files.Disk):
        """While one writes, another writes from beginning to end."""

        def sync(self, file):
            super().sync(file)
            monkeypatch.setattr(files, "DISK", files.Disk())
            write_whole(tmp_path / "a", b"another's", is_shared=True)
            assert (tmp_path / "a").read_bytes() == b"another's"

    monkeypatch.setattr(files, "DISK", Meeting())
    write_whole(tmp_path / "a", b"mine", is_shared=True)
    assert content(tmp_path) == {"a": b"mine"}


def test_what_is_kept_goes_beside_what_was(tmp_path):
    path = tmp_path / "cache" / "found.json"
    assert read_kept(path) == {}
    keep(path, {"a": 1, "b": 1})
    keep(path, {"b": [2]})
    assert read_kept(path) == {"a": 1, "b": [2]} and list(path.parent.iterdir()) == [path]
    for damage in ("{", "[1]", "\udcff"):
        path.write_text(damage, errors="surrogateescape")
        assert read_kept(path) == {}
    keep(path, {"c": 3})
    assert read_kept(path) == {"c": 3}


def test_a_cache_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(CannotWrite, match=r"cannot write .*found\.json: .* \(DEPTHWISE_CACHE names another folder\)"):
        keep(tmp_path / "file" / "found.json", {"a": 1})


CAN_COMPILE = """
import os, sys
os.access, real = (lambda path, mode: False if str(path).startswith(sys.argv[1]) else real(path, mode)), os.access
import numba.core.caching as caching
caching.CacheImpl._locator_classes = [c for c in caching.CacheImpl._locator_classes if "UserProvided" in c.__name__]
from depthwise.data import warp
print(warp._numba() is not None, os.environ.get("NUMBA_CACHE_DIR"))
"""


@pytest.mark.parametrize("has_home", [True, False])
def test_compiled_code_is_kept_elsewhere_where_it_cannot_be_beside_the_code(has_home, tmp_path):
    pytest.importorskip("numba")
    cache = tmp_path / "cache"
    if not has_home:
        cache.touch()  # no folder can be made there
    environment = {k: v for k, v in os.environ.items() if k != "NUMBA_CACHE_DIR"} | {"DEPTHWISE_CACHE": str(cache)}
    command = [sys.executable, "-c", CAN_COMPILE, str(Path(files.__file__).parent)]
    said = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.split()
    assert said[0] == "True"
    assert Path(said[1]) == cache / "numba" if has_home else "depthwise-numba-" in said[1]
