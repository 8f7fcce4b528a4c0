import errno
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save

from depthwise import __version__, artifact, files
from depthwise.artifact import Card
from depthwise.data.geometry import Geometry
from depthwise.errors import UserError

CARD = Card(
    kind="model",
    model="mobilenet_v1_x0_5",
    options={"width": 0.3, "config": [64, [128, 2]]},
    small_input=True,
    classes=("crème brûlée", "猫", 'a "b"\n'),
    geometry=Geometry(32, 3, "letterbox", (0.1, 1 / 3, 0.5), (0.2, 0.25, 1e-3)),
    training={"position": {"best_loss": float("inf"), "loss_sum": 0.1 + 0.2}, "config": {"lr": 0.1}},
    paper="A. Author: A title. A place, 1998",
)


def tensors() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(6, 4, 3, 3, generator=generator)
    return {
        "weight": weight.to(memory_format=torch.channels_last),
        "odd": torch.tensor([float("nan"), -0.0, 1e-45]),
        "count": torch.tensor(7),
        "half": torch.randn(5, generator=generator).bfloat16(),
    }


@pytest.fixture
def path(tmp_path: Path) -> Path:
    artifact.write(tmp_path / "best.safetensors", CARD, tensors())
    return tmp_path / "best.safetensors"


def bits(tensor: torch.Tensor) -> tuple[Any, ...]:
    return tensor.dtype, tensor.shape, tensor.contiguous().reshape(-1).view(torch.uint8).tolist()


def header_length(data: bytes) -> int:
    return int.from_bytes(data[:8], "little")


def with_header(header: Any, body: bytes = b"") -> bytes:
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + body


def edit(path: Path, **changes: Any) -> None:
    """Change values of the card, leaving the tensors alone; None removes one."""
    data = path.read_bytes()
    length = header_length(data)
    header = json.loads(data[8 : 8 + length])
    card = json.loads(header["__metadata__"]["depthwise"]) | changes
    header["__metadata__"]["depthwise"] = json.dumps({k: v for k, v in card.items() if v is not None})
    path.write_bytes(with_header(header, data[8 + length :]))


def refusal(path: Path) -> str:
    with pytest.raises(UserError) as got:
        artifact.read(path)
    assert str(got.value).startswith(f"{path}: ")
    return str(got.value)


def test_card_and_tensors_come_back_bit_for_bit(path: Path):
    card, read = artifact.read(path)
    assert card == CARD
    assert artifact.read_card(path) == CARD
    assert card.version == __version__
    assert {name: bits(t) for name, t in read.items()} == {name: bits(t) for name, t in tensors().items()}


def test_writing_the_same_again_gives_the_same_bytes(path: Path, tmp_path: Path):
    artifact.write(tmp_path / "again.safetensors", *artifact.read(path))
    assert (tmp_path / "again.safetensors").read_bytes() == path.read_bytes()


def test_the_file_is_plain_safetensors_with_readable_metadata(path: Path):
    data = path.read_bytes()
    header = json.loads(data[8 : 8 + header_length(data)])
    card = json.loads(header["__metadata__"]["depthwise"])
    assert (card["schema"], card["kind"], card["classes"][1]) == (1, "model", "猫")
    assert card["geometry"]["fit"] == "letterbox"
    assert "猫".encode() in data  # not \u732b


def test_a_file_cut_in_its_tensors_is_named_damaged(path: Path):
    data = path.read_bytes()
    for missing in (1, 100):
        path.write_bytes(data[:-missing])
        assert f"the model file is damaged: it is cut short by {missing} bytes" in refusal(path)
        with pytest.raises(UserError, match="cut short"):
            artifact.read_card(path)


