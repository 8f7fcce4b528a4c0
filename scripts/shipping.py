"""What INT8 costs, and where the time of one photo goes: parts of docs/export.md from bench/results."""

from collections.abc import Callable
from typing import Any

from measured import result, witness


def int8() -> str:
    """Return what INT8 costs and gains, network by network."""
    found = result("int8")
    return "\n".join(
        [
            "| network | float | INT8 | layers in float | smaller | ONNX Runtime, ms | OpenVINO, ms |",
            "|---|---:|---:|---:|---:|---:|---:|",
            *map(int8_row, found["rows"]),
            "",
            f"Top-1 on {found['num_test']} test photos; milliseconds for one picture in float / in INT8, threads: "
            f"{found['threads']}, while the machine did other work. {found['epochs']} epochs, one seed. Pictures of "
            f"{found['rows'][0]['image_size']} px: changes between whole numbers and float weigh more than at "
            f"224 px. `bench/int8.py`: {witness(found)}.",
        ]
    )


def int8_row(row: dict[str, Any]) -> str:
    """Return the table's line of one network."""
    name = " ".join([f"`{row['name']}`", *row["options"]])
    if "refused" in row:
        return f"| {name} | {row['top1_float']:.1%} | refused by the gate | | | | |"
    speeds = " | ".join(f"{ms['float']:.2f} / {ms['int8']:.2f}" for ms in row["p50_ms"].values())
    return (
        f"| {name} | {row['top1_float']:.1%} | {row['top1']:.1%} "
        f"| {row['num_float_layers']} of {row['num_layers']} | {row['size_ratio']:.1f} x | {speeds} |"
    )


def batch_one() -> str:
    """Return where the time of one photo goes, and what the limit is."""
    found = result("batch_one")
    step, engine, options = found["steps_ms"], found["engines_ms"], found["options_ms"]
    torch_ms, least_ms = engine["pytorch"], 1000 * found["macs"] / found["peak_macs_per_s"]
    onnx_ms = engine["onnxruntime float"]
    times = {name: f"{ms:.1f} ms ({torch_ms / ms:.1f} x)" for name, ms in engine.items()}
    best = min(ms for name, ms in options.items() if name != "as they come")
    return "\n".join(
        [
            f"- From a JPEG of 600 x 400 px to its answer: {step['whole']:.1f} ms. Alone, decoding takes "
            f"{step['decode']:.1f}, resizing {step['resize']:.1f} and ONNX Runtime {step['network']:.1f}.",
            f"- The network: PyTorch {torch_ms:.1f} ms, ONNX Runtime {times['onnxruntime float']}, OpenVINO "
            f"{times['openvino float']}.",
            f"- How much faster could it be? Five times as fast as PyTorch is {torch_ms / 5:.1f} ms. Its "
            f"{found['macs'] / 1e6:.0f} million multiply-adds alone take {least_ms:.1f} ms on this core "
            f"({found['peak_macs_per_s'] / 1e9:.0f} billion a second in a product of two float32 matrices). ONNX "
            f"Runtime reaches {least_ms / onnx_ms:.0%} of that, depthwise layers included; five times would need "
            f"{5 * least_ms / torch_ms:.0%}.",
            f"- No option of ONNX Runtime reaches that: {options['as they come']:.1f} ms without options, {best:.1f} "
            f"with the best one; smaller differences are chance, as the same call took {onnx_ms:.1f} ms beside the "
            f"other engines. With fewer digits: OpenVINO in bfloat16 {times['openvino-bf16 float']}, INT8 in OpenVINO "
            f"{times['openvino int8']}, in ONNX Runtime {times['onnxruntime int8']}.",
            "",
            f"`{found['network']}`, 224 px, one thread, CPU time, medians, while the machine did other work. "
            f"`bench/batch_one.py`: {witness(found)}.",
        ]
    )


PARTS: dict[str, Callable[[], str]] = {part.__name__: part for part in (int8, batch_one)}
