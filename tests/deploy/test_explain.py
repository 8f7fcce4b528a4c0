"""Grad-CAM against maps that are known: worked out by hand, and by the class activation map."""

import numpy as np
import pytest
import torch
from torch import nn

from depthwise.artifact import Card
from depthwise.data.geometry import Geometry
from depthwise.deploy.eager import EagerEngine
from depthwise.deploy.explain import grad_cam
from depthwise.errors import UserError
from depthwise.models.blocks import FeatureMap, GlobalAveragePool, Network
from depthwise.models.create import create_model

GEOMETRY = Geometry(4, mean=(0.0, 0.0, 0.0), std=(1 / 255,) * 3)  # levels go in as they are


class Known(Network):
    """The map is the picture in 2 x 2 means; logits are 2 red - green, and blue."""

    def __init__(self, *, num_classes, in_channels, small_input=False):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 3, 2, 2, groups=3, bias=False))
        self.pool = GlobalAveragePool()
        self.classifier = nn.Linear(3, 2)


class Max(Known):
    """Behind the map comes the maximum instead of the mean."""

    def __init__(self, *, num_classes, in_channels):
        super().__init__(num_classes=num_classes, in_channels=in_channels)
        self.pool = nn.Sequential(nn.ReLU(inplace=True), nn.AdaptiveMaxPool2d(1), nn.Flatten())


class Blind(Known):
    """Names a map that its logits do not come from."""

    def forward(self, images):
        return self.classifier(images.mean((2, 3)) + 0 * self.pool(self.stem(images.detach())).detach())


class Beside(Known):
    """Names a layer that is not computed on the way to the logits."""

    def forward(self, images):
        return self.classifier(images.mean((2, 3)))


class Odd(Known):
    def features(self, images):
        return self.stem(images)  # a tensor, as in many networks from elsewhere


class Dot(Known):
    def features(self, images):
        return [FeatureMap("stem", 4, self.stem(images)[:, :, :1, :1])]


class Without(nn.Sequential):
    def __init__(self, *, num_classes, in_channels):
        super().__init__(GlobalAveragePool(), nn.Linear(3, 2))


WEIGHTS = {
    "stem.0.weight": torch.full((3, 1, 2, 2), 0.25),
    "classifier.weight": torch.tensor([[2.0, -1.0, 0.0], [0.0, 0.0, 1.0]]),
    "classifier.bias": torch.tensor([5.0, 0.0]),
}


def engine_of(factory, weights=WEIGHTS):
    name = f"{__name__}:{factory.__name__}"
    return EagerEngine(Card("model", name, {}, False, ("a", "b"), GEOMETRY), weights, factory=name)


PICTURE = np.zeros((4, 4, 3), np.uint8)
PICTURE[:2, :2, 0] = 80  # red, above on the left
PICTURE[2:, 2:] = (40, 120, 0)  # green with some red, below on the right
PICTURE[:2, 2:, 2] = 60  # blue, above on the right


def test_a_map_worked_out_by_hand():
    heat = grad_cam(engine_of(Known), PICTURE, 0)
    # Each weight is the classifier's over 4 places: 0.5, -0.25, 0. Below on the right: 0.5 * 40 - 0.25 * 120 < 0.
    np.testing.assert_allclose(heat.map, [[40.0, 0.0], [0.0, 0.0]])
    assert heat.layer == "stem.0" and heat.number == 0
    np.testing.assert_allclose(heat.logits, [5 + 2 * 30 - 30, 15], rtol=1e-6)
    np.testing.assert_allclose(grad_cam(engine_of(Known), PICTURE, 1).map, [[0.0, 15.0], [0.0, 0.0]])


def test_the_answer_is_explained_unless_a_class_is_given():
    assert grad_cam(engine_of(Known), PICTURE).number == 0
    blue = PICTURE[:, ::-1] * np.array([0, 0, 1], np.uint8) + np.array([0, 9, 0], np.uint8)
    assert grad_cam(engine_of(Known), blue).number == 1


def test_behind_a_maximum_the_weights_are_the_mean_of_the_gradient_at_one_place():
    heat = grad_cam(engine_of(Max), PICTURE, 0)
    np.testing.assert_allclose(heat.map, [[40.0, 0.0], [0.0, 0.0]])  # the gradient is 2 at one of 4 places, likewise
    np.testing.assert_allclose(heat.logits, [5 + 2 * 80 - 120, 60], rtol=1e-6)


@pytest.mark.parametrize(
    ("factory", "message"),
    [
        (Blind, "its logits are not computed from stem.0"),
        (Beside, "its logits are not computed from stem.0"),
        (Odd, "whose features(images) returns its maps"),
        (Dot, "with one place only: nothing to show"),
    ],
)
def test_networks_that_cannot_be_explained(factory, message):
    with pytest.raises(UserError) as caught:
        grad_cam(engine_of(factory), PICTURE)
    assert message in str(caught.value)


def test_a_network_without_features():
    weights = {"1.weight": torch.ones(2, 3), "1.bias": torch.zeros(2)}
    with pytest.raises(UserError, match="cannot be explained"):
        grad_cam(engine_of(Without, weights), PICTURE)


def engine_for(name, size, **options):
    torch.manual_seed(0)
    model = create_model(name, 5, **options)
    small_input = options.pop("small_input", False)
    card = Card("model", name, options, small_input, tuple("abcde"), Geometry(size))
    return EagerEngine(card, model.state_dict())


def noisy(size):
    return np.random.default_rng(0).integers(0, 256, (size, size, 3), np.uint8)


@pytest.mark.parametrize("name", ["mobilenet_v2_x0_35", "resnet18", "shufflenet_v2_x0_5", "efficientnet_lite0"])
def test_behind_pooling_and_a_linear_layer_it_is_the_class_activation_map(name):
    engine, picture = engine_for(name, 96), noisy(96)
    heat = grad_cam(engine, picture, 3)
    with torch.no_grad():
        last = engine.model.features(engine.normalise(torch.from_numpy(picture[None])))[-1].map[0]
        cam = torch.einsum("c,chw->hw", engine.model.classifier.weight[3], last) / last[0].numel()
        bias = engine.model.classifier.bias[3]
    assert heat.map.shape == (3, 3)
    np.testing.assert_allclose(heat.map, cam.clamp(min=0), rtol=1e-4, atol=1e-6)
    assert (cam.sum() + bias).item() == pytest.approx(float(heat.logits[3]), rel=1e-4, abs=1e-6)  # places add up to it


EVERY = [
    ("alexnet", 96, {"small_input": True}),
    ("nin", 96, {}),
    ("vgg11_bn", 64, {}),
    ("googlenet", 64, {}),
    ("densenet121", 64, {}),
    ("seresnet18_preact", 64, {}),
    ("shufflenet_v1_g8_x0_25", 64, {}),
    ("mobilenet_v1_x0_25", 64, {}),
    ("mobilenet_v3_small", 64, {}),
    ("efficientnet_b0", 64, {}),
]


@pytest.mark.parametrize(("name", "size", "options"), EVERY)
def test_one_network_of_each_family(name, size, options):
    engine, picture = engine_for(name, size, **options), noisy(size)
    heat = grad_cam(engine, picture)
    assert heat.map.ndim == 2 and heat.map.size > 1 and np.isfinite(heat.map).all() and heat.map.min() >= 0
    np.testing.assert_allclose(heat.logits, engine.logits(picture[None])[0], rtol=1e-4, atol=1e-5)
    assert heat.number == heat.logits.argmax()
    assert not any(module._forward_hooks for module in engine.model.modules())
