import os
import shutil
import sqlite3
import time
from pathlib import Path

import pytest

from depthwise.console import Quiet
from depthwise.data import contents
from depthwise.data import examine as module
from depthwise.data import ledger as ledger_module
from depthwise.data.audit import Skipped, content_hash
from depthwise.data.decode import PASSING, decode
from depthwise.data.examine import examine, examine_all
from depthwise.data.ledger import Ledger
from depthwise.errors import UnusablePicture

OLD_S = time.time() - 1000


@pytest.fixture
def ledger(tmp_path):
    with Ledger(tmp_path / "cache") as book:
        yield book


def aged(path: Path) -> Path:
    """Let the file look as if it had not been touched for a while."""
    os.utime(path, (OLD_S, OLD_S))
    return path


def refuse(*_: object) -> None:
    raise AssertionError("computed again")


def test_a_good_picture_gives_what_it_is_like(tmp_path, save_noise, ledger):
    path = save_noise(tmp_path / "a.png", 0, (20, 10))
    found = examine(path, ledger)
    assert (found.content, found.width, found.height, found.traits.format) == (content_hash(path), 20, 10, "PNG")


def test_a_bad_picture_gives_its_reason_also_the_second_time(tmp_path, ledger):
    path = tmp_path / "a.png"
    path.touch()
    for _ in range(2):
        found = examine(path, ledger)
        assert found == Skipped(path, "empty", "the file has zero bytes")
        assert str(found) == f"{path}: the file has zero bytes"


@pytest.mark.parametrize("workers", [1, 3])
def test_all_are_examined_in_order_and_counted(tmp_path, save_noise, workers, ledger):
    seen = []

    class Console(Quiet):
        def track(self, items, total, label):
            seen.append((total, label))
            yield from items

    paths = [save_noise(tmp_path / f"{number}.png", number) for number in range(20)]
    paths[7] = tmp_path / "gone.png"
    found = examine_all(paths, workers, Console(), ledger)
    assert found[7] == Skipped(paths[7], "missing", "there is no such file")
    assert [found[i].content for i in range(20) if i != 7] == [content_hash(p) for i, p in enumerate(paths) if i != 7]
    assert seen == [(20, "Looking at pictures")]


def test_a_second_look_neither_reads_nor_decodes(tmp_path, save_noise, monkeypatch):
    good, bad = aged(save_noise(tmp_path / "a.png", 0)), tmp_path / "b.png"
    bad.write_bytes(b"<html>")
    aged(bad)
    with Ledger(tmp_path / "cache") as ledger:
        first = examine_all([good, bad], 1, Quiet(), ledger)
    monkeypatch.setattr(contents, "content_hash", refuse)
    monkeypatch.setattr(module, "fingerprint", refuse)
    with Ledger(tmp_path / "cache") as ledger:
        assert examine_all([good, bad], 1, Quiet(), ledger) == first


def test_a_moved_picture_is_known_by_its_content(tmp_path, save_noise, ledger, monkeypatch):
    path = save_noise(tmp_path / "a.png", 0)
    first = examine(path, ledger)
    path.rename(tmp_path / "b.png")
    monkeypatch.setattr(module, "fingerprint", refuse)
    assert examine(tmp_path / "b.png", ledger) == first


def test_a_picture_that_was_changed_is_looked_at_again(tmp_path, save_noise, ledger):
    path = aged(save_noise(tmp_path / "a.png", 0))
    first = examine(path, ledger)
    save_noise(path, 1)
    assert examine(path, ledger).content == content_hash(path) != first.content


def test_a_file_of_this_moment_is_not_trusted_by_its_time(tmp_path, save_noise, ledger):
    path = save_noise(tmp_path / "a.bmp", 0)
    now = time.time_ns()
    os.utime(path, ns=(now, now))
    first = examine(path, ledger)
    save_noise(path, 1)  # of the same size
    os.utime(path, ns=(now, now))
    assert examine(path, ledger).content != first.content


