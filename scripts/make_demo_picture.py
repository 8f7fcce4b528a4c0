"""Draw the README's picture: what the demo's model says of test pictures it has never seen, right and wrong.

depthwise demo && python scripts/make_demo_picture.py depthwise-demo/run docs/images/demo.png
"""

import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot

import depthwise as dw
from depthwise.data.decode import decode
from depthwise.data.index import read_index

COLUMNS, ROWS = 8, 3
RIGHT, WRONG = "#1b7f4d", "#c0392b"


def main(run: Path, target: Path) -> None:
    """Show evenly spaced test pictures, the answer with its probability, and under a wrong one the truth."""
    test = read_index(run / "splits.csv").part("test")
    chosen = [test[i * len(test) // (COLUMNS * ROWS)] for i in range(COLUMNS * ROWS)]
    answers = dw.load(run).predict_many([record.path for record in chosen])
    figure, axes = pyplot.subplots(ROWS, COLUMNS, figsize=(10, 5.2), dpi=120, facecolor="white")
    for axis, record, answer in zip(axes.flat, chosen, answers, strict=True):
        is_right = answer.label == record.label
        axis.imshow(decode(record.path, 1), cmap="gray_r")
        axis.set_title(f"{answer.label} {answer.probability:.0%}", fontsize=9, color=RIGHT if is_right else WRONG)
        axis.set_xlabel("" if is_right else f"is: {record.label}", fontsize=8, color=WRONG)
        axis.set_xticks([])
        axis.set_yticks([])
        for side in axis.spines.values():
            side.set_color(RIGHT if is_right else WRONG)
    figure.tight_layout(h_pad=1.4, w_pad=0.4)
    target.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(target, metadata={"Software": None})


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
