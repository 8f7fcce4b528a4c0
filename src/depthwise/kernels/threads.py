"""How kernels are run: one at a time, on as many threads as PyTorch uses, and where possible on the very same ones.

PyTorch's OpenMP threads spin for milliseconds after each operation: those of another pool have to share the cores
with them. numba's layer `omp` asks for the same symbols of
OpenMP, and on Linux finds PyTorch's, which are loaded for all. Elsewhere it would be a second OpenMP; so there it is
`workqueue`, which comes with numba, and allows one caller at a time, hence the lock.
"""

import importlib
import os
import sys
import threading
from collections.abc import Callable
from typing import Any

import numba
import torch
from numba.core import config as numba_config

config: Any = numba_config  # its values are made when it is imported


def _has_pytorchs_threads() -> bool:
    """Return whether numba's OpenMP layer is there, and works on PyTorch's threads."""
    if sys.platform != "linux":
        return False
    try:
        importlib.import_module("numba.np.ufunc.omppool")  # after torch, so that it finds what torch has loaded
    except ImportError:  # no libgomp on this machine but PyTorch's
        return False
    return True


if "NUMBA_THREADING_LAYER" not in os.environ:
    config.THREADING_LAYER = "omp" if _has_pytorchs_threads() else "workqueue"

kernel = numba.njit(parallel=True, nogil=True, cache=True, fastmath={"contract"}, error_model="numpy")
"""Compiles a function whose last parameter is the number of parts, each one turn of its prange."""

_LOCK = threading.Lock()
_OWNER = os.getpid()
_SET = threading.local()
"""`num`: of how many threads numba knows in this one. To ask numba takes as long as a small kernel."""


def launch(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a kernel with one part per PyTorch thread."""
    num_threads = torch.get_num_threads()
    with _LOCK:
        if getattr(_SET, "num", None) != num_threads:
            numba.set_num_threads(min(num_threads, config.NUMBA_NUM_THREADS))
            if torch.get_num_threads() != num_threads:  # where the two share OpenMP, numba's pool began with all cores
                torch.set_num_threads(num_threads)
            _SET.num = num_threads
        return function(*arguments, num_threads)


def can_launch() -> bool:
    """Return whether kernels may run in this process: not in a forked one, which has the pool but not its threads."""
    return os.getpid() == _OWNER