@pytest.mark.parametrize("content", [b"no database at all, but long enough to be looked at", b""])
def test_a_broken_or_empty_ledger_costs_time_only(tmp_path, save_noise, content):
    folder = tmp_path / "cache"
    folder.mkdir()
    Ledger(folder).database.close()
    (database,) = folder.iterdir()
    database.write_bytes(content)
    path = save_noise(tmp_path / "a.png", 0)
    for _ in range(2):
        with Ledger(folder) as ledger:
            assert examine(path, ledger).content == content_hash(path)
    with sqlite3.connect(database) as whole:  # the broken one is gone
        assert whole.execute("SELECT count(*) FROM pictures").fetchone() == (1,)


@pytest.mark.parametrize("reason", ["memory", "unreadable", "missing"])
def test_a_reason_of_the_moment_is_not_kept(tmp_path, save_noise, ledger, monkeypatch, reason):
    def failing(*_: object) -> None:
        raise UnusablePicture(reason, "today")

    path = save_noise(tmp_path / "a.png", 0)
    with monkeypatch.context() as patch:
        patch.setattr(module, "fingerprint", failing)
        assert examine(path, ledger) == Skipped(path, reason, "today")
    assert examine(path, ledger).content == content_hash(path)


def test_too_little_memory_is_no_word_on_the_picture(tmp_path, save_noise, monkeypatch):
    def full(*_: object) -> None:
        raise MemoryError

    path = save_noise(tmp_path / "a.png", 0)
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", full)
    with pytest.raises(UnusablePicture, match="not enough memory") as caught:
        decode(path)
    assert caught.value.reason in PASSING


def test_another_file_of_the_same_size_and_time_is_looked_at(tmp_path, save_noise, ledger):
    """As `cp -p` leaves it: only the time of the change of its entry tells."""
    path = aged(save_noise(tmp_path / "a.bmp", 0))
    first, inode = examine(path, ledger), path.stat().st_ino
    other = aged(save_noise(tmp_path / "b.bmp", 1))
    shutil.copy2(other, path)
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (inode, other.stat().st_mtime_ns)
    assert examine(path, ledger).content == content_hash(path) != first.content


def test_two_ledgers_share_a_file_and_none_waits_for_the_other(tmp_path, monkeypatch):
    monkeypatch.setattr(ledger_module, "TIMEOUT_S", 0)
    with Ledger(tmp_path) as first, Ledger(tmp_path) as second:
        first.tell_likeness("a", "b", 0.5)
        assert (first.likeness("a", "b"), second.likeness("a", "b")) == (0.5, None)
        second.tell_likeness("a", "c", 0.25)
        second.save()
        assert first.likeness("a", "c") == 0.25
        first.save()
        assert second.likeness("a", "b") == 0.5
        second.tell_likeness("b", "c", 1.0)
    with Ledger(tmp_path) as third:
        assert [third.likeness(*pair) for pair in ("ab", "ac", "bc")] == [0.5, 0.25, 1.0]


def test_what_cannot_be_saved_now_is_saved_the_next_time(tmp_path, save_noise, monkeypatch):
    monkeypatch.setattr(ledger_module, "TIMEOUT_S", 0)
    path = aged(save_noise(tmp_path / "a.png", 0))
    with Ledger(tmp_path) as ledger:
        other = sqlite3.connect(tmp_path / f"pictures-{ledger_module.VERSION}.sqlite")
        other.execute("BEGIN EXCLUSIVE")
        found = examine(path, ledger)
        ledger.save()
        monkeypatch.setattr(contents, "content_hash", refuse)
        monkeypatch.setattr(module, "fingerprint", refuse)
        assert examine(path, ledger) == found
        other.rollback()
        ledger.save()
        with Ledger(tmp_path) as second:
            assert examine(path, second) == found
    other.close()


def test_a_ledger_saves_by_itself(tmp_path, monkeypatch):
    monkeypatch.setattr(ledger_module, "SAVE_EVERY", 3)
    with Ledger(tmp_path) as first, Ledger(tmp_path) as second:
        for count, other in enumerate("bcd", start=1):
            first.tell_likeness("a", other, 0.5)
            assert second.likeness("a", "b") == (0.5 if count == 3 else None)


def test_a_place_that_cannot_be_written_costs_time_only(tmp_path, save_noise):
    (tmp_path / "file").touch()
    with Ledger(tmp_path / "file" / "cache") as ledger:
        assert not isinstance(examine(save_noise(tmp_path / "a.png", 0), ledger), Skipped)
