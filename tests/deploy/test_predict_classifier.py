import json
import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier, Semaphore
from time import sleep
from typing import Any

import numpy as np
import pytest
from PIL import Image

from depthwise.artifact import Card
from depthwise.data.geometry import Geometry
from depthwise.deploy.predict import BATCH, Classifier, Prediction, Score
from depthwise.errors import UnusablePicture, UserError

CLASSES = ("ant", "bee", "猫")


class FakeEngine:
    """Scores by the grey value v of the first pixel: logits ln(v + 1), 0 and ln 2."""

    card = Card("model", "none", {}, False, CLASSES, Geometry(8, 1))

    def __init__(self) -> None:
        self.batches: list[tuple[int, ...]] = []

    def logits(self, images: Any) -> Any:
        assert images.dtype == np.uint8
        self.batches.append(images.shape)
        first = np.log(images[:, 0, 0, 0] + np.float32(1))
        return np.stack([first, 0 * first, 0 * first + math.log(2)], axis=1).astype(np.float32)


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine()


def paint(path: Path, grey: int, size: int = 8) -> Path:
    Image.new("L", (size, size), grey).save(path)
    return path


def paint_all(folder: Path, greys: Sequence[int]) -> list[Path]:
    return [paint(folder / f"{index:03}.png", grey) for index, grey in enumerate(greys)]


def test_one_photo_gives_probabilities_in_falling_order(engine: FakeEngine, tmp_path: Path):
    photo = paint(tmp_path / "a.png", 4, size=20)  # scores 5 : 1 : 2
    answer = Classifier(engine).predict(photo)
    assert (answer.path, answer.label, answer.rejected, answer.error) == (str(photo), "ant", False, None)
    assert answer.probability == pytest.approx(5 / 8)
    assert [score.label for score in answer.top] == ["ant", "猫", "bee"]
    assert [score.probability for score in answer.top] == pytest.approx([5 / 8, 2 / 8, 1 / 8])
    assert engine.batches == [(1, 8, 8, 1)]  # the model's geometry was applied


def test_of_equal_classes_the_first_is_named(engine: FakeEngine, tmp_path: Path):
    answer = Classifier(engine).predict(paint(tmp_path / "a.png", 1), top_k=2)  # 2 : 1 : 2
    assert [score.label for score in answer.top] == ["ant", "猫"]
    assert answer.probability == pytest.approx(2 / 5)


@pytest.mark.parametrize(("top_k", "length"), [(1, 1), (2, 2), (3, 3), (5, 3)])
def test_top_k_is_at_most_the_number_of_classes(engine: FakeEngine, tmp_path: Path, top_k: int, length: int):
    photo = paint(tmp_path / "a.png", 0)
    assert len(Classifier(engine).predict(photo, top_k).top) == length
    (answer,) = Classifier(engine).predict_many([photo], top_k)
    assert len(answer.top) == length


@pytest.mark.parametrize("top_k", [0, -1])
def test_no_class_at_all_cannot_be_asked_for(engine: FakeEngine, tmp_path: Path, top_k: int):
    photo = paint(tmp_path / "a.png", 0)
    with pytest.raises(UserError, match=f"top_k={top_k}: ask for at least 1 class"):
        Classifier(engine).predict(photo, top_k)
    with pytest.raises(UserError, match=f"top_k={top_k}"):
        list(Classifier(engine).predict_many([photo], top_k))


def test_a_photo_that_cannot_be_read_raises_with_its_reason(engine: FakeEngine, tmp_path: Path):
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    with pytest.raises(UnusablePicture, match=r"broken\.jpg: not a JPEG") as got:
        Classifier(engine).predict(tmp_path / "broken.jpg")
    assert got.value.reason == "not_a_picture"
    with pytest.raises(UnusablePicture, match="there is no such file"):
        Classifier(engine).predict(str(tmp_path / "none.jpg"))


@pytest.mark.parametrize("workers", [None, 1, 3])
def test_many_photos_keep_their_order_over_several_batches(engine: FakeEngine, tmp_path: Path, workers: int | None):
    photos = paint_all(tmp_path, range(0, 2 * BATCH + 6))
    answers = list(Classifier(engine).predict_many(photos, workers=workers))
    assert [answer.path for answer in answers] == [str(photo) for photo in photos]
    for grey, answer in enumerate(answers):
        shares = dict(zip(CLASSES, np.array([grey + 1, 1, 2]) / (grey + 4), strict=True))
        assert {score.label: score.probability for score in answer.top} == pytest.approx(shares)
    assert sorted(shape[0] for shape in engine.batches) == [6, BATCH, BATCH]


