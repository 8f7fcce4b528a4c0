"""Kernels go into a network and out of it, and nobody can tell but by the clock."""

import copy
import os
import subprocess
import sys

import pytest
import torch
from torch import nn
from torch.nn import functional

from depthwise.kernels.modules import Fused
from depthwise.kernels.swap import fuse, unfuse
from depthwise.models.create import create_model
from depthwise.models.registry import list_models, model_info
from depthwise.training.stages import start_learning

FAMILIES = sorted({model_info(name).family: name for name in list_models()}.values())
TRAINED = ["mobilenet_v1_x0_25", "mobilenet_v2_x0_35", "mobilenet_v3_small", "efficientnet_b0", "shufflenet_v2_x0_5"]
TRAINED += ["resnet20_cifar", "seresnet18", "densenet_bc100_k12_cifar"]


def small(name):
    torch.manual_seed(0)
    model = create_model(name, num_classes=5, small_input=True)
    for layer in model.modules():  # what is drawn at random would differ in float64
        if hasattr(layer, "rate"):
            layer.rate = 0.0
        if isinstance(layer, nn.Dropout):
            layer.p = 0.0
    return model.train()


def num_fused(model):
    return sum(isinstance(module, Fused) for module in model.modules())


@pytest.mark.parametrize("name", FAMILIES)
def test_names_and_parameters_stay(name):
    with torch.device("meta"):
        model = create_model(name)
    classes = [type(module) for module in model.modules()]
    state, parameters = model.state_dict(), list(model.parameters())
    assert fuse(model) is model
    assert list(model.state_dict()) == list(state)
    assert all(a is b for a, b in zip(model.parameters(), parameters, strict=True))
    has_norms = any(isinstance(module, nn.BatchNorm2d) for module in model.modules())
    assert (num_fused(model) > 0) == has_norms
    assert [type(module) for module in unfuse(model).modules()] == classes


@pytest.mark.parametrize("name", TRAINED)
def test_a_step_is_the_same(name):
    """Loss, gradients and running statistics against float64, where rounding flips no ReLU."""
    plain = small(name)
    fused, exact = fuse(copy.deepcopy(plain)), copy.deepcopy(plain).double()
    x, labels = torch.randn(4, 3, 32, 32), torch.tensor([0, 1, 2, 3])
    found = []
    for model in (plain, fused, exact):
        loss = functional.cross_entropy(model(x.to(next(model.parameters()).dtype)), labels)
        loss.backward()
        gradient = torch.cat([p.grad.double().flatten() for p in model.parameters()])
        found.append((loss.item(), gradient, torch.cat([b.double().flatten() for b in model.buffers()])))
    (_, eager, _), (loss, gradient, buffers), (true_loss, true_gradient, true_buffers) = found
    assert loss == pytest.approx(true_loss, rel=1e-4)
    torch.testing.assert_close(buffers, true_buffers, rtol=1e-4, atol=1e-4)
    error, plain_error = ((g - true_gradient).norm() / true_gradient.norm() for g in (gradient, eager))
    assert error < max(2e-2, 2 * plain_error)


def test_evaluation_is_the_plain_networks_to_the_bit():
    model = small("mobilenet_v3_small")
    x = torch.randn(2, 3, 32, 32)
    expected = model.eval()(x)
    assert torch.equal(fuse(model)(x), expected)
    exported = torch.export.export(model, (x,))
    assert torch.equal(exported.module()(x), expected)


def test_a_copy_is_its_own_network():
    model = fuse(small("mobilenet_v2_x0_35"))
    twin = copy.deepcopy(model)
    twin(torch.randn(2, 3, 32, 32)).sum().backward()
    assert num_fused(twin) == num_fused(model) > 0
    assert all(parameter.grad is None for parameter in model.parameters())
    assert all(module.num_batches_tracked == 0 for module in model.modules() if isinstance(module, nn.BatchNorm2d))


def test_places_left_to_pytorch_are_computed_by_it():
    model = small("mobilenet_v2_x0_35")
    plain, x = copy.deepcopy(model), torch.randn(2, 3, 32, 32)
    keys = {m.place(x) for m in fuse(model).modules() if isinstance(m, Fused)}
    assert all(isinstance(key, str) for key in keys)
    seen = []
    for module in model.modules():
        module.register_forward_pre_hook(
            lambda m, args: seen.append(m.place(args[0])) if isinstance(m, Fused) else None
        )
    while True:
        before = len(set(seen))
        model(x)
        fuse(model, dict.fromkeys(seen, "torch"))
        if len(set(seen)) == before:
            break
    unused = copy.deepcopy(plain)
    fuse(unused, dict.fromkeys(seen, "torch"))
    torch.testing.assert_close(unused(x), plain(x), rtol=0, atol=0)


