"""`depthwise recommend`: who is measured, who is left out and why, who is beaten. Times are given, not measured."""

import json
import subprocess
import sys
from importlib.metadata import version
from xml.etree import ElementTree

import pytest

from depthwise.cli import run
from depthwise.deploy.openvino_engine import OpenVinoEngine
from depthwise.models.registry import model_info
from depthwise.models.weights.origins import public_weights
from depthwise.workflows import measured, recommending
from depthwise.workflows.measured import Ask, Kept, Measured, measure_network
from depthwise.workflows.recommending import Budget, Choice, Published, published, rank, recommend

GIVEN = {  # milliseconds of the fastest call, a quarter more in the median; megabytes
    "resnet18": (20.0, 46.8),
    "mobilenet_v3_small": (2.0, 10.2),
    "mobilenet_v3_small_x0_75": (1.5, 8.2),
    "mobilenet_v3_small_minimal": (1.7, 8.1),
    "mobilenet_v3_large": (5.0, 22.0),
    "mobilenet_v3_large_x0_75": (5.5, 16.0),
    "mobilenet_v3_large_minimal": (7.0, 15.7),
}


@pytest.fixture
def asked(monkeypatch, tmp_path):
    """Times as given; the list of what was measured. The cache is a fresh folder."""
    monkeypatch.setenv("DEPTHWISE_CACHE", str(tmp_path / "cache"))
    seen = []

    def measure(ask):
        seen.append(ask.spec.name)
        ms, mb = GIVEN[ask.spec.name]
        return Measured(ms, 1.25 * ms, 1.5 * ms, 10, round(1e6 * mb))

    monkeypatch.setattr(measured.Kept.__init__, "__defaults__", (measure,))
    return seen


V3 = ["recommend", "--pattern", "mobilenet_v3*"]


