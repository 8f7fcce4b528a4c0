"""`train --recipe`: settings by name, and the one that suits the pictures."""

import json
import shlex
import shutil
import signal
import tomllib
from dataclasses import replace

import pytest
import torch

import depthwise as dw
from conftest import write_photos
from depthwise import artifact
from depthwise.artifact import read_card
from depthwise.cli import run
from depthwise.console import Quiet
from depthwise.data.augment import resolve
from depthwise.data.index import read_index
from depthwise.errors import Interrupted, UserError
from depthwise.models.registry import model_info
from depthwise.training.lr_finder import Sweep
from depthwise.workflows import finding_lr
from depthwise.workflows.recipe_choice import choose_recipe
from depthwise.workflows.recipes import Recipe, read_recipe, recipe_names
from depthwise.workflows.training_data import choose_geometry

SMALL = {"image_size": 32, "batch_size": 8, "seed": 1}
HOW = {"workers": 0, "threads": 1}


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    """Two stages on a network that is quick."""
    path = tmp_path_factory.mktemp("recipes") / "two.toml"
    head = '[head]\nfreeze = "backbone"\nepochs = 3\nlr = 0.1\n'
    path.write_text('model = "efficientnet_lite0"\npretrained = "package"\nepochs = 2\n' + head)
    return str(path)


@pytest.fixture(scope="module")
def staged(photos, recipe, tmp_path_factory):
    out = tmp_path_factory.mktemp("staged") / "run"
    dw.train(photos, out, {**SMALL, "recipe": recipe}, **HOW)
    return out


@pytest.mark.parametrize("name", recipe_names())
def test_a_recipe_says_its_command_and_makes_a_configuration(name):
    recipe = read_recipe(name)
    assert f"--recipe {name}" in recipe.says
    for stage in recipe.stages({}):
        assert stage.recipe == name
        assert model_info(stage.model)


class Started(Exception):
    """The first step was taken."""


class StoppingAtOnce(Quiet):
    def track(self, items, total, label):
        for item in items:
            if label == "Training":
                raise Started
            yield item


@pytest.mark.parametrize("name", recipe_names())
def test_a_recipe_starts(name, photos, tmp_path):
    side = {"alexnet": 227, "nin": 224}.get(name, 32 if name.endswith(("_cifar", "lenet5")) else 64)
    wishes = {"recipe": name, "image_size": side, "batch_size": 8}
    with pytest.raises(Started):
        dw.train(photos, tmp_path / "run", wishes, console=StoppingAtOnce(), **HOW)


def test_a_flag_given_goes_above_the_recipe_even_where_it_is_the_default():
    default = dw.TrainConfig().epochs
    assert read_recipe("scratch-224").stages({})[-1].epochs != default
    assert read_recipe("scratch-224").stages({"epochs": default})[-1].epochs == default


@pytest.mark.parametrize(
    ("name", "wishes"),
    [
        ("mobilenet_v3", {"epochs": 3}),
        ("mobilenet_v3", {"optimizer": "sgd"}),
        ("mobilenet_v2", {"schedule": "cosine"}),
        ("alexnet", {"schedule": "cosine"}),
        ("alexnet", {"scale_min": 0.3}),
        ("vgg", {"crop": 0.1}),
        ("resnet_cifar", {"optimizer": "adamw"}),
        ("resnet_cifar", {"decay_every": 30.0}),
        ("resnet_cifar", {"epochs": 1}),
        ("efficientnet", {"warmup_steps": 100}),
        ("efficientnet", {"warmup_steps": 0}),
        ("efficientnet", {"warmup": 0.0}),
        ("finetune", {"layer_decay": 0.75}),
        ("finetune", {"optimizer": "rmsprop", "rms_decay": 0.95}),
        ("finetune", {"epsilon": 1e-7}),
        ("finetune", {"optimizer": "sgd", "nesterov": False}),
        ("finetune", {"teacher": "runs/big"}),
        ("finetune", {"teacher": "runs/big", "distill_weight": 0.5}),
        ("finetune", {"freeze": "stages:3", "unfreeze_after": 2}),
    ],
)
def test_any_flag_goes_with_any_recipe(name, wishes):
    last = read_recipe(name).stages(wishes)[-1]
    assert {wish: getattr(last, wish) for wish in wishes} == wishes


def test_views_of_frozen_features_are_the_head_s_stage_s():
    assert [stage.frozen_views for stage in read_recipe("finetune").stages({"frozen_views": 3})] == [3, 1]