def test_only_norms_in_training_measure():
    """Recalibration: the network in evaluation mode, its norms in training mode, no gradients."""
    plain = small("mobilenet_v2_x0_35")
    fused = fuse(copy.deepcopy(plain))
    x = torch.randn(4, 3, 32, 32)
    for model in (plain, fused):
        model.eval()
        for norm in model.modules():
            if isinstance(norm, nn.BatchNorm2d):
                norm.train()
        with torch.no_grad():
            model(x)
    for found, expected in zip(fused.buffers(), plain.buffers(), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["mobilenet_v2_x0_35", "mobilenet_v3_small", "resnet18"])
def test_norms_that_keep_their_statistics_learn_as_pytorch_lets_them(name):
    plain = small(name)
    plain(torch.randn(4, 3, 32, 32))  # statistics that are not those of the next pictures
    fused, x, found = fuse(copy.deepcopy(plain)), torch.randn(4, 3, 32, 32), []
    for model in (plain.double(), fused):
        start_learning(model, keep_statistics=True)
        model.zero_grad()
        logits = model(x.to(next(model.parameters()).dtype))
        logits.square().sum().backward()
        found.append([logits.detach(), *(p.grad for p in model.parameters()), *model.buffers()])
    for expected, ours in zip(*found, strict=True):
        torch.testing.assert_close(ours.double(), expected.double(), rtol=1e-3, atol=1e-4 * float(expected.abs().max()))


def test_bfloat16_by_autocast():
    model = fuse(small("mobilenet_v3_small"))
    with torch.autocast("cpu", torch.bfloat16):
        logits = model(torch.randn(4, 3, 32, 32))
    logits.float().sum().backward()
    assert all(p.grad is not None and p.grad.dtype == torch.float32 for p in model.parameters())


def test_one_number_per_channel_is_refused_as_pytorch_refuses_it():
    model = fuse(small("mobilenet_v2_x0_35"))
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        model(torch.randn(1, 3, 8, 8))


FORKED = """
import copy, os, signal, torch
from depthwise.kernels.swap import fuse
from depthwise.models.mobilenet_v2 import InvertedResidual
torch.set_num_threads(2)
plain = InvertedResidual(16, 16, expansion=6, stride=1, norm=torch.nn.BatchNorm2d).train()
fused, x = fuse(copy.deepcopy(plain)), torch.randn(4, 16, 9, 9)
ours = fused(x)
ours.sum().backward()
child = os.fork()
if child == 0:
    signal.alarm(30)  # the end of a child that hangs
    torch.set_num_threads(1)  # as PyTorch's forked data workers do
    os._exit(0 if torch.equal(fused(x), plain(x)) else 1)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), torch.equal(fused(x), ours))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_process_forked_after_kernels_ran_computes_as_the_plain_class():
    """And they go on in its parent. numba would end a child that launched one, for OpenMP's threads are not in it."""
    command = [sys.executable, "-W", "ignore", "-c", FORKED]  # newer Pythons warn of fork beside threads
    reply = subprocess.run(command, capture_output=True, text=True, check=True, timeout=100)
    assert reply.stdout.split() == ["0", "True"], reply.stderr


ONE_THREAD = """
import torch
from depthwise.training import make_step
torch.set_num_threads(1)
make_step("mobilenet_v2", batch_size=2, image_size=32, kernels="fused", precision="fp32", width=0.35, num_classes=3)()
print(torch.get_num_threads())
"""


def test_pytorch_keeps_its_number_of_threads():
    """Else the first kernel of a process would add in another order than the later ones, and a resumed run differ."""
    reply = subprocess.run([sys.executable, "-c", ONE_THREAD], capture_output=True, text=True, check=True)
    assert reply.stdout.strip() == "1"


def test_float16_is_left_to_pytorch():
    model = fuse(small("mobilenet_v2_x0_35"))
    with torch.autocast("cpu", torch.float16):
        logits = model(torch.randn(2, 3, 32, 32))
    logits.float().sum().backward()
    assert logits.isfinite().all()


@pytest.mark.parametrize("name", ["vgg11_bn", "densenet_bc100_k12_cifar", "mobilenet_v2_x0_35"])
def test_the_maps_have_the_same_names(name):
    model, images = small(name).eval(), torch.randn(2, 3, 32, 32)
    plain = model.features(images)
    fused = fuse(model).features(images)
    assert [(one.name, one.stride) for one in fused] == [(one.name, one.stride) for one in plain]
