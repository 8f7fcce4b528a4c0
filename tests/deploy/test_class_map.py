"""The class activation map of an exported file against Grad-CAM, and networks that have none."""

import subprocess
import sys

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

from depthwise.artifact import Card
from depthwise.data.geometry import Geometry
from depthwise.deploy.class_map import class_map, with_outputs
from depthwise.deploy.eager import EagerEngine
from depthwise.deploy.engine import OnnxEngine
from depthwise.deploy.explain import grad_cam
from depthwise.deploy.export import describe, to_onnx
from depthwise.errors import UserError

SIZE = 16


class Tail(nn.Module):
    """A convolution, and what the test puts behind it."""

    def __init__(self, tail):
        super().__init__()
        self.conv, self.tail = nn.Conv2d(3, 6, 3, 2), tail

    def forward(self, images):
        return self.tail(torch.relu(self.conv(images)))


def exported(model, folder, name="none"):
    torch.manual_seed(1)
    card = Card("model", name, {}, False, tuple("abcd"), Geometry(SIZE))
    path = folder / "model.onnx"
    path.write_bytes(describe(to_onnx(model.eval(), card, takes_any_size=False), card, {}))
    return path


def picture():
    return np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3), np.uint8)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A network of depthwise: in PyTorch, and exported."""
    from depthwise.models.create import create_model

    torch.manual_seed(0)
    model = create_model("resnet20_cifar", 4)
    engine = EagerEngine(Card("model", "resnet20_cifar", {}, False, tuple("abcd"), Geometry(SIZE)), model.state_dict())
    return engine, exported(engine.model, tmp_path_factory.mktemp("small"), "resnet20_cifar")


@pytest.mark.parametrize("number", [None, 0, 3])
def test_the_map_is_that_of_grad_cam(small, number):
    engine, path = small
    ours, theirs = class_map(path, picture(), number), grad_cam(engine, picture(), number)
    assert ours.number == theirs.number and ours.map.shape == (4, 4)
    np.testing.assert_allclose(ours.map, theirs.map, rtol=1e-4, atol=1e-5 * theirs.map.max())
    np.testing.assert_allclose(ours.logits, theirs.logits, rtol=1e-4, atol=1e-5)


def test_further_outputs_change_nothing_else(small):
    _, path = small
    whole = with_outputs(path.read_bytes(), ["Deployable/relu"])
    names = [value.name for value in onnxruntime.InferenceSession(whole).get_outputs()]
    assert names == ["probabilities", "logits", "Deployable/relu"]
    more = OnnxEngine(whole, "more.onnx")
    np.testing.assert_allclose(more.logits(picture()[None]), OnnxEngine(path).logits(picture()[None]), rtol=1e-5)


def test_no_torch_is_needed(small, tmp_path):
    np.save(tmp_path / "picture.npy", picture())
    code = (
        "import sys, numpy; from pathlib import Path; from depthwise.deploy.class_map import class_map\n"
        "class_map(Path(sys.argv[1]), numpy.load(sys.argv[2])); assert not {'torch', 'onnx'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code, str(small[1]), str(tmp_path / "picture.npy")], check=True)


TAILS = {
    "the maximum": [nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(6, 4)],
    "two layers": [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 4)],
    "all places": [nn.Flatten(), nn.Linear(6 * 49, 4)],
}


@pytest.mark.parametrize("name", TAILS)
def test_other_heads_have_none_and_the_remedy_is_named(tmp_path, name):
    path = exported(Tail(nn.Sequential(*TAILS[name])), tmp_path)
    with pytest.raises(UserError, match=r"Explain the run or the model file.*depthwise\[train\]"):
        class_map(path, picture())


def test_pytorch_s_own_pooling_is_known_and_weights_are_the_classes_own(tmp_path):
    model = Tail(nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(), nn.Linear(6, 4)))
    path = exported(model, tmp_path)
    heat = class_map(path, picture(), 2)
    with torch.no_grad():
        levels = torch.from_numpy(picture()).permute(2, 0, 1)[None].float()
        maps = torch.relu(model.conv((levels / 255 - 0.5) / 0.5))[0]  # the geometry's mean and std
        wanted = torch.einsum("c,chw->hw", model.tail[3].weight[2], maps) / 49
    np.testing.assert_allclose(heat.map, wanted.clamp(min=0), rtol=1e-4, atol=1e-5)


def test_a_map_of_one_place_shows_nothing(tmp_path):
    model = Tail(nn.Sequential(nn.Conv2d(6, 6, 7), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 4)))
    with pytest.raises(UserError, match="one place only for a picture of 16 px"):
        class_map(exported(model, tmp_path), picture())
