"""`pip install depthwise` for those who only predict: a real wheel in a real empty environment."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

import depthwise as dw

ROOT = Path(__file__).parents[1]
MAX_MIB = 200


def mib(folder):
    return sum(p.stat().st_size for p in folder.rglob("*") if p.is_file() and not p.is_symlink()) / 2**20


@pytest.mark.slow
def test_the_small_install_predicts_without_torch(trained, photos, tmp_path):
    model, photo = tmp_path / "model.onnx", next(photos.rglob("*.png"))
    dw.export(trained, model)
    pip = [sys.executable, "-m", "pip", "-q"]
    subprocess.run([*pip, "wheel", "--no-deps", "-w", tmp_path / "wheel", ROOT], check=True)
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "empty"], check=True)
    before = mib(tmp_path / "empty")
    python = tmp_path / "empty" / "bin" / "python"
    (wheel,) = (tmp_path / "wheel").glob("depthwise-*.whl")
    install = [python, "-m", "pip", "install", "-q", "-c", ROOT / "constraints.txt", wheel]
    subprocess.run(install, check=True)
    assert mib(tmp_path / "empty") - before < MAX_MIB
    command = tmp_path / "empty" / "bin" / "depthwise"
    reply = subprocess.run([command, "predict", model, photo, "--json"], capture_output=True, text=True, check=True)
    assert json.loads(reply.stdout)[0]["label"] == dw.load(trained).predict(photo).label
    assert subprocess.run([command, "verify", model]).returncode == 0
    listed = subprocess.run([python, "-m", "pip", "list"], capture_output=True, text=True, check=True).stdout
    assert "torch" not in listed and "safetensors" not in listed
    refused = subprocess.run([command, "train", photos], capture_output=True, text=True)
    assert refused.returncode == 2 and "pip install 'depthwise[train]'" in refused.stderr
