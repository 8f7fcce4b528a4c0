"""Make the generated parts of README and docs from bench/results.

    python scripts/make_docs.py           # write
    python scripts/make_docs.py --check   # exit 1 when something is out of date

A part stands between the lines `<!-- generated: NAME -->` and `<!-- end -->`.
"""

import re
import sys
import textwrap
from collections.abc import Callable
from statistics import mean

import performance
import python_names
import shipping
import solar_cells
import unaided
from measured import ROOT, result, witness

sys.path.insert(0, str(ROOT / "bench"))
import results_page

PAGES = (
    "README.md",
    "docs/measurements.md",
    "docs/results.md",
    "docs/weights.md",
    "docs/data.md",
    "docs/evaluation.md",
    "docs/training.md",
    "docs/input.md",
    "docs/performance.md",
    "docs/speed.md",
    "docs/export.md",
    "docs/solar_cells.md",
    "docs/python.md",
)
WIDTH = 120
PART = re.compile(r"(<!-- generated: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def demo() -> str:
    """Return the demo's accuracy by seed."""
    found = result("demo")
    rows = [
        f"| {run['seed']} | {run['top1']:.2%} | {run['top5']:.2%} | {run['num_images']} | {run['wall_s']:.0f} s |"
        for run in found["runs"]
    ]
    return "\n".join(
        [
            "| seed | test top-1 | test top-5 | test pictures | wall time |",
            "|---:|---:|---:|---:|---:|",
            *rows,
            "",
            f"Mean {found['mean_top1']:.2%}, standard deviation {found['stdev_top1']:.2%} over {len(rows)} seeds "
            f"(each seed deals the pictures out anew). {witness(found)}.",
        ]
    )


def demo_short() -> str:
    """Return one sentence on the demo."""
    found = result("demo")
    return (
        f"The demo: {found['mean_top1']:.1%} of held-out pictures right (mean of {len(found['runs'])} seeds, standard "
        f"deviation {found['stdev_top1']:.1%}), {found['median_wall_s']:.0f} s from command to answer "
        f"({witness(found)})."
    )


def fashion_mnist() -> str:
    """Return what three epochs on Fashion-MNIST give."""
    found = result("fashion_mnist")
    rows = [
        f"| {row['epoch']} | {row['train_loss']:.4f} | {row['valid_loss']:.4f} | {row['valid_top1']:.2%} "
        f"| {row['images_per_s']:.0f} |"
        for row in found["epochs"]
    ]
    test = found["test"]
    return "\n".join(
        [
            f"`{found['command']}`: {test['top1']:.2%} of the {test['num_images']:,} test pictures right "
            f"(one run, seed 0); training took {found['wall_s']['train'] / 60:.1f} minutes and "
            f"{found['peak_mib']['train']:,} MiB at its peak. {witness(found)}.",
            "",
            "| epoch | train loss | valid loss | valid top-1 | images/s |",
            "|---:|---:|---:|---:|---:|",
            *rows,
        ]
    )


def recalibration() -> str:
    """Return the accuracy of short runs with and without new batch norm statistics."""
    found = result("recalibration")
    means = {(row["model"], row["recalibrate"]): mean(row["top1"]) for row in found["rows"]}
    rows = [f"| `{name}` | {means[name, False]:.1%} | {means[name, True]:.1%} |" for name, way in means if way]
    return "\n".join(
        [
            "| network | running averages | measured anew |",
            "|---|---:|---:|",
            *rows,
            "",
            f"Test top-1 after {found['epochs']} epochs on the embedded sample (batch {found['batch_size']}), mean of "
            f"{len(found['seeds'])} seeds. {witness(found)}.",
        ]
    )


def startup() -> str:
    """Return start-up times."""
    found = result("startup")
    rows = [f"| `{name}` | {seconds:.2f} s |" for name, seconds in found["median_s"].items()]
    return "\n".join(
        ["| command | median |", "|---|---:|", *rows, "", f"{found['rounds']} interleaved runs. {witness(found)}."]
    )


def predict() -> str:
    """Return how fast an exported file answers."""
    found = result("predict")
    names = {"pytorch": "PyTorch", "exported": "exported file", "bare": "ONNX Runtime, bare network"}
    ones, many = (found[f"batch_{batch}"]["median_ms"] for batch in (1, 32))
    rows = [f"| {title} | {ones[name]:.1f} ms | {many[name]:.0f} ms |" for name, title in names.items()]
    return "\n".join(
        [
            "| engine | one picture | 32 pictures |",
            "|---|---:|---:|",
            *rows,
            "",
            f"`{found['network']}`, 224 px, one thread, median of {found['rounds']} interleaved calls. "
            f"`depthwise predict model.onnx photo.jpg`: {found['process_ms'] / 1000:.2f} s from start to answer, "
            f"{found['process_mib']} MiB at its peak. {witness(found)}.",
        ]
    )


def predict_folder() -> str:
    """Return how fast a folder of JPEGs becomes a CSV, beside others' ways, and in how much memory."""
    found = result("predict_folder")
    titles = {"depthwise": "`depthwise predict model.onnx FOLDER --out answers.csv`, mobilenet_v2"}
    titles["depthwise_v3"] = "the same with mobilenet_v3_large"
    titles["timm"] = f"timm's loader and eager PyTorch, mobilenetv2_100 ({found['versions'].get('timm')})"
    titles["ultralytics"] = f"`predict(stream=True)`, yolov8n-cls ({found['versions'].get('ultralytics')})"
    rows = []
    for name, rate in found["images_per_s"].items():
        more = (
            ("", "", "")
            if name not in found["times_ours"]
            else tuple(f"{found[key][name]:.1f} x" for key in ("times_ours", "times_ours_loop", "times_v3"))
        )
        rows.append(f"| {titles[name]} | {rate:.0f} | {' | '.join(more)} |")
    return "\n".join(
        [
            "| from JPEGs to a CSV | images/s | its time over ours | without its start | its time over V3-large's |",
            "|---|---:|---:|---:|---:|",
            *rows,
            "",
            f"{found['num_photos']:,} photos of 500 x 375 px, 224 px into the network, random weights; whole processes "
            f"by turns, median of {len(found['wall_s']['depthwise'])}; *without its start*: the peer's loop alone over "
            f"our whole process. `bench/predict_folder.py`: {witness(found)}.",
        ]
    )


def predict_memory() -> str:
    """Return the memory of predicting for few and many photos."""
    found = result("predict_memory")
    peaks = ", ".join(f"{name}: {mib} MiB" for name, mib in found["peak_mib"].items())
    return (
        f"Peak memory of the whole process, mobilenet_v1_x0_25 at 64 px: {peaks}. `bench/predict_folder.py`: "
        f"{witness(found)}."
    )


def peers() -> str:
    """Return which networks were compared with others' implementations, and how far they differ."""
    found = result("peers")
    rows = found["rows"]
    worst = [max(row["relative_difference"].values()) for row in rows]
    lines = [
        f"| `{row['ours']}` | {row['theirs'].partition(':')[0]} `{row['theirs'].partition(':')[2]}` | {number:.0e} |"
        for row, number in zip(rows, worst, strict=True)
    ]
    versions = ", ".join(f"{name} {number}" for name, number in found["versions"].items())
    return "\n".join(
        [
            f"{len(rows)} pairs ({versions}), random weights and random statistics in every batch norm, carried over "
            "by `load_weights`, pictures of 97 x 131 and 224 x 224 px (Keras' MobileNet 96 x 160, its VGG 224 x 224 "
            "only): the largest difference of logits over the largest logit. "
            f"{found['num_failing']} differ by more than {found['limit']:.0e}; {worst.count(0)} are equal to the bit.",
            "",
            "| ours | theirs | difference |",
            "|---|---|---:|",
            *(line.replace("0e+00", "0") for line in lines),
        ]
    )


def audit() -> str:
    """Return what audit and split find, and how long they take."""
    planted, hashes, names = result("audit_planted"), result("hamming"), result("audit_names")
    fashion, cells = result("audit_fashion_mnist"), result("audit_elpv")
    rows = [
        f"| {run['seed']} | {run['found']} of {run['pairs']} | {run['false']} "
        f"| {run['broken_found']} of {run['broken']} | {run['torn_by_split']} "
        f"| {run['first_s']:.1f} s | {run['second_s']:.1f} s |"
        for run in planted["runs"]
    ]
    near = ", ".join(f"{number:,} {kind}" for kind, number in sorted(fashion["near"].items()))
    taken = sum(cells["counts"].get(kind, 0) for kind in ("near_duplicate", "label_conflict"))
    return "\n".join(
        [
            "1,000 drawn pictures with 60 near duplicates (resized, compressed, cut by 2 to 5 %, brighter or darker,",
            "mirrored, turned by a quarter),",
            "20 label conflicts and 30 broken files:",
            "",
            "| seed | pairs found | false | broken found | pairs torn by split | first look | second look |",
            "|---:|---:|---:|---:|---:|---:|---:|",
            *rows,
            "",
            f"Fashion-MNIST, {fashion['num_images']:,} pictures: {sum(fashion['equal_pixels'].values())} pairs of "
            "equal pixels (those of",
            "[issue 44](https://github.com/zalandoresearch/fashion-mnist/issues/44) are mended in today's files); near "
            f"duplicates: {near}.",
            f"First look {fashion['first_s']:.0f} s, second {fashion['second_s']:.1f} s.",
            "",
            f"ELPV, {cells['num_images']:,} photos of solar cells, neighbours of one block of silicon among them: "
            f"{taken} pairs are taken",
            f"for the same shot; the largest group of the split has {cells['largest_group']} photos.",
            "",
            f"{hashes['hashes']:,} hashes, {hashes['planted']:,} planted neighbours within {hashes['radius']} bits: "
            f"{hashes['missed']} missed, {hashes['wall_s']:.0f} s, {hashes['peak_mib']:,} MiB.",
            f"{names['names']:,} names are indexed in {names['index_s']:.0f} s and {names['memory_mib']:,} MiB.",
            "",
            f"`bench/audit.py`, `bench/hamming.py`: {witness(planted)}. The machine did other work meanwhile.",
        ]
    )


def export_all() -> str:
    """Return how every network compares with itself in PyTorch once exported."""
    found = result("export_all")
    rows = [
        f"| `{row['name']}` | {row['image_size']} | {row['top1_agreement']:.0%} "
        f"| {row['max_probability_difference']:.0e} | {row['num_bytes'] / 1e6:.1f} |"
        for row in found["rows"]
    ]
    return "\n".join(
        [
            f"{len(rows)} of {found['num_networks']} networks, random weights, 10 classes, 16 pictures of noise, in "
            f"ONNX Runtime. {witness(found)}. How fast they are on yours: `depthwise recommend` ([speed](speed.md)).",
            "",
            "| network | px | same answers | probabilities differ by | MB |",
            "|---|---:|---:|---:|---:|",
            *rows,
        ]
    )


def unknown() -> str:
    """Return how well photos of a class that was never seen are rejected."""
    found = result("unknown")
    rows = []
    for row in found["rows"]:
        scores = " | ".join(f"{row['auroc_left_out_in_turn'][k]:.2f} / {row['auroc'][k]:.2f}" for k in row["auroc"])
        counts = " | ".join(
            f"{row[name]['hits']} of {row[name]['num']} ({row[name]['hits'] / row[name]['num']:.0%})"
            for name in ("rejected", "lost")
        )
        rows.append(f"| {row['held_out']} | {scores} | {row['chosen']} | {counts} |")
    return "\n".join(
        [
            "| never seen | max_softmax | energy | distance | chosen | of it rejected | of the known lost |",
            "|---|---:|---:|---:|---|---:|---:|",
            *rows,
            "",
            "AUROC: as `calibrate` estimates it from the known classes / of the class that was never seen. "
            f"`{found['model']}`, {found['epochs']} epochs, --reject-rate {found['reject_rate']}, one seed. "
            f"{witness(found)}.",
        ]
    )


def engines() -> str:
    """Return what our choice of engine is worth against the bare runtimes."""
    found = result("engines")
    rows = [
        f"| `{row['network']}` | {row['batch']} | {row['p50_ms']['ours']:.2f} | {row['p50_ms']['onnxruntime']:.2f} "
        f"| {row['p50_ms']['openvino']:.2f} | {row['best_bare_over_ours']:.2f} |"
        for row in found["rows"]
    ]
    versions = ", ".join(f"{name} {number}" for name, number in found["versions"].items())
    return "\n".join(
        [
            "| network | pictures | depthwise, ms | ONNX Runtime, ms | OpenVINO, ms | best bare / depthwise |",
            "|---|---:|---:|---:|---:|---:|",
            *rows,
            "",
            f"`bench/engines.py`: 224 px, float32, all cores, {versions}. {witness(found)}.",
        ]
    )


def class_balance() -> str:
    """Return what the ways to balance classes do on an unequal cut."""
    found = result("class_balance")
    rows = []
    for way in dict.fromkeys(row["way"] for row in found["rows"]):
        mine = [row for row in found["rows"] if row["way"] == way]
        balanced, rare = (mean(row[name] for row in mine) for name in ("balanced", "rare"))
        each = ", ".join(f"{row['balanced']:.1%}" for row in mine)
        rows.append(f"| `{way}` | {balanced:.1%} | {rare:.1%} | {each} |")
    return "\n".join(
        [
            "| `--class-balance` | balanced accuracy | recall of the three rarest classes | balanced, by seed |",
            "|---|---:|---:|---|",
            *rows,
            "",
            f"Of Fashion-MNIST {found['largest']} to {found['largest'] // found['ratio']} pictures per class, "
            f"{found['num_train']} in all;",
            f"which class is rare depends on the seed. `{found['model']}`, {found['epochs']} epochs at a rate of "
            f"{found['lr']:g}; {found['num_test']:,} test",
            f"pictures, as many of each class; means of {len(found['seeds'])} seeds.",
            f"`bench/class_balance.py`, {witness(found)}.",
        ]
    )


def input_() -> str:
    """Return how fast training pictures are made ready."""
    found = result("input")
    speeds, starts, difference = found["images_per_s"], found["starts"], found["difference_from_pillow"]
    titles = {"Pillow": "Pillow, picture by picture", "torch": "torch, `interpolate(antialias=True)`"}
    slowest, same = speeds["Pillow"], (*titles, "random resized crop, flip")
    rows = [
        f"| {titles.get(name, name)} | {speed:,} | {f'{speed / slowest:.1f}' if name in same else ''} |"
        for name, speed in speeds.items()
    ]
    shares = ", ".join(
        f"{share:.1%} of the time with `{name}` ({found['step_ms'][name]:,.0f} ms a step)"
        for name, share in found["input_share"].items()
    )
    return "\n".join(
        [
            f"| {found['stored']} px stored to {found['image_size']} px | images/s on one core | against Pillow |",
            "|---|---:|---:|",
            *rows,
            "",
            "The first two do what the third does: random resized crop and flip, with the same boxes. Ours differ from "
            f"Pillow's pixels by {difference['mean']:.2f} levels of 255 in the mean. Of one core that prepares and "
            f"trains (our step, batch {found['batch_size']}), the input takes {shares}.",
            "",
            f"{starts['photos']:,} JPEGs of 400 x 300 px are ready ({starts['gib']} GiB) in {starts['first_s']:.0f} s "
            f"the first time and {starts['second_s']:.1f} s the second. `bench/input.py`, medians of "
            f"{found['rounds']} interleaved rounds. {witness(found)}.",
        ]
    )


PARTS: dict[str, Callable[[], str]] = {
    make.__name__.rstrip("_"): make
    for make in (
        demo,
        demo_short,
        fashion_mnist,
        recalibration,
        startup,
        predict,
        predict_folder,
        predict_memory,
        peers,
        audit,
        unknown,
        class_balance,
        input_,
        export_all,
        engines,
    )
}
PARTS |= performance.PARTS | python_names.PARTS | shipping.PARTS | solar_cells.PARTS | unaided.PARTS
PARTS |= {"results": results_page.table, "results_commands": results_page.commands}


def part(name: str) -> str:
    """Return a generated part; its prose is wrapped, its tables and code are not."""
    lines, is_code = [], False
    for line in PARTS[name]().split("\n"):
        is_code ^= line.startswith("```")
        is_prose = not is_code and not line.startswith("|")
        indent = "  " if line.startswith("- ") else ""
        lines += wrapped(line, indent) if is_prose and len(line) > WIDTH else [line]
    return "\n".join(lines)


def wrapped(line: str, indent: str) -> list[str]:
    """Return a line of prose as lines of WIDTH; what stands in backticks is not torn."""
    whole = re.sub(r"`[^`]+`", lambda code: code[0].replace(" ", "\0"), line)
    lines = textwrap.wrap(whole, WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
    return [line.replace("\0", " ") for line in lines]


def main(*, is_check: bool) -> int:
    """Write every page anew, or tell which are out of date; return the exit status."""
    stale = []
    for page in PAGES:
        path = ROOT / page
        old = path.read_text(encoding="utf-8")
        new = PART.sub(lambda match: f"{match[1]}{part(match[2])}\n{match[3]}", old)
        if new != old:
            stale.append(page)
            if not is_check:
                path.write_text(new, encoding="utf-8")
    if stale:
        print(f"{'out of date' if is_check else 'written'}: {', '.join(stale)}" + "; run: make format" * is_check)
    return int(is_check and bool(stale))


if __name__ == "__main__":
    sys.exit(main(is_check="--check" in sys.argv[1:]))
