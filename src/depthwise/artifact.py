"""The model file: safetensors, with everything a reader needs as JSON under the metadata key `depthwise`.

Two kinds share the schema: `model` (to predict) and `checkpoint` (to go on training). Nothing in it is code.
"""

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from depthwise import __version__, files
from depthwise.data.geometry import Geometry
from depthwise.errors import Damaged, UserError, require

if TYPE_CHECKING:
    from torch import Tensor

SCHEMA = 1
KEY = "depthwise"


@dataclass(frozen=True)
class Card:
    """What a model file says of itself."""

    kind: Literal["model", "checkpoint"]
    model: str
    """Registry name of the network."""
    options: dict[str, Any]
    """The network's own options."""
    small_input: bool
    """Whether the network's strides are adapted to 32 px and less."""
    classes: tuple[str, ...]
    """Class names; the place is the number of the logit."""
    geometry: Geometry
    """How a picture becomes the network's input."""
    training: dict[str, Any] = field(default_factory=dict)
    """How the weights came to be: configuration, epoch, validation accuracy; a checkpoint's position too."""
    paper: str = ""
    """Where the network is from."""
    calibration: dict[str, Any] = field(default_factory=dict)
    """What `deploy.calibrate` found on validation pictures; its `temperature` divides logits. Empty: 1."""
    decision: dict[str, Any] = field(default_factory=dict)
    """The rule from probabilities to answers (`deploy.decision`). Empty: the most probable class."""
    origin: str = ""
    """Whose weights training began with, e.g. timm:mobilenetv3_large_100.ra_in1k; '' for none."""
    version: str = __version__
    """Of depthwise, that wrote the file."""

    @property
    def temperature(self) -> float:
        """Divides logits before the softmax; answers keep their order."""
        return float(self.calibration.get("temperature", 1.0))

    def to_json(self) -> dict[str, Any]:
        """Return plain values; `from_json` is the way back."""
        return {"schema": SCHEMA, **asdict(self), "geometry": self.geometry.to_json()}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Card":
        """Build from `to_json`'s values. Raises ValueError, TypeError or KeyError when they do not fit."""
        kept = {name: value for name, value in values.items() if name != "schema"}
        kept["geometry"] = Geometry.from_json(values["geometry"])
        kept["classes"] = tuple(values["classes"])
        if not all(isinstance(name, str) for name in kept["classes"]):
            raise TypeError("a class's name is no text")
        if len(set(kept["classes"])) < len(kept["classes"]):
            raise ValueError("it names a class twice")
        return cls(**kept)


def write(path: Path, card: Card, tensors: "dict[str, Tensor]") -> None:
    """Write a model file, whole or not at all. Raises CannotWrite on a full disk; an old file is then unchanged."""
    files.write_whole(path, pack(card, tensors))


def rewrite_card(path: Path, card: Card) -> None:
    """Put another card into a model file, whole or not at all; its tensors keep their bytes. Raises as `read` does."""
    _, tensors = read(path)
    write(path, card, tensors)


def pack(card: Card, tensors: "dict[str, Tensor]") -> bytes:
    """Return a model file's bytes: equal for equal cards and tensors."""
    from safetensors.torch import save

    plain = {name: tensor.detach().contiguous() for name, tensor in tensors.items()}
    header, body = _parts(save(plain))
    metadata = card.to_json()
    sealed = metadata | {"sha256": _checksum(metadata, header, body)}
    return save(plain, metadata={KEY: json.dumps(sealed, ensure_ascii=False)})


def read_card(path: Path) -> Card:
    """Return what the file says of itself, without reading its tensors. Raises UserError as `read` does."""
    return _card(path, _metadata(path))


def read(path: Path) -> "tuple[Card, dict[str, Tensor]]":
    """Return card and tensors. Raises Damaged for what is no whole model file, UserError for a newer schema."""
    require("safetensors", "train", f"reading {path}")
    from safetensors import SafetensorError
    from safetensors.torch import load

    card = read_card(path)
    data = path.read_bytes()
    header, body = _parts(data)
    metadata = json.loads(header["__metadata__"][KEY])
    if metadata.pop("sha256", None) != _checksum(metadata, header, body):
        raise _damaged(path, "its checksum does not fit its contents")
    try:
        return card, load(data)
    except SafetensorError as error:
        raise _damaged(path, str(error)) from error


def _parts(data: bytes) -> tuple[dict[str, Any], memoryview]:
    """Return the header and the tensors' bytes of a safetensors file."""
    length = int.from_bytes(data[:8], "little")
    return json.loads(data[8 : 8 + length]), memoryview(data)[8 + length :]


def _checksum(metadata: dict[str, Any], header: dict[str, Any], body: memoryview) -> str:
    """Return the SHA-256 over the card, over names, types, shapes and places of the tensors, and over their bytes."""
    places = {name: entry for name, entry in header.items() if name != "__metadata__"}
    digest = hashlib.sha256(json.dumps([metadata, places], sort_keys=True).encode())
    digest.update(body)
    return digest.hexdigest()


def _metadata(path: Path) -> dict[str, Any]:
    """Parse the header by hand: 8 bytes of length, then JSON; so that a foreign file gets a message of ours."""
    try:
        with open(path, "rb") as file:
            length = int.from_bytes(file.read(8), "little")
            size = file.seek(0, 2)
            if not 2 <= length <= min(size - 8, 100_000_000):
                raise ValueError("no safetensors header")
            file.seek(8)
            header = json.loads(file.read(length))
        ends = [int(entry["data_offsets"][1]) for name, entry in header.items() if name != "__metadata__"]
    except FileNotFoundError:
        raise UserError(f"{path}: no such model file") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, OverflowError, RecursionError):
        raise Damaged(
            f"{path}: not a depthwise model file, or one cut short; models are the best.safetensors of a training run"
        ) from None
    missing = 8 + length + max(ends, default=0) - size
    if missing > 0:
        raise _damaged(path, f"it is cut short by {missing:,} bytes")
    try:
        metadata = json.loads(header["__metadata__"][KEY])
    except (KeyError, ValueError, TypeError, RecursionError):
        raise UserError(f"{path}: a safetensors file, but not one of depthwise (no metadata called {KEY!r})") from None
    if not isinstance(metadata, dict):
        raise _damaged(path, "its metadata are not a table")
    return metadata


def _card(path: Path, metadata: dict[str, Any]) -> Card:
    schema = metadata.get("schema")
    if isinstance(schema, int) and schema > SCHEMA:
        raise UserError(
            f"{path}: written by depthwise {metadata.get('version')} in schema {schema}; this version reads up to "
            f"{SCHEMA}. Update it: pip install --upgrade depthwise"
        )
    try:
        return Card.from_json({name: value for name, value in metadata.items() if name != "sha256"})
    except (ValueError, TypeError, KeyError) as error:
        raise _damaged(path, f"its metadata do not fit: {error}") from error


def _damaged(path: Path, why: str) -> Damaged:
    return Damaged(f"{path}: the model file is damaged: {why}. Take another copy, or train again.")
