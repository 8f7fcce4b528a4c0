"""`depthwise verify`: does an exported file compute on this machine what it did where it was exported? No torch."""

from pathlib import Path

from depthwise.console import Quiet
from depthwise.deploy.engine import SUFFIXES, Choice
from depthwise.deploy.verify import check_golden, tolerance_of
from depthwise.errors import UserError
from depthwise.workflows.evaluation import Evaluation, evaluate
from depthwise.workflows.opening import open_engine
from depthwise.workflows.run_folder import find_model


def verify(
    model: str | Path,
    data: str | Path | None = None,
    *,
    choice: Choice | None = None,
    trust_code: bool = False,
    workers: int | None = None,
    console: Quiet | None = None,
) -> tuple[float, Evaluation | None]:
    """Check an exported file on this machine: on the pictures in it, and on `data` if given.

    Returns the largest difference of a probability from what was computed when it was exported, and how it does on
    `data`'s test split (all of it where it has none). `trust_code` is `load`'s. Raises UserError when the difference is
    above the tolerance that the file states.
    """
    path = find_model(model)
    if path.suffix not in SUFFIXES:
        raise UserError(
            f"{path}: verify takes exported files ({', '.join(SUFFIXES)}); depthwise evaluate tells how good a run is"
        )
    engine = open_engine(path, choice, trust_code=trust_code)
    worst, allowed = check_golden(engine), tolerance_of(engine.metadata)
    if worst is None:
        raise UserError(f"{path}: no pictures travelled along with it; export it again")
    if not worst <= allowed:
        raise UserError(
            f"{path} computes something else on this machine than where it was exported: probabilities differ by up to "
            f"{worst:.2g} (allowed: {allowed:g}). Do not use it here{_other(choice)}"
        )
    if not data:
        return worst, None
    return worst, evaluate(path, data, choice=choice, trust_code=trust_code, workers=workers, console=console)


def _other(choice: Choice | None) -> str:
    if choice and choice.engine.startswith("openvino"):
        return f" with --engine {choice.engine}"
    return "; update what runs it, or say so in an issue"