def test_what_belonged_to_another_optimiser_or_schedule_is_left_behind():
    recipe = read_recipe("resnet_cifar")
    plain, adamw, cosine = (
        recipe.stages(wishes)[-1] for wishes in ({}, {"optimizer": "adamw"}, {"schedule": "cosine"})
    )
    assert plain.lr == 0.1 and plain.weight_decay == 1e-4 and plain.milestones
    assert (adamw.lr, adamw.weight_decay, adamw.milestones) == (None, None, plain.milestones)
    assert (cosine.lr, cosine.milestones) == (0.1, None)
    assert recipe.stages({"optimizer": "sgd"})[-1].lr == 0.1  # the recipe's own
    finetune = read_recipe("finetune")
    found = [[(stage.optimizer, stage.lr) for stage in finetune.stages(w)] for w in ({}, {"optimizer": "rmsprop"})]
    assert found == [[("sgd", 0.02), ("adamw", 2e-4)], [("rmsprop", None)] * 2]
    assert [stage.lr for stage in finetune.stages({"optimizer": "sgd"})] == [0.02, None]
    assert [finetune.stages(w)[-1].keep_statistics for w in ({}, {"optimizer": "sgd"})] == [True, False]
    assert [stage.lr for stage in read_recipe("finetune").stages({"lr": 0.003})] == [0.02, 0.003]
    assert [stage.weight_decay for stage in finetune.stages({"weight_decay": 0.05})] == [None, 0.05]


def test_a_wish_for_no_warm_up_leaves_the_recipe_s_behind():
    found = read_recipe("efficientnet").stages({"warmup": 0.0})[-1]
    assert (found.warmup, found.warmup_epochs) == (0.0, None)


def test_a_rule_for_where_to_cut_that_is_off_leaves_the_recipe_s_alone():
    assert read_recipe("efficientnet").stages({"short_side": (0, 0)})[-1].scale_min == 0.08
    assert resolve(dw.TrainConfig(short_side=(0, 0))).crop == 0.08


def test_what_is_counted_in_epochs_follows_their_number():
    recipe = Recipe("r", "", {"epochs": 100, "warmup_epochs": 5.0, "schedule": "step", "milestones": "30,60,90"})
    short, tiny = (recipe.stages({"epochs": epochs})[-1] for epochs in (10, 2))
    assert (short.warmup_epochs, short.milestones) == (0.5, "3,6,9")
    assert (tiny.warmup_epochs, tiny.milestones) == (0.1, "0.6,1.2,1.8")
    waits = Recipe("r", "", {"epochs": 100, "schedule": "plateau", "decay_every": 10.0})
    for wishes in ({"epochs": 51}, {"epochs": 51, "schedule": "plateau"}):
        assert waits.stages(wishes)[-1].decay_every == 5
    assert [waits.stages({"epochs": epochs})[-1].decay_every for epochs in (3, 100, 300)] == [2, 10, 10]
    assert waits.stages({"epochs": 51, "decay_every": 7.0})[-1].decay_every == 7
    steps = Recipe("r", "", {"epochs": 90, "schedule": "step", "decay_every": 30.0})  # another schedule's number
    assert steps.stages({"epochs": 80, "schedule": "plateau"})[-1].decay_every == 4


def test_options_of_a_recipe_s_network_are_not_another_s():
    recipe = read_recipe("googlenet")
    assert recipe.stages({})[-1].set == ("aux=true",)
    assert recipe.stages({"model": "resnet18"})[-1].set == ()


@pytest.mark.parametrize(("model", "size"), [("efficientnet_b0", 224), ("efficientnet_b4", 380)])
def test_each_efficientnet_has_its_own_size(tmp_path, model, size):
    index = read_index(write_photos(tmp_path / "photos", per_class=1, size=(600, 600)))
    index = replace(index, records=tuple(replace(record, split="train") for record in index.records))
    config = read_recipe("efficientnet").stages({"model": model})[-1]
    assert choose_geometry(index, model_info(model), config, Quiet()).image_size == size


def test_networks_of_before_batch_norm_see_values_as_large_as_bytes(photos, tmp_path):
    wishes = {"recipe": "alexnet", "model": "lenet5", "epochs": 1, "batch_size": 4, "image_size": 32}
    dw.train(photos, tmp_path / "run", wishes | {"short_side": (0, 0)})
    geometry = read_card(tmp_path / "run" / "best.safetensors").geometry
    assert geometry.std == (1 / 255,) * geometry.channels
    assert 0.05 < geometry.mean[0] < 0.95
    with pytest.raises(UserError, match="--centre-only"):
        dw.train(photos, tmp_path / "more", dw.TrainConfig(model="lenet5", centre_only=True), init=tmp_path / "run")


