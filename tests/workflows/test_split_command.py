"""`depthwise split`: what belongs together stays on one side, and what was placed stays where it is."""

import csv
import os
import shutil
import sys
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image

import depthwise as dw
from depthwise.cli import run
from depthwise.console import Quiet
from depthwise.data.audit import content_hash
from depthwise.data.decode import decode
from depthwise.data.index import read_index
from depthwise.errors import UserError
from depthwise.workflows.splitting import RULE_FORGOTTEN, split
from depthwise.workflows.training_data import split_index

sys.path.insert(0, str(Path(__file__).parents[2] / "bench"))
from plant import CLASSES, edited, plant, scene


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("planted") / "photos"
    return folder, plant(folder, 300, near=30, conflicts=10, broken=10)


def scenes(folder: Path, per_class: int, start: int = 0, size: tuple[int, int] = (64, 48)) -> Path:
    for number, label in enumerate(("a", "b")):
        (folder / label).mkdir(parents=True, exist_ok=True)
        for count in range(start, start + per_class):
            scene(np.random.default_rng(1000 * number + count), size).save(folder / label / f"{count:03d}.png")
    return folder


def sides(manifest: Path) -> dict[str, str]:
    return {str(r.path.relative_to(manifest.parent.resolve())): r.split for r in read_index(manifest).records}


def test_no_planted_pair_is_torn_apart(planted, tmp_path):
    folder, truth = planted
    result = split(folder, tmp_path / "splits.csv")
    side = {record.path: record.split for record in result.records}
    pairs = [sorted(pair) for pair in truth.near | truth.conflicts]
    torn = [pair for pair in pairs if side[pair[0]] != side[pair[1]]]
    assert len(torn) <= 0.05 * len(pairs)
    assert {skipped.path for skipped in result.skipped} == truth.broken
    assert {split for counts in result.counts.values() for split, number in counts.items() if number} == {
        "train",
        "valid",
        "test",
    }


def test_without_the_search_pairs_would_be_torn_apart(planted, tmp_path, monkeypatch):
    """The test above can fail."""
    from depthwise.data import twins
    from depthwise.workflows import splitting

    folder, truth = planted
    monkeypatch.setattr(splitting, "find_twins", lambda *_: twins.Search((), 10, 0.8))
    side = {record.path: record.split for record in split(folder, tmp_path / "splits.csv").records}
    pairs = [sorted(pair) for pair in truth.near | truth.conflicts]
    assert sum(side[first] != side[second] for first, second in pairs) > 0.2 * len(pairs)


def test_train_on_a_plain_folder_splits_the_same_way(planted, tmp_path):
    folder, _ = planted
    config = dw.TrainConfig(model="lenet5", epochs=1, seed=0)
    dw.train(folder, tmp_path / "run", config)
    trained = {r.path: r.split for r in read_index(tmp_path / "run" / "splits.csv").records}
    assert trained == {r.path: r.split for r in split(folder, tmp_path / "s.csv").records}


def test_validation_taken_from_train_keeps_look_alikes_together(tmp_path):
    folder = scenes(tmp_path / "photos" / "train", 40)
    scenes(tmp_path / "photos" / "test", 5, start=100)
    for label in "ab":
        for number in range(20):
            picture = Image.fromarray(decode(folder / label / f"{number:03d}.png"))
            edited(picture, 0, np.random.default_rng(number)).save(folder / label / f"copy {number:03d}.png")
    dw.train(tmp_path / "photos", tmp_path / "run", dw.TrainConfig(model="lenet5", epochs=1))
    side = {(r.label, r.path.name): r.split for r in read_index(tmp_path / "run" / "splits.csv").records}
    torn = [
        (label, n)
        for label in "ab"
        for n in range(20)
        if side[label, f"{n:03d}.png"] != side[label, f"copy {n:03d}.png"]
    ]
    assert len(torn) <= 2


# Growing


def test_photos_that_were_placed_stay_while_a_folder_grows(tmp_path, capsys):
    folder, manifest = tmp_path / "photos", tmp_path / "splits.csv"
    scenes(folder, 10)
    known: dict[str, str] = {}
    for step in range(4):
        scenes(folder, 7, start=10 + 7 * step)
        assert run(["split", str(folder), "--out", str(manifest), "--valid", "0.2", "--test", "0.2"]) == 0
        now = sides(manifest)
        assert {path: now[path] for path in known} == known
        assert len(now) == 2 * (17 + 7 * step)
        shares = Counter(now.values())
        assert abs(shares["valid"] / len(now) - 0.2) < 0.04
        assert abs(shares["test"] / len(now) - 0.2) < 0.04
        known = now
    assert "62 pictures stay where they were, 14 are new" in capsys.readouterr().err


