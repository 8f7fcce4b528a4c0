"""`depthwise bench kernels`: what is asked of whom, and how it is told. Times are not tested."""

import json

import pytest
import torch

from depthwise.cli import run
from depthwise.workflows import bench_kernels

TIMES = {"conv 3x3": {"torch": 0.004, "fused": 0.002}, "norm, relu": {"torch": 0.001, "fused": 0.0025}}


@pytest.fixture
def measured(monkeypatch):
    """Two places, of which one pays; returns what was asked for."""
    asked = []

    def compare(network, images, *, precision):
        asked.append((type(network).__name__, tuple(images.shape), precision))
        return TIMES

    monkeypatch.setattr(bench_kernels, "compare", compare)
    monkeypatch.setattr(bench_kernels, "choose", lambda *_, precision: {"conv 3x3": "fused", "norm, relu": "torch"})
    return asked


def test_a_line_for_each_place(measured, capsys):
    flags = ["--model", "mobilenet_v1_x0_25", "--image-size", "64", "--batch-size", "4", "--precision", "fp32"]
    assert run(["bench", "kernels", *flags, "--threads", "1"]) == 0
    assert measured == [("MobileNetV1", (4, 3, 64, 64), "fp32")]
    printed = capsys.readouterr().out
    assert "mobilenet_v1_x0_25, 64 px, 4 pictures a step, fp32, 1 thread of " in printed
    lines = [line.split() for line in printed.splitlines()]
    assert ["conv", "3x3", "4.00", "2.00", "2.00", "fused"] in lines
    assert ["norm,", "relu", "1.00", "2.50", "0.40", "torch"] in lines
    assert "Next: depthwise train" in printed


def test_as_json(measured, capsys):
    flags = ["--model", "mobilenet_v2", "--batch-size", "2", "--precision", "bf16", "--json"]
    assert run(["bench", "kernels", *flags]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["image_size"] == 224 and found["precision"] == "bf16" and found["threads"] == torch.get_num_threads()
    assert found["rows"][0] == {"place": "conv 3x3", "torch_ms": 4.0, "fused_ms": 2.0, "used": "fused"}


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--model", "mobilenet_v9"], "mobilenet_v9"),
        (["--batch-size", "1"], "--batch-size 1: batch norm needs at least 2"),
        (["--threads", "0"], "--threads 0: at least 1"),
        (["--model", "alexnet", "--image-size", "20"], "pictures of 20 px are too small for this network"),
    ],
)
def test_what_cannot_be_measured_is_refused(flags, message, measured, capsys):
    assert run(["bench", "kernels", *flags]) == 2
    assert message in capsys.readouterr().err and measured == []