def test_photos_that_cannot_be_read_are_answers_in_their_place(engine: FakeEngine, tmp_path: Path):
    photos: list[Path | str] = [*paint_all(tmp_path, [9] * (BATCH + 4))]
    (tmp_path / "empty.png").touch()
    for place in (0, 5, BATCH - 1, BATCH, BATCH + 3):
        photos[place] = str(tmp_path / "empty.png")
    photos[3] = tmp_path / "none.png"
    answers = list(Classifier(engine).predict_many(photos, workers=1))
    assert [answer.path for answer in answers] == [str(photo) for photo in photos]
    failed = {index: answer.error for index, answer in enumerate(answers) if answer.error}
    empty = dict.fromkeys((0, 5, BATCH - 1, BATCH, BATCH + 3), "the file has zero bytes")
    assert failed == empty | {3: "there is no such file"}
    assert all((a.label is None and a.top == ()) if a.error else a.label == "ant" for a in answers)
    assert [shape[0] for shape in engine.batches] == [BATCH - 4, 2]


def test_a_batch_without_any_usable_photo_is_not_computed(engine: FakeEngine, tmp_path: Path):
    answers = list(Classifier(engine).predict_many([tmp_path / "x", tmp_path / "y"]))
    assert [answer.error for answer in answers] == 2 * ["there is no such file"]
    assert engine.batches == []
    assert list(Classifier(engine).predict_many([])) == []


def test_photos_may_come_one_by_one_and_are_not_all_read_first(engine: FakeEngine, tmp_path: Path):
    photo = paint(tmp_path / "a.png", 9)
    taken = 0

    def endless() -> Any:
        nonlocal taken
        while True:
            taken += 1
            yield photo

    answers = Classifier(engine).predict_many(endless(), workers=2)
    assert [next(answers).label for _ in range(BATCH + 1)] == ["ant"] * (BATCH + 1)
    answers.close()
    assert taken <= BATCH * (2 + 2 * 2 + 2)  # taken from, waiting, and one group on each side


def test_answers_come_while_the_next_photo_is_waited_for(engine: FakeEngine, tmp_path: Path):
    photos = paint_all(tmp_path, [9, 9, 9])
    given = Semaphore(1)

    def slow() -> Any:
        for photo in photos:
            assert given.acquire(timeout=10)
            yield photo

    for answer in Classifier(engine).predict_many(slow(), workers=2, is_live=True):
        assert answer.label == "ant"
        given.release()  # the next photo is there only after this answer
    assert [shape[0] for shape in engine.batches] == [1, 1, 1]


def test_live_photos_that_are_there_are_taken_together_and_in_order(engine: FakeEngine, tmp_path: Path):
    photos = paint_all(tmp_path, range(0, 3 * BATCH + 3))  # the end comes while a group waits to be full
    answers = list(Classifier(engine).predict_many(iter(photos), workers=2, is_live=True))
    assert [answer.path for answer in answers] == [str(photo) for photo in photos]
    assert max(shape[0] for shape in engine.batches) == BATCH


@pytest.mark.parametrize("is_live", [False, True])
def test_what_fails_in_the_list_of_photos_is_raised(engine: FakeEngine, tmp_path: Path, is_live: bool):
    def broken() -> Any:
        yield paint(tmp_path / "a.png", 9)
        raise UnicodeError("not text")

    with pytest.raises(UnicodeError, match="not text"):
        list(Classifier(engine).predict_many(broken(), workers=1, is_live=is_live))


