"""Progressive resizing: small pictures first, large ones at the end."""

NUM_STAGES = 4
MULTIPLE = 8


def epoch_size(epoch: int, num_epochs: int, first: int, last: int) -> int:
    """Return the side, px, of training pictures in this epoch (from 0 on): from `first` to `last` in four equal stages.

    Sizes between are rounded to multiples of 8 px. Howard 2018 (the fast.ai entry to DAWNBench); stages as in Tan & Le
    2021, arXiv:2104.00298, algorithm 1, whose regularisation grows as well: ours does not. `first` 0: always `last`.
    """
    if not first:
        return last
    stage = min(epoch * NUM_STAGES // num_epochs, NUM_STAGES - 1)
    if stage in (0, NUM_STAGES - 1):
        return last if stage else first
    return round((first + (last - first) * stage / (NUM_STAGES - 1)) / MULTIPLE) * MULTIPLE
