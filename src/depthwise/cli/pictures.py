"""Commands about pictures: audit, split, datasets."""

import shlex
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from depthwise.cli.app import (
    AsJson,
    Factory,
    Overwrite,
    Workers,
    app,
    datasets_app,
    name_skipped,
    print_json,
    terminal_of,
)
from depthwise.config import SplitConfig
from depthwise.errors import UserError, require


@app.command(sort_key=2)
def audit(
    photos: Path,
    /,
    *,
    splits: Path | None = None,
    html: Path | None = None,
    quarantine: Path | None = None,
    model: Path | None = None,
    factory: Factory = None,
    json_: AsJson = False,
    overwrite: Overwrite = False,
    workers: Workers = None,
) -> int:
    """Look for what ruins classifiers: broken files, copies, leaks between splits, odd pictures. Changes no photo.

    Exit status: 0 clean, 1 something found, 2 it could not be done.

    Example: depthwise audit photos --html audit.html

    Parameters
    ----------
    photos
        A folder of class folders, one with train/ and valid/ or test/, an archive, or a CSV.
    splits
        Manifest that says which photo is in which split, to look for leaks.
    html
        Page to write, with the pictures side by side.
    quarantine
        List to write of what to leave out; for split --quarantine and train --quarantine.
    model
        A run folder or model file: look for wrong labels and outliers among photos that it was not trained on.
    """
    from depthwise.report.target import check_target
    from depthwise.workflows.auditing import audit as run_audit

    terminal = terminal_of(is_say_result=False)
    if html:
        require("jinja2", "train", "the page")
        check_target(html, "--html", ".html", overwrite=overwrite)
    if model:
        require("torch", "train", "asking a model")
    result = run_audit(
        photos,
        splits=splits,
        quarantine=quarantine,
        model=model,
        factory=factory,
        overwrite=overwrite,
        workers=workers,
        console=terminal,
    )
    if html:
        from depthwise.report.audit_page import write_audit_page

        write_audit_page(result, html)
    from depthwise.report.audit_text import audit_text

    if json_:
        print_json(result.to_json())
    else:
        print(audit_text(result))
        page = f"\nPage: {html}" if html else ""
        listed = f"\nTo leave out: {quarantine}" if quarantine else ""
        more = f" --quarantine {shlex.quote(str(quarantine))}" if quarantine else ""
        print(f"{page}{listed}\nNext: depthwise split {shlex.quote(str(photos))} --out splits.csv{more}")
    return 0 if result.is_clean else 1


@app.command(sort_key=3)
def split(
    photos: Path,
    /,
    *,
    out: Path = Path("splits.csv"),
    config: Annotated[SplitConfig | None, Parameter(name="*")] = None,
    previous: Path | None = None,
    copy: Path | None = None,
    link: Path | None = None,
    overwrite: Overwrite = False,
    workers: Workers = None,
) -> int:
    """Deal the photos of class folders out to train, valid and test; write the manifest.

    Example: depthwise split photos --out splits.csv --valid 0.15 --test 0.15

    Parameters
    ----------
    photos
        Folder with one folder of pictures per class.
    out
        The manifest to write: path, class, split, hash, group. One that exists is grown: what it names stays.
    previous
        An older manifest whose photos keep their split; by default what --out names.
    copy
        Folder to make, with train/ valid/ test/ of class folders: copies of the photos.
    link
        The same of symbolic links.
    overwrite
        Deal anew although --out exists.
    """
    from depthwise.workflows.materialising import check_free, materialise
    from depthwise.workflows.splitting import split as run_split

    terminal = terminal_of()
    if copy and link:
        raise UserError("--copy and --link make the same folders: give one of them")
    if (folder := copy or link) is not None:
        check_free(folder)
    result = run_split(photos, out, config, previous=previous, overwrite=overwrite, workers=workers, console=terminal)
    from depthwise.report.tables import split_table

    for note in result.notes:
        terminal.warn(note)
    print(split_table(result))
    name_skipped(result.skipped, terminal)
    if folder is not None:
        materialise(result.records, folder, is_link=link is not None, console=terminal)
    print(f"\nWritten: {result.path}\nNext: depthwise train {shlex.quote(str(result.path))} --out RUN")
    return 1 if result.skipped else 0


@datasets_app.command(name="list")
def list_datasets(*, json_: AsJson = False) -> int:
    """List the data sets that can be had.

    Example: depthwise datasets list
    """
    from depthwise.data.sources import SOURCES

    if json_:
        told = ("name", "title", "licence", "address")
        print_json([{name: getattr(source, name) for name in told} for source in SOURCES.values()], indent=1)
        return 0
    for source in SOURCES.values():
        print(f"{source.name}: {source.title}; licence {source.licence}\n  {source.address}")
    print("\nNext: depthwise datasets get NAME data/NAME")
    return 0


@datasets_app.command(name="get")
def get_dataset(name: str, out: Path, /, *, from_: Annotated[Path | None, Parameter(name="--from")] = None) -> int:
    """Make a folder with train/ and test/ of class folders.

    Example: depthwise datasets get fashion-mnist data/fm

    Parameters
    ----------
    name
        Data set; all names: depthwise datasets list.
    out
        Folder to make.
    from_
        Folder with the data set's own files; by default where Debian's package puts them, else they are fetched.
    """
    from depthwise.data.sources import get

    num_images = get(name, out, from_, terminal_of())
    print(f"{num_images:,} pictures in {out}\nNext: depthwise train {shlex.quote(str(out))} --out RUN")
    return 0
