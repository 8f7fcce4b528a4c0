"""What an installation without the train extra must do, and how fast help comes is measured in bench."""

import subprocess
import sys

HIDE_TORCH = """
import sys
from importlib.abc import MetaPathFinder
from importlib import util
hidden = {"torch", "safetensors", "tomli_w", "matplotlib", "numba", "onnx", "onnxscript", "jinja2"}
class Hide(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in hidden:
            raise ModuleNotFoundError(name)
real = util.find_spec
util.find_spec = lambda name, package=None: None if name in hidden else real(name, package)
sys.meta_path.insert(0, Hide())
from depthwise.cli import run
sys.exit(run(sys.argv[1:]))
"""


def without_torch(*arguments):
    command = [sys.executable, "-c", HIDE_TORCH, *arguments]
    return subprocess.run(command, capture_output=True, text=True, encoding="utf-8")


def test_importing_depthwise_and_asking_for_help_loads_no_torch():
    code = (
        "import sys, depthwise, depthwise.cli; depthwise.cli.run(['train', '--help']); "
        "sys.exit('torch' in sys.modules or 'PIL' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0


def test_every_command_that_needs_torch_names_the_pip_command(photos, trained, tmp_path):
    photo = str(next(photos.rglob("*.png")))
    for command in (
        ["demo", "--out", str(tmp_path / "demo")],
        ["train", str(photos), "--out", str(tmp_path / "run")],
        ["find-lr", str(photos)],
        ["evaluate", str(trained)],
        ["calibrate", str(trained), "--reject-rate", "0.02"],
        ["compare", str(trained), str(trained)],
        ["report", str(trained)],
        ["export", str(trained), "--out", str(tmp_path / "model.onnx")],
        ["import", "efficientnet_lite0", "package", "--out", str(tmp_path / "lite0.safetensors")],
        ["bench", "kernels"],
        ["bench", str(trained)],
        ["predict", str(trained), photo],
        ["explain", str(trained), photo],
        ["recommend"],
        ["models"],
        ["summary", "lenet5"],
    ):
        reply = without_torch(*command)
        assert reply.returncode == 2, command
        assert "pip install 'depthwise[train]'" in reply.stderr, command
        assert "Traceback" not in reply.stderr
    assert not (tmp_path / "demo").exists()


def test_split_works_without_torch(photos, tmp_path):
    reply = without_torch("split", str(photos), "--out", str(tmp_path / "splits.csv"))
    assert reply.returncode == 0, reply.stderr


def test_a_closed_pipe_is_no_error():
    script = f"{sys.executable} -m depthwise datasets list | true"
    reply = subprocess.run(["sh", "-c", script], capture_output=True, text=True)
    assert "Traceback" not in reply.stderr


def test_a_narrow_console_shows_escapes_instead_of_failing(trained, photos):
    command = [sys.executable, "-m", "depthwise", "predict", str(trained), str(photos / "猫" / "photo 00.jpg")]
    environment = {"PYTHONIOENCODING": "cp1252", "PATH": ""}
    reply = subprocess.run(command, capture_output=True, env=environment)
    assert reply.returncode == 0, reply.stderr
    assert b"\\u732b" in reply.stdout


def test_the_wheel_holds_sample_facts_and_licences_and_asks_for_no_torch(tmp_path):
    import zipfile
    from pathlib import Path

    root = Path(__file__).parents[1]
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    reply = subprocess.run(command, cwd=root, capture_output=True, text=True)
    assert reply.returncode == 0, reply.stderr
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        (metadata,) = [archive.read(name).decode() for name in names if name.endswith("dist-info/METADATA")]
    assert sum(name.startswith("depthwise/data/sample/photos/") for name in names) == 1500
    assert {"depthwise/data/sample/LICENSE", "depthwise/models/facts.json", "depthwise/py.typed"} <= set(names)
    assert any(name.endswith("licenses/LICENSE") for name in names)
    core = [line for line in metadata.splitlines() if line.startswith("Requires-Dist") and "extra ==" not in line]
    assert not any("torch" in line or "safetensors" in line for line in core)
    assert wheel.stat().st_size < 3_000_000