def test_an_engine_that_is_not_concurrent_is_called_by_one_thread_at_a_time(tmp_path: Path):
    class Counting(FakeEngine):
        now = most = 0

        def logits(self, images: Any) -> Any:
            self.now += 1
            self.most = max(self.most, self.now)
            sleep(0.002)
            self.now -= 1
            return super().logits(images)

    counting, photos = Counting(), paint_all(tmp_path, [9] * 6 * BATCH)
    list(Classifier(counting).predict_many(photos, workers=3))
    assert counting.most == 1
    classifier = Classifier(counting)
    with ThreadPoolExecutor(4) as pool:  # a server's threads
        list(pool.map(classifier.predict, photos[:40]))
    assert counting.most == 1


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_an_answer_that_is_no_number_is_told_and_the_others_are_given(value: float, tmp_path: Path):
    class Broken(FakeEngine):
        def logits(self, images: Any) -> Any:
            found = super().logits(images)
            found[images[:, 0, 0, 0] == 7] = value
            return found

    answers = list(Classifier(Broken()).predict_many(paint_all(tmp_path, [4, 7, 4, 7]), workers=1))
    assert [answer.label for answer in answers] == ["ant", None, "ant", None]
    assert [answer.reason for answer in answers] == [None, "no_number", None, "no_number"]
    assert "no number" in (answers[1].error or "")


def test_a_concurrent_engine_is_called_by_several_threads_at_a_time(tmp_path: Path):
    class Meeting(FakeEngine):
        pair = Barrier(2)

        def logits(self, images: Any) -> Any:
            self.pair.wait(timeout=30)  # a thread that is alone breaks it
            return super().logits(images)

    list(Classifier(Meeting(), is_concurrent=True).predict_many(paint_all(tmp_path, [9] * 2 * BATCH), workers=2))


@pytest.mark.parametrize("views", ["1", "flip"])
def test_a_photo_may_be_given_by_its_bytes_or_its_pixels(views, tmp_path: Path):
    colours = np.random.default_rng(0).integers(0, 256, (30, 20, 3), np.uint8)
    photo = tmp_path / "a.png"
    Image.fromarray(colours).save(photo)
    classifier = Classifier(FakeEngine(), views)
    wanted = classifier.predict(photo)
    alpha = np.dstack([colours, np.full((30, 20), 255, np.uint8)])
    content = photo.read_bytes()
    given = (content, bytearray(content), memoryview(content), colours, colours[:, ::-1][:, ::-1], alpha)
    for found in (*map(classifier.predict, given), *classifier.predict_many(given)):
        assert (found.path, found.label, found.probability) == ("", wanted.label, wanted.probability)
    grey = np.array(Image.open(photo).convert("L"))
    for pixels in (grey, grey[:, :, None]):
        assert classifier.predict(pixels).probability == wanted.probability


@pytest.mark.parametrize(
    ("photo", "reason"),
    [
        (b"", "empty"),
        (b"hello, this is no picture", "not_a_picture"),
        (np.zeros((4, 4, 3), np.float32), "not_a_picture"),
        (np.zeros((4, 4, 2), np.uint8), "not_a_picture"),
        (np.zeros(4, np.uint8), "not_a_picture"),
        (np.zeros((0, 4, 3), np.uint8), "empty"),
        (np.broadcast_to(np.uint8(0), (10_000, 5_001, 3)), "too_large"),
    ],
)
def test_what_is_given_and_no_picture_has_its_reason(engine: FakeEngine, photo: Any, reason: str):
    with pytest.raises(UnusablePicture, match="the photo: ") as caught:
        Classifier(engine).predict(photo)
    assert caught.value.reason == reason
    (answer,) = Classifier(engine).predict_many([photo])
    assert (answer.path, answer.reason, answer.label) == ("", reason, None) and answer.error


def test_the_answer_as_json_has_these_keys(engine: FakeEngine, tmp_path: Path):
    good = Classifier(engine).predict(paint(tmp_path / "a.png", 0), top_k=1).to_json()
    assert json.loads(json.dumps(good)) == {
        "path": str(tmp_path / "a.png"),
        "label": "猫",
        "probability": pytest.approx(0.5),
        "top": [{"label": "猫", "probability": pytest.approx(0.5)}],
        "rejected": False,
        "reason": None,
        "error": None,
    }
    bad = Prediction("x.jpg", error="there is no such file").to_json()
    assert (bad["label"], bad["probability"], bad["top"], bad["error"]) == (None, None, [], "there is no such file")


def test_classes_are_the_cards(engine: FakeEngine):
    assert Classifier(engine).classes == CLASSES
    assert Score("ant", 0.5) == Score(label="ant", probability=0.5)
