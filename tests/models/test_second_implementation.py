"""Outputs equal to a second implementation of each family, from the papers' tables, without the package's blocks.

Counts and shapes are blind to much: where activations and sums are, which channels meet, the order of concatenations,
constants, borders. `Reference` takes a network's tensors in their order and knows nothing of how it is put together.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from depthwise.models.create import create_model
from depthwise.models.registry import list_models, model_info

Function = Callable[[Tensor], Tensor]


def linear(x: Tensor) -> Tensor:
    return x


def relu(x: Tensor) -> Tensor:
    return x * (x > 0)


def relu6(x: Tensor) -> Tensor:
    return x.clamp(0, 6)


def swish(x: Tensor) -> Tensor:
    return x / (1 + (-x).exp())


def hard_swish(x: Tensor) -> Tensor:
    return x * (x + 3).clamp(0, 6) / 6


def sigmoid(x: Tensor) -> Tensor:
    return 1 / (1 + (-x).exp())


def hard_sigmoid(x: Tensor) -> Tensor:
    return (x + 3).clamp(0, 6) / 6


class Reference:
    """Takes a network's tensors one by one."""

    def __init__(self, model: nn.Module, eps: float) -> None:
        self.rest, self.eps = iter(model.state_dict().values()), eps

    def take(self) -> Tensor:
        return next(self.rest)

    def norm(self) -> Function:
        gamma, beta, mean, var, _ = (self.take() for _ in range(5))
        column = (1, -1, 1, 1)

        def apply(x: Tensor) -> Tensor:
            x = (x - mean.view(column)) / (var.view(column) + self.eps).sqrt()
            return x * gamma.view(column) + beta.view(column)

        return apply

    def bare(self, x: Tensor, stride: int = 1) -> Tensor:
        """Convolution alone."""
        return convolve(x, self.take(), None, stride, None)

    def conv(self, x: Tensor, stride: int = 1, act: Function = linear) -> Tensor:
        """Convolution, batch norm, activation."""
        y = self.bare(x, stride)
        return act(self.norm()(y))

    def biased(self, x: Tensor, stride: int = 1, act: Function = relu, margin: int | None = None) -> Tensor:
        """Convolution with bias, activation."""
        return act(convolve(x, self.take(), self.take(), stride, margin))

    def dense(self, x: Tensor, act: Function = linear) -> Tensor:
        weight, bias = self.take(), self.take()
        return act(x.flatten(1) @ weight.flatten(1).T + bias)

    def squeeze_excite(self, x: Tensor, gate: Function, act: Function = relu) -> Tensor:
        return x * self.dense(self.dense(x.mean((2, 3)), act), gate)[:, :, None, None]


