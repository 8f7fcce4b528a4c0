"""How long `depthwise train PHOTOS` takes without a flag: 800 photos in 9 classes, from start to report.

python bench/first_model.py --elpv DIR [--photos 800] [--classes 9]

Photos are solar cells of pip's elpv-dataset (300 x 300 px; DIR is its folder with images/), dealt out to classes by
their number: what they show does not change the time. Nothing is in the cache folder before.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import record


def main(elpv: Path, num_photos: int, num_classes: int) -> None:
    """Make the folder, train, record."""
    with tempfile.TemporaryDirectory() as temporary:
        photos, out = Path(temporary, "photos"), Path(temporary, "run")
        for number, path in enumerate(sorted(elpv.glob("images/*.png"))[:num_photos]):
            folder = photos / f"class {number % num_classes}"
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, folder / path.name)
        started = time.perf_counter()
        command = [sys.executable, "-m", "depthwise", "train", str(photos), "--out", str(out)]
        fresh = {**os.environ, "DEPTHWISE_CACHE": str(Path(temporary, "cache"))}
        reply = subprocess.run(command, check=False, capture_output=True, text=True, env=fresh)
        took = time.perf_counter() - started
        print(reply.stdout, reply.stderr, sep="\n")
        if reply.returncode:
            raise SystemExit(reply.returncode)
        (recipe,) = re.findall(r"Recipe ([\w-]+):", reply.stdout)
        found = {"photos": num_photos, "classes": num_classes, "recipe": recipe, "seconds": round(took)}
        record.write("first_model", found)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--elpv", type=Path, required=True)
    parser.add_argument("--photos", type=int, default=800)
    parser.add_argument("--classes", type=int, default=9)
    asked = parser.parse_args()
    main(asked.elpv, asked.photos, asked.classes)
