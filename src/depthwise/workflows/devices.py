"""Where the arithmetic is done."""

import torch

from depthwise.errors import UserError


def set_threads(count: int) -> None:
    """Let this process compute with `count` processor cores. Raises UserError below 1."""
    if count < 1:
        raise UserError(f"--threads {count}: at least 1")
    torch.set_num_threads(count)


def choose_device(wanted: str) -> str:
    """Return 'cpu' or 'cuda' for auto, cpu or cuda. Raises UserError for cuda where PyTorch sees none."""
    if wanted == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if wanted == "cuda" and not torch.cuda.is_available():
        raise UserError("--device cuda: this PyTorch sees no CUDA device; use --device cpu, or a CUDA build of torch")
    if wanted not in ("cpu", "cuda"):
        raise UserError(f"--device {wanted}: allowed are auto, cpu, cuda")
    return wanted
