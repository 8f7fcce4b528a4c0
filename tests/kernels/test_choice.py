"""Which way for which place: measured once, kept, and understood by fuse."""

import json

import pytest
import torch

from depthwise import files
from depthwise.kernels import choice
from depthwise.kernels.choice import choose, compare
from depthwise.kernels.swap import fuse
from depthwise.models.create import create_model


@pytest.fixture
def model(tmp_path, monkeypatch):
    monkeypatch.setenv("DEPTHWISE_CACHE", str(tmp_path))
    monkeypatch.setattr(choice, "BUDGET_S", float("inf"))
    torch.manual_seed(0)
    return create_model("mobilenet_v2_x0_35", num_classes=5, small_input=True)


def test_each_place_has_its_way_and_the_network_is_as_before(model):
    before = {name: value.clone() for name, value in model.state_dict().items()}
    classes = [type(module) for module in model.modules()]
    images, random = torch.randn(2, 3, 32, 32), torch.get_rng_state()
    chosen = choose(model, images, precision="fp32")
    assert set(chosen.values()) <= {"fused", "torch"} and len(chosen) > 20
    assert any(key.startswith("block 3x3/2") for key in chosen) and any(key.startswith("depthwise") for key in chosen)
    assert json.loads(json.dumps(chosen)) == chosen
    assert torch.equal(torch.get_rng_state(), random)
    assert [type(module) for module in model.modules()] == classes
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    fuse(model, chosen)(torch.randn(2, 3, 32, 32))


def test_what_was_measured_is_not_measured_again(model, monkeypatch):
    images = torch.randn(2, 3, 32, 32)
    first = choose(model, images, precision="fp32")

    def measure(*_):
        raise AssertionError("measured again")

    monkeypatch.setattr(choice, "_measure", measure)
    assert choose(model, images, precision="fp32") == first
    with pytest.raises(AssertionError, match="measured again"):  # bfloat16 is another place
        choose(model, images, precision="bf16")
    monkeypatch.setattr(choice, "version", lambda name: "9.9")
    with pytest.raises(AssertionError, match="measured again"):
        choose(model, images, precision="fp32")


def test_other_code_of_the_kernels_is_measured_anew(model, monkeypatch):
    images = torch.randn(2, 3, 32, 32)
    choose(model, images, precision="fp32")
    monkeypatch.setattr(choice, "_measure", lambda *_: pytest.fail("measured again"))
    choose(model, images, precision="fp32")
    monkeypatch.setattr(choice, "_sources", lambda: "0123abcd")
    with pytest.raises(pytest.fail.Exception, match="measured again"):
        choose(model, images, precision="fp32")


def test_the_best_time_of_each_way_counts(model, monkeypatch):
    times = iter([9.0, 9.0, 2.0, 1.0, 1.0, 2.0])  # the first turn warms up
    monkeypatch.setattr(choice, "_time", lambda block, x: next(times))
    fused = fuse(model)
    place = choice.Place(fused.stem, torch.Size((2, 3, 32, 32)), torch.float32)
    assert choice._measure("stem", place, {}) == {"torch": 1.0, "fused": 1.0}


@pytest.mark.parametrize(("fused_s", "way"), [(0.5, "fused"), (1.1, "fused"), (1.2, "torch")])
def test_the_faster_way_is_taken(fused_s, way, model, monkeypatch):
    monkeypatch.setattr(choice, "_measure", lambda *_: {"torch": 1e-6, "fused": fused_s * 1e-6})
    images = torch.randn(2, 3, 32, 32)
    assert set(choose(model, images, precision="fp32").values()) == {way}
    assert set(compare(model, images, precision="fp32")) == set(choose(model, images, precision="fp32"))


def test_time_is_bounded(model, monkeypatch):
    monkeypatch.setattr(choice, "BUDGET_S", -1.0)
    assert set(choose(model, torch.randn(2, 3, 32, 32), precision="fp32").values()) == {"fused"}


def test_a_broken_cache_is_measured_anew(model):
    path = files.cache_folder() / "kernels.json"
    path.write_text("{")
    assert choose(model, torch.randn(2, 3, 32, 32), precision="fp32")
    assert len(json.loads(path.read_text())) == 1


def test_two_processes_add_to_what_the_other_measured_and_one_that_cannot_goes_on(model, monkeypatch):
    images, kept = torch.randn(2, 3, 32, 32), files.cache_folder() / "kernels.json"

    def measure(key, *_):
        files.keep(kept, {choice._machine(): choice._read() | {"another's": "torch"}})
        return {"torch": 2.0, "fused": 1.0}

    monkeypatch.setattr(choice, "_measure", measure)
    chosen = choose(model, images, precision="fp32")
    (ways,) = json.loads(kept.read_text()).values()
    assert ways == chosen | {"another's": "torch"}
    monkeypatch.setattr(choice, "_measure", lambda *_: {"torch": 2.0, "fused": 1.0})
    monkeypatch.setenv("DEPTHWISE_CACHE", str(kept / "no folder"))
    assert choose(model, images, precision="fp32") == chosen