def test_flags_given_on_the_command_line_go_above_the_recipe(photos, tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text('# mine\nmodel = "lenet5"\nepochs = 3\nlr = 0.5\n')
    flags = ("--recipe", str(path), "--epochs", "1", "--batch-size", "4")
    assert run(["train", str(photos), "--out", str(tmp_path / "run"), *flags]) == 0
    kept = tomllib.loads((tmp_path / "run/config.toml").read_text())["train"]
    assert (kept["recipe"], kept["model"], kept["epochs"], kept["lr"]) == ("mine", "lenet5", 1, 0.5)


def test_both_stages_are_kept_and_the_better_model_is_the_run_s(staged):
    head, whole = (artifact.read_card(folder / "best.safetensors") for folder in (staged / "head", staged))
    assert head.training["config"]["freeze"] == "backbone"
    assert (whole.training["valid_top1"], -whole.training["valid_loss"]) >= (
        head.training["valid_top1"],
        -head.training["valid_loss"],
    )
    rows = [json.loads(line) for line in (staged / "metrics.jsonl").read_text().splitlines()]
    assert len(rows) == 2
    assert (staged / "splits.csv").exists()


def test_without_a_gain_the_earlier_stage_s_model_stays(photos, recipe, tmp_path):
    result = dw.train(photos, tmp_path / "run", {**SMALL, "recipe": recipe, "lr": 1e-12, "recalibrate": False}, **HOW)
    head, whole = (tmp_path / name / "best.safetensors" for name in ("run/head", "run"))
    assert result.best_epoch == 0
    assert whole.read_bytes() == head.read_bytes()
    page = dw.write_report(tmp_path / "run").read_text()
    assert "the last layer alone, trained before, did better" in page
    assert "Best epoch</dt><dd>none" in page


class Stopping(Quiet):
    """Sends a signal to this process after so many of the loops' reports, of all stages together."""

    def __init__(self, after: int) -> None:
        self.left = after

    def track(self, items, total, label):
        for item in items:
            self.left -= label == "Training"
            if self.left == 0:
                signal.raise_signal(signal.SIGINT)
            yield item


@pytest.mark.parametrize("after", [2, 14])
def test_stopped_in_either_stage_and_resumed_it_ends_with_the_same_bits(photos, recipe, staged, tmp_path, after):
    out, wishes = tmp_path / "run", {**SMALL, "recipe": recipe}
    with pytest.raises(Interrupted):
        dw.train(photos, out, wishes, console=Stopping(after), **HOW)
    assert (out / "last.safetensors").exists() == (after == 14)
    dw.train(photos, out, wishes, resume="auto", **HOW)
    for name in ("metrics.jsonl", "best.safetensors", "head/last.safetensors"):
        assert (out / name).read_bytes() == (staged / name).read_bytes()


def test_it_goes_on_without_a_word_of_where(photos, recipe, staged, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    wishes = {**SMALL, "recipe": recipe}
    with pytest.raises(Interrupted):
        dw.train(photos, None, wishes, console=Stopping(14), **HOW)
    with pytest.raises(UserError, match="already holds a run"):
        dw.train(photos, None, wishes, **HOW)
    for _ in range(2):  # a run that is finished stays as it is
        result = dw.train(photos, None, wishes, resume="auto", **HOW)
        assert (result.folder / "best.safetensors").read_bytes() == (staged / "best.safetensors").read_bytes()


def test_patience_counts_from_the_stage_before(photos, recipe, tmp_path):
    wishes = {**SMALL, "recipe": recipe, "lr": 1e-12, "recalibrate": False, "epochs": 9, "patience": 2}
    result = dw.train(photos, tmp_path / "run", wishes, **HOW)
    assert (result.best_epoch, result.num_epochs) == (0, 2)


def test_a_run_keeps_its_split_and_says_so(photos, recipe, tmp_path, capsys):
    flags = ["--recipe", recipe, "--image-size", "32", "--batch-size", "8", "--workers", "0", "--no-report"]
    command = ["train", str(photos), *flags, "--out", str(tmp_path / "run"), "--epochs", "1", "--resume"]
    assert run([*command, "--valid", "0.2"]) == 0
    capsys.readouterr()
    for where in ("in the second stage", "after the first"):
        assert run([*command, "--valid", "0.25"]) == 2, where
        assert "keeps the split that it was started with:\n  valid: 0.2 in the run, 0.25 now" in capsys.readouterr().err
        assert run([*command, "--valid", "0.2"]) == 0, where
        for name in ("last", "previous", "best"):
            (tmp_path / "run" / f"{name}.safetensors").unlink(missing_ok=True)


def test_a_run_without_a_first_stage_removes_an_old_one(photos, recipe, tmp_path):
    dw.train(photos, tmp_path / "run", {**SMALL, "recipe": recipe, "epochs": 1}, **HOW)
    assert (tmp_path / "run/head/best.safetensors").exists()
    dw.train(photos, tmp_path / "run", dw.TrainConfig(model="lenet5", epochs=1, batch_size=8), overwrite=True, **HOW)
    assert not (tmp_path / "run/head").exists()


def test_a_sweep_of_the_second_stage_begins_with_the_first_one_s_head(photos, recipe, staged, monkeypatch):
    seen = []
    monkeypatch.setattr(finding_lr, "Sweep", lambda *of, **how: seen.append(of[0].model) or Sweep(*of, **how))
    found = finding_lr.find_lr(photos, {**SMALL, "recipe": recipe}, num_steps=20, low=1e-12, high=2e-12, **HOW)
    head = artifact.read(staged / "head/best.safetensors")[1]["classifier.weight"]
    torch.testing.assert_close(seen[0].classifier.weight.detach(), head, rtol=0, atol=1e-6)
    assert len(found.points) == 20


def test_a_recipe_s_seed_deals_the_photos_out_from_both_sides(photos, tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text('model = "lenet5"\nepochs = 1\nbatch_size = 8\nseed = 7\n')
    dw.train(photos, tmp_path / "python", {"recipe": str(path)}, **HOW)
    flags = ["--recipe", str(path), "--workers", "0", "--threads", "1", "--no-report"]
    assert run(["train", str(photos), "--out", str(tmp_path / "shell"), *flags]) == 0
    one, other = ((tmp_path / name / "splits.csv").read_text() for name in ("python", "shell"))
    assert one == other
    dw.train(photos, tmp_path / "config", dw.TrainConfig(model="lenet5", epochs=1, batch_size=8, seed=7), **HOW)
    assert (tmp_path / "config" / "splits.csv").read_text() == one


def test_stopped_in_the_second_stage_it_goes_on_with_its_own_photos_wherever_it_is(photos, recipe, staged, tmp_path):
    out, moved, wishes = tmp_path / "run", tmp_path / "moved", {**SMALL, "recipe": recipe}
    with pytest.raises(Interrupted):
        dw.train(photos, out, wishes, console=Stopping(14), **HOW)
    others = write_photos(tmp_path / "others", seed=1)
    with pytest.raises(UserError, match=r"head was started with other settings:\n  DATA: "):
        dw.train(others, out, wishes, resume="auto", **HOW)
    out.rename(moved)
    dw.train(photos, moved, wishes, resume="auto", **HOW)
    assert (moved / "best.safetensors").read_bytes() == (staged / "best.safetensors").read_bytes()


def test_pictures_left_out_in_the_first_stage_are_told(photos, recipe, tmp_path, capsys):
    shutil.copytree(photos, tmp_path / "photos")
    (tmp_path / "photos/red fox/broken.jpg").write_bytes(b"no picture")
    flags = ["--recipe", recipe, "--image-size", "32", "--batch-size", "8", "--workers", "0", "--threads", "1"]
    out = tmp_path / "run"
    assert run(["train", str(tmp_path / "photos"), "--out", str(out), *flags, "--freeze", "stages:2"]) == 1
    assert "broken.jpg" in capsys.readouterr().err
    start = json.loads((out / "starts.jsonl").read_text().splitlines()[0])
    assert start["num_skipped"] == 1
    assert start["command"].split("train")[1] == (
        f" {tmp_path}/photos --out {out} --recipe {recipe} --batch-size 8 --image-size 32 --freeze stages:2 --threads 1"
    )
    assert "broken.jpg" in (out / "report.html").read_text()


def test_stages_start_from_a_model_of_ours_and_the_noted_command_does_it_again(recipe, staged, photos, tmp_path):
    flags = ["--recipe", recipe, "--image-size", "32", "--batch-size", "8", "--workers", "0", "--no-report"]
    out = tmp_path / "run"
    assert run(["train", str(photos), "--out", str(out), *flags, "--init", str(staged), "--epochs", "1"]) == 0
    command = shlex.split(json.loads((out / "starts.jsonl").read_text())["command"])
    assert command[command.index("--init") + 1] == str(staged)
    assert run([*command[1:], "--overwrite", "--no-report", "--workers", "0"]) == 0


def test_a_run_that_is_replaced_has_no_say_in_the_recipe(photos, tmp_path, capsys):
    flags = ["train", str(photos), "--out", str(tmp_path / "run"), "--epochs", "1", "--no-report"]
    assert run([*flags, "--recipe", "lenet5"]) == 0
    capsys.readouterr()
    assert run([*flags, "--overwrite", "--model", "lenet5"]) == 0
    assert "Recipe scratch-small" in capsys.readouterr().out


def test_a_resumed_run_with_a_recipe_of_ones_own_asks_for_its_file(photos, tmp_path, capsys):
    (tmp_path / "mine.toml").write_text('model = "lenet5"\nepochs = 1\n')
    flags = ["train", str(photos), "--out", str(tmp_path / "run"), "--no-report"]
    assert run([*flags, "--recipe", str(tmp_path / "mine.toml")]) == 0
    assert run([*flags, "--resume"]) == 2
    assert "a recipe of yours, mine: name its file again by --recipe" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("side", "wishes", "name"),
    [
        (28, {}, "scratch-small"),
        (300, {}, "finetune"),
        (300, {"image_size": 64}, "scratch-small"),
        (300, {"model": "resnet18"}, "scratch-224"),
        (300, {"channels": 1}, "scratch-224"),
        (80, {}, "scratch-224"),
        (28, {"model": "resnet18", "pretrained": "timm"}, "finetune"),
        (300, {"freeze": "backbone"}, "linear-probe"),
    ],
)
def test_auto_goes_by_the_pictures_and_the_weights_at_hand(tmp_path, side, wishes, name):
    index = read_index(write_photos(tmp_path / "photos", per_class=1, size=(side, side + 9)))
    choice = choose_recipe(replace(index, records=index.records * 100), wishes, dw.SplitConfig())
    assert choice.name == name
    assert choice.why


def test_auto_trains_only_the_last_layer_on_few_pictures(tmp_path):
    index = read_index(write_photos(tmp_path / "photos", per_class=1, size=(300, 300)))
    few, enough = (replace(index, records=index.records * count) for count in (94, 96))
    usual = dw.SplitConfig()
    assert choose_recipe(few, {}, usual).name == "linear-probe"
    assert "197 pictures, too few to see whether" in choose_recipe(few, {}, usual).why
    assert choose_recipe(enough, {}, usual).name == "finetune"
    assert choose_recipe(enough, {}, dw.SplitConfig(valid=0.25)).name == "linear-probe"


def test_what_is_taken_for_validation_is_not_counted(tmp_path):
    """220 pictures in train/ are 187 when there is no valid/."""
    index = read_index(write_photos(tmp_path / "photos", per_class=1, size=(300, 300)))
    train = tuple(replace(record, split="train") for record in (index.records * 110)[:220])
    valid = tuple(replace(record, split="valid") for record in index.records)
    assert choose_recipe(replace(index, records=train), {}, dw.SplitConfig()).name == "linear-probe"
    assert choose_recipe(replace(index, records=(*train, *valid)), {}, dw.SplitConfig()).name == "finetune"


def test_auto_says_what_it_chose_and_a_resumed_run_keeps_it(photos, tmp_path, capsys):
    flags = ["train", str(photos), "--out", str(tmp_path / "run"), "--model", "lenet5", "--batch-size", "4"]
    assert run([*flags, "--epochs", "1"]) == 0
    assert "Recipe scratch-small: pictures of 20 px" in capsys.readouterr().out
    assert run([*flags, "--epochs", "2", "--resume"]) == 0
    assert "Recipe" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epochs = ", "not a TOML file"),
        ("epoch = 3", "no settings of depthwise train: epoch"),
        ("[head]\nfrost = 1", "no settings of depthwise train: frost"),
        ("epochs = 0", "--epochs 0 is out of range"),
        ('epochs = "many"', "wrong.toml: --epochs 'many': expected a whole number"),
        ('class_balance = "weight"', "--class-balance 'weight': expected one of none, weights, sampler, logit-adjust"),
    ],
)
def test_a_wrong_recipe_says_what_is_wrong(tmp_path, text, message):
    (tmp_path / "wrong.toml").write_text(text)
    with pytest.raises(UserError, match=message):
        read_recipe(str(tmp_path / "wrong.toml"))


def test_an_unknown_recipe_names_the_known_ones(photos, capsys):
    assert run(["train", str(photos), "--recipe", "finetuna"]) == 2
    assert "There are: auto, none, alexnet, densenet" in capsys.readouterr().err