def test_the_same_folder_again_gives_the_same_bytes_and_overwrite_deals_anew(tmp_path):
    folder, manifest = scenes(tmp_path / "photos", 20), tmp_path / "splits.csv"
    assert run(["split", str(folder), "--out", str(manifest)]) == 0
    first = manifest.read_bytes()
    assert run(["split", str(folder), "--out", str(manifest), "--seed", "5"]) == 0
    assert manifest.read_bytes() == first
    assert run(["split", str(folder), "--out", str(manifest), "--seed", "5", "--overwrite"]) == 0
    assert manifest.read_bytes() != first


def test_another_manifest_can_be_the_one_to_keep_to(tmp_path):
    folder = scenes(tmp_path / "photos", 20)
    assert run(["split", str(folder), "--out", str(tmp_path / "a.csv"), "--seed", "1"]) == 0
    assert run(["split", str(folder), "--out", str(tmp_path / "b.csv"), "--previous", str(tmp_path / "a.csv")]) == 0
    assert sides(tmp_path / "a.csv") == sides(tmp_path / "b.csv")


def test_a_photo_that_was_moved_or_renamed_keeps_its_side(tmp_path):
    folder, manifest = scenes(tmp_path / "photos", 20), tmp_path / "splits.csv"
    assert run(["split", str(folder), "--out", str(manifest), "--test", "0.4"]) == 0
    before = sides(manifest)
    for path in sorted((folder / "a").iterdir()):
        path.rename(path.with_name(f"new {path.name}"))
    assert run(["split", str(folder), "--out", str(manifest)]) == 0
    after = sides(manifest)
    assert {path.replace("new ", ""): side for path, side in after.items()} == before


def test_a_new_photo_follows_its_look_alike_and_one_between_two_splits_is_left_out(tmp_path, capsys):
    folder, manifest = tmp_path / "photos", tmp_path / "splits.csv"
    scenes(folder, 20)
    assert run(["split", str(folder), "--out", str(manifest), "--test", "0.4"]) == 0
    by_side = defaultdict(list)
    for path, side in sides(manifest).items():
        by_side[side].append(tmp_path / path)
    for side, paths in by_side.items():
        picture = Image.fromarray(decode(sorted(paths)[0]))
        edited(picture, 1, np.random.default_rng(0)).save(folder / "a" / f"like {side}.jpg", quality=95)
    first, second = sorted(by_side["train"])[1], sorted(by_side["test"])[1]
    shutil.copy(second, first.with_name("leak.png"))  # an old leak: the same shot was on both sides
    with open(manifest, "a", encoding="utf-8") as file:
        file.write(f"{os.path.relpath(first.with_name('leak.png'), tmp_path)},{first.parent.name},train,,\n")
    shutil.copy(second, folder / "b" / "between.png")
    assert run(["split", str(folder), "--out", str(manifest)]) == 1
    now = sides(manifest)
    assert {side: now[f"photos/a/like {side}.jpg"] for side in by_side} == {side: side for side in by_side}
    assert "photos/b/between.png" not in now
    assert (
        f"left out: {folder / 'b' / 'between.png'}: resembles pictures in test and in train" in capsys.readouterr().err
    )


@pytest.mark.parametrize("is_whole", [True, False])
def test_a_table_without_splits_is_neither_followed_nor_replaced(tmp_path, capsys, is_whole):
    folder, labels = scenes(tmp_path / "photos", 5), tmp_path / "labels.csv"
    paths = sorted(folder.rglob("*.png"))
    rows = [f"{path},{path.parent.name}" for path in paths[:: 1 if is_whole else 2]]
    labels.write_text("\n".join(["path,class", *rows]), encoding="utf-8")
    before = labels.read_bytes()
    assert run(["split", str(folder), "--out", str(labels)]) == 2
    told = capsys.readouterr().err
    assert f"{labels} does not say which split a picture is in" in told
    assert "choose another --out, or replace it with --overwrite" in told
    assert run(["split", str(folder), "--out", str(tmp_path / "s.csv"), "--previous", str(labels)]) == 2
    assert "Name a manifest of `depthwise split` by --previous" in capsys.readouterr().err
    assert not (tmp_path / "s.csv").exists() and labels.read_bytes() == before