def test_the_most_accurate_comes_first_and_the_beaten_are_told_apart(asked, capsys):
    assert run([*V3, "--max-ms", "7.5", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    names = [row["name"] for row in found["networks"]]
    assert [row["top1"] for row in found["networks"]] == sorted(published(model_info(n)).top1 for n in names)[::-1]
    assert [row["name"] for row in found["networks"] if row["is_unbeaten"]] == [
        "mobilenet_v3_large",
        "mobilenet_v3_small",
        "mobilenet_v3_small_x0_75",
    ]
    assert [row["name"] for row in found["networks"] if not row["is_in_budget"]] == ["mobilenet_v3_large_minimal"]
    assert asked[0] == "resnet18" and sorted(asked[1:]) == sorted(names)


def test_megabytes_are_the_files_and_too_many_parameters_are_not_measured(asked, capsys):
    assert run([*V3, "--max-ms", "7.5", "--max-mb", "10.1", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    fitting = [row["name"] for row in found["networks"] if row["is_in_budget"]]
    assert fitting == ["mobilenet_v3_small_x0_75", "mobilenet_v3_small_minimal"]
    assert "mobilenet_v3_small" in asked  # 10.17 MB of parameters: only measuring can tell
    assert found["left_out"] == {
        "their parameters alone take more than 10.1 MB": [
            "mobilenet_v3_large_x0_75", "mobilenet_v3_large_minimal", "mobilenet_v3_large"
        ]
    }  # fmt: skip


def test_fewer_classes_make_smaller_files(asked):
    large = model_info("mobilenet_v3_large")  # 5.5 million parameters, 1.28 million of them for 1000 classes
    found = recommend(Budget(7.5, 16), pattern=large.name, num_classes=10)
    assert [choice.name for choice in found.choices] == [large.name]
    assert not recommend(Budget(7.5, 16), pattern=large.name).choices


def test_networks_far_above_the_time_are_estimated(asked):
    slowest = 2 * model_info("resnet18").macs / 20  # multiply-adds per ms that a network is believed capable of
    limit = model_info("mobilenet_v3_small").macs / slowest  # below the fastest call that is given, so nothing fits
    assert recommend(Budget(1.01 * limit), pattern="mobilenet_v3_small").choices
    found = recommend(Budget(0.99 * limit), pattern="mobilenet_v3_small")
    assert not found.choices
    ((reason, names),) = found.left_out.items()
    assert reason.startswith("at twice the multiply-adds per second of resnet18") and names == ["mobilenet_v3_small"]


def test_multiply_adds_grow_with_the_area():
    spec = model_info("efficientnet_b1")  # 240 px
    assert recommending.macs(Ask(spec, 120, 1000, 1)) == spec.macs / 4


def test_what_was_measured_is_kept_and_measured_anew_on_request(asked, tmp_path):
    ask = [*V3, "--max-ms", "7.5"]
    assert run(ask) == 0
    num_first = len(asked)
    assert run(ask) == 0 and len(asked) == num_first
    assert run([*ask, "--refresh"]) == 0 and len(asked) == 2 * num_first
    assert run([*ask, "--image-size", "160"]) == 0 and len(asked) == 3 * num_first
    kept = tmp_path / "cache" / "measured.json"
    assert len(json.loads(kept.read_text())) == 2 * num_first
    kept.write_text('{"broken": ')
    assert run(ask) == 0 and len(asked) == 4 * num_first


@pytest.mark.parametrize(
    "change", ["image_size", "num_classes", "threads", "engine", "network", "processor", "version"]
)
def test_what_the_result_depends_on_is_in_the_key(change, monkeypatch):
    first = {"spec": model_info("nin"), "image_size": 224, "num_classes": 10, "threads": 1}
    before = Ask(**first).key
    assert before == Ask(**first).key
    if change == "network":
        first["spec"] = model_info("vgg11")
    elif change == "engine":
        first["engine"] = "openvino"
    elif change == "processor":
        monkeypatch.setattr(measured, "processor", lambda: "another")
    elif change == "version":
        monkeypatch.setattr(measured, "version", lambda package: "99")
    else:
        first[change] += 1
    assert Ask(**first).key != before


def choice(name, ms, top1, is_in_budget=True):
    return Choice(name, 224, Published(top1, ""), Measured(0, ms, ms, 1, 1), is_in_budget)


def test_unbeaten_by_hand():
    ranked = rank([
        choice("slow and worse", 9, 60), choice("fast", 1, 50), choice("over", 0.5, 90, is_in_budget=False),
        choice("best", 5, 80), choice("same time, worse", 5, 70), choice("same accuracy, slower", 6, 80),
        choice("between", 4, 65), choice("same accuracy, slower still", 4.5, 65),
    ])  # fmt: skip
    assert [one.name for one in ranked if one.is_unbeaten] == ["best", "between", "fast"]
    assert [one.published.top1 for one in ranked] == [90, 80, 80, 70, 65, 65, 60, 50]


def test_accuracy_is_of_the_size_that_is_measured():
    spec = model_info("resnet50_v1_5")
    rows = [row for row in public_weights() if row.network == spec.name and row.top1]
    found = published(spec)
    assert max(row.top1 for row in rows) > found.top1  # on larger pictures there is better
    assert found.top1 == max(row.top1 for row in rows if row.preprocessing.image_size == 224)
    assert published(model_info("alexnet")) == (59.3, "the paper")
    assert published(model_info("lenet5")) is None


def test_a_network_is_really_measured(tmp_path):
    ask = Ask(model_info("mobilenet_v1_x0_25"), 32, 7, 1)
    kept = Kept(tmp_path / "folder" / "measured.json")
    found = kept.get(ask)
    assert found.num_calls >= 3 and 0 < found.fastest_ms <= found.p50_ms <= found.p95_ms
    params = sum(p.numel() for p in recommending.create_model(ask.spec.name, 7).parameters())
    assert 0.9 * 4 * params < found.num_bytes < 4 * params + 500_000
    assert Kept(kept.path, measure=None).get(ask) == found


def test_openvino_is_measured_and_told_and_kept_apart(asked, capsys, monkeypatch):
    command = [*V3, "--max-ms", "7.5", "--json"]
    assert run(command) == 0
    assert json.loads(capsys.readouterr().out)["engine"] == f"ONNX Runtime {version('onnxruntime')}"
    num_first = len(asked)
    assert run([*command, "--engine", "openvino"]) == 0 and len(asked) == 2 * num_first
    assert json.loads(capsys.readouterr().out)["engine"] == f"OpenVINO {version('openvino')}"
    assert run([*V3, "--max-ms", "7.5", "--engine", "openvino"]) == 0 and len(asked) == 2 * num_first
    assert f"Within 7.5 ms: OpenVINO {version('openvino')}, " in capsys.readouterr().out
    monkeypatch.setitem(sys.modules, "openvino", None)
    assert run([*command, "--engine", "openvino"]) == 2
    assert "pip install 'depthwise[openvino]'" in capsys.readouterr().err


def test_the_engine_asked_for_is_what_answers(monkeypatch):
    calls, whole = [], OpenVinoEngine.logits
    monkeypatch.setattr(OpenVinoEngine, "logits", lambda self, images: calls.append(1) or whole(self, images))
    monkeypatch.setattr(measured, "SECONDS", 0.0)
    found = measure_network(Ask(model_info("mobilenet_v1_x0_25"), 32, 7, 1, "openvino"))
    assert 0 < found.num_calls <= len(calls)


def test_pictures_that_are_too_small_are_a_reason(tmp_path, asked, monkeypatch):
    monkeypatch.setattr(measured.Kept.__init__, "__defaults__", (measure_network,))
    kept = Kept(tmp_path / "kept.json", lambda ask: Measured(20, 20, 20, 1, 1) if ask.spec.name == "resnet18" else 0)
    kept.get(Ask(model_info("resnet18"), 16, 1000, 1))
    found = recommend(Budget(1e6), pattern="nin", image_size=16, threads=1, kept=Kept(kept.path))
    ((reason, names),) = found.left_out.items()
    assert "too small" in reason and names == ["nin"] and not found.choices


def test_table_and_picture(asked, tmp_path, capsys):
    out = tmp_path / "choices.svg"
    assert run([*V3, "--max-ms", "7.5", "--svg", str(out)]) == 0
    said = capsys.readouterr().out
    lines = said.splitlines()
    assert [line.split()[0] for line in lines[3:6]] == [
        "mobilenet_v3_large",
        "mobilenet_v3_small",
        "mobilenet_v3_small_x0_75",
    ]
    assert "another is faster and more accurate: mobilenet_v3_large_x0_75, mobilenet_v3_small_minimal." in said
    assert "Measured, but above it: mobilenet_v3_large_minimal (8.8 ms)." in said
    assert "does not tell how the networks rank on your photos" in " ".join(said.split())
    assert lines[-1] == "Next: depthwise train PHOTOS --model mobilenet_v3_large --image-size 224"
    root = ElementTree.fromstring(out.read_text())
    words = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert "mobilenet_v3_large" in words and "mobilenet_v3_large_x0_75" not in words and "at most 7.5 ms" in words
    dots = [c for c in root.iter("{http://www.w3.org/2000/svg}circle") if float(c.get("cy")) < 560]
    assert len(dots) == 6
    at = {c.get("fill"): (float(c.get("cx")), float(c.get("cy"))) for c in dots}
    limit = next(float(e.get("x")) for e in root.iter("{http://www.w3.org/2000/svg}text") if e.text == "at most 7.5 ms")
    assert at["#ffffff"][0] > limit > at["#2a8a74"][0]
    assert run([*V3, "--max-ms", "7.5", "--svg", str(out)]) == 2
    assert "--overwrite" in capsys.readouterr().err


def test_a_busy_machine_is_told(asked, monkeypatch, capsys):
    assert run([*V3, "--max-ms", "7.5"]) == 0
    assert "busy" not in capsys.readouterr().out
    monkeypatch.setattr(measured, "UNSTEADY", 1.19)
    assert run([*V3, "--max-ms", "7.5"]) == 0
    assert "mobilenet_v3_small_minimal: p95 is far above p50" in " ".join(capsys.readouterr().out.split())


def test_nothing_within_the_budget(asked, capsys):
    assert run([*V3, "--max-ms", "1.8"]) == 0
    said = capsys.readouterr().out
    assert "No network keeps within this budget." in said and "Next:" not in said


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--max-ms", "0"], "--max-ms 0: need more than 0"),
        (["--max-mb", "-1"], "--max-mb -1: need more than 0"),
        (["--pattern", "nothing*"], "no network's name matches 'nothing*'"),
        (["--threads", "0"], "--threads 0: at least 1"),
        (["--image-size", "0"], "--image-size 0: at least 1"),
        (["--num-classes", "0"], "--num-classes 0: at least 1"),
        (["--svg", "picture.png"], "ends in .svg"),
    ],
)
def test_what_is_asked_wrongly_is_explained(asked, capsys, arguments, message):
    assert run(["recommend", *arguments]) == 2
    assert message in capsys.readouterr().err and not asked


def test_help_says_what_photos_change():
    reply = subprocess.run([sys.executable, "-m", "depthwise", "recommend", "--help"], capture_output=True, text=True)
    assert "without, nothing is tried on photos" in " ".join(reply.stdout.replace("│", " ").split())


def test_where_nothing_can_be_kept_results_are_shown(asked, tmp_path, monkeypatch, capsys):
    (tmp_path / "file").touch()
    monkeypatch.setenv("DEPTHWISE_CACHE", str(tmp_path / "file"))
    assert run([*V3, "--max-ms", "7.5"]) == 0
    reply = capsys.readouterr()
    assert "mobilenet_v3_large" in reply.out and "cannot write" not in reply.out
    assert reply.err.count("measured.json") == 2 and "measured again the next time" in reply.err  # said, and where
