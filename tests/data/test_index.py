import csv
import errno
import os
import sys
from pathlib import Path

import pytest

from depthwise.data.folders import find_pictures, is_picture_name
from depthwise.data.index import (
    Index,
    Record,
    read_column,
    read_index,
    real_places,
    scan,
    write_manifest,
)
from depthwise.data.quarantine import leave_out, write_quarantine
from depthwise.errors import UserError

HASH = "0123456789abcdef" * 2


def make(root: Path, *names: str) -> Path:
    """Make empty files under `root`: an index looks at names only."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root


def pairs(index: Index) -> list[tuple[str, str, str]]:
    folder = index.source if index.source.is_dir() else index.source.parent
    return [(record.path.relative_to(folder).as_posix(), record.label, record.split) for record in index.records]


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def message(source: Path) -> str:
    with pytest.raises(UserError) as caught:
        read_index(source)
    return str(caught.value)


# A folder of class folders


def test_class_folders_become_records_in_a_fixed_order(tmp_path):
    make(tmp_path, "zebra/2.png", "zebra/10.png", "ant/x.JPG", "ant/deep/er/y.webp")
    index = read_index(tmp_path)
    assert pairs(index) == [
        ("ant/x.JPG", "ant", ""),
        ("ant/deep/er/y.webp", "ant", ""),
        ("zebra/10.png", "zebra", ""),
        ("zebra/2.png", "zebra", ""),
    ]
    assert index.notes == ()
    assert not index.is_split


def test_paths_are_absolute(tmp_path, monkeypatch):
    make(tmp_path / "photos", "a/1.png", "b/1.png")
    monkeypatch.chdir(tmp_path)
    index = read_index(Path("photos"))
    assert index.source == tmp_path / "photos"
    assert [record.path for record in index.records] == [tmp_path / "photos/a/1.png", tmp_path / "photos/b/1.png"]


def test_classes_are_sorted_by_code_point(tmp_path):
    make(tmp_path, "b/1.png", "a/1.png", "B/1.png", "ä/1.png", "10/1.png", "9/1.png", "two words/1.png", "猫/1.png")
    assert read_index(tmp_path).classes == ("10", "9", "B", "a", "b", "two words", "ä", "猫")


@pytest.mark.parametrize("name", [".hidden", "__MACOSX", "@eaDir", "__pycache__", "lost+found"])
def test_hidden_folders_are_no_classes_and_are_told(tmp_path, name):
    make(tmp_path, "a/1.png", "b/1.png", f"{name}/1.png", f"a/{name}/2.png")
    index = read_index(tmp_path)
    assert pairs(index) == [("a/1.png", "a", ""), ("b/1.png", "b", "")]
    assert index.notes == (f"hidden folder left out: {tmp_path / name}",)


def test_pictures_in_no_class_folder_are_left_out_and_told(tmp_path):
    make(tmp_path, "a/1.png", "b/1.png", "loose.png", "loose.jpg", "readme.txt")
    index = read_index(tmp_path)
    assert len(index.records) == 2
    assert index.notes == (f"2 pictures directly in {tmp_path} left out: they are in no class folder",)


def test_a_folder_without_pictures_is_no_class_and_is_told(tmp_path):
    make(tmp_path, "a/1.png", "b/1.png", "notes/readme.txt")
    index = read_index(tmp_path)
    assert index.classes == ("a", "b")
    assert index.notes == (f"folder without pictures, not a class: {tmp_path / 'notes'}",)


def test_other_files_among_pictures_are_counted(tmp_path):
    make(tmp_path, "a/1.png", "a/1.txt", "a/sub/2.xml", "a/.DS_Store", "a/Thumbs.db", "a/desktop.ini", "b/1.png")
    assert read_index(tmp_path).notes == (f"2 files in {tmp_path / 'a'} left out: their endings are not of pictures",)


@pytest.mark.parametrize(
    "name", ["a.jpg", "a.JPEG", "a.b.Png", "a.webp", "a.avif", "a.gif", "a.bmp", "a.tiff", "a.HEIC"]
)
def test_a_picture_is_told_by_its_ending(name):
    assert is_picture_name(name)


@pytest.mark.parametrize("name", ["a.txt", "jpg", ".jpg", "._a.jpg", "a.jpg.part", "a.svg", "a"])
def test_other_names_are_not_pictures(name):
    assert not is_picture_name(name)


def test_pictures_are_found_at_any_depth(tmp_path):
    make(tmp_path, "2.png", "1.png", "sub/0.png", "sub/.hidden/3.png", "other.txt", ".ignored.txt")
    assert find_pictures(tmp_path) == ([str(tmp_path / name) for name in ("1.png", "2.png", "sub/0.png")], 1)


# A folder that is split already


@pytest.mark.parametrize("valid", ["valid", "val", "validation", "Val"])
def test_a_split_folder_says_where_pictures_belong(tmp_path, valid):
    make(tmp_path, *(f"{split}/{label}/1.png" for split in ("train", valid, "test") for label in "ab"))
    index = read_index(tmp_path)
    assert index.is_split
    for split, folder in (("train", "train"), ("valid", valid), ("test", "test")):
        assert [record.path for record in index.part(split)] == [tmp_path / folder / label / "1.png" for label in "ab"]
    assert index.classes == ("a", "b")


@pytest.mark.parametrize("train", ["train", "Train", "TRAIN"])
def test_two_splits_are_enough_and_case_does_not_count(tmp_path, train):
    make(tmp_path, f"{train}/a/1.png", f"{train}/b/1.png", "test/a/1.png", "test/b/1.png")
    index = read_index(tmp_path)
    assert [record.split for record in index.records].count("train") == 2
    assert [record.split for record in index.records].count("test") == 2


def test_a_folder_with_train_alone_is_not_split(tmp_path):
    make(tmp_path, "train/a/1.png", "train/b/1.png")
    assert "only one class, 'train'" in message(tmp_path)


def test_a_class_that_happens_to_be_called_train_is_a_class(tmp_path):
    make(tmp_path, "train/1.png", "bus/1.png")
    assert read_index(tmp_path).classes == ("bus", "train")


def test_notes_of_every_split_are_kept(tmp_path):
    make(tmp_path, "train/a/1.png", "train/b/1.png", "test/a/1.png", "test/b/1.png", "train/.x/1.png", "test/l.png")
    assert set(read_index(tmp_path).notes) == {
        f"hidden folder left out: {tmp_path / 'train/.x'}",
        f"1 pictures directly in {tmp_path / 'test'} left out: they are in no class folder",
    }


def test_a_class_missing_from_a_split_is_named(tmp_path):
    make(tmp_path, "train/cat/1.png", "train/dog/1.png", "train/fox/1.png", "test/cat/1.png", "test/Dog/1.png")
    assert f"{tmp_path}: train has no pictures of 'Dog', but other splits do" in message(tmp_path)
    assert "check the spelling" in message(tmp_path)


def test_all_classes_missing_from_a_split_are_named(tmp_path):
    make(tmp_path, "train/cat/1.png", "train/dog/1.png", "train/fox/1.png", "test/cat/1.png")
    assert "test has no pictures of 'dog', 'fox'" in message(tmp_path)


# What cannot be used


def test_a_place_that_is_not_there_is_named(tmp_path):
    assert message(tmp_path / "nowhere") == f"{tmp_path / 'nowhere'}: no such folder or manifest"


def test_a_folder_without_pictures_says_what_was_seen(tmp_path):
    make(tmp_path, "loose.png", "a/readme.txt")
    text = message(tmp_path)
    assert f"{tmp_path}: no pictures found; expected one folder per class" in text
    assert f"folder without pictures, not a class: {tmp_path / 'a'}" in text
    assert "1 pictures directly in" in text


@pytest.mark.parametrize("name", ["b", "a/deep", "."])
def test_a_folder_that_cannot_be_read_is_named_and_does_not_just_lack_its_pictures(tmp_path, monkeypatch, name):
    make(tmp_path, "a/1.png", "a/deep/2.png", "b/1.png", "c/1.png")
    scandir = os.scandir

    def refusing(place="."):
        if Path(place) == tmp_path / name:
            raise PermissionError(errno.EACCES, "Permission denied", str(place))
        return scandir(place)

    monkeypatch.setattr(os, "scandir", refusing)
    assert message(tmp_path) == (
        f"{tmp_path / name}: cannot be read: Permission denied; get the right to read this folder, or move it elsewhere"
    )


def test_one_class_is_too_few(tmp_path):
    make(tmp_path, "cat/1.png", "cat/2.png")
    assert "only one class, 'cat'; a classifier needs two or more" in message(tmp_path)


# A manifest


def test_a_manifest_survives_writing_and_reading(tmp_path):
    names = [
        "plain.png",
        "with, comma.png",
        'with "quotes".png',
        "with\nline.png",
        "süß 照片.png",
        " blanks .png",
        "#;.png",
    ]
    records = [
        Record(str(tmp_path / f"{split}/{name}"), f"class, {index % 2}", split, HASH, f"group {index}")
        for split in ("train", "test")
        for index, name in enumerate(names)
    ]
    write_manifest(tmp_path / "deep/er/splits.csv", records)
    index = read_index(tmp_path / "deep/er/splits.csv")
    assert index.records == tuple(records)
    assert index.is_split


@pytest.mark.parametrize("name", ["a\rb", "a\nb", "a\r\nb", "\ra", 'a"b', "a,b", "=a", "a\r"])
def test_odd_names_survive_a_manifest_and_a_list(tmp_path, name):
    records = [Record(str(tmp_path / f"{name}.png"), name, "train"), Record(str(tmp_path / "b.png"), "b", "train")]
    write_manifest(tmp_path / "s.csv", records)
    assert read_index(tmp_path / "s.csv").records == tuple(records)
    write_quarantine(tmp_path / "leave.csv", [(records[0].path, f"reason {name}")])
    assert leave_out(records, tmp_path / "leave.csv") == ([records[1]], 1)


def test_a_manifest_s_bytes_are_these(tmp_path):
    records = [
        Record(str(tmp_path / "a/ü.png"), "a", "train", HASH, "g"),
        Record(str(Path(tmp_path.parent / "b.png")), "b", "test"),
    ]
    write_manifest(tmp_path / "splits.csv", records)
    expected = f"path,class,split,hash,group\na/ü.png,a,train,{HASH},g\n../b.png,b,test,,\n"
    assert (tmp_path / "splits.csv").read_bytes() == expected.encode()


def test_a_manifest_moves_with_its_pictures(tmp_path):
    make(tmp_path / "old/photos", "a.png", "b.png")
    records = [Record(str(tmp_path / "old/photos" / f"{name}.png"), name, "train") for name in "ab"]
    write_manifest(tmp_path / "old/splits.csv", records)
    (tmp_path / "old").rename(tmp_path / "new")
    assert [record.path for record in read_index(tmp_path / "new/splits.csv").records] == [
        tmp_path / "new/photos/a.png",
        tmp_path / "new/photos/b.png",
    ]


@pytest.fixture
def linked(tmp_path):
    """A folder of its own, and the link in a home folder that leads to it."""
    if sys.platform == "win32":
        pytest.skip("links")
    (tmp_path / "disk" / "users" / "me").mkdir(parents=True)
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "scratch").symlink_to(tmp_path / "disk" / "users" / "me")
    return tmp_path / "disk" / "users" / "me", tmp_path / "home" / "scratch"


@pytest.mark.parametrize("photos", ["scratch/photos", "photos", "../disk/users/me/photos"])
@pytest.mark.parametrize("manifest", ["scratch/run/s.csv", "s.csv", "../disk/users/me/run/s.csv"])
def test_a_manifest_means_the_same_photos_by_whatever_link_it_is_reached(linked, monkeypatch, photos, manifest):
    _, link = linked
    home = link.parent
    place = Path(os.path.normpath(home / photos))
    make(place, "a/1.png", "b/1.png")
    index = read_index(place)
    write_manifest(Path(os.path.normpath(home / manifest)), index.records)
    places = real_places(record.place for record in index.records)
    seen = [home / manifest, (home / manifest).resolve()]
    monkeypatch.chdir(seen[1].parent)
    for path in (*seen, Path(seen[1].name), link / "run" / "s.csv" if "run" in manifest else seen[0]):
        records = read_index(path).records
        assert all(record.path.is_file() for record in records)
        assert real_places(record.place for record in records) == places
        assert sorted(read_column(path, "class").values()) == ["a", "b"]


def test_a_manifest_behind_a_link_moves_with_its_pictures(linked):
    real, link = linked
    make(link / "photos", "a/1.png", "b/1.png")
    write_manifest(link / "run" / "s.csv", read_index(link / "photos").records)
    assert (link / "run" / "s.csv").read_text().splitlines()[1].startswith("../photos/a/1.png,")
    real.rename(real.with_name("you"))
    assert all(record.path.is_file() for record in read_index(real.with_name("you") / "run" / "s.csv").records)


def test_links_below_the_manifest_s_folder_are_kept_as_are_pictures_that_are_links(linked):
    real, link = linked
    make(real / "all", "1.png", "2.png")
    for label in "ab":
        (link / "photos" / label).mkdir(parents=True)
        (link / "photos" / label / "x.png").symlink_to(real / "all" / "1.png")
    (link.parent / "data").symlink_to(link / "photos")
    index = read_index(link.parent / "data")
    assert len(set(real_places(record.place for record in index.records))) == 2
    write_manifest(link.parent / "s.csv", index.records)
    assert (link.parent / "s.csv").read_text().splitlines()[1].startswith("data/a/x.png,")
    assert read_index(link.parent / "s.csv").records == index.records


def test_a_list_to_leave_out_holds_by_whatever_link_it_is_reached(linked):
    real, link = linked
    make(real / "photos", "a/1.png", "b/1.png")
    write_quarantine(real / "leave.csv", [(real / "photos/a/1.png", "blurred")])
    kept, number = leave_out(read_index(link / "photos").records, link / "leave.csv")
    assert ([record.label for record in kept], number) == (["b"], 1)


def test_absolute_paths_in_a_manifest_are_kept(tmp_path):
    path = write(tmp_path / "s.csv", f"path,class,split\n{tmp_path}/x/a.png,a,train\nb.png,b,train\n")
    assert [record.path for record in read_index(path).records] == [tmp_path / "x/a.png", tmp_path / "b.png"]


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_a_manifest_from_a_spreadsheet_is_read(tmp_path, ending, mark):
    lines = ["path,note,split,class", "a.png,x,train,süß", "b.png,y,train,b", ""]
    path = tmp_path / "s.csv"
    path.write_bytes((mark + ending.join(lines)).encode())
    assert pairs(read_index(path)) == [("a.png", "süß", "train"), ("b.png", "b", "train")]


@pytest.mark.skipif(sys.platform != "linux", reason="names there are text")
def test_a_name_that_is_not_unicode_survives_a_manifest(tmp_path):
    records = [
        Record(str(tmp_path / os.fsdecode(name)), label, "train") for name, label in ((b"\xff.png", "a"), (b"b", "b"))
    ]
    write_manifest(tmp_path / "s.csv", records)
    assert read_index(tmp_path / "s.csv").records == tuple(records)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "path,class,split\n",
        "a.png,a,train\nb.png,b,train\n",
        "path;size\na.png;7\n",
        "\0\1\2",
    ],
)
def test_something_else_is_not_a_manifest(tmp_path, text):
    path = write(tmp_path / "s.csv", text)
    assert message(path).startswith(f"{path}: not a manifest; its first line must name the columns path,class,split")


def test_broken_csv_is_told_as_such(tmp_path):
    path = write(tmp_path / "s.csv", 'path,class,split\n"a.png,a,train\n')
    assert f"{path}: cannot be read as CSV" in message(path)


@pytest.mark.parametrize("row", [",a,train", "x.png,,train", "x.png,a,", "x.png,a,Tran", "x.png,a,0", "x.png"])
def test_a_row_that_lacks_something_is_named_by_its_line(tmp_path, row):
    path = write(tmp_path / "s.csv", f"path,class,split\na.png,a,train\n{row}\n")
    assert f"{path}, line 3: needs a path, a class, and a split of train, valid, test" in message(path)


def test_blank_and_broken_lines_do_not_shift_the_line_number(tmp_path):
    path = write(tmp_path / "s.csv", 'path,class,split\n\n"a\n.png",a,train\n\nb.png,b,nowhere\n')
    assert f"{path}, line 6: needs" in message(path)


@pytest.mark.parametrize("hash_", ["0123", "g" * 32, HASH.upper(), HASH + "0"])
def test_a_hash_of_another_kind_is_refused(tmp_path, hash_):
    path = write(tmp_path / "s.csv", f"path,class,split,hash\na.png,a,train,{hash_}\n")
    assert f"line 2: hash '{hash_}' is not 32 hexadecimal digits; leave it empty" in message(path)


@pytest.mark.parametrize("again", ["a.png", "./a.png", "x/../a.png"])
def test_a_file_named_twice_is_refused(tmp_path, again):
    path = write(tmp_path / "s.csv", f"path,class,split\na.png,a,train\nb.png,b,train\n{again},a,test\n")
    assert f"{path}: names 1 files twice, e.g. {tmp_path / 'a.png'}" in message(path)


def test_a_manifest_is_checked_for_missing_classes_too(tmp_path):
    path = write(tmp_path / "s.csv", "path,class,split\na.png,a,train\nb.png,b,train\nc.png,a,valid\n")
    assert "valid has no pictures of 'b'" in message(path)


def test_a_manifest_is_one_that_any_csv_reader_reads(tmp_path):
    write_manifest(tmp_path / "s.csv", [Record(str(tmp_path / "a,b.png"), "x", "train")])
    with open(tmp_path / "s.csv", newline="", encoding="utf-8") as file:
        assert next(csv.DictReader(file))["path"] == "a,b.png"


# Beside splits


def test_other_folders_beside_ready_made_splits_are_left_out_and_named(tmp_path, save_noise):
    for number, place in enumerate(("train/cat", "train/dog", "test/cat", "test/dog", "drafts/cat", ".git/cat")):
        save_noise(tmp_path / place / "1.png", number)
    index = read_index(tmp_path)
    assert index.classes == ("cat", "dog")
    assert index.is_split
    assert any("not a split, left out" in note and "drafts" in note for note in index.notes)
    assert any("hidden folder left out" in note and ".git" in note for note in index.notes)


@pytest.mark.parametrize(("train", "test"), [("Training", "Testing"), ("train", "validation"), ("TRAIN", "dev")])
def test_splits_are_known_by_their_usual_names(tmp_path, train, test):
    index = read_index(make(tmp_path, *(f"{part}/{name}/1.png" for part in (train, test) for name in ("cat", "dog"))))
    assert index.classes == ("cat", "dog")
    assert {record.split for record in index.records} == {"train", "test" if test == "Testing" else "valid"}


def test_a_test_folder_without_classes_is_left_out_and_named(tmp_path):
    """As Kaggle deals out photos: those of the test have no labels."""
    index = read_index(make(tmp_path, "train/cat/1.png", "train/dog/1.png", "test/1.png", "test/2.png"))
    assert (index.classes, {record.split for record in index.records}) == (("cat", "dog"), {"train"})
    assert any("no class folders in it, left out" in note and "test" in note for note in index.notes)


def test_one_that_may_be_a_split_among_classes_is_told(tmp_path):
    index = read_index(make(tmp_path, "train/steam/1.png", "train/diesel/1.png", "bus/1.png"))
    assert index.classes == ("bus", "train")
    assert any("taken for one class, 'train'" in note for note in index.notes)


@pytest.mark.skipif(sys.platform == "win32", reason="links")
def test_linked_folders_are_followed_once(tmp_path):
    make(tmp_path, "photos/cat/1.png", "photos/dog/1.png", "elsewhere/2.png")
    (tmp_path / "photos/cat/more").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "photos/cat/round").symlink_to(tmp_path / "photos/cat")
    (tmp_path / "elsewhere/back").symlink_to(tmp_path / "elsewhere")
    index = read_index(tmp_path / "photos")
    assert [place for place, _, _ in pairs(index)] == ["cat/1.png", "cat/more/2.png", "dog/1.png"]


def test_a_group_that_a_spreadsheet_would_compute_is_escaped_and_comes_back(tmp_path):
    write_manifest(tmp_path / "s.csv", [Record(str(tmp_path / "a.png"), "x", "train", "", "=1+1")])
    assert ",'=1+1" in (tmp_path / "s.csv").read_text()
    assert scan(tmp_path / "s.csv").records[0].group == "=1+1"


def test_classes_called_train_and_test_are_classes_when_they_hold_no_folders(tmp_path, save_noise):
    for number, name in enumerate(("train", "test", "bus")):
        save_noise(tmp_path / name / "1.png", number)
    assert read_index(tmp_path).classes == ("bus", "test", "train")


# What people have


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le"])
@pytest.mark.parametrize("label", ["class", "Label"])
def test_a_table_of_paths_and_labels_from_any_spreadsheet_is_read(tmp_path, delimiter, encoding, label):
    rows = [("Path", label, "note"), ("süß.png", "ä", "x"), ("b.png", "b", "")]
    text = "\r\n".join(delimiter.join(row) for row in rows)
    mark = "\ufeff" if encoding == "utf-16-le" else ""
    (tmp_path / "list.csv").write_bytes((mark + text).encode(encoding))
    index = read_index(tmp_path / "list.csv")
    assert pairs(index) == [("süß.png", "ä", ""), ("b.png", "b", "")]
    assert not index.is_split


@pytest.mark.parametrize("name", ["val", "validation", "VALID"])
def test_a_table_s_split_goes_by_any_of_its_names(tmp_path, name):
    path = write(
        tmp_path / "s.csv", f"path,label,split\na.png,a,train\nb.png,b,train\nc.png,a,{name}\nd.png,b,{name}\n"
    )
    assert [record.split for record in read_index(path).records] == ["train", "train", "valid", "valid"]


def test_a_table_with_some_splits_missing_is_refused(tmp_path):
    path = write(tmp_path / "s.csv", "path,label,split\na.png,a,train\nb.png,b,\n")
    assert "line 3: needs a path, a class, and a split" in message(path)


@pytest.mark.parametrize("label", ["=cmd()", "@x", "+1+cmd", "-2+3", "'=x", "-1", "plain", "'quoted'", "a=b"])
def test_what_a_spreadsheet_would_compute_is_written_as_text_and_read_back(tmp_path, label):
    records = [Record(str(tmp_path / f"{label}.png"), label, "train"), Record(str(tmp_path / "b.png"), "b", "train")]
    write_manifest(tmp_path / "s.csv", records)
    assert read_index(tmp_path / "s.csv").records == tuple(records)
    cells = (tmp_path / "s.csv").read_text().splitlines()[1].split(",")
    assert not any(cell.startswith(("=", "@", "+")) or (cell[:1] == "-" and cell != "-1") for cell in cells)


def test_the_layout_of_the_article_is_read_as_it_is(tmp_path):
    names = [
        f"data/splitData/{split}/{n}/{k}.jpg" for split in ("train", "valid", "test") for n in range(17) for k in "ab"
    ]
    index = read_index(make(tmp_path, *names) / "data" / "splitData")
    assert index.is_split
    assert len(index.classes) == 17
    assert {split: len(index.part(split)) for split in ("train", "valid", "test")} == dict.fromkeys(
        ("train", "valid", "test"), 34
    )


def test_records_are_small(tmp_path):
    """A million of them must fit: strings, and one for each class."""
    write_manifest(
        tmp_path / "s.csv", [Record(str(tmp_path / f"{n}.png"), f"class {n % 2}", "train") for n in range(4)]
    )
    records = read_index(tmp_path / "s.csv").records
    assert not hasattr(records[0], "__dict__") and isinstance(records[0].place, str)
    assert records[0].path == tmp_path / "0.png"
    assert records[0].label is records[2].label and records[0].split is records[2].split
