"""Most memory that a process needs which takes training steps, against the pictures in a step. Linux.

    python bench/memory.py           # MobileNetV2, 8 and 32 pictures
    python bench/memory.py --full    # three networks, 8 to 64 pictures

Each number is a fresh process' peak resident set after three steps; `import` is that of one that only imports torch.
"""

import argparse
import subprocess
import sys
from typing import Any

import record
from baselines import default_step, our_step, tuned_step

from depthwise.machine import peak_mib

WAYS = {"default": default_step, "tuned": tuned_step, "ours": our_step}


def child(way: str, name: str, batch_size: int) -> None:
    """Take three steps and print this process' peak, MiB."""
    step = WAYS[way](name, batch_size, 224)
    for _ in range(3):
        step()
    print(peak_mib())


def peak(*arguments: str) -> float:
    """Return what a fresh process tells, MiB."""
    reply = subprocess.run(
        [sys.executable, __file__, "--child", *arguments], check=True, capture_output=True, text=True
    )
    return float(reply.stdout.split()[-1])


def main(names: tuple[str, ...], batches: tuple[int, ...], result: str) -> None:
    """Measure, print ratios, record."""
    rows: list[dict[str, Any]] = []
    for name in names:
        for batch in batches:
            our_step(name, batch, 224)  # so that what is measured for the choice is not measured in the child
            taken = {way: round(peak(way, name, str(batch))) for way in WAYS}
            rows.append({"model": name, "batch_size": batch, "peak_mib": taken})
            print(
                f"{name}, {batch} pictures: {taken['ours']} MiB, {taken['ours'] / taken['tuned']:.2f} x tuned",
                flush=True,
            )
    record.write(result, {"import_mib": round(peak("nothing")), "rows": rows})


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--child", nargs="+")
    asked = parser.parse_args()
    if asked.child == ["nothing"]:
        print(peak_mib())
    elif asked.child:
        child(asked.child[0], asked.child[1], int(asked.child[2]))
    elif asked.full:
        main(("mobilenet_v2", "efficientnet_b0", "resnet18"), (8, 16, 32, 64), "memory")
    else:
        main(("mobilenet_v2",), (8, 32), "memory_quick")
