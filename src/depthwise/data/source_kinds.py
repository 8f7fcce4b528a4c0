"""The forms that public data sets come in, and how each becomes class folders."""

import shutil
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path, PurePosixPath
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from depthwise.console import Quiet
from depthwise.data.audit import parallel
from depthwise.data.idx import read_idx
from depthwise.errors import UserError


class Source(Protocol):
    """A data set that can be had."""

    @property
    def name(self) -> str:
        """What the command line calls it."""

    @property
    def title(self) -> str:
        """One line for people."""

    @property
    def licence(self) -> str:
        """Under which it may be used."""

    @property
    def address(self) -> str:
        """Where its files lie."""

    @property
    def md5(self) -> dict[str, str]:
        """File name -> MD5; '' where the authors give none."""

    def installed(self) -> Path | None:
        """Return the folder where a package has put its files, if one has."""

    def write(self, folder: Path, target: Path, console: Quiet) -> int:
        """Make class folders in `target` from its files in `folder`; return the number of pictures."""


@dataclass(frozen=True)
class IdxSource:
    """A data set of four gzipped IDX files."""

    name: str
    title: str
    licence: str
    classes: tuple[str, ...]
    """Class names in the order of the labels."""
    address: str
    """Where the files lie."""
    md5: dict[str, str]
    """File name -> MD5."""
    counts: dict[str, tuple[str, int]]
    """Split -> (prefix of its two files, number of pictures)."""
    debian_package: str = ""
    debian_folder: Path | None = None

    def installed(self) -> Path | None:
        """Return Debian's folder, where it is."""
        return self.debian_folder if self.debian_folder and self.debian_folder.is_dir() else None

    def write(self, folder: Path, target: Path, console: Quiet) -> int:
        """Make train/ and test/ of PNGs."""
        total = 0
        for split, (prefix, count) in self.counts.items():
            images = read_idx(folder / f"{prefix}-images-idx3-ubyte.gz")
            labels = read_idx(folder / f"{prefix}-labels-idx1-ubyte.gz")
            if images.shape != (count, 28, 28) or labels.shape != (count,) or labels.max() >= len(self.classes):
                raise UserError(f"{folder}: the {prefix} files are not those of {self.name}")
            total += write_pngs(images, labels, self.classes, target / split, split, console)
        return total


@dataclass(frozen=True)
class CifarSource:
    """A data set in CIFAR's binary form: per picture its label bytes, then 3,072 bytes red, green, blue by rows."""

    name: str
    title: str
    licence: str
    address: str
    md5: dict[str, str]
    parts: dict[str, tuple[str, ...]]
    """Split -> files in the archive."""
    names: str
    """File in the archive with the classes' names, one a line."""
    num_label_bytes: int
    """The last of them is the class."""

    def installed(self) -> Path | None:
        """Return None: no package has it."""
        return None

    def write(self, folder: Path, target: Path, console: Quiet) -> int:
        """Make train/ and test/ of PNGs."""
        (archive,) = self.md5
        content = _read_tar(folder / archive, {self.names, *(name for part in self.parts.values() for name in part)})
        classes = [line.strip() for line in content[self.names].decode("utf-8").splitlines() if line.strip()]
        total = 0
        for split, part in self.parts.items():
            raw = np.frombuffer(b"".join(content[name] for name in part), np.uint8)
            size = self.num_label_bytes + 3072
            if not len(raw) or len(raw) % size:
                raise UserError(f"{folder / archive}: {split} is not of whole pictures; fetch it again")
            rows = raw.reshape(-1, size)
            labels, images = rows[:, self.num_label_bytes - 1], rows[:, self.num_label_bytes :]
            if labels.max() >= len(classes):
                raise UserError(f"{folder / archive}: a label without a name; fetch it again")
            pictures = images.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
            total += write_pngs(pictures, labels, classes, target / split, split, console)
        return total


