"""`train --freeze backbone`: features once, then only the head."""

import json
import signal

import pytest
import torch

import depthwise as dw
from depthwise import artifact
from depthwise.cli import run
from depthwise.console import Quiet
from depthwise.errors import Interrupted
from depthwise.models.create import create_model

FLAGS = ("--model", "efficientnet_lite0", "--pretrained", "package", "--image-size", "32", "--batch-size", "8")
FROZEN = (*FLAGS, "--freeze", "backbone", "--workers", "0", "--threads", "1")


@pytest.fixture(scope="module")
def frozen(photos, tmp_path_factory):
    out = tmp_path_factory.mktemp("frozen") / "run"
    assert run(["train", str(photos), "--out", str(out), *FROZEN, "--epochs", "4"]) == 0
    return out


def test_only_the_head_has_learnt(frozen):
    _, tensors = artifact.read(frozen / "best.safetensors")
    before = create_model("efficientnet_lite0", pretrained="package").state_dict()
    changed = {name for name in before if not torch.equal(tensors[name], before[name])}  # running statistics too
    assert changed == {"classifier.weight", "classifier.bias"}


def test_it_learns_and_the_saved_model_does_as_well(frozen, photos, capsys):
    rows = [json.loads(line) for line in (frozen / "metrics.jsonl").read_text().splitlines()]
    best = max(rows, key=lambda row: (row["valid_top1"], -row["valid_loss"]))
    assert best["valid_top1"] > 0.6
    found = dw.evaluate(frozen, split="valid", workers=0).scores  # through pictures, not features
    assert found.top1 == best["valid_top1"]
    assert found.loss == pytest.approx(best["valid_loss"], rel=1e-4)


class Stopping(Quiet):
    """Sends a signal to this process after five of the loop's reports."""

    def track(self, items, total, label):
        for number, item in enumerate(items, start=1):
            if label == "Training" and number == 5:
                signal.raise_signal(signal.SIGINT)
            yield item


def test_stopped_and_resumed_it_ends_with_the_same_bits(frozen, photos, tmp_path):
    out = tmp_path / "run"
    given = {"pretrained": "package", "image_size": 32, "batch_size": 8, "freeze": "backbone", "epochs": 4}
    config = {"model": "efficientnet_lite0", **given}
    with pytest.raises(Interrupted):
        dw.train(photos, out, config, workers=0, threads=1, console=Stopping())
    dw.train(photos, out, config, resume="auto", workers=0, threads=1)
    for name in ("metrics.jsonl", "best.safetensors", "last.safetensors"):
        assert (out / name).read_bytes() == (frozen / name).read_bytes()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--model", "lenet5"), "give them by --pretrained or --init"),
        (("--model", "nin_cifar"), "give them by --pretrained or --init"),
    ],
)
def test_fresh_weights_are_not_frozen(photos, tmp_path, capsys, flags, message):
    assert run(["train", str(photos), "--out", str(tmp_path / "run"), *flags, "--freeze", "backbone"]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    "name", ["lenet5", "alexnet", "googlenet", "mobilenet_v3_small", "densenet40_k12_cifar", "vgg11"]
)
def test_embedding_and_head_are_the_whole_network(name):
    torch.manual_seed(0)
    spec = dw.model_info(name)
    model = create_model(name, num_classes=3).eval()
    side = {"alexnet": 96, "vgg11": 32}.get(name, min(spec.image_size, 64))
    images = torch.rand(2, spec.in_channels, side, side)
    whole, features = model(images), model.embed(images)
    model.starts_at = model.head_start
    assert features.ndim == 2 and torch.equal(model(features), whole)
