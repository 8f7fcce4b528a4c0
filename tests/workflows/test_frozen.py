"""`train --freeze backbone`: features once, then only the head."""

import json
import signal

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

import depthwise as dw
from depthwise import artifact
from depthwise.cli import run
from depthwise.config import TrainConfig
from depthwise.console import Quiet
from depthwise.data.augment import augment, resolve
from depthwise.data.cache import Dataset, load
from depthwise.data.index import read_index
from depthwise.data.mirror import Mirrored
from depthwise.data.order import batch_sizes, epoch_order
from depthwise.errors import Interrupted
from depthwise.files import cache_folder
from depthwise.models.create import create_model
from depthwise.models.normalise import Normalise
from depthwise.workflows import training_data, training_state
from depthwise.workflows.features import training_views
from depthwise.workflows.warm_start import fetch_donor, take_over

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


HEAD = {"model": "efficientnet_lite0", "pretrained": "package", "image_size": 32, "batch_size": 8, "freeze": "backbone"}
VIEWS = {**HEAD, "frozen_views": 2, "epochs": 4, "schedule": "constant", "warmup": 0.0, "lr": 0.01}
VIEWS |= {"set": ("drop_rate=0.0",)}  # dropout would have other pictures' masks in another program


class Listening(Quiet):
    def __init__(self):
        self.labels = []

    def track(self, items, total, label):
        self.labels.append(label)
        return items


def train_views(photos, out, *, resume="never", cache_size=None, console=None, **changes):
    given = {"workers": 0, "threads": 1, "resume": resume, "cache_size": cache_size, "console": console}
    dw.train(photos, out, {**VIEWS, **changes}, **given)
    return bits(out)


def bits(out):
    return [(out / name).read_bytes() for name in ("metrics.jsonl", "best.safetensors", "last.safetensors")]


@pytest.fixture(scope="module")
def viewed(photos, tmp_path_factory):
    out = tmp_path_factory.mktemp("viewed") / "run"
    train_views(photos, out)
    return out


def test_stored_features_give_the_same_bits_as_none(viewed, photos, tmp_path):
    store = cache_folder() / "pictures"
    before = sorted(store.iterdir())
    assert train_views(photos, tmp_path / "none", cache_size=0) == bits(viewed)
    assert sorted(store.iterdir()) == before


def test_another_head_and_a_longer_run_take_what_is_stored(viewed, photos, tmp_path):
    console = Listening()
    assert train_views(photos, tmp_path / "same", console=console) == bits(viewed)
    train_views(photos, tmp_path / "other", lr=0.1, epochs=5, console=console)
    train_views(photos, tmp_path / "other", lr=0.1, epochs=6, resume="auto", console=console)
    assert console.labels.count("Checking stored features") == 9 and "Computing features" not in console.labels
    rows = [json.loads(line) for line in (tmp_path / "other/metrics.jsonl").read_text().splitlines()]
    assert len(rows) == 6


def test_with_views_it_goes_on_with_the_same_bits(viewed, photos, tmp_path):
    with pytest.raises(Interrupted):
        train_views(photos, tmp_path / "run", console=Stopping())
    assert train_views(photos, tmp_path / "run", resume="auto") == bits(viewed)


def test_views_change_what_is_learnt_unless_there_is_no_augmentation(viewed, photos, tmp_path):
    plain = train_views(photos, tmp_path / "plain", frozen_views=1)
    assert plain[0] != bits(viewed)[0]
    assert train_views(photos, tmp_path / "none", augment="none")[0] == plain[0]
    more = {"policy": "randaugment", "policy_ops": 3, "rotate": 20.0}
    assert train_views(photos, tmp_path / "more", **more)[0] not in (plain[0], bits(viewed)[0])


def test_the_head_ends_as_one_that_is_trained_without_stored_features(viewed, photos, tmp_path):
    """A plain loop: the whole network sees each picture in each step, the layers but the last are frozen by hand."""
    card, tensors = artifact.read(viewed / "last.safetensors")
    index, side = read_index(viewed / "splits.csv"), card.geometry.image_size
    torch.manual_seed(0)
    model = create_model(card.model, len(card.classes), **card.options)
    take_over(model, card.classes, fetch_donor(dw.model_info("efficientnet_lite0"), TrainConfig(**VIEWS), Quiet()))
    model.eval().requires_grad_(False)
    weight, bias = (p.requires_grad_() for p in model.classifier.parameters())
    normalise, how = Normalise(card.geometry.mean, card.geometry.std), resolve(TrainConfig(augment_warmup=0))
    groups = [{"params": [weight], "weight_decay": 5e-4}, {"params": [bias], "weight_decay": 0.0}]
    optimizer = torch.optim.SGD(groups, lr=0.01, momentum=0.9, nesterov=True)
    given = {"classes": card.classes, "geometry": card.geometry, "folder": tmp_path, "workers": 0, "console": Quiet()}
    with load(index.part("train"), **given) as (train, _), load(index.part("valid"), **given) as (valid, _):
        for epoch in range(4):
            rows = torch.from_numpy(epoch_order(train.ids, 0, epoch))
            for some in rows.split(batch_sizes(len(train), 8)):
                part = some.numpy()
                images = train.images[part]
                if epoch % 2:
                    images = augment(train.images, part, train.ids[part], 0, 1, how, side)
                logits = model(normalise(torch.from_numpy(images)))
                loss = cross_entropy(logits, torch.from_numpy(train.labels[part]), label_smoothing=0.1)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
        answers = model(normalise(torch.from_numpy(valid.images))).argmax(1).numpy()
    torch.testing.assert_close(weight.detach(), tensors["model.classifier.weight"], rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(bias.detach(), tensors["model.classifier.bias"], rtol=1e-4, atol=1e-6)
    last = json.loads((viewed / "metrics.jsonl").read_text().splitlines()[-1])
    assert (answers == valid.labels).mean() == last["valid_top1"]


def test_pictures_are_mirrored_only_where_they_keep_their_class(monkeypatch):
    """Asked of the pictures where views are shown; with the plain pictures alone there is nothing to ask."""
    asked = []
    monkeypatch.setattr(training_data, "mirrored_likeness", lambda *_: asked.append(1) or Mirrored(99, 0.9, 0.1, 0.1))
    pictures = Dataset(np.zeros((2, 8, 8, 3), np.uint8), np.arange(2), np.arange(2, dtype=np.uint64), ())
    for views, found in ((1, True), (2, False)):
        config = TrainConfig(freeze="backbone", frozen_views=views)
        assert training_data.can_mirror(pictures, config, Quiet()) is found
        assert len(asked) == views - 1
        assert len(training_views(config)) == views
    assert not training_views(training_data.shown_as(config, {"can_mirror": False}))[1].how.flip


def test_features_of_ones_own_network_are_not_kept(viewed, photos, tmp_path, monkeypatch):
    """Its code may change while its weights and layers look the same."""
    monkeypatch.setattr(training_state, "is_code", lambda name: True)
    console = Listening()
    assert train_views(photos, tmp_path / "run", console=console) == bits(viewed)
    assert console.labels.count("Computing features") == 3
