"""What a page is made of, on numbers worked out by hand: which photos, which findings, what a folder tells."""

import hashlib
from pathlib import Path

import numpy as np

from depthwise.artifact import Card
from depthwise.data.geometry import Geometry
from depthwise.data.index import Index, Record
from depthwise.deploy.predict import Classifier, Outputs
from depthwise.report.confusion import most_confused
from depthwise.workflows.answered import Measured
from depthwise.workflows.examples import add_heat, least_certain, surest_mistakes
from depthwise.workflows.metrics_table import to_csv
from depthwise.workflows.reporting import findings_of
from depthwise.workflows.run_folder import RunFolder
from depthwise.workflows.run_history import read_files, read_history

STATED = np.array([[0.9, 0.1, 0.0], [0.2, 0.7, 0.1], [0.3, 0.3, 0.4], [0.05, 0.0, 0.95]])
LABELS = np.array([0, 0, 1, 1])


class Exported:
    """An engine that is no network in PyTorch."""

    card = Card("model", "lenet5", {}, False, ("ant", "bee", "cat"), Geometry(8, 1, "squash"))

    def logits(self, images):
        raise AssertionError("not asked")


def measured():
    records = tuple(Record(f"{n}.png", Exported.card.classes[label]) for n, label in enumerate(LABELS))
    outputs = Outputs(np.log(STATED + 1e-9).astype(np.float32), STATED, None)
    return Measured(Classifier(Exported()), records, LABELS, outputs, ())


def test_mistakes_come_the_surest_first():
    found = surest_mistakes(measured())
    assert [(e.path.name, e.label, e.answer, e.probability, e.own_probability) for e in found] == [
        ("3.png", "bee", "cat", 0.95, 0.0),
        ("1.png", "ant", "bee", 0.7, 0.2),
        ("2.png", "bee", "cat", 0.4, 0.3),
    ]


def test_doubts_come_the_least_certain_first_right_or_wrong():
    assert [e.path.name for e in least_certain(measured())] == ["2.png", "1.png", "0.png", "3.png"]


def test_an_exported_file_tells_why_it_shows_no_maps():
    found, why = add_heat(Exported(), surest_mistakes(measured()))
    assert all(example.heat is None for example in found) and "keeps no maps" in why


def test_the_most_confused_pairs():
    confusion = np.array([[5, 2, 0], [0, 0, 0], [3, 0, 1]])
    pairs = most_confused(confusion, ["ant", "bee", "cat"])
    assert pairs == [("cat", "ant", 3, 0.75), ("ant", "bee", 2, 2 / 7)]


def test_groups_and_what_lies_on_two_sides_is_told():
    records = (
        Record("a", "x", "train", "1", "g"),
        Record("b", "x", "test", "2", "g"),
        Record("c", "x", "train", "3"),
        Record("d", "x", "valid", "3"),
    )
    groups, copies, torn = findings_of(Index(Path("s.csv"), records))
    assert groups.startswith("1 groups of look-alikes") and "the largest has 2" in groups
    assert copies.startswith("1 times copies of a file are in several splits")
    assert torn.startswith("1 times pictures of one group are in several splits")
    assert findings_of(Index(Path("s.csv"), records[2:3])) == ("No copies of a file are in several splits.",)


def test_a_run_that_is_being_written_is_read_as_far_as_it_goes(tmp_path):
    (tmp_path / "metrics.jsonl").write_text('{"epoch": 1, "lr": 0.1}\n{"epoch": 2, "l')
    rows = (
        '{"epoch": 1, "train_s": 9, "valid_s": 1}',
        '{"epoch": 1, "train_s": 2, "valid_s": 1}',
        '{"epoch": 2, "train_s": 3}',
    )
    (tmp_path / "timings.jsonl").write_text("\n".join(rows))
    found = read_history(RunFolder(tmp_path))
    assert found.rows == ({"epoch": 1, "lr": 0.1},)
    assert found.seconds == 6  # of an epoch that was done twice, the last time
    assert found.num_epochs == 1 and found.starts == ()


def test_hashes_are_those_of_the_files(tmp_path):
    (tmp_path / "config.toml").write_bytes(b"epochs = 3")
    (tmp_path / "report.html").write_bytes(b"made from the others")
    (file,) = read_files(RunFolder(tmp_path))
    assert file == ("config.toml", 10, hashlib.sha256(b"epochs = 3").hexdigest())


def test_rows_with_other_names_share_one_table():
    assert to_csv([{"epoch": 1, "lr": 0.1}, {"epoch": 2, "ema": 1e-05}]) == b"epoch,lr,ema\n1,0.1,\n2,,1e-05\n"