def test_a_file_cut_before_its_tensors_is_named_cut_short(path: Path):
    data = path.read_bytes()
    for kept in (0, 1, 8, 9, 8 + header_length(data) // 2, 8 + header_length(data) - 1):
        path.write_bytes(data[:kept])
        assert "not a depthwise model file, or one cut short" in refusal(path)


@pytest.mark.parametrize(
    "data",
    [
        b"\x93" * 5000,
        b"<!DOCTYPE html><html><body>404: not found</body></html>",
        b"\x89PNG\r\n\x1a\n" + bytes(200),
        b"PK\x03\x04" + bytes(200),
        (2).to_bytes(8, "little") + b"[]",
        (4).to_bytes(8, "little") + b"\xff\xfe{}",
        with_header({"weight": 3}),
        with_header({"weight": {"data_offsets": [0]}}),
        with_header({"weight": {"data_offsets": [0, "far"]}}),
        with_header({"weight": {"data_offsets": [0, float("inf")]}}),
        (50_000).to_bytes(8, "little") + b"[" * 50_000,
    ],
    ids=["noise", "html", "png", "zip", "list", "not utf-8", "number", "one end", "word", "infinity", "nested"],
)
def test_what_is_no_safetensors_file_is_called_that(tmp_path: Path, data: bytes):
    (tmp_path / "photo.safetensors").write_bytes(data)
    assert "not a depthwise model file" in refusal(tmp_path / "photo.safetensors")


@pytest.mark.parametrize("metadata", [None, {"format": "pt"}, {"depthwise": "{"}])
def test_other_peoples_safetensors_are_told_apart(tmp_path: Path, metadata: dict[str, str] | None):
    path = tmp_path / "theirs.safetensors"
    path.write_bytes(save({"w": torch.zeros(2)}, metadata=metadata))
    assert "a safetensors file, but not one of depthwise" in refusal(path)


def test_metadata_that_are_no_table_are_damage(tmp_path: Path):
    path = tmp_path / "list.safetensors"
    path.write_bytes(save({"w": torch.zeros(2)}, metadata={"depthwise": "[1]"}))
    assert "the model file is damaged: its metadata are not a table" in refusal(path)


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path):
    assert "no such model file" in refusal(tmp_path / "none.safetensors")
    assert "cannot be read: " in refusal(tmp_path)


def test_a_newer_schema_asks_for_an_update(path: Path):
    edit(path, schema=2, version="9.1", surprise=1)
    message = refusal(path)
    assert "written by depthwise 9.1 in schema 2; this version reads up to 1" in message
    assert "pip install --upgrade depthwise" in message


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"classes": None}, "'classes'"),
        ({"surprise": 1}, "surprise"),
        ({"geometry": {"image_size": 32}}, "'mean'"),
        ({"geometry": replace(CARD.geometry).to_json() | {"std": [0.1, 0.1, 0.0]}}, "std above 0"),
        ({"geometry": 3}, ""),
    ],
)
def test_metadata_that_do_not_fit_are_damage(path: Path, changes: dict[str, Any], why: str):
    edit(path, **changes)
    message = refusal(path)
    assert "the model file is damaged: its metadata do not fit" in message and why in message


def test_any_flipped_byte_in_the_tensors_is_noticed(path: Path):
    data = path.read_bytes()
    for place in (8 + header_length(data), len(data) - 1):
        path.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
        assert "the model file is damaged: its checksum does not fit" in refusal(path)


def test_a_changed_tensor_name_a_missing_checksum_and_added_bytes_are_noticed(path: Path):
    data = path.read_bytes()
    path.write_bytes(data.replace(b'"odd":{', b'"add":{'))
    assert "checksum" in refusal(path)
    path.write_bytes(data + b"\0")
    assert "damaged" in refusal(path)
    path.write_bytes(data)
    edit(path, sha256=None)
    assert "checksum" in refusal(path)


def test_a_full_disk_keeps_the_old_file_whole(path: Path, monkeypatch: pytest.MonkeyPatch):
    old = path.read_bytes()

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(files.os, "fsync", full)
        with pytest.raises(UserError, match=r"cannot write .*: No space left on device .*; the old file is unchanged"):
            artifact.write(path, replace(CARD, classes=("x",)), {"w": torch.zeros(3)})
        with pytest.raises(UserError, match="nothing was written"):
            artifact.write(path.with_name("new.safetensors"), CARD, {})
    assert path.read_bytes() == old
    assert [p.name for p in path.parent.iterdir()] == [path.name]
    assert artifact.read(path)[0] == CARD


def test_a_changed_class_name_or_colour_is_noticed(path: Path):
    data = path.read_bytes()
    edit(path, classes=list(reversed(CARD.classes)))
    assert "checksum" in refusal(path)
    path.write_bytes(data)
    edit(path, geometry=CARD.geometry.to_json() | {"mean": [0.4] * CARD.geometry.channels})
    assert "checksum" in refusal(path)
