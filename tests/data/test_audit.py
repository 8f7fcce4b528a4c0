import threading
from pathlib import Path

import pytest

from depthwise.data.audit import Skipped, check_share, content_hash, parallel
from depthwise.errors import UserError


def test_the_content_hash_is_half_a_sha256(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    assert content_hash(tmp_path / "a") == "ba7816bf8f01cfea414140de5dae2223"  # FIPS 180-2's example


@pytest.mark.parametrize("workers", [0, 1, 2, 5])
def test_results_come_in_order_whoever_is_ready_first(workers):
    first_may_end = threading.Event()

    def square(number: int) -> int:
        if number == 0 and workers > 1:
            first_may_end.wait()
        elif number == 1:
            first_may_end.set()
        return number * number

    assert list(parallel(square, range(50), workers)) == [number * number for number in range(50)]


def test_no_items_give_no_results():
    assert list(parallel(str, [], 2)) == []


@pytest.mark.parametrize("workers", [1, 3])
def test_work_runs_only_four_items_each_ahead(workers):
    taken = []
    results = parallel(str, (taken.append(number) or number for number in range(100)), workers)
    for done in range(1, 4):
        next(results)
        assert len(taken) == 4 * workers + done - 1
    results.close()


def test_an_error_arrives_where_its_result_would():
    results = parallel(lambda number: 1 // number, [1, 1, 0, 1], 2)
    assert [next(results), next(results)] == [1, 1]
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_who_stops_early_leaves_no_thread_behind():
    before = threading.active_count()
    results = parallel(str, range(100), 3)
    next(results)
    results.close()
    assert threading.active_count() == before


@pytest.mark.parametrize(("num_skipped", "total"), [(0, 0), (0, 5), (1, 10), (2, 29), (10, 100), (3, 30)])
def test_a_tenth_may_be_unusable(num_skipped, total):
    check_share([Skipped(Path("a"), "empty", "it is empty")] * num_skipped, total)


@pytest.mark.parametrize(("num_skipped", "total"), [(1, 9), (3, 29), (11, 100), (1, 1)])
def test_more_than_a_tenth_may_not(num_skipped, total):
    skipped = [Skipped(Path(f"{number}.png"), "empty", "it is empty") for number in range(num_skipped)]
    with pytest.raises(UserError) as caught:
        check_share(skipped, total)
    text = str(caught.value)
    assert text.startswith(
        f"{num_skipped} of {total} pictures cannot be used, more than a tenth:\n  0.png: it is empty\n"
    )
    assert text.endswith("Mend or remove them, then run the command again.")


@pytest.mark.parametrize(("num_skipped", "more"), [(10, None), (11, "and 1 more"), (25, "and 15 more")])
def test_ten_unusable_pictures_are_listed_and_the_rest_counted(num_skipped, more):
    skipped = [Skipped(Path(f"{number}.png"), "empty", "it is empty") for number in range(num_skipped)]
    with pytest.raises(UserError) as caught:
        check_share(skipped, num_skipped)
    assert str(caught.value).count("it is empty") == 10
    assert (more or "more than") in str(caught.value)
    assert (" more\n" in str(caught.value)) == (more is not None)
