"""`train --init MODEL`: classes go by name."""

import shutil
from pathlib import Path

import pytest
import torch

from conftest import FLAGS
from depthwise import artifact
from depthwise.cli import run
from depthwise.models.create import create_model

SMALL = ("--recipe", "none", "--model", "mobilenet_v1", "--set", "width=0.1", "--batch-size", "4", "--workers", "0")


@pytest.fixture(scope="module")
def donor(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("donor") / "run"
    assert run(["train", str(photos), "--out", str(out), *SMALL, "--lr", "0.2", "--epochs", "1"]) == 0
    return out


def train(data: Path, out: Path, *flags: str, epochs: int = 1) -> int:
    return run(["train", str(data), "--out", str(out), *SMALL, "--epochs", str(epochs), *flags])


@pytest.fixture
def other_photos(photos: Path, tmp_path: Path) -> Path:
    """A class less, one more, and one that moves to another place in the list."""
    folder = tmp_path / "other photos"
    shutil.copytree(photos, folder)
    shutil.copytree(folder / "red fox", folder / "zebra")
    shutil.rmtree(folder / "crème brûlée")
    for number, path in enumerate(sorted((folder / "zebra").iterdir())):  # other bytes, other pictures
        path.write_bytes((photos / "crème brûlée" / path.name).read_bytes() + bytes([number]))
    return folder


def test_statistics_can_be_kept_only_of_weights_trained_before(donor, photos, tmp_path, capsys):
    assert train(photos, tmp_path / "run", "--keep-statistics") == 2
    assert "--keep-statistics needs those of weights that were trained before" in capsys.readouterr().err
    assert train(photos, tmp_path / "run", "--keep-statistics", "--init", str(donor), "--lr", "1e-3") == 0
    (_, old), (_, new) = (artifact.read(folder / "best.safetensors") for folder in (donor, tmp_path / "run"))
    assert all(torch.equal(new[name], old[name]) for name in old if "running" in name)
    assert not torch.equal(new["stem.conv.weight"], old["stem.conv.weight"])


def test_classes_go_by_name_and_everything_else_is_taken_over(donor, other_photos, tmp_path, capsys):
    out = tmp_path / "run"
    assert train(other_photos, out, "--init", str(donor), "--lr", "1e-12", "--no-recalibrate") == 0
    said = capsys.readouterr().out
    assert f"Starting from {donor}. Classes kept: red fox, 猫; new: zebra; gone: crème brûlée" in said
    (old_card, old), (new_card, new) = (
        artifact.read(donor / "best.safetensors"),
        artifact.read(out / "best.safetensors"),
    )
    assert new_card.classes == ("red fox", "zebra", "猫")
    assert new_card.geometry == old_card.geometry
    for name in ("red fox", "猫"):
        row, before = new_card.classes.index(name), old_card.classes.index(name)
        for tensor in ("classifier.weight", "classifier.bias"):
            torch.testing.assert_close(new[tensor][row], old[tensor][before], rtol=0, atol=1e-6)
    for name, tensor in old.items():
        if tensor.is_floating_point() and "running" not in name and not name.startswith("classifier"):
            torch.testing.assert_close(new[name], tensor, rtol=0, atol=1e-6)
    fresh = new["classifier.weight"][1]
    assert all((fresh - row).abs().max() > 1e-3 for row in old["classifier.weight"])


def test_a_warm_start_starts_warm(donor, photos, tmp_path, capsys):
    assert train(photos, tmp_path / "run", "--init", str(donor / "best.safetensors"), "--lr", "1e-12") == 0
    assert "Classes kept: crème brûlée, red fox, 猫\n" in capsys.readouterr().out
    best = artifact.read_card(tmp_path / "run" / "best.safetensors").training
    assert best["valid_top1"] == artifact.read_card(donor / "best.safetensors").training["valid_top1"]


def test_a_warm_start_goes_on_without_its_model(donor, photos, tmp_path, capsys):
    model = tmp_path / "model.safetensors"
    shutil.copy(donor / "best.safetensors", model)
    flags = ("--init", str(model), "--resume")
    assert train(photos, tmp_path / "run", *flags) == 0
    model.unlink()
    assert train(photos, tmp_path / "run", *flags, epochs=2) == 0
    assert train(photos, tmp_path / "run", "--resume", epochs=3) == 2
    assert f"init: {model} in the run, not given now" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (
            ("--set", "width=0.2"),
            "at blocks.0.pointwise.conv.weight; it was built with width=0.1, small_input=True",
        ),
        (("--channels", "1"), "takes 3 channels: leave --channels out"),
    ],
)
def test_a_model_that_does_not_fit_is_refused_with_the_remedy(flags, message, donor, photos, tmp_path, capsys):
    """Before any picture is decoded."""
    out = tmp_path / "run"
    assert train(photos, out, "--init", str(donor), *flags) == 2
    assert message in capsys.readouterr().err
    assert not out.exists()


