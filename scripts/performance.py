"""The tables of docs/performance.md."""

from collections.abc import Callable
from statistics import mean, stdev
from typing import Any

from measured import newest, witness

NOT_YET = "No result is committed yet."
Part = Callable[[Any], list[str]]


def train_step(found: Any) -> list[str]:
    """Return what a step takes by each way, network by network."""
    lines = [
        "| network | default | tuned | ours, PyTorch's kernels | ours | x default | x tuned | of the limit | ours in |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---|",
    ]
    for row in found["rows"]:
        taken = {way: times["median_s"] for way, times in row["ways"].items()}
        cells = [_ms(row["ways"][way]) for way in ("default", "tuned", "ours_torch", "ours")]
        ratios = [f"{taken['default'] / taken['ours']:.2f}", f"**{taken['tuned'] / taken['ours']:.2f}**"]
        share = f"{row['roofline']['limit_s'] / taken['ours']:.0%}"
        lines.append("| " + " | ".join((f"`{row['model']}`", *cells, *ratios, share, row["method"])) + " |")
    limits = found["limits"]
    peaks = ", ".join(
        f"{macs / 1e9:,.0f} billion multiply-adds/s in {name}" for name, macs in limits["macs_per_s"].items()
    )
    return [
        *lines,
        "",
        f"{found['batch_size']} pictures a step (LeNet-5's of 32 px, all others of 224), medians of {found['rounds']} "
        f"interleaved steps in ms, in brackets the fastest and the slowest; {found['threads']} threads. The limit: "
        f"{limits['bytes_per_s'] / 1e9:.1f} GB/s from and to memory, {peaks}. {witness(found)}.",
        *_compiled(found),
    ]


def _compiled(found: Any) -> list[str]:
    """Return what torch.compile makes of the tuned step, where that was measured."""
    rows = [row for row in found["rows"] if "compiled" in row["ways"]]
    if not rows:
        return []
    head = ["| network | tuned | tuned, compiled | ours | x compiled |", "|---|---:|---:|---:|---:|"]
    lines = []
    for row in rows:
        ratio = row["ways"]["compiled"]["median_s"] / row["ways"]["ours"]["median_s"]
        cells = [_ms(row["ways"][way]) for way in ("tuned", "compiled", "ours")]
        lines.append("| " + " | ".join((f"`{row['model']}`", *cells, f"**{ratio:.2f}**")) + " |")
    return ["", "Tuned PyTorch by `torch.compile` (Inductor) as well, in the same rounds, ms:", "", *head, *lines]


def _ms(times: dict[str, Any]) -> str:
    low, high = (f"{1000 * seconds:,.0f}" for seconds in times["spread_s"])
    return f"{1000 * times['median_s']:,.0f} ({low} - {high})"


def train_step_short(found: Any) -> list[str]:
    """Return in a sentence how much faster than PyTorch the MobileNets train."""
    names = ("mobilenet_v2", "mobilenet_v3_large")
    rows = [row["ways"] for name in names for row in found["rows"] if row["model"] == name]
    times = [
        " and ".join(f"{row[way]['median_s'] / row['ours']['median_s']:.1f}" for row in rows)
        for way in ("tuned", "default")
    ]
    return [
        f"A step of MobileNetV2 and V3-large on {found['batch_size']} photos of 224 px: {times[0]} times as fast as "
        f"PyTorch tuned by hand, {times[1]} times as fast as PyTorch as it comes "
        f"(`bench/train_step.py`; {witness(found)})."
    ]


def step_profile(found: Any) -> list[str]:
    """Return where the time of our step goes."""
    groups = list(found["rows"][0]["groups"])
    lines = [
        "| network | step | " + " | ".join(groups) + " | the rest |",
        "|---|---:" + "|---:" * (len(groups) + 1) + "|",
    ]
    for row in found["rows"]:
        rest = row["step_ms"] - sum(row["groups"].values())
        cells = (row["step_ms"], *row["groups"].values(), rest)
        lines.append(f"| `{row['model']}` | " + " | ".join(f"{cell:,.0f}" for cell in cells) + " |")
    size = f"{found['batch_size']} pictures of 224 px, {found['threads']} threads"
    return [*lines, "", f"Milliseconds, bfloat16, all places fused, {size}. {witness(found)}."]


def layout(found: Any) -> list[str]:
    """Return what a step takes in both layouts."""
    ways = ("fp32_nchw", "fp32_nhwc", "bf16_nchw", "bf16_nhwc")
    rows = [
        f"| `{row['model']}` | " + " | ".join(f"{1000 * row[way]:,.0f}" for way in ways) + " |" for row in found["rows"]
    ]
    head = ["| network | float32 NCHW | float32 NHWC | bfloat16 NCHW | bfloat16 NHWC |", "|---|---:|---:|---:|---:|"]
    steps = f"the fastest of {found['rounds']} interleaved steps"
    end = f"{found['batch_size']} pictures of 224 px, {steps}. {witness(found)}."
    return [*head, *rows, "", end]