# Groups by rule


def in_groups(result, key) -> None:
    """Each group is on one side, and there are groups on several."""
    places = defaultdict(set)
    for record in result.records:
        if key(record.path) is not None:
            places[key(record.path)].add(record.split)
    assert all(len(found) == 1 for found in places.values())
    assert len({min(found) for found in places.values()}) == 3


def patients(folder: Path, numbers: range, shots: range = range(3)) -> Path:
    """A folder for each patient, in each class, with shots that do not resemble one another."""
    for label in "ab":
        for number in numbers:
            (folder / label / f"{number}").mkdir(parents=True, exist_ok=True)
            for shot in shots:
                picture = scene(np.random.default_rng([ord(label), number, shot]), (40, 30))
                picture.save(folder / label / f"{number}" / f"{shot}.png")
    return folder


def test_groups_by_folder(tmp_path):
    folder = patients(tmp_path / "photos", range(12))
    result = split(folder, tmp_path / "s.csv", dw.SplitConfig(group_by="parent"))
    in_groups(result, lambda path: path.parent)
    assert all(record.group for record in result.records)


def test_validation_taken_from_a_manifest_keeps_the_groups_in_it(tmp_path):
    folder = patients(tmp_path / "photos", range(12))
    split(folder, tmp_path / "s.csv", dw.SplitConfig(valid=0, group_by="parent"))
    index, _ = split_index(read_index(tmp_path / "s.csv"), dw.TrainConfig(), dw.SplitConfig(valid=0.3), 1, Quiet())
    in_groups(index, lambda path: path.parent)
    assert all(record.group for record in index.records)
    alone = split(folder, tmp_path / "s2.csv", dw.SplitConfig(valid=0))  # the test can fail
    index, _ = split_index(read_index(tmp_path / "s2.csv"), dw.TrainConfig(), None, 1, Quiet())
    with pytest.raises(AssertionError):
        in_groups(index, lambda path: path.parent)
    assert not any(record.group for record in alone.records)


def test_validation_taken_from_train_goes_by_the_rule(tmp_path):
    folder = tmp_path / "photos"
    patients(folder / "train", range(12))
    patients(folder / "test", range(12, 14))
    by_folder = dw.SplitConfig(group_by="parent")
    index, _ = split_index(read_index(folder), dw.TrainConfig(), by_folder, 1, Quiet())
    in_groups(index, lambda path: path.parent)
    with pytest.raises(UserError, match="leave --test out"):
        split_index(read_index(folder), dw.TrainConfig(), dw.SplitConfig(test=0.3), 1, Quiet())
    patients(folder / "valid", range(14, 16))
    with pytest.raises(UserError, match="leave --valid, --test and --group-by out"):
        split_index(read_index(folder), dw.TrainConfig(), by_folder, 1, Quiet())


def test_a_manifest_keeps_its_groups_while_it_grows_and_new_photos_join_them_by_the_rule(tmp_path):
    folder, manifest, by_folder = tmp_path / "photos", tmp_path / "s.csv", dw.SplitConfig(group_by="parent")
    first = split(patients(folder, range(12)), manifest, by_folder)
    shutil.copy(manifest, tmp_path / "old.csv")
    before = {record.path: (record.split, record.group) for record in first.records}
    (folder / "a" / "3" / "2.png").rename(folder / "a" / "3" / "moved.png")
    before[folder / "a" / "3" / "moved.png"] = before.pop(folder / "a" / "3" / "2.png")
    patients(folder, range(6, 12), shots=range(3, 6))
    grown = split(folder, manifest)
    after = {record.path: (record.split, record.group) for record in grown.records}
    assert len(after) == 2 * (36 + 18) and {path: after[path] for path in before} == before
    assert RULE_FORGOTTEN in grown.notes
    by_rule = split(folder, tmp_path / "new.csv", by_folder, previous=tmp_path / "old.csv")
    in_groups(by_rule, lambda path: path.parent)
    assert {r.path: r.split for r in by_rule.records if r.path in before} == {
        p: side for p, (side, _) in before.items()
    }
    assert RULE_FORGOTTEN not in by_rule.notes


