from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from depthwise import artifact
from depthwise.artifact import Card
from depthwise.data.geometry import Geometry
from depthwise.deploy.eager import EagerEngine
from depthwise.errors import UserError
from depthwise.models.create import create_model
from depthwise.models.normalise import Normalise

GEOMETRY = Geometry(16, 3, mean=(0.4, 0.5, 0.6), std=(0.2, 0.25, 0.3))
CARD = Card("model", "mobilenet_v3_small_x0_75", {"drop_rate": 0.5}, True, ("a", "b", "c"), GEOMETRY)


@pytest.fixture(scope="module")
def model() -> nn.Module:
    torch.manual_seed(0)
    model = create_model(CARD.model, 3, small_input=True, drop_rate=0.5)
    model(torch.randn(16, 3, 16, 16))  # so that the running statistics are not those of the start
    nn.init.normal_(model.classifier.weight)
    return model


def pictures(num_images: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (num_images, 16, 16, 3)).astype(np.uint8)


def test_logits_are_those_of_the_network_in_evaluation(model: nn.Module):
    engine = EagerEngine(CARD, model.state_dict())
    images = pictures(5)
    with torch.no_grad():
        expected = model.eval()(Normalise(GEOMETRY.mean, GEOMETRY.std)(torch.from_numpy(images)))
    logits = engine.logits(images)
    assert (logits.shape, logits.dtype) == ((5, 3), np.float32)
    assert logits == pytest.approx(expected.numpy(), abs=1e-5)
    assert np.ptp(logits) > 1e-3
    assert engine.card is CARD


def test_dropout_is_off_and_a_picture_alone_gets_the_same_logits(model: nn.Module):
    engine = EagerEngine(CARD, model.state_dict())
    images = pictures(4)
    logits = engine.logits(images)
    assert (engine.logits(images) == logits).all()
    assert engine.logits(images[2:3]) == pytest.approx(logits[2:3], abs=1e-5)


def test_a_view_with_gaps_is_taken_too(model: nn.Module):
    engine = EagerEngine(CARD, model.state_dict())
    images = pictures(4)
    assert (engine.logits(images[:, :, ::-1]) == engine.logits(images[:, :, ::-1].copy())).all()
    assert engine.logits(images[::2]) == pytest.approx(engine.logits(images)[::2], abs=1e-5)


def test_a_written_and_read_model_gives_the_same_bits(model: nn.Module, tmp_path: Path):
    artifact.write(tmp_path / "best.safetensors", CARD, model.state_dict())
    engine = EagerEngine(*artifact.read(tmp_path / "best.safetensors"))
    assert (engine.logits(pictures(3)) == EagerEngine(CARD, model.state_dict()).logits(pictures(3))).all()


def test_the_cards_mean_and_std_matter(model: nn.Module):
    other = replace(CARD, geometry=replace(GEOMETRY, mean=(0.6, 0.5, 0.4)))
    images = pictures(2)
    tensors = model.state_dict()
    assert EagerEngine(other, tensors).logits(images) != pytest.approx(EagerEngine(CARD, tensors).logits(images))


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"classes": ("a", "b")}, "classifier.weight"),
        ({"model": "mobilenet_v3_large"}, "blocks"),
        ({"options": {"width": 1.0}}, "size mismatch"),
        ({"geometry": Geometry(16, 1)}, "stem.conv.weight"),
    ],
)
def test_weights_of_another_network_are_refused(model: nn.Module, change: dict[str, object], key: str):
    card = replace(CARD, **change)
    with pytest.raises(UserError, match=f"the weights do not fit {card.model}") as got:
        EagerEngine(card, model.state_dict())
    assert key in str(got.value) and "\t" not in str(got.value)


def test_a_missing_tensor_is_named(model: nn.Module):
    tensors = {name: tensor for name, tensor in model.state_dict().items() if name != "head.norm.running_var"}
    with pytest.raises(UserError, match=r"head\.norm\.running_var"):
        EagerEngine(CARD, tensors)


def test_a_network_or_option_that_this_version_does_not_have_is_named(model: nn.Module):
    with pytest.raises(UserError, match="no model called 'resnet19'"):
        EagerEngine(replace(CARD, model="resnet19"), model.state_dict())
    with pytest.raises(UserError, match="has no option 'depth'"):
        EagerEngine(replace(CARD, options={"depth": 2}), model.state_dict())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pretrained": "timm"}, "has no option 'pretrained'"),
        ({"pretrained": "/etc/passwd"}, "has no option 'pretrained'"),
        ({"num_classes": 3}, "has no option 'num_classes'"),
        ({"width": 1e9}, "width=1000000000.0 is not of type float, above zero and at most 100"),
        (["width", 1], "the options of mobilenet_v3_small_x0_75 are no table"),
    ],
)
def test_a_file_cannot_have_us_fetch_read_or_build_what_it_likes(options, message, model, monkeypatch):
    from depthwise.models.weights import pretrained

    monkeypatch.setattr(pretrained, "create_pretrained", lambda *_: pytest.fail("it was fetched or read"))
    with pytest.raises(UserError, match=message):
        EagerEngine(replace(CARD, options=options), model.state_dict())
