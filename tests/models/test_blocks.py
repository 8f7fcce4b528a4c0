import pytest
import torch
from torch import nn

from depthwise.models import blocks
from depthwise.models.blocks import ConvNormAct, GlobalAveragePool, SqueezeExcite, activation, make_divisible
from depthwise.models.lenet5 import ScaledTanh


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (32, 32),
        (1, 8),  # at least the divisor
        (11, 16),  # 8 would be below 90 % of 11
        (11.2, 16),
        (8.8, 8),  # 8 is 90.9 %
        (8.9, 16),  # 8 is 89.9 %
        (12, 16),  # halves go up
        (19.9, 24),  # 16 would be 80 %
        (33.6, 32),  # 95 %
        (41.6, 40),  # 32 * 1.3
        (1792, 1792),  # 1280 * 1.4
    ],
)
def test_make_divisible_by_eight(value: float, expected: int):
    assert make_divisible(value) == expected


@pytest.mark.parametrize(
    ("value", "divisor", "expected"), [(5, 4, 8), (6, 4, 8), (9, 4, 12), (33.6, 1, 34), (0.2, 1, 1)]
)
def test_make_divisible_by_other_numbers(value: float, divisor: int, expected: int):
    assert make_divisible(value, divisor) == expected


def test_a_conv_block_gives_the_numbers_worked_out_on_paper():
    block = ConvNormAct(1, 1, 3, norm=blocks.batch_norm(0.0, 0.1), act=activation("relu6")).eval()
    with torch.no_grad():
        block.conv.weight.copy_(torch.tensor([[[[0.0, 1, 0], [1, 2, 1], [0, 1, 0]]]]))
        block.norm.running_mean.fill_(10)
        block.norm.running_var.fill_(4)
        block.norm.weight.fill_(2)
        block.norm.bias.fill_(1)
    x = torch.tensor([[[[1.0, 2, 3], [4, 5, 6], [7, 8, 9]]]])
    # With a border of zeros the cross sums are 8 13 14 / 21 30 27 / 26 33 32. The norm makes them
    # (sum - 10) / 2 * 2 + 1, and the activation cuts that to 0...6.
    expected = torch.tensor([[[[0.0, 4, 5], [6, 6, 6], [6, 6, 6]]]])
    assert torch.equal(block(x), expected)


def test_a_conv_block_with_stride_two_starts_at_the_corner():
    block = ConvNormAct(1, 1, 3, stride=2, norm=lambda _: nn.Identity(), act=None)
    nn.init.ones_(block.conv.weight)
    x = torch.arange(16.0).view(1, 1, 4, 4)
    assert torch.equal(block(x), torch.tensor([[[[10.0, 24.0], [51.0, 90.0]]]]))


def test_a_conv_block_without_activation_ends_in_its_norm():
    block = ConvNormAct(4, 6, 5, groups=2, norm=blocks.batch_norm(1e-3, 0.01), act=None)
    assert [type(layer) for layer in block] == [blocks.SameConv2d, nn.BatchNorm2d]
    assert (block.conv.padding, block.conv.groups, block.conv.bias) == ((2, 2), 2, None)
    assert (block.norm.eps, block.norm.momentum) == (1e-3, 0.01)


def test_squeeze_and_excite_gives_the_numbers_worked_out_on_paper():
    se = SqueezeExcite(2, 1, nn.Hardsigmoid)
    with torch.no_grad():
        se.reduce.weight.copy_(torch.tensor([1.0, -0.5]).view(1, 2, 1, 1))
        se.reduce.bias.fill_(1)
        se.expand.weight.copy_(torch.tensor([1.0, 2.0]).view(2, 1, 1, 1))
        se.expand.bias.copy_(torch.tensor([-3.0, -1.0]))
    x = torch.tensor([[[[1.0, 3.0]], [[0.0, 4.0]]], [[[1.0, -9.0]], [[2.0, 2.0]]]])
    # Picture 0: means 2 and 2, relu(2 - 1 + 1) = 2; gates (2 - 3 + 3) / 6 = 1/3 and (4 - 1 + 3) / 6 = 1.
    # Picture 1: means -4 and 2, relu(-4 - 1 + 1) = 0; gates (-3 + 3) / 6 = 0 and (-1 + 3) / 6 = 1/3.
    expected = torch.tensor([[[[1 / 3, 1.0]], [[0.0, 4.0]]], [[[0.0, 0.0]], [[2 / 3, 2 / 3]]]])
    torch.testing.assert_close(se(x), expected)


def test_global_average_pooling_is_the_mean_over_positions():
    x = torch.tensor([[[[1.0, 2], [3, 6]], [[0, 0], [0, 2]]]])
    assert torch.equal(GlobalAveragePool()(x), torch.tensor([[3.0, 0.5]]))


def test_activations_by_name():
    x = torch.tensor([-4.0, -1.0, 0.0, 1.0, 3.0, 7.0])
    assert activation("relu")()(x.clone()).tolist() == [0, 0, 0, 1, 3, 7]
    assert activation("relu6")()(x.clone()).tolist() == [0, 0, 0, 1, 3, 6]
    torch.testing.assert_close(activation("hard_swish")()(x.clone()), torch.tensor([0, -1 / 3, 0, 2 / 3, 3, 7]))
    with pytest.raises(ValueError, match="activation='gelu' is not one of relu, relu6, hard_swish"):
        activation("gelu")


def test_scaled_tanh_is_one_at_one():
    y = ScaledTanh()(torch.tensor([-1.0, 0.0, 1.0, 100.0]))
    torch.testing.assert_close(y, torch.tensor([-1.0, 0.0, 1.0, 1.7159]), atol=1e-4, rtol=0)


def test_fresh_weights_have_the_spread_of_the_docstring():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(64, 128, 3), nn.Linear(300, 400))
    blocks.initialise(model)
    assert model[0].weight.std().item() == pytest.approx((2 / (128 * 9)) ** 0.5, rel=0.02)
    assert model[1].weight.std().item() == pytest.approx(0.01, rel=0.02)
    assert not model[0].bias.any() and not model[1].bias.any()