def test_groups_that_a_table_names(tmp_path):
    folder = patients(tmp_path / "photos", range(12))
    rows = [f"{path},{path.parts[-3]},{path.parts[-2]}" for path in sorted(folder.rglob("*.png"))]
    (tmp_path / "list.csv").write_text("\n".join(["path,label,group", *rows]), encoding="utf-8")
    in_groups(split(tmp_path / "list.csv", tmp_path / "s.csv"), lambda path: path.parent.name)  # of both classes


def test_groups_by_the_start_of_the_name(tmp_path):
    folder = scenes(tmp_path / "photos", 60)
    result = split(folder, tmp_path / "s.csv", dw.SplitConfig(group_by=r"prefix:\d\d"))  # 000 to 009, 010 to 019 ...
    in_groups(result, lambda path: path.name[:2])


def test_groups_by_time(tmp_path):
    folder = scenes(tmp_path / "photos", 40)
    for label in "ab":
        for number, path in enumerate(sorted((folder / label).iterdir())):
            exif = Image.Exif()
            exif[ExifTags.Base.DateTime] = (
                f"2026:{1 + (label == 'b'):02d}:{1 + number // 4:02d} 12:00:{5 * (number % 4):02d}"
            )
            with Image.open(path) as image:
                image.save(path.with_suffix(".jpg"), exif=exif)
            path.unlink()
    result = split(folder, tmp_path / "s.csv", dw.SplitConfig(group_by="exif-time:5"))
    in_groups(result, lambda path: (path.parent.name, int(path.stem) // 4))
    alone = split(folder, tmp_path / "s2.csv", dw.SplitConfig(group_by="exif-time:4"))
    assert not any(record.group for record in alone.records)


def test_groups_by_a_column(tmp_path):
    folder = scenes(tmp_path / "photos", 30)
    with open(tmp_path / "list.tsv", "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter="\t")
        writer.writerow(("path", "label", "Patient"))
        for path in sorted(folder.rglob("*.png")):
            number = int(path.stem)
            writer.writerow((path.relative_to(tmp_path), path.parent.name, f"p{number // 3}" if number < 27 else ""))
    result = split(tmp_path / "list.tsv", tmp_path / "s.csv", dw.SplitConfig(group_by="csv:patient"))
    in_groups(result, lambda path: int(path.stem) // 3 if int(path.stem) < 27 else None)


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ("owner", "--group-by owner: needs parent, prefix:REGEX, exif-time:SECONDS or csv:COLUMN"),
        ("parent:2", "needs parent"),
        ("prefix:", "needs parent"),
        ("prefix:(", "not a regular expression"),
        ("exif-time:soon", "needs parent"),
        ("csv:patient", "has no column 'patient'"),
    ],
)
def test_a_rule_that_cannot_be_followed_is_refused(photos, tmp_path, rule, message):
    with pytest.raises(UserError, match=message.replace("(", r"\(")):
        split(photos, tmp_path / "s.csv", dw.SplitConfig(group_by=rule))


def test_a_rule_that_leaves_too_few_groups_says_so(photos, tmp_path):
    with pytest.raises(UserError, match="fewer than 3 different pictures"):
        split(photos, tmp_path / "s.csv", dw.SplitConfig(group_by="parent"))


# Folds, minimum, folders


def test_folds_share_the_test_pictures_and_deal_the_others_out(tmp_path, capsys):
    folder = scenes(tmp_path / "photos", 30)
    assert run(["split", str(folder), "--out", str(tmp_path / "s.csv"), "--folds", "5"]) == 0
    assert "depthwise train" in capsys.readouterr().out
    first = (tmp_path / "s-fold3.csv").read_bytes()
    (tmp_path / "s-fold1.csv").unlink()
    again = ["split", str(folder), "--out", str(tmp_path / "s.csv"), "--folds", "5", "--seed", "5"]
    assert run(again) == 2
    assert f"{tmp_path / 's-fold2.csv'} exists; choose another --out, or" in capsys.readouterr().err
    assert (tmp_path / "s-fold3.csv").read_bytes() == first and not (tmp_path / "s-fold1.csv").exists()
    assert run([*again, "--overwrite"]) == 0
    assert (tmp_path / "s-fold3.csv").read_bytes() != first
    folds = [sides(tmp_path / f"s-fold{number}.csv") for number in range(1, 6)]
    assert not (tmp_path / "s.csv").exists()
    tests = [{path for path, side in fold.items() if side == "test"} for fold in folds]
    valids = [{path for path, side in fold.items() if side == "valid"} for fold in folds]
    assert all(found == tests[0] for found in tests)
    assert sum(map(len, valids)) == len(set().union(*valids)) == 60 - len(tests[0])
    for found in valids:
        counts = Counter(path.split("/")[1] for path in found)
        assert set(counts) == {"a", "b"}
        assert max(counts.values()) - min(counts.values()) <= 1


def test_each_class_gets_the_minimum_or_is_named(tmp_path, capsys):
    folder = scenes(tmp_path / "photos", 20)
    options = ["split", str(folder), "--out", str(tmp_path / "s.csv"), "--min-per-class"]
    assert run([*options, "6"]) == 0
    assert Counter(side for path, side in sides(tmp_path / "s.csv").items() if "/a/" in path) == {
        "train": 8,
        "valid": 6,
        "test": 6,
    }
    assert run([*options, "10", "--overwrite"]) == 2
    assert "'a' (20), 'b' (20)" in capsys.readouterr().err


@pytest.mark.parametrize("flag", ["--copy", "--link"])
def test_the_split_as_folders(photos, tmp_path, flag):
    out = tmp_path / "out"
    assert run(["split", str(photos), "--out", str(tmp_path / "s.csv"), flag, str(out)]) == 0
    index = read_index(out)
    wanted = Counter((r.label, r.split, decode(r.path).tobytes()) for r in read_index(tmp_path / "s.csv").records)
    assert Counter((r.label, r.split, decode(r.path).tobytes()) for r in index.records) == wanted
    assert all(record.path.is_symlink() == (flag == "--link") for record in index.records)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "s.csv"]


def test_names_that_meet_in_a_folder_are_numbered(tmp_path):
    folder = tmp_path / "photos"
    for number, name in enumerate(("a/x/1.png", "a/y/1.png", "a/z/1.PNG", "b/1.png", "b/2.png", "b/3.png")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        scene(np.random.default_rng(number), (30, 30)).save(folder / name)
    options = ["--valid", "0", "--test", "0", "--copy", str(tmp_path / "out")]
    assert run(["split", str(folder), "--out", str(tmp_path / "s.csv"), *options]) == 0
    names = sorted(str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*.*"))
    assert names == ["train/a/1-2.png", "train/a/1-3.PNG", "train/a/1.png", *(f"train/b/{n}.png" for n in (1, 2, 3))]


def test_folders_are_never_put_among_other_files(photos, tmp_path, capsys):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").touch()
    assert run(["split", str(photos), "--out", str(tmp_path / "s.csv"), "--copy", str(tmp_path / "out")]) == 2
    assert "exists and is not empty; choose another folder" in capsys.readouterr().err
    assert not (tmp_path / "s.csv").exists()


@pytest.mark.parametrize("label", ["..", "../up", "a/b", "a\\b"])
def test_a_class_that_is_a_way_out_of_the_folder_is_refused(photos, tmp_path, capsys, label):
    paths = sorted(photos.rglob("*.png"))
    rows = [f"{path},{label if number % 2 else 'good'}" for number, path in enumerate(paths)]
    (tmp_path / "list.csv").write_text("\n".join(["path,label", *rows]), encoding="utf-8")
    out = tmp_path / "deep" / "out"
    options = ["--out", str(tmp_path / "s.csv"), "--copy", str(out)]
    assert run(["split", str(tmp_path / "list.csv"), *options]) == 2
    assert "cannot be a folder's name" in capsys.readouterr().err
    assert not out.exists()


def test_look_alikes_by_the_hundred_are_reported_and_not_merged(tmp_path, capsys):
    """Like solar cells: one design, and a defect here or there."""
    base = np.asarray(scene(np.random.default_rng(0), (120, 120))).copy()
    for number in range(60):
        pixels = base.copy()
        x, y = np.random.default_rng(number).integers(0, 110, 2)
        pixels[y : y + 6, x : x + 6] = (number * 37) % 256
        label = tmp_path / "photos" / CLASSES[number % 2]
        label.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(label / f"{number}.png")
    assert run(["split", str(tmp_path / "photos"), "--out", str(tmp_path / "s.csv")]) == 0
    assert "60 pictures look alike in one chain" in capsys.readouterr().err
    assert set(Counter(sides(tmp_path / "s.csv").values())) == {"train", "valid", "test"}


def test_renumbered_photos_keep_their_sides(tmp_path):
    folder, manifest = scenes(tmp_path / "photos", 20), tmp_path / "s.csv"
    first = split(folder, manifest)
    before = {record.hash: record.split for record in first.records}
    gone = content_hash(folder / "a" / "000.png")
    (folder / "a" / "000.png").unlink()
    for number in range(1, 20):
        (folder / "a" / f"{number:03d}.png").rename(folder / "a" / f"{number - 1:03d}.png")
    after = {record.hash: record.split for record in split(folder, manifest).records}
    assert after == {hash_: side for hash_, side in before.items() if hash_ != gone}


def test_a_photo_that_was_changed_in_place_stays(tmp_path):
    folder, manifest = scenes(tmp_path / "photos", 20), tmp_path / "s.csv"
    before = {record.path: record.split for record in split(folder, manifest).records}
    path = next(path for path, side in before.items() if side == "test")
    scene(np.random.default_rng(12345), (64, 48)).save(path)
    assert {record.path: record.split for record in split(folder, manifest).records} == before


def test_a_burst_in_a_small_folder_stays_together(tmp_path):
    folder = scenes(tmp_path / "photos", 40)
    shot = np.asarray(scene(np.random.default_rng(99), (64, 48))).astype(int)
    for number in range(12):
        noisy = shot + np.random.default_rng(number).integers(-2, 3, shot.shape)
        Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8)).save(folder / "a" / f"burst{number:02d}.png")
    result = split(folder, tmp_path / "s.csv")
    assert len({record.split for record in result.records if record.path.name.startswith("burst")}) == 1
    assert "66 pairs of near duplicates; they are kept in one split" in result.notes


@pytest.mark.parametrize(
    ("rule", "reason"), [("prefix:patient", "no file's name begins so"), ("exif-time:60", "the time in its EXIF")]
)
def test_a_rule_that_groups_nothing_is_an_error(tmp_path, rule, reason):
    folder = scenes(tmp_path / "photos", 10)
    with pytest.raises(UserError, match=reason):
        split(folder, tmp_path / "s.csv", dw.SplitConfig(group_by=rule))


@pytest.mark.parametrize("value", ["²", "nan", "inf", "-1", "x"])
def test_seconds_are_a_number(tmp_path, value):
    with pytest.raises(UserError, match="needs parent, prefix"):
        split(scenes(tmp_path / "photos", 10), tmp_path / "s.csv", dw.SplitConfig(group_by=f"exif-time:{value}"))


def test_large_groups_that_miss_the_shares_are_told(tmp_path):
    folder = patients(tmp_path / "photos", range(3), shots=range(6))
    result = split(folder, tmp_path / "s.csv", dw.SplitConfig(group_by="parent"))
    assert "test has 33% of the pictures, not 15%: groups stay whole, and some are large" in result.notes


def test_mirrored_copies_stay_on_one_side_and_are_told(tmp_path, capsys):
    pictures = {name: [scene(np.random.default_rng(10 * k + n)) for n in range(6)] for k, name in enumerate("ab")}
    for name, shown in pictures.items():
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number, picture in enumerate(shown):
            picture.save(tmp_path / "photos" / name / f"{number}.png")
            turned = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT if number % 2 else Image.Transpose.ROTATE_90)
            turned.save(tmp_path / "photos" / name / f"{number} again.png")
    out = tmp_path / "splits.csv"
    assert run(["split", str(tmp_path / "photos"), "--out", str(out)]) == 0
    assert "12 pairs of near duplicates, 12 of them mirrored or turned; they are kept" in " ".join(
        capsys.readouterr().err.split()
    )
    sides = {record.path: record.split for record in read_index(out).records}
    assert all(sides[path] == sides[path.with_stem(path.stem.removesuffix(" again"))] for path in sides)
    assert run(["audit", str(tmp_path / "photos")]) == 1
    said = capsys.readouterr().out
    assert ", mirrored\n" in said and ", turned by 90 degrees\n" in said
