"""Public data sets as class folders. Whole or absent: a broken download leaves nothing that looks usable."""

import hashlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from importlib.resources import as_file
from importlib.resources import files as resources
from pathlib import Path

from depthwise import files
from depthwise.console import Quiet
from depthwise.data.source_kinds import CifarSource, ElpvSource, FlowersSource, IdxSource, SampleSource, Source
from depthwise.download import receive
from depthwise.errors import CannotFetch, UserError
from depthwise.files import cache_folder

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
MNIST = IdxSource(
    name="mnist",
    title="MNIST: 60,000 + 10,000 grey pictures of handwritten digits, 28 x 28 px, 10 classes (LeCun et al. 1998)",
    licence="CC-BY-SA-3.0",
    classes=tuple("0123456789"),
    address="https://ossci-datasets.s3.amazonaws.com/mnist/",
    md5={  # as torchvision/datasets/mnist.py has them
        "train-images-idx3-ubyte.gz": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
        "train-labels-idx1-ubyte.gz": "d53e105ee54ea40749a09fcbcd1e9432",
        "t10k-images-idx3-ubyte.gz": "9fb629c4189551a2d022fa330f9573f3",
        "t10k-labels-idx1-ubyte.gz": "ec29112dd5afa0611ce80d1b7f02629c",
    },
    counts={"train": ("train", 60_000), "test": ("t10k", 10_000)},
)
CIFAR10 = CifarSource(
    name="cifar10",
    title="CIFAR-10: 50,000 + 10,000 colour pictures, 32 x 32 px, 10 classes (Krizhevsky 2009)",
    licence="none stated; the authors ask to be cited",
    address="https://www.cs.toronto.edu/~kriz/",
    md5={"cifar-10-binary.tar.gz": "c32a1d4ab5d03f1284b67883e8d87530"},  # from the authors' page, kriz/cifar.html
    parts={"train": tuple(f"data_batch_{number}.bin" for number in range(1, 6)), "test": ("test_batch.bin",)},
    names="batches.meta.txt",
    num_label_bytes=1,
)
CIFAR100 = CifarSource(
    name="cifar100",
    title="CIFAR-100: 50,000 + 10,000 colour pictures, 32 x 32 px, 100 classes (Krizhevsky 2009)",
    licence="none stated; the authors ask to be cited",
    address="https://www.cs.toronto.edu/~kriz/",
    md5={"cifar-100-binary.tar.gz": "03b5dce01913d631647c71ecec9e9cb8"},  # from the authors' page, kriz/cifar.html
    parts={"train": ("train.bin",), "test": ("test.bin",)},
    names="fine_label_names.txt",
    num_label_bytes=2,
)
FLOWERS17 = FlowersSource(
    name="flowers17",
    title="Flowers-17: 1,360 photos of 17 kinds of flowers, 80 each (Nilsback & Zisserman 2006)",
    licence="none stated; for research",
    classes=tuple(
        "daffodil,snowdrop,lily_of_the_valley,bluebell,crocus,iris,tigerlily,tulip,fritillary,sunflower,daisy,colts_foot,"
        "dandelion,cowslip,buttercup,windflower,pansy".split(",")
    ),
    address="https://www.robots.ox.ac.uk/~vgg/data/flowers/17/",
    md5={"17flowers.tgz": ""},  # the authors give none: recorded at the first download
)
ELPV = ElpvSource(
    name="elpv",
    title="ELPV: 2,624 grey photos of solar cells, 300 x 300 px, 4 degrees of defects (Deitsch et al. 2019)",
    licence="CC-BY-NC-SA-4.0",
)
SAMPLE = SampleSource(
    name="sample",
    title="The pictures that ship with depthwise: 1,500 of Fashion-MNIST's, 150 of each class, to try things out",
    licence="MIT",
)
SOURCES: dict[str, Source] = {s.name: s for s in (FASHION_MNIST, MNIST, CIFAR10, CIFAR100, FLOWERS17, ELPV, SAMPLE)}


@contextmanager
def sample_photos() -> Iterator[Path]:
    """Yield the folder of the pictures that ship with the package: 10 classes of 150 from Fashion-MNIST."""
    with as_file(resources("depthwise.data") / "sample" / "photos") as folder:
        yield folder


def get(name: str, out: Path, folder: Path | None = None, console: Quiet | None = None) -> int:
    """Make `out` with class folders (in train/ and test/ where the data set has them); return the number of pictures.

    The data set's files come from `folder`, else from where a package puts them, else from their public address,
    checked. Raises UserError when `out` exists, a file is missing or broken, or there is no network.
    """
    console = console or Quiet()
    if name not in SOURCES:
        raise UserError(f"there is no data set called {name!r}; there are: {', '.join(SOURCES)}")
    source, out = SOURCES[name], Path(out).absolute()
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out} exists and is not empty; choose another folder")
    folder = folder or source.installed()
    partial = out.with_name(f".{out.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir(parents=True)
        if folder is None:
            folder = partial / "download"
            download(source, folder, console)
        console.say(f"Reading {folder}")
        total = source.write(folder, partial, console)
        shutil.rmtree(partial / "download", ignore_errors=True)
        if out.exists():
            out.rmdir()
        files.replace(partial, out)
    except OSError as error:
        raise UserError(f"cannot make {out}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return total


def download(source: Source, folder: Path, console: Quiet) -> None:
    """Fetch the source's files into `folder`, each checked against its MD5. Raises UserError."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, md5 in source.md5.items():
        try:
            receive(source.address + name, folder / name, console)
        except CannotFetch as error:
            raise UserError(f"{error}\n{_other_ways(source)}") from error
        with open(folder / name, "rb") as file:
            found = hashlib.file_digest(file, partial(hashlib.md5, usedforsecurity=False)).hexdigest()
        wanted = md5 or _first_seen(source, name, found)
        if found != wanted:
            raise UserError(f"{source.address}{name}: what came has MD5 {found}, not {wanted}; try again")


def _other_ways(source: Source) -> str:
    package = getattr(source, "debian_package", "")
    debian = f"On Debian or Ubuntu: sudo apt install {package}. Or fetch" if package else "Fetch"
    return f"{debian} these files elsewhere and name their folder with --from: {', '.join(source.md5)}"


def _first_seen(source: Source, name: str, md5: str) -> str:
    """Return the MD5 that the first download on this machine had; kept in the cache, as the authors publish none."""
    path = cache_folder() / "checksums" / source.name / name
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        files.write_whole(path, md5.encode())
    return path.read_text().strip()
