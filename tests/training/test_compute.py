import pytest
import torch
from torch import nn

from depthwise.models.create import create_model
from depthwise.training import compute as module
from depthwise.training.compute import PLAIN, Compute, Method, has_bfloat16, prepare
from depthwise.training.step import Task, build_step

CPU = torch.device("cpu")
BF16 = Method("bf16")
TASK = Task(model="mobilenet_v2_x0_35", num_classes=3, in_channels=3, small_input=True, image_size=16, batch_size=4)


def test_bfloat16_reaches_the_convolutions_and_nothing_that_is_kept():
    step = build_step(TASK, BF16)
    model, seen = step.loop.state.model, []
    convolution = next(m for m in model.modules() if isinstance(m, nn.Conv2d))
    convolution.register_forward_hook(lambda layer, inputs, output: seen.append(output.dtype))
    logits = step.loop.compute.logits(torch.rand(4, 3, 16, 16))
    step()
    assert set(seen) == {torch.bfloat16} and logits.dtype == torch.float32
    floats = [t for t in step.loop.state.tensors().values() if t.is_floating_point()]
    gradients = [p.grad for p in model.parameters()]
    assert {t.dtype for t in [*floats, *gradients]} == {torch.float32}


def test_bfloat16_changes_the_training_but_little():
    plain, rounded = (build_step(TASK, method)() for method in (PLAIN, BF16))
    assert plain != rounded
    assert plain == pytest.approx(rounded, rel=0.02)


def test_evaluation_is_float32_whatever_the_training():
    torch.manual_seed(0)
    model = create_model("mobilenet_v1_x0_25", 3)
    images, seen = torch.rand(2, 3, 32, 32), []
    Compute(model, BF16)
    model.register_forward_hook(lambda layer, inputs, output: seen.append(output.dtype))
    model.eval()(images)
    assert seen == [torch.float32]


def test_prepared_networks_keep_their_names_and_lie_channels_last():
    model = create_model("mobilenet_v1_x0_25", 3)
    names = list(model.state_dict())
    model = prepare(model, PLAIN, CPU)
    assert list(model.state_dict()) == names
    four = [p for p in model.parameters() if p.ndim == 4]
    assert all(p.is_contiguous(memory_format=torch.channels_last) for p in four)


def test_only_training_is_compiled(monkeypatch: pytest.MonkeyPatch):
    model = nn.Linear(2, 2)
    monkeypatch.setattr(torch, "compile", lambda network: lambda images: network(images) + 1)
    compiled = Compute(model, Method(compile=True)).logits(torch.zeros(1, 2))
    torch.testing.assert_close(compiled, model(torch.zeros(1, 2)) + 1)


def test_a_method_comes_back_from_json_and_describes_itself():
    method = Method("bf16", "fused", {"stem": "fused", "head": "torch"})
    assert Method.from_json(method.to_json()) == method
    assert method.describe() == "bfloat16, fused kernels at 1 of 2 places"
    assert Method("fp32", "fused").describe() == "float32, fused kernels"
    assert Method(compile=True).describe() == "float32, compiled"


@pytest.mark.parametrize(
    ("avx512", "amx", "expected"), [(True, False, True), (False, True, True), (False, False, False)]
)
def test_bfloat16_is_what_the_processor_has(avx512, amx, expected, monkeypatch):
    monkeypatch.setattr(module.torch.cpu, "_is_avx512_bf16_supported", lambda: avx512)
    monkeypatch.setattr(module.torch.cpu, "_is_amx_tile_supported", lambda: amx)
    assert has_bfloat16(CPU) is expected
