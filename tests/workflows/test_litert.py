"""`.tflite`: the message without LiteRT, the card behind the model, and, where LiteRT is installed, the whole way."""

import importlib.util
import json
import subprocess
import sys

import numpy as np
import pytest

import depthwise as dw
from depthwise.artifact import KEY
from depthwise.cli import run
from depthwise.deploy.engine import Choice
from depthwise.deploy.litert_engine import _behind, with_metadata
from depthwise.errors import UserError
from depthwise.workflows.opening import open_engine

MISSING = [name for name in ("litert_torch", "ai_edge_litert") if importlib.util.find_spec(name) is None]
installed = pytest.mark.skipif(
    bool(MISSING), reason=f"{', '.join(MISSING)} not installed: pip install 'depthwise[litert]'"
)
others_warnings = pytest.mark.filterwarnings("ignore")
"""The converter uses what torch and Python give up."""


@pytest.fixture(scope="module")
def lite(trained, tmp_path_factory):
    """A run as `.tflite`, made by the command in a process of its own, as people do, and what it printed."""
    out = tmp_path_factory.mktemp("litert") / "model.tflite"
    command = [sys.executable, "-m", "depthwise", "export", str(trained), "--out", str(out)]
    reply = subprocess.run(command, capture_output=True, text=True)
    assert reply.returncode == 0, reply.stderr
    return out, reply.stdout


def test_exporting_without_the_converter_says_what_to_install(trained, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "litert_torch", None)
    assert run(["export", str(trained), "--out", str(tmp_path / "m.tflite")]) == 2
    message = capsys.readouterr().err
    assert "exporting to LiteRT needs litert_torch, which is not installed" in message
    assert "pip install 'depthwise[litert]'" in message
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", ["predict", "verify", "bench"])
def test_running_without_the_engine_says_what_to_install(command, photos, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "ai_edge_litert", None)
    (tmp_path / "m.tflite").write_bytes(b"any")
    more = [str(next(photos.rglob("*.png")))] if command == "predict" else []
    assert run([command, str(tmp_path / "m.tflite"), *more]) == 2
    message = capsys.readouterr().err
    assert "needs ai_edge_litert, which is not installed" in message and "pip install ai-edge-litert" in message


def test_the_card_lies_behind_the_model_and_the_model_is_as_it_was(tmp_path):
    path, model, card = tmp_path / "m.tflite", bytes(range(256)) * 9, json.dumps({"card": "crème, 猫"})
    path.write_bytes(with_metadata(model, card))
    assert path.read_bytes().startswith(model)
    assert _behind(path) == {KEY: card}
    assert with_metadata(model, card) == path.read_bytes()  # no time of day in it
    path.write_bytes(model)
    assert _behind(path) == {}


@installed
def test_what_the_command_prints_is_the_result_alone(lite):
    out, said = lite
    assert "100.00% same answers" in said and f"Next: depthwise predict {out} PHOTO" in said
    assert "[START]" not in said


@installed
def test_it_answers_as_the_run_does(lite, trained, photos):
    out, _ = lite
    before, after = dw.load(trained), dw.load(out)
    assert after.engine.card.geometry == before.engine.card.geometry and after.classes == before.classes
    some = sorted(photos.rglob("*0.*"))
    for first, second in zip(before.predict_many(some), after.predict_many(some), strict=True):
        assert first.label == second.label
        assert first.probability == pytest.approx(second.probability, abs=1e-4)
    evidence = json.loads(out.with_name("model.tflite.verification.json").read_text(encoding="utf-8"))
    assert evidence["comparison"]["top1_agreement"] == 1 and evidence["photos"] > 0
    assert set(evidence["versions"]) >= {"litert-torch", "ai-edge-litert"}


@installed
def test_it_is_verified_and_runs_without_torch(lite, photos):
    out, _ = lite
    code = "import sys; from depthwise.cli import run; sys.exit(run(sys.argv[1:]) or ('torch' in sys.modules) * 9)"
    for command in (["verify", str(out)], ["predict", str(out), str(next(photos.rglob("*.png")))]):
        reply = subprocess.run([sys.executable, "-c", code, *command], capture_output=True, text=True)
        assert reply.returncode == 0, reply.stderr


@installed
@others_warnings
def test_a_converter_that_spoils_is_found(trained, tmp_path, capsys, monkeypatch):
    from depthwise.deploy import litert_engine

    whole = litert_engine.LiteRtEngine.logits
    monkeypatch.setattr(litert_engine.LiteRtEngine, "logits", lambda self, x: whole(self, x) + np.float32([1, 0, 0]))
    assert run(["export", str(trained), "--out", str(tmp_path / "m.tflite")]) == 2
    assert "does not compute what the model does" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@installed
def test_it_has_one_engine_and_damage_is_said(lite, tmp_path):
    out, _ = lite
    with pytest.raises(UserError, match="--engine openvino does not run"):
        open_engine(out, Choice("openvino"))
    whole, damaged = out.read_bytes(), tmp_path / "m.tflite"
    damaged.write_bytes(bytes(64) + whole[64:])
    with pytest.raises(UserError, match="LiteRT cannot read this model"):
        open_engine(damaged)
    damaged.write_bytes(whole[:999])
    with pytest.raises(UserError, match="not one of depthwise"):
        open_engine(damaged)