def convolve(x: Tensor, weight: Tensor, bias: Tensor | None, stride: int, margin: int | None) -> Tensor:
    """As many groups as the weight's shape says; 'same' for odd kernels unless a margin is given."""
    margin = weight.shape[-1] // 2 if margin is None else margin
    return functional.conv2d(x, weight, bias, stride, margin, 1, x.shape[1] // weight.shape[1])


def windows(x: Tensor, size: int, stride: int, margin: int, fill: float, is_up: bool) -> Tensor:
    """Return (B, C, H', W', size * size): what each place of a pooling sees, `fill` beyond the border.

    `is_up`: sides are rounded up, but no window begins beyond the picture and its left margin (Caffe).
    """
    x = functional.pad(x, 4 * (margin,), value=fill)
    sides = x.shape[2:]
    places = [(side - size + is_up * (stride - 1)) // stride + 1 for side in sides]
    places = [n - ((n - 1) * stride >= side - margin) for n, side in zip(places, sides, strict=True)]
    beyond = [max(0, (n - 1) * stride + size - side) for n, side in zip(places, sides, strict=True)]
    x = functional.pad(x, (0, beyond[1], 0, beyond[0]), value=fill)
    x = x.unfold(2, size, stride).unfold(3, size, stride)[:, :, : places[0], : places[1]]
    return x.flatten(4)


def max_pool(x: Tensor, size: int = 3, stride: int = 2, margin: int = 0, *, is_up: bool = False) -> Tensor:
    return windows(x, size, stride, margin, -torch.inf, is_up).amax(4)


def mean(x: Tensor) -> Tensor:
    return x.mean((2, 3))


def response_norm(x: Tensor, n: int, k: float, alpha: float, beta: float) -> Tensor:
    """AlexNet, section 3.3: the sum is over n neighbouring channels."""
    out = torch.empty_like(x)
    for i in range(x.shape[1]):
        around = x[:, max(0, i - n // 2) : i + n // 2 + 1]
        out[:, i] = x[:, i] / (k + alpha * around.square().sum(1)) ** beta
    return out


def shuffle(x: Tensor, groups: int) -> Tensor:
    """The first channel of each group, then the second of each."""
    per_group = x.shape[1] // groups
    return x[:, [group * per_group + place for place in range(per_group) for group in range(groups)]]


# Networks


def lenet5(ref: Reference, x: Tensor) -> Tensor:
    def act(x: Tensor) -> Tensor:
        return 1.7159 * torch.tanh(x * 2 / 3)

    for _ in range(2):
        x = ref.biased(x, act=act, margin=0)
        x = (x[:, :, ::2, ::2] + x[:, :, 1::2, ::2] + x[:, :, ::2, 1::2] + x[:, :, 1::2, 1::2]) / 4
    return ref.dense(ref.dense(ref.dense(x, act), act))


def alexnet(ref: Reference, x: Tensor) -> Tensor:
    lrn = partial(response_norm, n=5, k=2, alpha=1e-4, beta=0.75)
    x = max_pool(lrn(ref.biased(x, 4, margin=0)))
    x = max_pool(lrn(ref.biased(x)))
    x = max_pool(ref.biased(ref.biased(ref.biased(x))))
    return ref.dense(ref.dense(ref.dense(x, relu), relu))


def alexnet_owt(ref: Reference, x: Tensor) -> Tensor:
    x = max_pool(ref.biased(x, 4, margin=2))
    x = max_pool(ref.biased(x))
    x = max_pool(ref.biased(ref.biased(ref.biased(x))))
    return ref.dense(ref.dense(ref.dense(x, relu), relu))


def nin(ref: Reference, x: Tensor) -> Tensor:
    for stride, margin in ((4, 0), (1, 2), (1, 1)):
        x = max_pool(ref.biased(ref.biased(ref.biased(x, stride, margin=margin))), is_up=True)
    return mean(ref.biased(ref.biased(ref.biased(x))))


def nin_cifar(ref: Reference, x: Tensor) -> Tensor:
    x = max_pool(ref.biased(ref.biased(ref.biased(x))), is_up=True)
    x = ref.biased(ref.biased(ref.biased(x)))
    x = windows(x, 3, 2, 0, torch.nan, is_up=True).nanmean(4)
    return mean(ref.biased(ref.biased(ref.biased(x))))


def vgg(stages: Sequence[int], is_normed: bool, num_dense: int, ref: Reference, x: Tensor) -> Tensor:
    for num_layers in stages:
        for _ in range(num_layers):
            x = ref.biased(x, act=linear)
            x = relu(ref.norm()(x) if is_normed else x)
        x = max_pool(x, 2)
    for _ in range(num_dense - 1):
        x = ref.dense(x, relu)
    return ref.dense(x)


def googlenet(kind: str, ref: Reference, x: Tensor) -> Tensor:
    layer = ref.biased if kind == "paper" else partial(ref.conv, act=relu)
    lrn = partial(response_norm, n=5, k=1, alpha=1e-4 / 5, beta=0.75) if kind == "paper" else linear
    x = lrn(max_pool(layer(x, 2), is_up=True))
    x = max_pool(lrn(layer(layer(x))), is_up=True)
    for module in range(9):
        one, three, five = layer(x), layer(layer(x)), layer(layer(x))
        x = torch.cat([one, three, five, layer(max_pool(x, 3, 1, 1))], 1)
        if module in (1, 6):
            x = max_pool(x, 2 if kind == "torchvision" and module == 6 else 3, is_up=True)
    return ref.dense(mean(x))


class Around(NamedTuple):
    """A residual network: blocks per stage, strides of a block's convolutions where it halves the size."""

    depths: Sequence[int]
    strides: Sequence[int]
    shortcut: str = "B"
    is_squeezed: bool = False

    def __call__(self, ref: Reference, x: Tensor) -> Tensor:
        for stage, depth in enumerate(self.depths):
            for index in range(depth):
                is_halved, y = stage > 0 and index == 0, x
                for number, stride in enumerate(self.strides):
                    y = ref.conv(y, stride if is_halved else 1, relu if number < len(self.strides) - 1 else linear)
                if self.is_squeezed:
                    y = ref.squeeze_excite(y, sigmoid)
                if is_halved or x.shape[1] != y.shape[1]:
                    x = self.changed(ref, x, y.shape[1], 2 if is_halved else 1)
                x = relu(x + y)
        return ref.dense(mean(x))

    def changed(self, ref: Reference, x: Tensor, num_channels: int, stride: int) -> Tensor:
        if self.shortcut == "B":
            return ref.conv(x, stride)
        x = x[:, :, ::stride, ::stride]
        zeros = torch.zeros(len(x), num_channels - x.shape[1], *x.shape[2:], dtype=x.dtype)
        return torch.cat([x, zeros], 1)


def resnet(around: Around, ref: Reference, x: Tensor) -> Tensor:
    return around(ref, max_pool(ref.conv(x, 2, relu), margin=1))


def resnet_cifar(around: Around, ref: Reference, x: Tensor) -> Tensor:
    return around(ref, ref.conv(x, 1, relu))


def senet(around: Around, ref: Reference, x: Tensor) -> Tensor:
    return around(ref, max_pool(ref.conv(x, 2, relu), is_up=True))


def senet154(around: Around, ref: Reference, x: Tensor) -> Tensor:
    x = ref.conv(ref.conv(ref.conv(x, 2, relu), 1, relu), 1, relu)
    return around(ref, max_pool(x, is_up=True))


def seresnet18_preact(ref: Reference, x: Tensor) -> Tensor:
    x = max_pool(ref.conv(x, 2, relu), is_up=True)
    for block in range(8):
        is_halved = block in (2, 4, 6)
        first, second = ref.norm(), ref.norm()
        h = relu(first(x))
        y = ref.bare(relu(second(ref.bare(h, 2 if is_halved else 1))))
        x = ref.bare(h, 2) if is_halved else x
        x = x + ref.squeeze_excite(y, sigmoid)
    return ref.dense(mean(relu(ref.norm()(x))))


def densenet(depths: Sequence[int], is_bottleneck: bool, is_large: bool, ref: Reference, x: Tensor) -> Tensor:
    def layer(x: Tensor) -> Tensor:
        return ref.bare(relu(ref.norm()(x)))

    x = max_pool(ref.conv(x, 2, relu), margin=1) if is_large else ref.bare(x)
    for block, depth in enumerate(depths):
        x = windows(layer(x), 2, 2, 0, 0.0, is_up=False).mean(4) if block else x
        for _ in range(depth):
            x = torch.cat([x, layer(layer(x)) if is_bottleneck else layer(x)], 1)
    return ref.dense(mean(relu(ref.norm()(x))))


def shufflenet_v1(groups: int, ref: Reference, x: Tensor) -> Tensor:
    x = max_pool(ref.conv(x, 2, relu), margin=1)
    for unit in range(16):
        is_halved = unit in (0, 4, 12)
        y = ref.conv(x, 1, relu)
        y = shuffle(y, groups) if unit else y  # the first 1x1 convolution is not grouped
        y = ref.conv(ref.conv(y, 2 if is_halved else 1))
        pooled = windows(x, 3, 2, 1, 0.0, is_up=False).mean(4) if is_halved else x
        x = relu(torch.cat([pooled, y], 1) if is_halved else x + y)
    return ref.dense(mean(x))


def shufflenet_v2(ref: Reference, x: Tensor) -> Tensor:
    x = max_pool(ref.conv(x, 2, relu), margin=1)
    for unit in range(16):
        is_halved = unit in (0, 4, 12)
        left, right = (x, x) if is_halved else (x[:, : x.shape[1] // 2], x[:, x.shape[1] // 2 :])
        left = ref.conv(ref.conv(left, 2), 1, relu) if is_halved else left
        right = ref.conv(ref.conv(right, 1, relu), 2 if is_halved else 1)
        x = shuffle(torch.cat([left, ref.conv(right, 1, relu)], 1), 2)
    return ref.dense(mean(ref.conv(x, 1, relu)))


def mobilenet_v1(ref: Reference, x: Tensor) -> Tensor:
    x = ref.conv(x, 2, relu)
    for stride in (1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1):
        x = ref.conv(ref.conv(x, stride, relu), 1, relu)
    return ref.dense(mean(x))


def inverted(ref: Reference, x: Tensor, expansion: int, stride: int, act: Function, squeeze: Function) -> Tensor:
    """MobileNetV2's block: the sum where shapes agree."""
    y = ref.conv(x, 1, act) if expansion > 1 else x
    y = ref.conv(squeeze(ref.conv(y, stride, act)))
    return x + y if x.shape == y.shape and stride == 1 else y


def mobilenet_v2(ref: Reference, x: Tensor) -> Tensor:
    x = ref.conv(x, 2, relu6)
    for index, stride in enumerate((1, 2, 1, 2, 1, 1, 2, 1, 1, 1, 1, 1, 1, 2, 1, 1, 1)):
        x = inverted(ref, x, 6 if index else 1, stride, relu6, linear)
    return ref.dense(mean(ref.conv(x, 1, relu6)))


def mobilenet_v3(strides: Sequence[int], num_relu: int, squeezed: Sequence[int], ref: Reference, x: Tensor) -> Tensor:
    x = ref.conv(x, 2, hard_swish)
    for index, stride in enumerate(strides):
        act = relu if index < num_relu else hard_swish
        squeeze = partial(ref.squeeze_excite, gate=hard_sigmoid) if index in squeezed else linear
        x = inverted(ref, x, 6 if index else 1, stride, act, squeeze)
    return ref.dense(ref.dense(mean(ref.conv(x, 1, hard_swish)), hard_swish))


def efficientnet(is_lite: bool, ref: Reference, x: Tensor) -> Tensor:
    act = relu6 if is_lite else swish
    squeeze = linear if is_lite else partial(ref.squeeze_excite, gate=sigmoid, act=swish)
    x = ref.conv(x, 2, act)
    for index, stride in enumerate((1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1, 1, 1, 1)):
        x = inverted(ref, x, 6 if index else 1, stride, act, squeeze)
    return ref.dense(mean(ref.conv(x, 1, act)))


BASIC, FIRST, MIDDLE = (2, 1), (2, 1, 1), (1, 2, 1)  # where the stride is in a block
LARGE, SMALL = (1, 2, 1, 2, 1, 1, 2, 1, 1, 1, 1, 1, 2, 1, 1), (2, 2, 1, 2, 1, 1, 1, 1, 2, 1, 1)


class Case(NamedTuple):
    name: str
    image_size: int
    reference: Callable[[Reference, Tensor], Tensor]
    eps: float = 1e-5
    small_input: bool = False


CASES = [
    Case("lenet5", 32, lenet5),
    Case("alexnet", 227, alexnet),
    Case("alexnet_owt", 224, alexnet_owt),
    Case("nin", 107, nin),
    Case("nin_cifar", 32, nin_cifar),
    Case("vgg11", 224, partial(vgg, (1, 1, 2, 2, 2), False, 3)),
    Case("vgg16_bn", 32, partial(vgg, (2, 2, 3, 3, 3), True, 1), small_input=True),
    Case("googlenet", 75, partial(googlenet, "paper")),
    Case("googlenet_bn", 75, partial(googlenet, "bn"), 1e-3),
    Case("googlenet_torchvision", 75, partial(googlenet, "torchvision"), 1e-3),
    Case("resnet18", 75, partial(resnet, Around((2, 2, 2, 2), BASIC))),
    Case("resnet50", 75, partial(resnet, Around((3, 4, 6, 3), FIRST))),
    Case("resnet50_v1_5", 75, partial(resnet, Around((3, 4, 6, 3), MIDDLE))),
    Case("resnet20_cifar", 32, partial(resnet_cifar, Around((3, 3, 3), BASIC, "A"))),
    Case("densenet121", 75, partial(densenet, (6, 12, 24, 16), True, True)),
    Case("densenet40_k12_cifar", 32, partial(densenet, (12, 12, 12), False, False)),
    Case("densenet_bc100_k12_cifar", 32, partial(densenet, (16, 16, 16), True, False)),
    Case("seresnet18", 75, partial(senet, Around((2, 2, 2, 2), BASIC, is_squeezed=True))),
    Case("seresnet18_preact", 75, seresnet18_preact),
    Case("seresnet50", 75, partial(senet, Around((3, 4, 6, 3), FIRST, is_squeezed=True))),
    Case("seresnext50_32x4d", 75, partial(senet, Around((3, 4, 6, 3), MIDDLE, is_squeezed=True))),
    Case("senet154", 75, partial(senet154, Around((3, 8, 36, 3), MIDDLE, is_squeezed=True))),
    Case("shufflenet_v1_g3_x1_0", 75, partial(shufflenet_v1, 3)),
    Case("shufflenet_v1_g8_x0_5", 75, partial(shufflenet_v1, 8)),
    Case("shufflenet_v2_x1_0", 75, shufflenet_v2),
    Case("mobilenet_v1_x1_0", 75, mobilenet_v1, 1e-3),
    Case("mobilenet_v2_x1_0", 75, mobilenet_v2, 1e-3),
    Case("mobilenet_v3_large", 75, partial(mobilenet_v3, LARGE, 6, (3, 4, 5, 10, 11, 12, 13, 14)), 1e-3),
    Case("mobilenet_v3_small", 75, partial(mobilenet_v3, SMALL, 3, (0, *range(3, 11))), 1e-3),
    Case("efficientnet_b0", 75, partial(efficientnet, False), 1e-3),
    Case("efficientnet_lite0", 75, partial(efficientnet, True), 1e-3),
]


def test_every_family_has_a_second_implementation():
    assert {model_info(case.name).family for case in CASES} == {model_info(name).family for name in list_models()}


def shake(model: nn.Module, images: Tensor) -> nn.Module:
    """Give norms and biases values at which every activation, gate and sum shows in the logits: about 1 in size."""
    for module in model.eval().modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.7, 1.5)
            nn.init.uniform_(module.bias, -0.5, 1)
            module.momentum = 1.0
            module.train()
        elif isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_uniform_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                nn.init.uniform_(module.bias, -0.3, 0.5)
    model(images + torch.randn_like(images))  # running statistics like the pictures', but not theirs
    return model.eval()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
@torch.no_grad()
def test_outputs_equal_a_second_implementation(case: Case):
    torch.manual_seed(1)
    channels = model_info(case.name).in_channels
    images = torch.randn(2, channels, case.image_size, case.image_size, dtype=torch.float64)
    model = shake(create_model(case.name, 5, small_input=case.small_input).double(), images)
    logits, ref = model(images), Reference(model, case.eps)
    assert (logits[0] - logits[1]).abs().max() > 1e-3 * logits.abs().max()  # the pictures matter
    torch.testing.assert_close(case.reference(ref, images), logits, rtol=1e-9, atol=1e-9 * logits.abs().max().item())
    assert next(ref.rest, None) is None  # every tensor was used
