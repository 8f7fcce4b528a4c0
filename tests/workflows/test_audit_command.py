"""`depthwise audit`: what it finds, what it says, and that it changes nothing."""

import csv
import hashlib
import json
import os
import re
import sys
import unicodedata
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image

from conftest import FLAGS, write_photos
from depthwise.cli import run
from depthwise.data.findings import KINDS
from depthwise.report.audit_page import write_audit_page
from depthwise.workflows.auditing import audit

sys.path.insert(0, str(Path(__file__).parents[2] / "bench"))
from plant import plant, scene


def tree_hash(folder: Path) -> str:
    """Names, contents, times and modes of all that is in a folder."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        status = path.lstat()
        digest.update(
            f"{path} {status.st_mode} {status.st_mtime_ns} {status.st_size}".encode("utf-8", "surrogateescape")
        )
        if path.is_file():
            digest.update(path.read_bytes())
    return digest.hexdigest()


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    """250 pictures with 15 near duplicates, 5 conflicts and 10 broken files; tests only read it."""
    folder = tmp_path_factory.mktemp("planted") / "photos"
    return folder, plant(folder, 250, near=15, conflicts=5, broken=10)


def good(folder: Path, *names: str) -> Path:
    """Make pictures that there is nothing to say about."""
    for number, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        scene(np.random.default_rng(number)).save(path)
    return folder


def kinds(folder: Path, **options: object) -> Counter[str]:
    return Counter(finding.kind for finding in audit(folder, **options).findings)


def test_planted_faults_are_found_and_no_others(planted):
    folder, truth = planted
    result = audit(folder)
    pairs = {kind: {frozenset(f.paths) for f in result.findings if f.kind == kind} for kind in KINDS}
    assert len(pairs["near_duplicate"] & truth.near) >= 0.93 * len(truth.near)  # 14 of 15
    assert pairs["near_duplicate"] <= truth.near
    assert len(pairs["label_conflict"] & truth.conflicts) >= 4  # of 5
    assert pairs["label_conflict"] <= truth.conflicts
    unusable = {
        f.paths[0]: f.kind for f in result.findings if f.kind in ("empty", "truncated", "not_a_picture", "corrupt")
    }
    assert set(unusable) == truth.broken
    assert Counter(unusable.values()) == {"empty": 2, "truncated": 4, "not_a_picture": 4}
    assert not result.is_clean


def test_nothing_in_the_folder_changes(planted, tmp_path, capsys):
    folder, _ = planted
    before = tree_hash(folder)
    page, listed = tmp_path / "audit.html", tmp_path / "leave.csv"
    assert run(["audit", str(folder), "--html", str(page), "--quarantine", str(listed)]) == 1
    assert run(["split", str(folder), "--out", str(tmp_path / "splits.csv"), "--copy", str(tmp_path / "copy")]) == 1
    assert run(["split", str(folder), "--out", str(tmp_path / "2.csv"), "--link", str(tmp_path / "link")]) == 1
    assert tree_hash(folder) == before
    assert page.exists()
    assert listed.exists()
    capsys.readouterr()


def test_a_clean_folder_is_0_a_finding_1_an_error_2(tmp_path, capsys):
    folder = good(tmp_path / "photos", *(f"{label}/{n}.png" for label in "ab" for n in range(4)))
    assert run(["audit", str(folder)]) == 0
    assert "Clean: nothing needs to be done." in capsys.readouterr().out
    (folder / "a" / "0.png").write_bytes(b"")
    assert run(["audit", str(folder), "--json"]) == 1
    said = json.loads(capsys.readouterr().out)
    assert said["counts"] == {"empty": 1}
    assert said["findings"][0]["paths"] == [str(folder / "a" / "0.png")]
    assert run(["audit", str(tmp_path / "nowhere")]) == 2
    assert "no such folder" in capsys.readouterr().err


def test_every_oddity_of_a_picture_is_told(tmp_path):
    folder = good(tmp_path, *(f"{label}/{n}.png" for label in "ab" for n in range(2)))
    base = scene(np.random.default_rng(99))
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    base.save(folder / "a" / "turned.jpg", exif=exif)
    scene(np.random.default_rng(98)).save(folder / "a" / "wrong.jpg", format="PNG")
    scene(np.random.default_rng(97)).convert("CMYK").save(folder / "a" / "cmyk.jpg")
    scene(np.random.default_rng(96)).convert("RGBA").save(folder / "a" / "alpha.png")
    deep = np.random.default_rng(0).integers(0, 65535, (40, 40)).astype(np.uint16)
    Image.fromarray(deep).save(folder / "a" / "deep.png")
    frames = [scene(np.random.default_rng(95 - n)) for n in range(2)]
    frames[0].save(folder / "a" / "moves.gif", save_all=True, append_images=frames[1:])
    scene(np.random.default_rng(90), (12, 40)).save(folder / "a" / "tiny.png")
    scene(np.random.default_rng(89), (400, 50)).save(folder / "a" / "long.png")
    Image.new("RGB", (50, 50), "grey").save(folder / "a" / "uniform.png")
    soft = scene(np.random.default_rng(88), (16, 12)).resize((240, 180), Image.Resampling.BICUBIC)
    soft.save(folder / "a" / "soft.png")
    found = {(f.kind, f.paths[0].name) for f in audit(folder).findings if f.paths}
    assert found == {
        ("turned", "turned.jpg"),
        ("wrong_ending", "wrong.jpg"),
        ("cmyk", "cmyk.jpg"),
        ("alpha", "alpha.png"),
        ("16_bit", "deep.png"),
        ("animated", "moves.gif"),
        ("tiny", "tiny.png"),
        ("long", "long.png"),
        ("uniform", "uniform.png"),
        ("blurred", "soft.png"),
    }


def test_what_decode_sees_to_is_told_and_does_not_make_a_folder_unclean(tmp_path):
    folder = good(tmp_path, *(f"{label}/{n}.png" for label in "ab" for n in range(2)))
    scene(np.random.default_rng(9)).convert("CMYK").save(folder / "a" / "cmyk.jpg")
    result = audit(folder)
    assert [finding.kind for finding in result.findings] == ["cmyk"]
    assert result.is_clean


@pytest.mark.skipif(sys.platform != "linux", reason="other systems take these names for one")
def test_class_names_that_hardly_differ_are_told_and_never_merged(tmp_path):
    composed, decomposed = "caf\u00e9", unicodedata.normalize("NFD", "caf\u00e9")
    names = (composed, decomposed, "Dog", "dog", "cat ", "cat", "bird.")
    folder = good(tmp_path, *(f"{name}/{n}.png" for name in names for n in range(1)))
    result = audit(folder)
    assert set(result.classes) == set(names)
    twins = [set(f.labels) for f in result.findings if f.kind == "class_names"]
    assert sorted(map(sorted, twins)) == sorted([sorted({composed, decomposed}), ["Dog", "dog"], ["cat", "cat "]])
    assert {f.labels[0] for f in result.findings if f.kind == "class_name"} == {"cat ", "bird."}


def test_unequal_classes_and_missing_ones_are_told(tmp_path):
    names = [*(f"train/a/{n}.png" for n in range(11)), "train/b/x.png", "test/a/y.png"]
    result = audit(good(tmp_path, *names))
    details = {f.kind: f.detail for f in result.findings}
    assert details["missing_class"] == "test has no b"
    assert details["imbalance"] == "12 of a, 1 of b: 12 times"


def test_a_class_that_the_manifest_leaves_out_of_a_split_is_told(tmp_path, capsys):
    folder = good(tmp_path / "photos", *(f"{label}/{number}.png" for label in "ab" for number in range(3)))
    manifest, sides = tmp_path / "splits.csv", {"a/0": "train", "a/1": "test", "b/0": "train", "b/1": "train"}
    rows = [f"photos/{name}.png,{name[0]},{side}" for name, side in sides.items()]
    manifest.write_text("\n".join(["path,class,split", *rows, ""]))
    assert run(["audit", str(folder), "--splits", str(manifest), "--json"]) == 1
    found = json.loads(capsys.readouterr().out)["findings"]
    assert [(one["kind"], one["detail"]) for one in found] == [("missing_class", "test has no b")]


def test_places_that_cannot_be_written_are_refused_before_the_photos_are_looked_at(tmp_path, capsys, monkeypatch):
    (tmp_path / "there.html").write_text("mine")
    (tmp_path / "there.csv").write_text("mine")
    monkeypatch.setattr("depthwise.workflows.auditing.examine_all", None)
    for flags, message in (
        (["--html", "audit.htm"], "choose a name that ends in .html"),
        (["--html", "no/audit.html", "--overwrite"], "there is no folder {tmp}/no; make it, or choose another --html"),
        (["--html", "there.html"], "exists; choose another --html, or replace it with --overwrite"),
        (["--quarantine", "no/leave.csv", "--overwrite"], "there is no folder {tmp}/no; make it, or choose another"),
        (["--quarantine", "there.csv"], "exists; choose another --quarantine, or replace it with --overwrite"),
    ):
        flag, name, *more = flags
        assert run(["audit", str(tmp_path), flag, str(tmp_path / name), *more]) == 2
        assert message.format(tmp=tmp_path) in capsys.readouterr().err
    assert {(tmp_path / f"there.{kind}").read_text() for kind in ("html", "csv")} == {"mine"}


def test_a_page_and_a_list_that_exist_are_replaced_when_asked(tmp_path):
    folder = good(tmp_path / "photos", *(f"{label}/{number}.png" for label in "ab" for number in range(2)))
    page, listed = tmp_path / "audit.html", tmp_path / "leave.csv"
    for path in (page, listed):
        path.write_text("old")
    assert run(["audit", str(folder), "--html", str(page), "--quarantine", str(listed), "--overwrite"]) == 0
    assert listed.read_text() == "path,reason\n" and "<html" in page.read_text()


def test_a_leak_between_ready_made_splits_is_told(tmp_path):
    folder = good(tmp_path, *(f"{side}/{label}/{side}{label}.png" for side in ("train", "test") for label in "ab"))
    with Image.open(folder / "train/a/traina.png") as image:
        image.resize((120, 90)).save(folder / "test/a/copy.jpg")
    (leak,) = [f for f in audit(folder).findings if f.kind == "leak"]
    assert {path.name for path in leak.paths} == {"traina.png", "copy.jpg"}
    assert leak.detail.startswith(("test and train", "train and test"))


def test_a_leak_in_a_manifest_is_told_but_not_one_in_depthwise_s_own(planted, tmp_path, capsys):
    folder, truth = planted
    manifest = tmp_path / "splits.csv"
    assert run(["split", str(folder), "--out", str(manifest)]) == 1
    assert not kinds(folder, splits=manifest)["leak"]
    with open(manifest, encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    first, second = (os.path.relpath(path, tmp_path) for path in sorted(next(iter(sorted(truth.near, key=sorted)))))
    for row in rows:
        if row["path"] in (first, second):
            row["split"] = "train" if row["path"] == first else "test"
    with open(manifest, "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    capsys.readouterr()
    assert run(["audit", str(folder), "--splits", str(manifest), "--json"]) == 1
    said = json.loads(capsys.readouterr().out)
    assert said["counts"]["leak"] == 1


def test_what_is_quarantined_is_left_out_by_split_and_train(tmp_path, capsys):
    folder = write_photos(tmp_path / "photos")
    spoilt = folder / "red fox" / "broken.jpg"
    spoilt.write_bytes(b"")
    copy = folder / "red fox" / "z copy.png"
    copy.write_bytes((folder / "red fox" / "photo 01.png").read_bytes())
    other = folder / "猫" / "other class.png"
    other.write_bytes((folder / "red fox" / "photo 04.png").read_bytes())
    listed = tmp_path / "leave.csv"
    assert run(["audit", str(folder), "--quarantine", str(listed)]) == 1
    assert "--quarantine" in capsys.readouterr().out
    with open(listed, encoding="utf-8") as file:
        rows = {Path(row["path"]).name: row["reason"] for row in csv.DictReader(file)}
    assert rows == {
        "broken.jpg": "empty",
        "z copy.png": "exact_duplicate",
        "photo 04.png": "label_conflict",
        "other class.png": "label_conflict",
    }
    assert run(["split", str(folder), "--out", str(tmp_path / "s.csv"), "--quarantine", str(listed)]) == 0
    assert "4 pictures left out" in capsys.readouterr().err
    out = tmp_path / "run"
    assert run(["train", str(folder), "--out", str(out), *FLAGS, "--epochs", "1", "--quarantine", str(listed)]) == 0
    for manifest in (tmp_path / "s.csv", out / "splits.csv"):
        names = {Path(row["path"]).name for row in csv.DictReader(manifest.read_text("utf-8").splitlines())}
        assert not names & {"broken.jpg", "z copy.png", "other class.png"}
    assert run(["audit", str(folder), "--quarantine", str(listed)]) == 2
    assert "choose another --quarantine" in capsys.readouterr().err


def test_a_quarantine_that_is_no_list_is_refused(photos, tmp_path, capsys):
    (tmp_path / "q.csv").write_text("just,words\n1,2\n")
    assert run(["split", str(photos), "--out", str(tmp_path / "s.csv"), "--quarantine", str(tmp_path / "q.csv")]) == 2
    assert "q.csv: not a list of pictures" in capsys.readouterr().err
    assert run(["split", str(photos), "--out", str(tmp_path / "s.csv"), "--quarantine", str(tmp_path / "no.csv")]) == 2
    assert "no.csv" in capsys.readouterr().err


@pytest.mark.skipif(sys.platform == "win32", reason="names that are not allowed there")
def test_hostile_names_are_shown_harmless_everywhere(tmp_path, capsys):
    evil = ("<script>alert(1)</script>".replace("/", "\u2215"), "\x1b[31mred\x1b[0m", "=cmd()", "two\nlines", "ü" * 120)
    folder = good(tmp_path / "photos", *(f"{label}/{n}.png" for label in evil for n in range(3)))
    for label in evil:
        (folder / label / f"{label}.png").write_bytes(b"")
    page = tmp_path / "a.html"
    assert run(["audit", str(folder), "--html", str(page)]) == 1
    said = capsys.readouterr()
    html = page.read_text(encoding="utf-8")
    assert "\x1b" not in said.out + said.err + html
    assert "<script" not in html
    assert "&lt;script&gt;" in html
    assert "two\\nlines" in said.out
    assert "two\nlines" not in said.out + html
    assert run(["audit", str(folder), "--json"]) == 1
    assert set(json.loads(capsys.readouterr().out)["classes"]) == set(evil)
    for label in evil:
        (folder / label / f"{label}.png").unlink()
    manifest = tmp_path / "photos" / "splits.csv"
    assert run(["split", str(folder), "--out", str(manifest)]) == 0
    said = capsys.readouterr()
    assert "\x1b" not in said.out + said.err
    with open(manifest, encoding="utf-8", newline="") as file:
        cells = [cell for row in csv.reader(file) for cell in row]
    assert not [cell for cell in cells if cell.startswith(("=", "+", "@"))]
    from depthwise.data.index import read_index

    again = read_index(manifest)
    assert set(again.classes) == set(evil)
    assert all(record.path.exists() for record in again.records)


def test_the_page_needs_nothing_from_elsewhere_and_shows_pairs(planted, tmp_path):
    folder, truth = planted
    page = tmp_path / "audit.html"
    write_audit_page(audit(folder), page)
    html = page.read_text(encoding="utf-8")
    assert not re.findall(r"(?:src|href)=\"(?!data:image/jpeg;base64,|#)", html)
    assert "<script" not in html
    first, second = sorted(next(iter(sorted(truth.conflicts, key=sorted))))
    assert f"{first.parent.name}/{first.name}" in html
    assert f"{second.parent.name}/{second.name}" in html
    assert html.count("<img ") >= 2 * (len(truth.near) - 1 + len(truth.conflicts))
    assert html.count("no picture") == len(truth.broken)


def test_a_picture_in_two_splits_under_two_labels_is_a_leak_and_a_conflict(tmp_path):
    folder = good(tmp_path, *(f"{side}/{label}/{side}{label}.png" for side in ("train", "test") for label in "ab"))
    with Image.open(folder / "train/a/traina.png") as image:
        image.resize((120, 90)).save(folder / "test/b/copy.jpg")
    found = audit(folder, quarantine=tmp_path / "leave-out.csv")
    pairs = {f.kind: {path.parent.name for path in f.paths} for f in found.findings if len(f.paths) == 2}
    assert pairs["leak"] == pairs["label_conflict"] == {"a", "b"}
    assert (tmp_path / "leave-out.csv").read_text(encoding="utf-8").count("label_conflict") == 2