def memory(found: Any) -> list[str]:
    """Return peaks by network and pictures in a step."""
    rows = [
        f"| `{row['model']}` | {row['batch_size']} | {peak['default']:,} | {peak['tuned']:,} | {peak['ours']:,} "
        f"| {peak['ours'] / peak['tuned']:.2f} |"
        for row in found["rows"]
        for peak in [row["peak_mib"]]
    ]
    head = [
        "| network | pictures | default MiB | tuned MiB | ours MiB | ours / tuned |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    end = f"A process that only imports all this: {found['import_mib']:,} MiB. {witness(found)}."
    return [*head, *rows, "", end]


def scaling(found: Any) -> list[str]:
    """Return how speed follows cores, batch and size, and what order costs."""
    rows = [
        f"| {row['varied'].replace('_', ' ')} | {row['cores']} | {row['batch_size']} | {row['image_size']} "
        f"| {row['images_per_s']:,.1f} |"
        for row in found["steps"]
    ]
    orders = [f"| {row['num_images']:,} | {row['index_s']:.2f} | {row['order_s']:.4f} |" for row in found["orders"]]
    return [
        f"`{found['model']}`:",
        "",
        "| varied | cores | batch | px | images/s |",
        "|---|---:|---:|---:|---:|",
        *rows,
        "",
        "| pictures | reading the manifest s, once | order of an epoch s |",
        "|---:|---:|---:|",
        *orders,
        "",
        f"{witness(found)}.",
    ]


def precision(found: Any) -> list[str]:
    """Return test accuracy by precision and kernels, over seeds."""
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in found["rows"]:
        model = " ".join((f"`{row['model']}`", *row["options"]))
        groups.setdefault((model, row["way"]), []).append(row)
    rows = [
        f"| {model} | {way} | {mean(row['top1'] for row in runs):.2%} | {stdev(row['top1'] for row in runs):.2%} |"
        for (model, way), runs in sorted(groups.items(), key=lambda group: group[0][0])
        if len(runs) == len(found["seeds"])
    ]
    head = ["| network | trained in | test top-1, mean | standard deviation |", "|---|---|---:|---:|"]
    threads = f", threads: {found['threads']}" if found.get("threads") else ""
    end = f"Fashion-MNIST, {found['epochs']} epochs, {len(found['seeds'])} seeds each{threads}. {witness(found)}."
    return [*head, *rows, "", end]


def sample_kernels(found: Any) -> list[str]:
    """Return test accuracy on the packaged sample by kernels, seed by seed."""
    lines = [
        f"| kernels | {' | '.join(f'seed {seed}' for seed in found['seeds'])} | mean | s of training |",
        f"|---|{'---:|' * (len(found['seeds']) + 2)}",
    ]
    for way in ("torch", "fused"):
        runs = {row["seed"]: row for row in found["rows"] if row["way"] == way}
        shares = {seed: row["hits"] / row["num_images"] for seed, row in runs.items()}
        cells = [f"{shares[seed]:.1%}" if seed in shares else "not run" for seed in found["seeds"]]
        ends = [f"{mean(shares.values()):.1%}", f"{mean(row['seconds'] for row in runs.values()):,.0f}"] if runs else []
        lines.append("| " + " | ".join((f"`{way}`", *cells, *(ends or ["", ""]))) + " |")
    end = (
        f"Test top-1 on {found['rows'][0]['num_images']} pictures that each seed deals out anew. `{found['model']}`, "
        f"{found['epochs']} epochs, float32, threads: {found['threads']}. {witness(found)}."
    )
    return [*lines, "", end]


def time_to_fashion_mnist(found: Any) -> list[str]:
    """Return each system's seconds to 90 % and 93 %."""
    return _time_to(found)


def time_to_elpv(found: Any) -> list[str]:
    """Return each system's seconds to our linear probe's accuracy."""
    return _time_to(found)


def _time_to(found: Any) -> list[str]:
    targets = list(found["rows"][0]["reached_s"])
    lines = [
        f"| system | {' | '.join(f's to {100 * float(target):g}%' for target in targets)} | best | epochs |",
        f"|---|{'---:|' * (len(targets) + 2)}",
    ]
    for row in sorted(found["rows"], key=lambda row: not row["system"].startswith("depthwise")):
        reached = ["never" if row["reached_s"][t] is None else f"{row['reached_s'][t]:,.0f}" for t in targets]
        best = max((epoch["top1"] for epoch in row["epochs"]), default=0.0)
        lines.append(f"| {row['system']} | {' | '.join(reached)} | {best:.2%} | {len(row['epochs'])} |")
    peers = [row["versions"] for row in found["rows"] if "depthwise" not in row.get("versions", {"depthwise": ""})]
    others = {f"{name} {version}" for versions in peers for name, version in versions.items()}
    versions = f" The others' environments: {', '.join(sorted(others))}." if others else ""
    return [*lines, "", f"One run each, at most {found['budget_s']:,.0f} s. {witness(found)}.{versions}"]


FILES = {
    train_step: "train_step",
    train_step_short: "train_step",
    step_profile: "step_profile",
    layout: "layout",
    memory: "memory",
    scaling: "scaling",
    precision: "precision",
    sample_kernels: "sample_kernels",
    time_to_fashion_mnist: "time_to_accuracy_fashion_mnist",
    time_to_elpv: "time_to_accuracy_elpv",
}


def _write(part: Part, file: str) -> str:
    found = newest(file)
    return NOT_YET if found is None else "\n".join(part(found))


PARTS: dict[str, Callable[[], str]] = {
    part.__name__: lambda part=part, file=file: _write(part, file)  # type: ignore[misc]
    for part, file in FILES.items()
}