@dataclass(frozen=True)
class FlowersSource:
    """The Oxford archive: jpg/image_0001.jpg and so on, the classes one after the other, equally many of each."""

    name: str
    title: str
    licence: str
    classes: tuple[str, ...]
    address: str
    md5: dict[str, str]
    per_class: int = 80

    def installed(self) -> Path | None:
        """Return None: no package has it."""
        return None

    def write(self, folder: Path, target: Path, console: Quiet) -> int:
        """Make a folder per class of the JPEGs as they are."""
        (archive,) = self.md5
        total = len(self.classes) * self.per_class
        wanted = {f"image_{number:04d}.jpg" for number in range(1, total + 1)}
        content = _read_tar(folder / archive, wanted)
        for number, name in enumerate(console.track(sorted(content), total, "Writing")):
            place = target / self.classes[number // self.per_class] / name
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(content[name])
        return total


@dataclass(frozen=True)
class ElpvSource:
    """The photos of the Python package elpv-dataset, by the probability of a defect that experts gave."""

    name: str
    title: str
    licence: str
    address: str = "https://github.com/zae-bayern/elpv-dataset"
    md5: dict[str, str] = field(default_factory=dict)

    def installed(self) -> Path:
        """Return the package's folder. Raises UserError when it is not installed."""
        spec = find_spec("elpv_dataset")
        if spec is None or spec.origin is None:
            raise UserError("elpv comes as a package: pip install elpv-dataset, then the same command again")
        return Path(spec.origin).parent / "data"

    def write(self, folder: Path, target: Path, console: Quiet) -> int:
        """Make a folder per degree: defect_000, defect_033, defect_067, defect_100 (percent)."""
        try:
            with open(folder / "labels.csv", encoding="utf-8", newline="") as file:
                rows = [line.split() for line in file if line.strip()]
        except OSError as error:
            raise UserError(f"{folder / 'labels.csv'}: {error.strerror}") from error
        for path, probability, _kind in console.track(rows, len(rows), "Writing"):
            place = target / f"defect_{round(100 * float(probability)):03d}" / PurePosixPath(path).name
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(folder / path, place)
        return len(rows)


@dataclass(frozen=True)
class SampleSource:
    """The pictures that ship with the package, as class folders."""

    name: str
    title: str
    licence: str
    address: str = "in the package"
    md5: dict[str, str] = field(default_factory=dict)

    def installed(self) -> Path:
        """Return the folder in the package."""
        return Path(__file__).parent / "sample" / "photos"

    def write(self, folder: Path, target: Path, console: Quiet) -> int:
        """Copy the class folders."""
        paths = sorted(folder.glob("*/*.png"))
        for path in console.track(paths, len(paths), "Writing"):
            place = target / path.parent.name / path.name
            place.parent.mkdir(exist_ok=True)
            shutil.copyfile(path, place)
        return len(paths)


def write_pngs(
    images: NDArray[np.uint8],
    labels: NDArray[np.uint8],
    classes: tuple[str, ...] | list[str],
    target: Path,
    split: str,
    console: Quiet,
) -> int:
    """Write each picture to target/CLASS/NUMBER.png; return how many."""
    for name in classes:
        (target / name).mkdir(parents=True)

    def write(number: int) -> None:
        Image.fromarray(images[number]).save(target / classes[labels[number]] / f"{number:05d}.png")

    written: Iterator[None] = parallel(write, range(len(images)), workers=2)
    return sum(1 for _ in console.track(written, len(images), f"Writing {split}"))


def _read_tar(path: Path, wanted: set[str]) -> dict[str, bytes]:
    """Return the files of these names, in whatever folder of the archive. Raises UserError when one is missing."""
    content = {}
    try:
        with tarfile.open(path) as archive:
            for member in archive:
                name = PurePosixPath(member.name).name
                if name in wanted and member.isreg() and (file := archive.extractfile(member)):
                    content[name] = file.read()
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (OSError, EOFError, tarfile.TarError, zlib.error) as error:
        raise UserError(f"{path}: not a whole archive ({error}); fetch it again") from error
    if missing := sorted(wanted - set(content)):
        raise UserError(f"{path}: lacks {', '.join(missing[:3])}; fetch it again")
    return content
