"""Progressive resizing: small pictures first, large ones at the end."""

NUM_STAGES = 4
MULTIPLE = 8


def epoch_size(epoch: int, num_epochs: int, first: int, last: int) -> int:
    """Return the side, px, of training pictures in this epoch (from 0 on): from `first` to `last` in four equal stages.

    Sizes between are rounded to multiples of 8 px, within the two. Howard 2018 (the fast.ai entry to DAWNBench); stages
    as in Tan & Le 2021, arXiv:2104.00298, algorithm 1, whose regularisation grows as well: ours does not. `first` 0:
    always `last`.
    """
    num_stages = min(NUM_STAGES, num_epochs)
    stage = min(epoch * num_stages // num_epochs, num_stages - 1)  # a search for a learning rate may go on for longer
    if not first or stage == num_stages - 1:
        return last
    size = first + (last - first) * stage / (num_stages - 1)
    return sorted((first, round(size / MULTIPLE) * MULTIPLE, last))[1] if stage else first
