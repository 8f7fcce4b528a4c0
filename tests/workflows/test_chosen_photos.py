"""Which photos a model is judged on: the run's own, copies among them, new ones, and what is said of each."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
from test_judging_commands import ask, copied

from conftest import FLAGS, write_photos
from depthwise import artifact
from depthwise.cli import run
from depthwise.data.index import read_index, write_manifest
from depthwise.workflows.run_folder import RunFolder


@pytest.fixture
def own(trained, tmp_path):
    return copied(trained, tmp_path / "own")


@pytest.fixture(scope="module")
def leaky(photos, tmp_path_factory):
    """A run on ready-made splits, of which two test pictures are copies of training pictures."""
    data = tmp_path_factory.mktemp("leaky") / "data"
    for number, split in enumerate(("train", "valid", "test")):
        write_photos(data / split, per_class=4, seed=number)
    for name in ("red fox", "猫"):
        shutil.copy(next((data / "train" / name).iterdir()), data / "test" / name / "copy.png")
    out = data.parent / "run"
    assert run(["train", str(data), "--out", str(out), *FLAGS, "--epochs", "2"]) == 0
    return out


def test_test_pictures_that_were_trained_on_are_left_out_and_said(leaky, capsys):
    status, said = ask(capsys, "evaluate", leaky)
    assert status == 0 and "on 12 pictures" in said.out
    assert "2 of these 14 test pictures are copies of pictures that the run used otherwise, and left out" in said.err
    assert "copy.png (also in train)" in said.err
    status, said = ask(capsys, "report", leaky, "--test")
    assert status == 0 and "of 12 test photos are answered rightly" in RunFolder(leaky).test_report.read_text()


def test_pictures_that_were_trained_on_are_named_when_somebody_brings_them(leaky, tmp_path, capsys):
    (tmp_path / "brought").mkdir()
    for name in ("red fox", "猫", "crème brûlée"):
        shutil.copytree(leaky.parent / "data/test" / name, tmp_path / "brought" / name)
    status, said = ask(capsys, "evaluate", leaky, tmp_path / "brought")
    assert status == 2 and "2 of these 14 test pictures were used otherwise by the run (2 in train)" in said.err
    assert "copy.png" in said.err and "insist with --allow-other-split" in said.err


def test_new_pictures_are_not_called_the_run_s(trained, tmp_path, capsys):
    new = write_photos(tmp_path / "new", per_class=3, seed=77)
    page = tmp_path / "new.html"
    for flags in ((), ("--test",)):
        status, _ = ask(capsys, "report", trained, "--data", new, "--out", page, "--overwrite", *flags)
        text = page.read_text(encoding="utf-8")
        assert (
            status == 0
            and "The run has not seen these photos." in text
            and "of 9 new photos are answered rightly" in text
        )
        assert "chose the best epoch" not in text and "set on these very photos" not in text
    (tmp_path / "alone").mkdir()
    shutil.copy(trained / "best.safetensors", tmp_path / "alone")
    ask(capsys, "report", tmp_path / "alone/best.safetensors", "--data", new, "--out", page, "--overwrite")
    assert "What the model was trained on is not known here" in page.read_text(encoding="utf-8")


def test_pictures_without_one_of_the_classes_are_judged_and_it_is_said(trained, tmp_path, capsys):
    new = write_photos(tmp_path / "new", per_class=3, seed=77)
    shutil.rmtree(new / "猫")
    status, said = ask(capsys, "evaluate", trained, new)
    assert status == 0 and "there are no pictures of '猫'" in said.err and "on 6 pictures" in said.out


def test_answers_that_are_no_numbers_end_with_the_photo_s_name(own, capsys, monkeypatch):
    from depthwise.deploy.predict import Classifier

    real = Classifier.outputs

    def spoil(self, pictures, **how):
        found = real(self, pictures, **how)
        found.logits[1] = np.nan
        return found

    monkeypatch.setattr(Classifier, "outputs", spoil)
    status, said = ask(capsys, "evaluate", own)
    assert status == 2 and "the answers to 1 of 6 pictures are no numbers (nan or inf); the first: " in said.err
    assert "depthwise verify" in said.err


@pytest.fixture
def beside_another(own):
    """A model beside another run's split: that trained on what this one did not."""
    records = read_index(own / "splits.csv").records
    turned = [replace(record, split="test" if record.split == "train" else "train") for record in records]
    write_manifest(own / "splits.csv", turned)
    return own


def test_a_split_of_another_run_is_not_believed(beside_another, photos, tmp_path, capsys):
    status, said = ask(capsys, "evaluate", beside_another)
    words = " ".join(said.err.split())
    assert status == 2 and "has no splits.csv of its training beside it; name the pictures" in words
    assert "splits.csv is not the split that the model was trained by, or was changed since: it is not used" in words
    status, said = ask(capsys, "evaluate", beside_another, photos)
    assert status == 0 and "what the model was trained on is not known here: evaluating all 36" in said.err
    assert not RunFolder(beside_another).test_reads.exists()
    status, said = ask(capsys, "report", beside_another, "--data", photos)
    assert status == 0 and "given photos" in RunFolder(beside_another).report.read_text(encoding="utf-8")
    unseen = tmp_path / "unseen.csv"  # by the model, not by the other run
    write_manifest(unseen, read_index(beside_another / "splits.csv").part("train"))
    status, said = ask(capsys, "audit", unseen, "--model", beside_another)
    assert status in (0, 1) and "what the model was trained on is not known here" in " ".join(said.err.split())


@pytest.mark.parametrize("text", ["", "a,b\n1,2\n", "path,class,split\nx.png,cat,train\n"])
def test_a_file_of_that_name_that_is_no_split_stops_nothing(own, photos, text, capsys):
    (own / "splits.csv").write_text(text)
    status, said = ask(capsys, "evaluate", own, photos, "--split", "all")
    assert status == 0 and "it is not used" in said.err


def test_a_split_is_the_run_s_wherever_its_photos_lie(own, photos, tmp_path, capsys):
    shutil.copytree(photos, tmp_path / "moved")
    records = read_index(own / "splits.csv").records
    write_manifest(
        own / "splits.csv", [replace(r, place=str(tmp_path / "moved" / r.path.relative_to(photos))) for r in records]
    )
    status, said = ask(capsys, "evaluate", own)
    assert status == 0 and "on 6 pictures" in said.out and "not used" not in said.err


def test_weights_of_others_have_no_split(own, tmp_path, capsys):
    card, tensors = artifact.read(own / "best.safetensors")
    artifact.write(own / "best.safetensors", replace(card, training={}), tensors)
    status, said = ask(capsys, "evaluate", own)
    assert status == 2 and "does not say by which split it was trained" in said.err and "not used" not in said.err
