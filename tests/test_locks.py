import subprocess
import sys
import time

from depthwise.locks import locked

HOLD = "import sys, time; from pathlib import Path; from depthwise.locks import locked\n"
HOLD += "with locked(Path(sys.argv[1])): print('held', flush=True); time.sleep(60)"


def holder(path):
    process = subprocess.Popen([sys.executable, "-c", HOLD, path], stdout=subprocess.PIPE, text=True)
    assert process.stdout and process.stdout.readline() == "held\n"
    return process


def test_a_lock_is_one_process_s_until_it_is_killed(tmp_path):
    path = tmp_path / "lock"
    process = holder(path)
    try:
        with locked(path, is_patient=False) as is_ours:
            assert not is_ours
        waits = []

        def end_the_other() -> None:
            waits.append(time.monotonic())
            process.kill()

        with locked(path, on_wait=end_the_other) as is_ours:
            assert is_ours
        assert len(waits) == 1
    finally:
        process.kill()
        process.communicate()


def test_a_lock_can_be_taken_again(tmp_path):
    for _ in range(2):
        with locked(tmp_path / "lock", is_patient=False) as is_ours:
            assert is_ours
