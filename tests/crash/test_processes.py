"""Several gloo processes: they train one network, stop together, and end when one of them is gone."""

import hashlib
import multiprocessing
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
from victims import Kill, Order, start

from conftest import write_photos

pytestmark = pytest.mark.skipif(os.name == "nt", reason="fork")
SETTINGS = ("--batch-size", "8", "--lr", "0.05", "--threads", "1", "--workers", "0")
FLAGS, ENDLESS = (*SETTINGS, "--epochs", "2"), (*SETTINGS, "--epochs", "1000")
SMALL = ("--model", "mobilenet_v1", "--set", "width=0.1", "--image-size", "16")
FILES = ("best.safetensors", "last.safetensors", "metrics.jsonl", "config.toml")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_photos(tmp_path_factory.mktemp("several") / "photos", per_class=14, size=(16, 16))


@pytest.fixture(autouse=True)
def no_child_is_left():
    yield
    for process in multiprocessing.active_children():
        process.kill()


def launch(
    folder: Path,
    num_processes: int,
    arguments: list[str],
    kills: dict[int, Kill] | None = None,
    timeout_s: float | None = None,
) -> list[BaseProcess]:
    """Start the processes of one run as torchrun would."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    world = {"WORLD_SIZE": str(num_processes), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    started = []
    for rank in range(num_processes):
        said, own = folder / f"said{rank}", {"RANK": str(rank), "LOCAL_RANK": str(rank)}
        kill = (kills or {}).get(rank)
        started.append(start(Order(arguments, said, folder / f"trace{rank}", kill, {**world, **own}, timeout_s)))
    return started


def wait(processes: list[BaseProcess]) -> list[int | None]:
    """Return the exit statuses; fail when one hangs."""
    for process in processes:
        process.join(100)
    codes = [process.exitcode for process in processes]
    for process in processes:
        process.kill()
    assert None not in codes, f"hangs: {codes}"
    return codes


def together(
    folder: Path, num_processes: int, *arguments: str, kills: dict[int, Kill] | None = None
) -> list[int | None]:
    return wait(launch(folder, num_processes, ["train", *arguments], kills))


def said(folder: Path, rank: int = 0) -> str:
    path = folder / f"said{rank}"
    return path.read_text() if path.exists() else ""


def wait_for(text: str, folder: Path, processes: list[BaseProcess]) -> None:
    """Return when process 0 has said `text`."""
    while text not in said(folder):
        assert all(process.is_alive() for process in processes), said(folder)
        time.sleep(0.01)


def digests(run: Path) -> dict[str, str]:
    return {name: hashlib.sha256((run / name).read_bytes()).hexdigest() for name in FILES}


@pytest.fixture(scope="module")
def unbroken(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("unbroken")
    assert together(folder, 2, str(pictures), *SMALL, *FLAGS, "--out", str(folder / "run")) == [0, 0], said(folder)
    return folder


def test_two_processes_see_all_samples_once_and_one_of_them_talks(unbroken: Path):
    steps = [[line.split() for line in (unbroken / f"trace{rank}").read_text().splitlines()] for rank in (0, 1)]
    assert [line[0] for line in steps[0]] == [line[0] for line in steps[1]] == [str(n) for n in range(1, 9)]
    seen = [line[1:] for line in steps[0][:4] + steps[1][:4]]
    assert len({name for names in seen for name in names}) == sum(map(len, seen)) == 30
    assert "epoch 2/2" in said(unbroken) and "in 2 processes" in said(unbroken)
    assert said(unbroken, 1) == ""


def test_what_two_processes_save_is_what_one_saves_in_two_parts(unbroken: Path, pictures: Path, tmp_path: Path):
    from safetensors.numpy import load_file

    out = tmp_path / "run"
    assert together(tmp_path, 1, str(pictures), *SMALL, *FLAGS, "--accumulate", "2", "--out", str(out)) == [0]
    two, one = (load_file(folder / "last.safetensors") for folder in (unbroken / "run", out))
    assert set(two) == set(one)  # unwrapped: no prefix
    for name, tensor in one.items():
        if not name.endswith("num_batches_tracked"):
            assert abs(two[name] - tensor).max() <= 1e-9, name
    assert (unbroken / "run" / "metrics.jsonl").read_text() == (out / "metrics.jsonl").read_text()


def test_two_stages_need_the_run_folder_on_the_first_machine_only(pictures: Path, tmp_path: Path):
    """The second process has another working folder, as on another machine: RUN is never there."""
    recipe = tmp_path / "two.toml"
    head = '[head]\nfreeze = "backbone"\nepochs = 2\nlr = 0.1\n'
    recipe.write_text('model = "efficientnet_lite0"\npretrained = "package"\nepochs = 1\nlr = 0.01\n' + head)
    flags = ["--recipe", str(recipe), "--batch-size", "8", "--threads", "1", "--workers", "0", "--image-size", "32"]
    for more in ([], ["--resume", "--epochs", "2"]):
        with socket.create_server(("127.0.0.1", 0)) as free:
            world = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1])}
        processes = []
        for rank in range(2):
            place = tmp_path / f"machine{rank}"
            place.mkdir(exist_ok=True)
            command = [sys.executable, "-m", "depthwise", "train", str(pictures), "--out", "run", *flags, *more]
            own = {**os.environ, **world, "RANK": str(rank), "LOCAL_RANK": str(rank)}
            processes.append(subprocess.Popen(command, cwd=place, env=own, stderr=subprocess.PIPE, text=True))
        said = [process.communicate(timeout=100)[1] for process in processes]
        assert [process.returncode for process in processes] == [0, 0], said
    assert (tmp_path / "machine0/run/best.safetensors").exists()
    assert not list((tmp_path / "machine1").iterdir())


def test_killed_processes_go_on_to_the_same_bits(unbroken: Path, pictures: Path, tmp_path: Path):
    rng = random.Random(5)
    for number in range(3):
        folder = tmp_path / str(number)
        folder.mkdir()
        arguments = [str(pictures), *SMALL, *FLAGS, "--save-every", "2", "--out", str(folder / "run"), "--resume"]
        victim = rng.randrange(2)
        kill = Kill(rng.choice(("step", "stepped", "validation")), rng.randint(1, 8))
        codes = together(folder, 2, *arguments, kills={victim: kill})
        assert codes[victim] == -signal.SIGKILL and codes[1 - victim] == 2
        told = said(folder, 1 - victim)
        assert f"process {1 - victim} of 2 lost the others" in told and "start all of them again, with --resume" in told
        assert "Traceback" not in told
        assert together(folder, 2, *arguments) == [0, 0], said(folder)
        assert digests(folder / "run") == digests(unbroken / "run")


def test_with_fused_kernels_both_end_with_the_same_weights_killed_or_not(
    unbroken: Path, pictures: Path, tmp_path: Path
):
    """The kernels are compiled before: processes that wait for each other are not patient enough."""
    from depthwise.training import make_step

    network = {"width": 0.1, "small_input": True, "num_classes": 3}
    make_step("mobilenet_v1", batch_size=4, image_size=16, kernels="fused", precision="fp32", **network)()
    arguments = [str(pictures), *SMALL, *FLAGS, "--kernels", "fused", "--precision", "fp32", "--save-every", "2"]
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    for folder in (whole, broken):
        folder.mkdir()
    kills = {1: Kill("step", 7)}
    assert together(whole, 2, *arguments, "--out", str(whole / "run")) == [0, 0], said(whole)
    assert together(broken, 2, *arguments, "--out", str(broken / "run"), kills=kills) == [2, -signal.SIGKILL]
    assert together(broken, 2, *arguments, "--out", str(broken / "run"), "--resume") == [0, 0], said(broken)
    ends = {(folder / f"trace{rank}.state").read_text() for folder in (whole, broken) for rank in (0, 1)}
    assert len(ends) == 1 and digests(broken / "run") == digests(whole / "run")
    plain, fused = (folder / "run" / "last.safetensors" for folder in (unbroken, whole))
    assert plain.read_bytes() != fused.read_bytes() and (unbroken / "trace0.state").read_text() not in ends


@pytest.mark.parametrize("rank", [0, 1])
def test_a_signal_to_one_process_stops_all_at_the_same_step(rank: int, pictures: Path, tmp_path: Path):
    processes = launch(tmp_path, 2, ["train", str(pictures), *SMALL, *ENDLESS, "--out", str(tmp_path / "run")])
    wait_for("2/1000", tmp_path, processes)
    os.kill(processes[rank].pid, signal.SIGTERM)
    assert wait(processes) == [143, 143]
    assert "Go on with the same command and --resume" in said(tmp_path) and said(tmp_path, 1) == ""
    assert said(tmp_path).splitlines()[-1].startswith("torchrun ... -m depthwise train ")
    ends = [(tmp_path / f"trace{number}").read_text().splitlines()[-1].split()[0] for number in (0, 1)]
    assert ends[0] == ends[1] and f"Stopped after step {int(ends[0]):,}," in said(tmp_path)


@pytest.mark.parametrize("num_processes", [1, 3])
def test_another_number_of_processes_is_refused_by_one_of_them(
    num_processes: int, unbroken: Path, pictures: Path, tmp_path: Path
):
    shutil.copytree(unbroken / "run", tmp_path / "run")
    arguments = [str(pictures), *SMALL, *SETTINGS, "--epochs", "3", "--out", str(tmp_path / "run"), "--resume"]
    assert together(tmp_path, num_processes, *arguments) == [2] * num_processes
    assert f"processes: 2 in the run, {num_processes} now" in said(tmp_path)
    assert all("ends, as process 0 did" in said(tmp_path, rank) for rank in range(1, num_processes))


def test_a_loss_that_is_no_number_ends_all_and_is_told_by_one(pictures: Path, tmp_path: Path):
    network = ("--model", "lenet5", "--set", "activation=relu", "--lr", "1000", *SETTINGS[:2], *SETTINGS[4:])
    assert together(tmp_path, 2, str(pictures), *network, "--epochs", "9", "--out", str(tmp_path / "run")) == [2, 2]
    assert "Try a lower --lr (it is 1000), or --clip-grad 1." in said(tmp_path)
    assert said(tmp_path, 1) == "error: process 1 of 2 ends, as process 0 did\n"


def test_only_process_0_decides_when_to_save(pictures: Path, tmp_path: Path):
    from depthwise import artifact

    out = tmp_path / "run"
    never_due = ("--save-every", "5")  # an epoch is 4 steps
    arguments = [str(pictures), *SMALL, *FLAGS, *never_due, "--out", str(out)]
    assert together(tmp_path, 2, *arguments) == [0, 0]
    assert artifact.read_card(out / "previous.safetensors").training["position"]["step"] == 4


def test_too_many_processes_are_refused_with_the_largest_number(pictures: Path, tmp_path: Path):
    flags = ("--batch-size", "5", *FLAGS[2:], "--out", str(tmp_path / "run"))
    assert together(tmp_path, 3, str(pictures), *SMALL, *flags) == [2, 2, 2]
    assert "leave a smallest batch of 5: too few for 3 processes" in said(tmp_path)
    assert "at most 2 processes" in said(tmp_path)
    assert said(tmp_path, 1) == "error: process 1 of 3 ends, as process 0 did\n"
    assert not (tmp_path / "run").exists()


def test_a_silent_process_ends_the_others(pictures: Path, tmp_path: Path):
    arguments = ["train", str(pictures), *SMALL, *ENDLESS, "--out", str(tmp_path / "run")]
    processes = launch(tmp_path, 2, arguments, timeout_s=12)
    wait_for("1/1000", tmp_path, processes)
    os.kill(processes[1].pid, signal.SIGSTOP)
    processes[0].join(100)
    os.kill(processes[1].pid, signal.SIGCONT)
    assert processes[0].exitcode == 2 and "or was silent for 12 s" in said(tmp_path)
    assert wait(processes)[1] == 2


def test_torchrun_starts_a_killed_run_again_and_it_ends_with_the_same_bits(
    unbroken: Path, pictures: Path, tmp_path: Path
):
    once_killed = Path(__file__).with_name("once_killed.py")
    out = ("--out", str(tmp_path / "run"))
    arguments = ["train", str(pictures), *SMALL, *FLAGS, "--save-every", "2", *out, "--resume"]
    elastic = ["--nproc-per-node", "2", "--max-restarts", "1", "--monitor-interval", "0.1"]
    command = [sys.executable, "-m", "torch.distributed.run", *elastic, str(once_killed), str(tmp_path), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    starts = [(tmp_path / f"trace{number}").read_text().splitlines() for number in (0, 1)]
    assert [line.split()[0] for line in starts[0]] == ["1", "2", "3", "4", "5"]  # process 1 dies in it
    assert [line.split()[0] for line in starts[1]] == ["5", "6", "7", "8"]
    assert digests(tmp_path / "run") == digests(unbroken / "run")
