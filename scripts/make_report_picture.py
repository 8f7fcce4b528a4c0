"""Take the picture of a run's page for docs/report.md, with headless Chromium.

depthwise report RUN && python scripts/make_report_picture.py RUN/report.html docs/images/report.png
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
WIDTH, HEIGHT = 1180, 1250
COLOURS = 64
"""Enough for a page, and a fifth of the bytes."""
MOST_BYTES = 200_000


def main(page: Path, target: Path) -> None:
    """Write the top of the page as a PNG file of few bytes."""
    browser = next(found for name in BROWSERS if (found := shutil.which(name)))
    with tempfile.TemporaryDirectory() as folder:
        shot = Path(folder) / "page.png"
        flags = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--user-data-dir={folder}/user"]
        flags += [f"--window-size={WIDTH},{HEIGHT}", "--blink-settings=preferredColorScheme=1", f"--screenshot={shot}"]
        subprocess.run([browser, *flags, page.resolve().as_uri()], check=True, capture_output=True, timeout=120)
        picture = Image.open(shot).convert("RGB").quantize(COLOURS)
    picture.save(target, optimize=True)
    assert target.stat().st_size < MOST_BYTES, "the picture has become too large"


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
