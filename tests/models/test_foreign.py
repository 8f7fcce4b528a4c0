"""Networks from elsewhere by name: factories of one's own, timm's where it is installed."""

import sys
import types

import pytest
import torch
from torch import nn

import depthwise as dw
from depthwise.errors import UserError
from depthwise.models.create import build_of, create_model
from depthwise.models.foreign import is_code
from depthwise.models.registry import model_info

SOURCE = """
from torch import nn

def tiny(*, num_classes, in_channels, width: int = 4, note=None):
    return nn.Sequential(nn.Conv2d(in_channels, width, 3, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
                         nn.Linear(width, num_classes))

tiny.image_size = 24
number = 3

def wrong(channels):
    return None
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    (tmp_path / "my_networks.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(tmp_path)
    yield "my_networks:tiny"
    sys.modules.pop("my_networks", None)


def test_a_factory_of_ones_own_is_a_network(own):
    model = create_model(own, num_classes=3, in_channels=1, width=6, note=[{}])
    assert model(torch.rand(2, 1, 20, 20)).shape == (2, 3)
    assert model[0].out_channels == 6
    assert build_of(model).options == {"width": 6, "note": [{}]}
    assert model_info(own).image_size == 24 and not model_info(own).takes_small_input


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("no_such_module:tiny", r"cannot be imported[\s\S]*PYTHONPATH"),
        ("my_networks:small", "has no 'small'"),
        ("my_networks:number", "is no function with parameters num_classes and in_channels"),
        ("my_networks:wrong", "is no function with parameters num_classes and in_channels"),
    ],
)
def test_what_is_no_factory_is_explained(own, name, message):
    with pytest.raises(UserError, match=message):
        create_model(name)


def test_options_of_a_factory_are_checked(own):
    with pytest.raises(UserError, match="has no option 'depth'; did you mean width"):
        create_model(own, depth=3)


def test_a_file_cannot_make_us_call_a_function(own, photos, tmp_path):
    out = tmp_path / "run"
    config = dw.TrainConfig(model=own, epochs=1, batch_size=8)
    dw.train(photos, out, config)
    with pytest.raises(UserError, match="If you trust it, say so: --factory my_networks:tiny"):
        dw.load(out)
    with pytest.raises(UserError, match="If you trust it"):
        dw.load(out, factory="os:system")
    assert len(dw.load(out, factory=own).classes) == 3
    with pytest.raises(UserError, match=r"run: its network is made by calling my_networks:tiny.*Export the teacher"):
        dw.train(photos, tmp_path / "student", dw.TrainConfig(model="lenet5", teacher=str(out), epochs=1))


def test_which_names_run_code():
    assert is_code("os:system") and is_code("timmy:x")
    assert not is_code("timm:resnet18") and not is_code("resnet18")


def test_timm_is_asked_for_where_it_is_not_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)  # as if it were not
    with pytest.raises(UserError, match="pip install timm"):
        create_model("timm:resnet18")


def test_a_network_of_timm(monkeypatch):
    made = []

    def make(name, *, pretrained, num_classes, in_chans):
        made.append((name, pretrained))
        return nn.Sequential(nn.Flatten(), nn.LazyLinear(num_classes))

    timm = types.ModuleType("timm")
    timm.__version__, timm.__spec__ = "1.0", types.SimpleNamespace()
    timm.list_models, timm.create_model = lambda: ["resnet18", "resnet34"], make
    timm.get_pretrained_cfg = lambda name, allow_unregistered: types.SimpleNamespace(input_size=(3, 160, 160))
    monkeypatch.setitem(sys.modules, "timm", timm)
    assert model_info("timm:resnet18").image_size == 160
    assert create_model("timm:resnet18", num_classes=4)(torch.rand(2, 3, 8, 8)).shape == (2, 4)
    assert made == [("resnet18", False)]
    for name in ("timm:resnet19", "timm:hf-hub:evil/model"):
        with pytest.raises(UserError, match="has no network called"):
            create_model(name)


RECURRENT = """
from torch import nn

class Reader(nn.Module):
    def __init__(self, num_classes, in_channels):
        super().__init__()
        self.lstm, self.head = nn.LSTM(in_channels * 8, 6, batch_first=True), nn.Linear(6, num_classes)

    def forward(self, images):
        rows = images[:, :, ::4].permute(0, 3, 1, 2).flatten(2)
        return self.head(self.lstm(rows)[0][:, -1])

def reader(*, num_classes, in_channels):
    return Reader(num_classes, in_channels)

def wrong(*, num_classes, in_channels):
    return nn.Sequential(nn.Flatten(), nn.Linear(7, num_classes))
"""


def test_layers_that_give_several_tensors_are_counted_by_the_first(tmp_path, monkeypatch):
    from depthwise.models.summary import summary

    (tmp_path / "their_networks.py").write_text(RECURRENT)
    monkeypatch.syspath_prepend(tmp_path)
    rows = summary(create_model("their_networks:reader", num_classes=3, in_channels=1), 32, 1)
    assert [row.type for row in rows] == ["LSTM", "Linear"] and rows[0].output_shape == (32, 6)
    with pytest.raises(RuntimeError, match=r"(reduction dim|shapes cannot be multiplied)"):
        summary(create_model("their_networks:wrong", num_classes=3, in_channels=1), 32, 1)
    sys.modules.pop("their_networks", None)


def test_a_module_s_name_that_begins_with_a_point_is_explained():
    with pytest.raises(UserError, match="cannot be imported"):
        create_model(".own:tiny")
