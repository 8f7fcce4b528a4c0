"""Public data sets as class folders. Whole or absent: a broken download leaves nothing that looks usable."""

import hashlib
import http.client
import shutil
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib.resources import as_file
from importlib.resources import files as resources
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from depthwise import files
from depthwise.console import Quiet
from depthwise.data.audit import parallel
from depthwise.data.idx import read_idx
from depthwise.errors import UserError

CHUNK = 2**18


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
    """File name -> MD5, as the authors give them."""
    counts: dict[str, tuple[str, int]]
    """Split -> (prefix of its two files, number of pictures)."""
    debian_package: str
    debian_folder: Path


FASHION_MNIST = IdxSource(
    name="fashion-mnist",
    title="Fashion-MNIST: 60,000 + 10,000 grey pictures of clothes, 28 x 28 px, 10 classes (Xiao et al. 2017)",
    licence="MIT",
    classes=("t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle_boot"),
    address="http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
    md5={  # from the authors' README, github.com/zalandoresearch/fashion-mnist
        "train-images-idx3-ubyte.gz": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
        "train-labels-idx1-ubyte.gz": "25c81989df183df01b3e8a0aad5dffbe",
        "t10k-images-idx3-ubyte.gz": "bef4ecab320f06d8554ea6380940ec79",
        "t10k-labels-idx1-ubyte.gz": "bb300cfdad3c16e7a12a480ee83cd310",
    },
    counts={"train": ("train", 60_000), "test": ("t10k", 10_000)},
    debian_package="dataset-fashion-mnist",
    debian_folder=Path("/usr/share/datasets/fashion-mnist"),
)
SOURCES = {source.name: source for source in (FASHION_MNIST,)}


@contextmanager
def sample_photos() -> Iterator[Path]:
    """Yield the folder of the pictures that ship with the package: 10 classes of 150 from Fashion-MNIST."""
    with as_file(resources("depthwise.data") / "sample" / "photos") as folder:
        yield folder


def get(name: str, out: Path, folder: Path | None = None, console: Quiet | None = None) -> int:
    """Make `out` with train/ and test/, class folders of PNGs in each; return the number of pictures.

    The IDX files come from `folder`, else from where Debian's package puts them, else from their public address (MD5
    checked). Raises UserError when `out` exists, a file is missing or broken, or there is no network.
    """
    console = console or Quiet()
    if name not in SOURCES:
        raise UserError(f"there is no data set called {name!r}; there are: {', '.join(SOURCES)}")
    source, out = SOURCES[name], Path(out).absolute()
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out} exists and is not empty; choose another folder")
    if folder is None and source.debian_folder.is_dir():
        folder = source.debian_folder
    partial = out.with_name(f".{out.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir(parents=True)
        if folder is None:
            folder = partial / "download"
            download(source, folder, console)
        console.say(f"Reading {folder}")
        total = _write_folders(source, folder, partial, console)
        shutil.rmtree(partial / "download", ignore_errors=True)
        if out.exists():
            out.rmdir()
        files.replace(partial, out)
    except OSError as error:
        raise UserError(f"cannot make {out}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return total


def download(source: IdxSource, folder: Path, console: Quiet) -> None:
    """Fetch the source's files into `folder`, each checked against its MD5. Raises UserError."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, md5 in source.md5.items():
        digest = hashlib.md5(usedforsecurity=False)
        try:
            with urllib.request.urlopen(source.address + name, timeout=30) as reply, open(folder / name, "wb") as file:
                length = int(reply.headers.get("Content-Length") or 0)
                chunks = iter(partial(reply.read, CHUNK), b"")
                for chunk in console.track(chunks, -(-length // CHUNK), f"Fetching {name}"):
                    digest.update(chunk)
                    file.write(chunk)
        except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError, ValueError) as error:
            if isinstance(error, urllib.error.HTTPError):
                error.close()  # it is the reply, too
            raise UserError(
                f"cannot fetch {source.address}{name}: {getattr(error, 'reason', error)}\n"
                f"On Debian or Ubuntu: sudo apt install {source.debian_package}. Or fetch these files elsewhere and "
                f"name their folder with --from: {', '.join(source.md5)}"
            ) from error
        if digest.hexdigest() != md5:
            raise UserError(f"{source.address}{name}: what came has MD5 {digest.hexdigest()}, not {md5}; try again")


def _write_folders(source: IdxSource, folder: Path, target: Path, console: Quiet) -> int:
    total = 0
    for split, (prefix, count) in source.counts.items():
        images = read_idx(folder / f"{prefix}-images-idx3-ubyte.gz")
        labels = read_idx(folder / f"{prefix}-labels-idx1-ubyte.gz")
        if images.shape != (count, 28, 28) or labels.shape != (count,) or labels.max() >= len(source.classes):
            raise UserError(f"{folder}: the {prefix} files are not those of {source.name}")
        for name in source.classes:
            (target / split / name).mkdir(parents=True)
        written = _write(source, images, labels, target / split)
        total += sum(1 for _ in console.track(written, count, f"Writing {split}"))
    return total


def _write(source: IdxSource, images: NDArray[np.uint8], labels: NDArray[np.uint8], target: Path) -> Iterator[None]:
    def write(number: int) -> None:
        path = target / source.classes[labels[number]] / f"{number:05d}.png"
        Image.fromarray(images[number]).save(path)

    yield from parallel(write, range(len(images)), workers=2)
