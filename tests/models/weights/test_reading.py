"""Files of weights: safetensors, PyTorch's pickles under guard, Keras' HDF5 in three layouts."""

import pickle
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from depthwise.errors import UserError
from depthwise.models.create import create_model
from depthwise.models.weights.load import load_weights
from depthwise.models.weights.reading import read_weights

TENSORS = {"a.weight": torch.arange(6.0).reshape(2, 3), "a.bias": torch.ones(2)}


def same(found):
    assert set(found) == set(TENSORS)
    assert all(torch.equal(found[name], TENSORS[name]) for name in TENSORS)


def test_safetensors(tmp_path):
    save_file(TENSORS, tmp_path / "x.safetensors")
    same(read_weights(tmp_path / "x.safetensors"))


@pytest.mark.parametrize("key", ["", "state_dict", "model"])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_pickles_of_tensors_also_inside_a_training_scripts_checkpoint(tmp_path, key, prefix):
    tensors = {prefix + name: value for name, value in TENSORS.items()}
    torch.save({key: tensors, "epoch": 3} if key else tensors, tmp_path / "x.pth")
    same(read_weights(tmp_path / "x.pth"))


class Bomb:
    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return open, (self.path, "w")


@pytest.mark.parametrize("style", ["torch", "old"])
def test_a_pickle_that_would_run_code_is_not_read(tmp_path, style):
    bomb = {"a.weight": torch.ones(1), "b": Bomb(tmp_path / "exploded")}
    if style == "torch":
        torch.save(bomb, tmp_path / "x.pth")
    else:
        (tmp_path / "x.pth").write_bytes(pickle.dumps({"b": Bomb(tmp_path / "exploded")}))
    with pytest.raises(UserError, match=r"x\.pth: (holds more than tensors|cannot be read)"):
        read_weights(tmp_path / "x.pth")
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize("name", ["x.safetensors", "x.pth", "x.h5"])
@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04" + b"\x00" * 40, b"\x89HDF\r\n\x1a\n" + b"\x00" * 90])
def test_a_file_of_something_else_is_named(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=name):
        read_weights(tmp_path / name)


@pytest.mark.parametrize("content", [{"epoch": 3}, [1, 2], {"a": torch.ones(1), "b": "text"}, {}])
def test_a_pickle_without_a_table_of_tensors_is_named(tmp_path, content):
    torch.save(content, tmp_path / "x.pth")
    with pytest.raises(UserError, match="no table of named tensors"):
        read_weights(tmp_path / "x.pth")


