"""`--resume`, read from the command line and written into the one that goes on."""

import os
import shlex
from collections.abc import Sequence


def spell_out_resume(arguments: Sequence[str]) -> list[str]:
    """Return the command line with `--resume auto` for a `--resume` without a value."""
    spelt = list(arguments)
    if spelt[:1] == ["train"] and "--resume" in spelt:
        place = spelt.index("--resume") + 1
        if spelt[place : place + 1] not in (["auto"], ["never"]):
            spelt.insert(place, "auto")
    return spelt


def going_on(arguments: Sequence[str]) -> str:
    """Return the command that goes on with what `arguments` started."""
    if arguments[0] == "recommend":
        return f"depthwise {shlex.join(arguments)}"
    kept = [argument for argument in spell_out_resume(arguments) if argument not in ("--overwrite", "--resume=never")]
    if kept[:1] != ["train"]:
        kept = [argument for argument in kept if argument != "--resume"]
    elif "--resume" in kept:
        del kept[kept.index("--resume") : kept.index("--resume") + 2]
    program = "depthwise" if os.environ.get("WORLD_SIZE", "1") == "1" else "torchrun ... -m depthwise"
    return f"{program} {shlex.join([*(a for a in kept if a != '--resume=auto'), '--resume'])}"
