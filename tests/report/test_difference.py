"""What `compare` prints: what these photos tell, and how many more would."""

from depthwise.metrics import compare_pairs, pairs_needed
from depthwise.report.difference import comparison_text
from depthwise.workflows.comparing import ModelComparison


def said(*, only_old, only_new, num_images=100):
    old = [True] * only_old + [False] * only_new + [True] * (num_images - only_old - only_new)
    new = [False] * only_old + [True] * only_new + [True] * (num_images - only_old - only_new)
    paired = compare_pairs(old, new)
    found = ModelComparison("test", 0.9, 0.9, paired, {"ant": paired}, 0.0, 0, ())
    assert found.to_json()["photos_needed"] == pairs_needed(paired)
    return comparison_text(found)


def test_where_photos_do_not_tell_models_apart_it_says_how_many_would():
    text = said(only_old=3, only_new=10)
    assert (
        "These photos do not tell which is better. About 248 independent ones would, in 80% of such comparisons" in text
    )
    assert "(Connor 1987)" in text


def test_where_they_do_it_says_nothing_of_more():
    assert "do not tell" not in said(only_old=3, only_new=30)


def test_models_that_are_right_equally_often_are_told_apart_by_no_number():
    assert "no number of photos tells them apart" in said(only_old=4, only_new=4)
