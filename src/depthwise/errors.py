"""The errors that a user can settle: the command line prints them without a traceback and exits with status 2."""


class UserError(Exception):
    """Something the user must act on. The message says what was asked, what was found and what to do."""


class CannotWrite(UserError):
    """A file could not be written: disk full, quota, read-only. What was there is as it was."""


class Damaged(UserError):
    """A model file that is cut short, or whose contents do not fit its checksum."""


class Diverged(UserError):
    """A loss or weight that is no number any more."""


class CannotFetch(UserError):
    """A file did not come whole from its address."""


class UnusablePicture(Exception):
    """One file that cannot become pixels. It is named, counted and left out; never replaced by another picture.

    `reason` is one of `depthwise.data.decode.REASONS`, `detail` a sentence for people.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail

    def __reduce__(self) -> tuple[type, tuple[str, str]]:
        return type(self), (self.reason, self.detail)


class Interrupted(Exception):
    """Training stopped by a signal after its state was saved. `signum` gives the exit status (128 + signum).

    Of several processes only the first has a message.
    """

    def __init__(self, message: str, signum: int) -> None:
        super().__init__(message)
        self.signum = signum


def suggest(wanted: str, allowed: list[str]) -> str:
    """Return '; did you mean a, b?' for the nearest of `allowed`, or '' when nothing is near."""
    from difflib import get_close_matches

    near = get_close_matches(wanted, allowed, n=3, cutoff=0.5)
    return f"; did you mean {', '.join(near)}?" if near else ""


def require(module: str, extra: str, purpose: str) -> None:
    """Raise UserError with the pip command when `module` is not installed; `extra` is ours that brings it, or ''."""
    from importlib.util import find_spec

    if find_spec(module) is None:
        message = f"{purpose} needs {module}, which is not installed.\nInstall it with: pip install "
        message += f"'depthwise[{extra}]'" if extra else module.replace("_", "-")
        if extra == "train":
            message += (
                "\nFor the small CPU build of torch on Linux, first: "
                "pip install torch --index-url https://download.pytorch.org/whl/cpu"
            )
        raise UserError(message)
