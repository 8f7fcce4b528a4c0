"""Freed memory stays with a process that trains, and leaves with the training."""

import platform
import subprocess
import sys

import pytest

CODE = """
import resource, sys
from pathlib import Path
import torch
from depthwise.training.memory import freed_memory_kept

def pages():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(4):
        torch.ones(2**24)  # 64 MiB: 16,384 pages
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

def used_mib():
    return next(int(l.split()[1]) // 1024 for l in Path("/proc/self/status").open() if l.startswith("VmRSS:"))

pages()
outside, start = pages(), used_mib()
with freed_memory_kept():
    pages()
    inside, held = pages(), used_mib()
print(outside, inside, held - start, used_mib() - start)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="this C library has no mallopt")
def test_memory_is_kept_within_and_given_back_after():
    reply = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    outside, inside, held, after = map(int, reply.stdout.split())
    assert inside < 100 < outside
    assert held >= 60 and after < 10