def test_a_missing_file_and_an_archive_of_keras_are_told_apart(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        read_weights(tmp_path / "x.h5")
    (tmp_path / "x.keras").write_bytes(b"PK")
    with pytest.raises(UserError, match="save_weights"):
        read_weights(tmp_path / "x.keras")


ARRAYS = {
    "Conv1": {"kernel": np.arange(2 * 2 * 3 * 4, dtype="float32").reshape(2, 2, 3, 4)},
    "bn_Conv1": {
        n: np.full(4, i, "float32") for i, n in enumerate(("gamma", "beta", "moving_mean", "moving_variance"))
    },
    "predictions": {"kernel": np.ones((4, 5), "float32"), "bias": np.zeros(5, "float32")},
}


def write_named(group):
    """As Keras 2 did: names in attributes, as bytes, with ':0' behind."""
    group.attrs["layer_names"] = [name.encode() for name in (*ARRAYS, "relu")]
    group.create_group("relu").attrs["weight_names"] = []
    for layer, variables in ARRAYS.items():
        part = group.create_group(layer)
        part.attrs["weight_names"] = [f"{layer}/{variable}:0".encode() for variable in variables]
        for variable, value in variables.items():
            part[f"{layer}/{variable}:0"] = value


def write_numbered(group):
    for number, (layer, variables) in enumerate(ARRAYS.items()):
        part = group.create_group(f"layers/layer_{9 - number}/vars")
        part.attrs["name"] = layer
        for index, value in enumerate(variables.values()):
            part[str(index)] = value


@pytest.mark.parametrize("layout", ["whole.h5", "legacy.h5", "new.weights.h5"])
def test_the_three_layouts_of_keras_hold_the_same(tmp_path, layout):
    with h5py.File(tmp_path / layout, "w") as file:
        if layout.startswith("new"):
            write_numbered(file)
        else:
            write_named(file.create_group("model_weights") if layout.startswith("whole") else file)
    found = read_weights(tmp_path / layout)
    wanted = {f"{layer.lower()}.{variable}": v for layer, parts in ARRAYS.items() for variable, v in parts.items()}
    assert set(found) == set(wanted)
    assert all(np.array_equal(found[name].numpy(), wanted[name]) for name in wanted)


def test_kernels_of_keras_are_turned_by_hand():
    """(H, W, in, out), (H, W, channels, 1) and (in, out): each number where the formula has it."""
    torch.manual_seed(0)
    model = create_model("mobilenet_v2_x0_35", num_classes=3)
    tensors = keras_tensors(model)
    load_weights(model, tensors)
    assert model.stem.conv.weight[5, 2, 0, 1] == tensors["conv1.kernel"][0, 1, 2, 5]
    assert model.blocks[0].depthwise.conv.weight[4, 0, 2, 1] == tensors["expanded_conv_depthwise.kernel"][2, 1, 4, 0]
    assert model.blocks[3].expand.conv.weight[7, 6, 0, 0] == tensors["block_3_expand.kernel"][0, 0, 6, 7]
    assert model.classifier.weight[2, 9] == tensors["predictions.kernel"][9, 2]
    assert model.head.norm.running_var[3] == tensors["conv_1_bn.moving_variance"][3]


def keras_tensors(model):
    """Return random arrays as Keras would have them for our network."""
    from depthwise.models.weights import keras

    suffixes = {"bias": "bias", "running_mean": "moving_mean", "running_var": "moving_variance"}
    found = {}
    for ours, theirs in keras.mobilenet_v2(model):
        layer = model.get_submodule(ours)
        for name, value in layer.state_dict().items():
            shape = tuple(value.shape)
            if name == "weight" and isinstance(layer, torch.nn.BatchNorm2d):
                found[f"{theirs}.gamma"] = torch.rand(shape)
            elif name == "bias" and isinstance(layer, torch.nn.BatchNorm2d):
                found[f"{theirs}.beta"] = torch.rand(shape)
            elif name == "weight":
                is_depthwise = len(shape) == 4 and layer.groups > 1
                order = (2, 3, 0, 1) if is_depthwise else (2, 3, 1, 0) if len(shape) == 4 else (1, 0)
                found[f"{theirs}.kernel"] = torch.rand([shape[axis] for axis in order])
            elif name in suffixes:
                found[f"{theirs}.{suffixes[name]}"] = torch.rand(shape)
    return found


def test_biases_before_a_batch_norm_are_taken_up_by_its_mean():
    from depthwise.models.weights.keras import _fold_biases

    tensors = {"x_conv.bias": torch.tensor([1.0, 2.0]), "x_bn.running_mean": torch.tensor([5.0, 5.0])}
    _fold_biases(tensors)
    assert tensors["x_bn.running_mean"].tolist() == [4.0, 3.0]  # (y + b - m) = (y - (m - b))
    assert "x_conv.bias" not in tensors


def save_h5(path, change):
    """Write a small Keras file whose first kernel `change` may put elsewhere: change(group of the layer, name)."""
    with h5py.File(path, "w") as file:
        write_named(file)
        del file["Conv1"]["Conv1/kernel:0"]
        change(file["Conv1"]["Conv1"], "kernel:0")
    return path


def unwritten(group, name):
    group.create_dataset(name, (10**10,), "float32", chunks=(10**6,))


def kept_outside(group, name):
    Path(group.file.filename).with_name("secret").write_bytes(b"\x00" * 48)
    group.create_dataset(name, (12,), "float32", external=[("secret", 0, 48)])


def virtual(group, name):
    with h5py.File(Path(group.file.filename).with_name("other.h5"), "w") as file:
        file["secret"] = np.zeros(12, "float32")
    layout = h5py.VirtualLayout((12,), "float32")
    layout[:] = h5py.VirtualSource("other.h5", "secret", (12,))
    group.create_virtual_dataset(name, layout)


def link(group, name):
    with h5py.File(Path(group.file.filename).with_name("other.h5"), "w") as file:
        file["secret"] = np.zeros(12, "float32")
    group[name] = h5py.ExternalLink("other.h5", "secret")


def words(group, name):
    group[name] = [b"text"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (unwritten, r"conv1\.kernel is of shape \(10000000000,\), more than a file of this size can hold"),
        (kept_outside, r"conv1\.kernel is kept in another file, which is not read"),
        (virtual, r"conv1\.kernel is kept in another file, which is not read"),
        (link, r"'Conv1/kernel:0' in /Conv1/Conv1 is a link to somewhere else, which is not followed"),
        (words, r"conv1\.kernel is of type .*, not of numbers"),
    ],
)
def test_nothing_is_read_that_a_keras_file_does_not_hold_itself(tmp_path, monkeypatch, change, message):
    path = save_h5(tmp_path / "x.h5", change)
    monkeypatch.setattr(h5py.Dataset, "__getitem__", refuse_large(h5py.Dataset.__getitem__))
    with pytest.raises(UserError, match=rf"x\.h5: .*{message}\. Save it anew: model\.save_weights"):
        read_weights(path)


