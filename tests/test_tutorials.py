"""The commands on pages for newcomers are run, in their order, and print what the pages show.

A page with the mark below is walked in a folder where the tutorial has been followed as far as its training. A command
that was already given there, word for word, is not given again: what it printed then counts. With `--write-pages` a
page is given what is printed now; numbers in the text around it are left to the writer.
"""

import shutil
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import NamedTuple

import pytest

import console_blocks
from depthwise.cli import run
from depthwise.cli.app import app
from depthwise.cli.resuming import spell_out_resume
from depthwise.data.sources import FASHION_MNIST

ROOT = Path(__file__).parents[1]
MARK = "<!-- tests/test_tutorials.py runs the commands of this page -->"
TUTORIAL = ROOT / "docs/tutorial.md"
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
WALKED = [page for page in PAGES if MARK in page.read_text(encoding="utf-8")]
ELSEWHERE = ("pip install ", "python -m venv ")
"""What stands behind `$` and is no business of this test."""


class Done(NamedTuple):
    """What a command did."""

    status: int
    lines: list[str]


def commands_of(page: Path) -> list[console_blocks.Shown]:
    shown = console_blocks.shown_on(page.read_text(encoding="utf-8"))
    return [s for s in shown if not s.command.startswith(ELSEWHERE)]


def carry_out(shown: console_blocks.Shown) -> Done:
    said = StringIO()
    with redirect_stdout(said), redirect_stderr(said):
        status = run(shown.arguments)
    return Done(status, said.getvalue().splitlines())


@pytest.fixture(scope="session")
def begun(tmp_path_factory) -> tuple[Path, dict[str, Done]]:
    """A folder after the tutorial's training, and what its commands did until then."""
    folder, done = tmp_path_factory.mktemp("tutorial"), {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for shown in commands_of(TUTORIAL):
            done[shown.command] = carry_out(shown)
            if shown.arguments[0] == "train":
                return folder, done
    raise AssertionError("the tutorial trains nothing")


def check(shown: console_blocks.Shown, done: Done) -> None:
    output = "\n".join(done.lines)
    assert done.status == shown.status, f"$ {shown.command}\nexit status {done.status}, not {shown.status}\n{output}"
    gap = console_blocks.missing(shown.lines, done.lines, FASHION_MNIST.classes)
    assert gap is None, f"$ {shown.command}\n{gap}\n\n{output}"


@pytest.mark.parametrize("page", WALKED, ids=lambda page: page.name)
def test_the_commands_of_a_page_do_what_it_shows(page, begun, tmp_path, monkeypatch, pytestconfig):
    folder, before = begun
    here, all_done = tmp_path / "here", []
    shutil.copytree(folder, here)
    monkeypatch.chdir(here)
    for shown in commands_of(page):
        done = before.get(shown.command) or carry_out(shown)
        check(shown, done)
        all_done.append((shown, done.lines))
    if pytestconfig.getoption("--write-pages"):
        text = page.read_text(encoding="utf-8")
        page.write_text(console_blocks.brought_up_to_date(text, all_done, FASHION_MNIST.classes), encoding="utf-8")


def test_pages_for_newcomers_are_among_them():
    assert {page.name for page in WALKED} >= {"README.md", "tutorial.md", "evaluation.md", "report.md", "export.md"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_on_every_page_has_the_flags_that_it_shows(page):
    for command in console_blocks.commands_on(page.read_text(encoding="utf-8")):
        arguments = console_blocks.Shown(command).arguments
        app.parse_args(spell_out_resume(arguments), exit_on_error=False, print_error=False)


NAMES = ("bag", "shirt", "t-shirt")
PAGE = """
Text with $ depthwise in it.

    $ depthwise audit photos   # a comment
    3 found in t-shirt
    ...

    Not clean: see above.
    $ echo $?
    1

More text.

    no command, not shown

    $ depthwise train photos \\
        --epochs 3
"""


def test_commands_are_found_in_indented_and_in_fenced_blocks():
    page = "see depthwise a\n\n    $ depthwise b\n    depthwise c\n\n```console\n$ depthwise d \\\n --e | wc\nf\n```\n"
    assert list(console_blocks.commands_on(page)) == ["depthwise b", "depthwise c", "depthwise d  --e"]


def test_a_page_is_read_as_people_read_it():
    first, second = console_blocks.shown_on(PAGE)
    assert first.arguments == ["audit", "photos"]
    assert first.status == 1
    assert first.lines == ["3 found in t-shirt", "...", "Not clean: see above."]
    assert (second.arguments, second.status, second.lines) == (["train", "photos", "--epochs", "3"], 0, [])


PRINTED = ["epoch  1/30  loss 2.3  lr 2.9e-07  1,065 images/s  *", "shirt 40.9%  -36.9 to +17.1", "Written: run/a2.csv"]


@pytest.mark.parametrize(
    "shown",
    [
        ["epoch  4/9  loss 0.1  lr 0.1  7 images/s", "...", "Written: run/a2.csv"],
        ["bag 7% 3.1 to 4", "Written: run/a2.csv"],
    ],
)
def test_numbers_and_classes_may_differ(shown):
    assert console_blocks.missing(shown, PRINTED, NAMES) is None


@pytest.mark.parametrize(
    ("shown", "wanted", "nearest"),
    [
        (["Wrote: run/a2.csv"], "Wrote: run/a2.csv", "Written: run/a2.csv"),
        (["Written: run/a2.csv", "bag 7% 3.1 to 4"], "NAME # # to #", "nothing more was printed"),
        (["shorts 40.9% 1 to 2"], "shorts # # to #", "NAME # # to #"),
        (["Written: run/a3.csv"], "Written: run/a3.csv", "Written: run/a2.csv"),
    ],
)
def test_words_order_and_names_may_not(shown, wanted, nearest):
    assert console_blocks.missing(shown, PRINTED, NAMES) == f"not printed: {wanted}\nnearest:     {nearest}"


def test_a_page_is_brought_up_to_date():
    old = """
    $ depthwise audit photos
    3 found in t-shirt
    ...

    Not clean: see above.
    $ depthwise train photos
    epoch 3/3 loss 1  *
    ...
    bag  7%
"""
    audit, train = console_blocks.shown_on(old)
    printed = ["epoch 1/3 loss 3.5", "epoch 3/3 loss 0.5", "shirt 50%", "bag  51%", "Written: a.csv"]
    done = [(audit, ["4 found in bag", "bag/1.png", "", "Not clean: see above."]), (train, printed)]
    new = console_blocks.brought_up_to_date(old, done, NAMES)
    assert new == (
        old.replace("3 found in t-shirt", "4 found in bag").replace("loss 1  *", "loss 0.5").replace("7%", "51%")
    )
