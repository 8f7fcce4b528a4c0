import pytest

from depthwise.data.progressive import epoch_size


def test_sizes_grow_in_four_stages_of_equal_length():
    sizes = [epoch_size(epoch, 8, 128, 224) for epoch in range(8)]
    assert sizes == [128, 128, 160, 160, 192, 192, 224, 224]


@pytest.mark.parametrize("num_epochs", [1, 2, 3, 4, 5, 7, 30])
@pytest.mark.parametrize(("first", "last"), [(100, 225), (16, 28), (26, 28), (28, 29), (64, 64)])
def test_sizes_never_shrink_and_end_at_the_last(num_epochs, first, last):
    sizes = [epoch_size(epoch, num_epochs, first, last) for epoch in range(num_epochs)]
    assert sizes == sorted(sizes)
    assert sizes[0] == (first if num_epochs > 1 else last)
    assert all(size in (first, last) or size % 8 == 0 for size in sizes)
    assert sizes[-1] == last


def test_a_search_that_outlasts_the_epochs_stays_at_the_last_size():
    assert [epoch_size(epoch, 10, 128, 224) for epoch in range(8, 14)] == [224] * 6


def test_without_a_first_size_all_epochs_have_the_last():
    assert {epoch_size(epoch, 5, 0, 224) for epoch in range(5)} == {224}
