"""Several runs on one page: told apart, compared photo by photo only where the photos are the same."""

import numpy as np
from made_up import made_up_history, made_up_summary
from test_run_page import Reader, sorted_by

from depthwise.metrics import pairs_needed
from depthwise.report.comparison_page import comparison_page, differences, names_of, paired

CLASSES = ["ant", "bee", "cat"]


def test_settings_that_differ_are_shown_and_others_are_not():
    first = made_up_summary(CLASSES, history=made_up_history(lr=0.1, flip=True))
    other = made_up_summary(CLASSES, history=made_up_history(lr=0.3, flip=True, crop=0.1), name="other")
    assert differences([first, other]) == {"lr": ["0.1", "0.3"], "crop": ["-", "0.1"]}


def test_runs_of_the_same_photos_are_compared_photo_by_photo():
    first, other = made_up_summary(CLASSES, skill=0.0), made_up_summary(CLASSES, skill=4.0, name="other")
    found = paired(first, other)
    rights = [s.measured.outputs.logits.argmax(axis=1) == s.measured.labels for s in (first, other)]
    assert found.difference == np.mean(rights[1]) - np.mean(rights[0]) > 0
    assert found.only_new == int((rights[1] & ~rights[0]).sum())
    page = comparison_page([first, other]).decode()
    assert f"{100 * found.difference:+.1f} points" in page and 'class="notice"' not in page


def test_where_photos_do_not_tell_runs_apart_it_says_how_many_would():
    near, far = (made_up_summary(CLASSES, skill=skill, seed=8, name="other") for skill in (0.3, 6.0))
    first = made_up_summary(CLASSES, skill=0.0)
    found = paired(first, near)
    assert not found.tells_apart and found.difference
    told = Reader(comparison_page([first, near]).decode()).text
    assert f"not told apart; {pairs_needed(found):,} photos would" in told
    assert paired(first, far).tells_apart
    assert "not told apart;" not in Reader(comparison_page([first, far]).decode()).text
    assert "photos would" not in Reader(comparison_page([first, first]).decode()).text


def test_runs_of_other_photos_are_not():
    first, other = made_up_summary(CLASSES, num_images=30), made_up_summary(CLASSES, num_images=40)
    assert paired(first, other) is None
    assert "not measured on the same photos" in comparison_page([first, other]).decode()


def test_the_page_is_whole_and_names_are_words():
    runs = [made_up_summary(["<i>", "b"], name=name) for name in ("<script>x</script>", "two", "three")]
    page = comparison_page(runs).decode()
    found = Reader(page)
    assert page.count("<script") == 1
    assert not found.addresses
    assert "3 runs compared" in found.text and "None: the runs were started with the same settings." in found.text


def test_its_columns_of_numbers_are_sorted_as_numbers():
    first, other = made_up_summary(CLASSES, num_images=3000), made_up_summary(CLASSES, num_images=3000, name="other")
    page = comparison_page([first, other]).decode()
    assert "3,000" in page and sorted_by(page).count(3000) == 2


def test_runs_of_one_name_are_told_apart_by_their_folders():
    runs = [made_up_summary(CLASSES, name=name) for name in ("monday/run", "tuesday/run", "other")]
    assert names_of(runs) == ["monday/run", "tuesday/run", "other"]
