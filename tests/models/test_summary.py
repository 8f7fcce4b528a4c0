import torch
from torch import nn

from depthwise.models.create import create_model
from depthwise.models.summary import LayerRow, summary


def test_a_standard_convolution_costs_what_the_source_article_says():
    rows = summary(nn.Sequential(nn.Conv2d(16, 32, 3, padding=1, bias=False)), 56)
    assert rows == [LayerRow("0", "Conv2d", (32, 56, 56), 4_608, 14_450_688)]


def test_a_depthwise_separable_convolution_costs_a_seventh():
    pair = nn.Sequential(nn.Conv2d(16, 16, 3, padding=1, groups=16, bias=False), nn.Conv2d(16, 32, 1, bias=False))
    rows = summary(pair, 56)
    assert [row.macs for row in rows] == [451_584, 1_605_632]
    assert sum(row.macs for row in rows) == 2_057_216
    assert [row.params for row in rows] == [144, 512]


def test_rows_come_in_the_order_of_computation_with_shapes_of_one_picture():
    class Backwards(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.last = nn.Linear(4, 2)
            self.flat = nn.Flatten()
            self.skip = nn.Identity()
            self.first = nn.Conv2d(2, 4, 3, stride=3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.last(self.skip(self.flat(self.first(x))))

    assert summary(Backwards(), 3) == [
        LayerRow("first", "Conv2d", (4, 1, 1), 76, 72),
        LayerRow("flat", "Flatten", (4,), 0, 0),
        LayerRow("last", "Linear", (2,), 10, 8),
    ]


def test_frozen_parameters_are_not_counted_and_biases_cost_no_multiplication():
    model = nn.Sequential(nn.Conv2d(1, 1, 1), nn.BatchNorm2d(1))
    model[0].weight.requires_grad_(False)
    assert [(row.params, row.macs) for row in summary(model, 4)] == [(1, 16), (2, 0)]


def test_channels_are_read_from_the_first_convolution_unless_given():
    assert summary(nn.Conv2d(5, 1, 1), 2)[0].macs == 20
    assert summary(nn.Sequential(nn.Flatten(), nn.Linear(8, 1)), 2, in_channels=2)[1].macs == 8


def test_the_model_itself_is_neither_run_nor_changed():
    model = create_model("mobilenet_v2_x0_35", 2).train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    summary(model, 32)
    summary(model, 32)
    assert model.training and next(model.parameters()).device.type == "cpu"
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert not any(module._forward_hooks for module in model.modules())
