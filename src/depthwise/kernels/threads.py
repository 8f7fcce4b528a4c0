"""How kernels are run: on numba's own pool, one at a time, on as many threads as PyTorch uses.

The layer is `workqueue`: it comes with numba, and its threads sleep between kernels. Those of `omp` spin for a while,
in a second OpenMP beside PyTorch's own, and the two take each other's cores. It allows one caller at a time, hence the
lock.
"""

import os
import threading
from collections.abc import Callable
from typing import Any

import numba
import torch
from numba.core import config as numba_config

config: Any = numba_config  # its values are made when it is imported
if "NUMBA_THREADING_LAYER" not in os.environ:
    config.THREADING_LAYER = "workqueue"

kernel = numba.njit(parallel=True, nogil=True, cache=True, fastmath={"contract"}, error_model="numpy")
"""Compiles a function whose last parameter is the number of parts, each one turn of its prange."""

_LOCK = threading.Lock()
_OWNER = os.getpid()


def launch(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a kernel with one part per PyTorch thread."""
    num_threads = torch.get_num_threads()
    with _LOCK:
        numba.set_num_threads(min(num_threads, config.NUMBA_NUM_THREADS))
        return function(*arguments, num_threads)


def can_launch() -> bool:
    """Return whether kernels may run in this process: not in a forked one, which has the pool but not its threads."""
    return os.getpid() == _OWNER
