"""The command line: one sub-command per step, in the data's order. Parses, calls, prints; no logic.

Exit status: 0 done, 1 done but some inputs failed (each named), 2 the user must act, 130 and 143 stopped by Ctrl-C and
SIGTERM.
"""

import os
import sys
import warnings
from collections.abc import Sequence
from io import TextIOWrapper
from typing import Any

from cyclopts import CycloptsError

from depthwise.cli import answering, judging, learning, measuring, networks, pictures, reporting  # noqa: F401  # registers
from depthwise.cli.app import app
from depthwise.cli.resuming import going_on, spell_out_resume
from depthwise.console import shown_lines
from depthwise.errors import Interrupted, UserError


def run(arguments: Sequence[str]) -> int:
    """Carry out one command line; return its exit status. Errors that the user can settle are printed, not raised."""
    try:
        result: Any = app(spell_out_resume(arguments), exit_on_error=False, print_error=False)
    except CycloptsError as error:
        command = " ".join(["depthwise", *error.command_chain]) if error.command_chain else "depthwise"
        print(f"error: {shown_lines(error)}\nHelp: {command} --help", file=sys.stderr)
        return 2
    except UserError as error:
        print(f"error: {shown_lines(error)}", file=sys.stderr)
        return 2
    except Interrupted as error:
        if str(error):
            print(f"{shown_lines(error)} That is:\n{going_on(arguments)}", file=sys.stderr)
        return 128 + error.signum
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of our output has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return result if isinstance(result, int) else 0


def main() -> None:
    """Run the command line of this process."""
    for stream in (sys.stdout, sys.stderr):  # a console of 256 characters shows others as escapes instead of failing
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    if isinstance(sys.stdin, TextIOWrapper):  # it may be closed; names of files that come by it may be any bytes
        sys.stdin.reconfigure(errors="surrogateescape")
    warnings.filterwarnings("ignore", module="PIL")  # what Pillow finds odd in a file, decode says in our words
    sys.exit(run(sys.argv[1:]))