def test_a_model_of_another_network_is_refused(donor, photos, tmp_path, capsys):
    assert run(["train", str(photos), "--out", str(tmp_path / "run"), *FLAGS, "--init", str(donor)]) == 2
    assert "is a mobilenet_v1_x1_0, not a lenet5: add --model mobilenet_v1_x1_0" in capsys.readouterr().err


def test_what_is_no_model_is_refused(donor, photos, tmp_path, capsys):
    assert train(photos, tmp_path / "run", "--init", str(donor / "last.safetensors")) == 2
    assert "a checkpoint to go on from, not a model" in capsys.readouterr().err
    assert train(photos, tmp_path / "run", "--init", str(tmp_path / "none.safetensors")) == 2
    assert "no such model file" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["lenet5_1998", "nin_cifar"])
def test_a_network_whose_last_layer_is_not_linear_is_refused(name):
    from depthwise.artifact import Card
    from depthwise.data.geometry import Geometry
    from depthwise.errors import UserError
    from depthwise.workflows.warm_start import Donor, check_donor

    donor = Donor(Card("model", name, {}, False, ("a",), Geometry(32)), {}, "--init model")
    with pytest.raises(UserError, match=f"{name} has no linear layer called 'classifier' as its last"):
        check_donor(create_model(name), name, 3, donor)


def test_the_donors_options_hold_without_being_repeated(donor, photos, tmp_path):
    out = tmp_path / "run"
    flags = ["--model", "mobilenet_v1", "--batch-size", "4", "--epochs", "1", "--init", str(donor)]
    assert run(["train", str(photos), "--out", str(out), *flags, "--set", "activation=relu6"]) == 0
    card = artifact.read_card(out / "best.safetensors")
    assert card.options == {"width": 0.1, "activation": "relu6"} and card.small_input
    assert card.training["config"]["lr"] == 0.01  # weights are not fresh


def test_training_begins_with_others_weights(photos, tmp_path, capsys):
    out = tmp_path / "run"
    plain = ["--recipe", "none", "--no-report"]
    flags = ["--model", "efficientnet_lite0", "--pretrained", "package", "--image-size", "32", "--batch-size", "8"]
    flags += plain
    assert run(["train", str(photos), "--out", str(out), *flags, "--epochs", "1"]) == 0
    said = capsys.readouterr().out
    assert "Starting from package. Classes kept: red fox; new: crème brûlée, 猫; gone: tench, goldfish" in said
    assert "and 991 more" in said
    card, tensors = artifact.read(out / "best.safetensors")
    assert (card.origin, card.options, card.small_input) == ("package", {"padding": "same_tf"}, False)
    assert card.geometry.mean == pytest.approx((127 / 255,) * 3) and card.geometry.resample == "bicubic"
    assert card.training["config"]["lr"] == 0.01
    theirs = create_model("efficientnet_lite0", pretrained="package").state_dict()
    name = "blocks.5.depthwise.conv.weight"
    assert (tensors[name] - theirs[name]).abs().mean() < 0.1 * theirs[name].abs().mean()
    assert run(["train", str(photos), "--out", str(out), *flags, "--epochs", "2", "--resume"]) == 0
    other = ["--model", "efficientnet_lite0", "--image-size", "32", "--batch-size", "8", "--lr", "0.01", *plain]
    assert run(["train", str(photos), "--out", str(out), *other, "--epochs", "3", "--resume"]) == 2
    assert "pretrained: package in the run, not given now" in capsys.readouterr().err


def test_weights_come_from_one_place(donor, photos, tmp_path, capsys):
    assert train(photos, tmp_path / "run", "--init", str(donor), "--pretrained", "timm") == 2
    assert "give one of them" in capsys.readouterr().err


def test_a_model_file_given_as_pretrained_brings_its_options(donor, photos, tmp_path, capsys):
    out = tmp_path / "run"
    flags = ["--recipe", "none", "--model", "mobilenet_v1", "--batch-size", "4", "--epochs", "1"]
    flags += ["--pretrained", str(donor / "best.safetensors")]
    assert run(["train", str(photos), "--out", str(out), *flags, "--set", "width=0.2"]) == 2
    assert "trained with width=0.1; this mobilenet_v1_x1_0 has width=0.2" in capsys.readouterr().err
    assert run(["train", str(photos), "--out", str(out), *flags]) == 0
    assert "Classes kept: crème brûlée, red fox, 猫\n" in capsys.readouterr().out
    old, new = (artifact.read_card(folder / "best.safetensors") for folder in (donor, out))
    assert new.options == {"width": 0.1} and new.small_input and new.geometry == old.geometry
