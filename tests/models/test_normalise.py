import torch

from depthwise.models.normalise import Normalise


def test_values_become_numbers_around_zero_channels_first():
    images = torch.tensor([[[[0, 51, 255], [255, 102, 0]]]], dtype=torch.uint8)  # (1, 1, 2, 3)
    out = Normalise((0.5, 0.2, 0.0), (0.5, 0.1, 2.0))(images)
    expected = torch.tensor([[[[-1.0, 1.0]], [[0.0, 2.0]], [[0.5, 0.0]]]])
    assert (out.shape, out.dtype) == ((1, 3, 1, 2), torch.float32)
    torch.testing.assert_close(out, expected)


def test_the_result_lies_channels_last_in_memory():
    out = Normalise((0.5,) * 3, (0.5,) * 3)(torch.zeros(2, 4, 5, 3, dtype=torch.uint8))
    assert out.is_contiguous(memory_format=torch.channels_last)


def test_it_adds_nothing_to_a_model_file():
    assert Normalise((0.5,), (0.5,)).state_dict() == {}