def refuse_large(read):
    """Let a test fail in place of the machine."""

    def read_small(dataset, key):
        assert dataset.nbytes < 10**6
        return read(dataset, key)

    return read_small


def test_packed_arrays_of_keras_are_read(tmp_path):
    kernel = np.random.default_rng(0).normal(size=(64, 64)).astype("float32")
    path = save_h5(tmp_path / "x.h5", lambda group, name: group.create_dataset(name, data=kernel, compression="gzip"))
    assert np.array_equal(read_weights(path)["conv1.kernel"].numpy(), kernel)


@pytest.mark.parametrize(
    "tensor",
    [
        torch.zeros(1).as_strided((10**8, 1280), (0, 0)),
        torch.empty(4, 5, device="meta"),
        torch.ones(4, 5).to_sparse(),
    ],
)
def test_a_tensor_without_a_number_for_each_place_is_refused(tmp_path, tensor):
    torch.save({"classifier.weight": tensor}, tmp_path / "x.pth")
    with pytest.raises(UserError, match=r"x\.pth: classifier\.weight, of shape .*, does not have a number for each"):
        read_weights(tmp_path / "x.pth")


def test_an_archive_that_grows_when_it_is_unpacked_is_refused(tmp_path):
    torch.save({"a": torch.zeros(10**5)}, tmp_path / "plain.pth")
    with (
        zipfile.ZipFile(tmp_path / "plain.pth") as plain,
        zipfile.ZipFile(tmp_path / "x.pth", "w", zipfile.ZIP_DEFLATED) as packed,
    ):
        for entry in plain.namelist():
            packed.writestr(entry, plain.read(entry))
    with pytest.raises(UserError, match=r"x\.pth: 40.,... bytes once unpacked, more than the file has"):
        read_weights(tmp_path / "x.pth")


def test_a_table_that_contains_itself_is_named(tmp_path):
    content = {"epoch": 3}
    content["model"] = content
    torch.save(content, tmp_path / "x.pth")
    with pytest.raises(UserError, match="no table of named tensors"):
        read_weights(tmp_path / "x.pth")
