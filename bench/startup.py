"""How long `depthwise --help` takes, beside a bare Python and an import of torch: interleaved, medians of 9 runs.

python bench/startup.py
"""

import statistics
import subprocess
import sys
import time

import record

COMMANDS = {
    "python -c pass": ["-c", "pass"],
    "depthwise --help": ["-m", "depthwise", "--help"],
    "depthwise train --help": ["-m", "depthwise", "train", "--help"],
    "python -c 'import torch'": ["-c", "import torch"],
}
ROUNDS = 9


def main() -> None:
    """Time each command in turn, ROUNDS times, and record the medians."""
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for number in range(ROUNDS + 1):
        for name, arguments in COMMANDS.items():
            started = time.perf_counter()
            subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
            if number:  # the first round only warms up
                times[name].append(time.perf_counter() - started)
    medians = {name: round(statistics.median(values), 3) for name, values in times.items()}
    ratio = medians["depthwise --help"] / medians["python -c 'import torch'"]
    record.write("startup", {"rounds": ROUNDS, "median_s": medians, "help_over_import_torch": round(ratio, 3)})


if __name__ == "__main__":
    main()
