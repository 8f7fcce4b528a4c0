"""The command line of depthwise for torchrun: process 1 kills itself before its fifth step, at the first start only."""

import os
import sys
from pathlib import Path

from victims import Kill, Order, watch

from depthwise.cli import main

if __name__ == "__main__":
    start, rank = os.environ["TORCHELASTIC_RESTART_COUNT"], os.environ["RANK"]
    folder = Path(sys.argv.pop(1))
    kill = Kill("step", 5) if (start, rank) == ("0", "1") else None
    trace = folder / f"trace{start}" if rank == "0" else None
    watch(Order(sys.argv[1:], folder / "said", trace, kill))
    main()
