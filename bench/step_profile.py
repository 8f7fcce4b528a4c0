"""Where the time of our training step goes, of networks that miss their target and some that do not.

python bench/step_profile.py [NETWORK...]     # a minute
"""

import sys
import time
from collections import Counter
from typing import Any

import record
import torch
from torch.profiler import ProfilerActivity, profile, record_function

from depthwise.kernels import norm_act, norm_depthwise, squeeze_excite
from depthwise.kernels.threads import launch
from depthwise.training import make_step

NETWORKS = ("mobilenet_v2", "shufflenet_v2", "mobilenet_v3_large")
BATCH_SIZE, IMAGE_SIZE, STEPS = 32, 224, 4
GROUPS = {
    "convolutions forward": ("aten::mkldnn_convolution",),
    "convolutions backward": ("aten::convolution_backward",),
    "depthwise with its norms": ("kernel convolve", "kernel convolve_back", "kernel undo_here"),
    "norm and activation": ("kernel moments", "kernel normalise", "kernel slopes", "kernel undo"),
    "squeeze-and-excite": ("kernel image_sums", "kernel image_products", "kernel scale_images"),
    "joining and shuffling": ("aten::cat", "aten::native_channel_shuffle", "aten::copy_"),
    "optimiser": ("aten::_fused_sgd_", "Optimizer.step#SGD.step", "Optimizer.zero_grad#SGD.zero_grad"),
}


def named_launch(function: Any, *arguments: Any) -> Any:
    """Launch a kernel so that the profiler sees it."""
    with record_function(f"kernel {function.__name__}"):
        return launch(function, *arguments)


def measure(name: str) -> dict[str, Any]:
    """Return milliseconds of a step by group; what no group has is the rest."""
    step = make_step(name, batch_size=BATCH_SIZE, image_size=IMAGE_SIZE, kernels="fused", precision="bf16")
    step()
    step()
    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        started = time.perf_counter()
        for _ in range(STEPS):
            step()
        whole_ms = (time.perf_counter() - started) / STEPS * 1e3
    self_ms: Counter[str] = Counter()
    for event in profiled.key_averages():
        self_ms[event.key] += event.self_cpu_time_total / STEPS / 1e3
    groups = {group: round(sum(self_ms[key] for key in keys), 1) for group, keys in GROUPS.items()}
    found = {"model": name, "step_ms": round(whole_ms, 1), "groups": groups}
    print(found, flush=True)
    return found


if __name__ == "__main__":
    for module in (norm_act, norm_depthwise, squeeze_excite):
        module.launch = named_launch  # type: ignore[attr-defined]
    rows = [measure(name) for name in sys.argv[1:] or NETWORKS]
    record.write("step_profile", {"batch_size": BATCH_SIZE, "threads": torch.get_num_threads(), "rows": rows})
