"""What an audit finds in pictures that were looked at: pure functions that touch no file."""

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from depthwise.console import shown
from depthwise.data.audit import Skipped
from depthwise.data.decode import REASONS
from depthwise.data.fingerprint import Fingerprint
from depthwise.data.index import Record
from depthwise.data.split import SPLITS
from depthwise.data.turned import FORMS
from depthwise.data.twins import FLAT, Twins

TINY, MAX_ASPECT, SOFT, MAX_IMBALANCE = 16, 4.0, 0.005, 10
"""Sides in px; long over short side; sharpness (see fingerprint); largest over smallest class."""
ENDINGS = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"),
    "PNG": (".png", ".apng"),
    "WEBP": (".webp",),
    "AVIF": (".avif",),
    "GIF": (".gif",),
    "BMP": (".bmp", ".dib"),
    "TIFF": (".tif", ".tiff"),
}


class Kind(NamedTuple):
    """A kind of finding."""

    title: str
    advice: str
    is_notice: bool = False  # decode sees to it: told, but nothing needs to be done


KINDS = {
    "leak": Kind("The same shot in several splits", "Split anew: depthwise split keeps such pictures on one side."),
    "label_conflict": Kind("The same shot in several classes", "Decide which class is right; remove the others."),
    **{reason: Kind(f"Cannot be used: {text}", "Mend or remove the file.") for reason, text in REASONS.items()},
    "exact_duplicate": Kind("Equal pixels", "Keep one; depthwise split keeps them on one side."),
    "near_duplicate": Kind("The same shot", "Fine to keep; depthwise split keeps them on one side."),
    "mislabelled": Kind("Perhaps in the wrong class", "Look at them; the model is confident of another class."),
    "outlier": Kind("Like nothing else here", "Look at them; do they belong to the data?"),
    "uniform": Kind("Hardly anything shows", "Look at them; a lens cap teaches nothing."),
    "blurred": Kind("Blurred", "Look at them; keep them if such photos will come."),
    "tiny": Kind(f"A side below {TINY} px", "Look for the original; a thumbnail shows little."),
    "long": Kind(
        f"One side over {MAX_ASPECT:g} times the other", "Cut out what matters, or train with --fit letterbox."
    ),
    "wrong_ending": Kind("The ending is of another format", "Rename it; depthwise goes by content, others may not."),
    "class_names": Kind("Classes whose names hardly differ", "Put them together if they mean the same."),
    "class_name": Kind("A class's name starts or ends oddly", "Rename the folder: other systems drop blanks and dots."),
    "missing_class": Kind("A split without a class", "Every split needs every class."),
    "imbalance": Kind("Classes of very different size", "Add pictures to the small ones; look at recall per class."),
    "animated": Kind("Animated, or of several pages", "The first picture is taken.", is_notice=True),
    "turned": Kind("Turned by EXIF", "depthwise turns it upright; other programs may not.", is_notice=True),
    "16_bit": Kind("16 bits per channel", "Scaled to 8.", is_notice=True),
    "cmyk": Kind("CMYK", "Converted to RGB, without a colour profile.", is_notice=True),
    "alpha": Kind("Transparent", "Laid on white.", is_notice=True),
}
"""Every kind, in the order in which they are told."""


@dataclass(frozen=True)
class Finding:
    """One thing that somebody should know."""

    kind: str
    """One of KINDS."""
    paths: tuple[Path, ...] = ()
    """The pictures it is about."""
    labels: tuple[str, ...] = ()
    """Their classes, or the classes it is about."""
    detail: str = ""

    @property
    def is_notice(self) -> bool:
        """True when nothing needs to be done."""
        return KINDS[self.kind].is_notice


def of_unusable(records: Sequence[Record], skipped: Iterable[Skipped]) -> Iterator[Finding]:
    """Yield a finding per file that is no picture."""
    labels = {record.path: record.label for record in records}
    for item in skipped:
        yield Finding(item.reason, (item.path,), (labels[item.path],), item.detail)


def of_picture(record: Record, look: Fingerprint) -> Iterator[Finding]:
    """Yield what is odd about one picture."""
    traits = look.traits
    expected = ENDINGS.get(traits.format, ())
    ratio = max(look.width, look.height) / min(look.width, look.height)
    is_uniform = look.contrast < FLAT
    seen = {
        "uniform": is_uniform and f"contrast of {look.contrast:.1f} grey levels",
        "blurred": not is_uniform and look.sharpness < SOFT and f"sharpness {look.sharpness:.4f}",
        "tiny": min(look.width, look.height) < TINY and f"{look.width} x {look.height} px",
        "long": ratio > MAX_ASPECT and f"{look.width} x {look.height} px",
        "wrong_ending": record.path.suffix.lower() not in expected and f"it is {traits.format}",
        "animated": traits.is_animated and traits.format,
        "turned": traits.is_turned and traits.format,
        "16_bit": traits.is_16_bit and traits.format,
        "cmyk": traits.is_cmyk and traits.format,
        "alpha": traits.has_alpha and traits.format,
    }
    for kind, detail in seen.items():
        if detail:
            yield Finding(kind, (record.path,), (record.label,), detail)


def of_twins(records: Sequence[Record], pairs: Iterable[Twins], splits: Sequence[str]) -> Iterator[Finding]:
    """Yield what pairs of the same shot are: a leak, a conflict of labels (or both), else a mere copy."""
    for first, second, likeness, form in pairs:
        a, b = records[first], records[second]
        is_equal = likeness == 1.0 and not form
        what = "equal pixels" if is_equal else f"likeness {likeness:.2f}" + (f", {FORMS[form].name}" if form else "")
        sides = (splits[first], splits[second])
        is_leak, is_conflict = all(sides) and sides[0] != sides[1], a.label != b.label
        if is_leak:
            yield Finding("leak", (a.path, b.path), (a.label, b.label), f"{sides[0]} and {sides[1]}, {what}")
        if is_conflict:
            yield Finding("label_conflict", (a.path, b.path), (a.label, b.label), what)
        if not is_leak and not is_conflict:
            kind = "exact_duplicate" if is_equal else "near_duplicate"
            yield Finding(kind, (a.path, b.path), (a.label, b.label), what)


def of_classes(records: Sequence[Record], splits: Sequence[str]) -> Iterator[Finding]:
    """Yield what is odd about the classes: their names, their sizes, their absence from one of the records' splits."""
    counts = Counter(record.label for record in records)
    alike: dict[str, list[str]] = defaultdict(list)
    for name in sorted(counts):
        alike[_plain(name)].append(name)
        if name != name.strip() or name.endswith("."):
            yield Finding("class_name", labels=(name,), detail=repr(name))
    for names in alike.values():
        if len(names) > 1:
            written = ", ".join(f"{shown(name)} ({name!a})" for name in names)
            yield Finding("class_names", labels=tuple(names), detail=written)
    for split in SPLITS:
        there = {record.label for record, side in zip(records, splits, strict=True) if side == split}
        for name in sorted(set(counts) - there) if there else ():
            yield Finding("missing_class", labels=(name,), detail=f"{split} has no {shown(name)}")
    if counts and (ratio := max(counts.values()) / min(counts.values())) >= MAX_IMBALANCE:
        small, large = min(counts, key=lambda n: counts[n]), max(counts, key=lambda n: counts[n])
        detail = f"{counts[large]:,} of {shown(large)}, {counts[small]:,} of {shown(small)}: {ratio:.0f} times"
        yield Finding("imbalance", labels=(large, small), detail=detail)


def _plain(name: str) -> str:
    """Return the name without case, Unicode form and blanks."""
    return "".join(unicodedata.normalize("NFKC", name).casefold().split()).strip(".")


def to_leave_out(findings: Iterable[Finding]) -> list[tuple[Path, str]]:
    """Return (path, why) of what a training should leave out: unusable files, second copies, contradictory labels."""
    chosen: dict[Path, str] = {}
    for finding in findings:
        if finding.kind in REASONS or finding.kind == "label_conflict":
            listed: tuple[Path, ...] = finding.paths
        elif finding.kind == "exact_duplicate":
            listed = finding.paths[1:]
        else:
            continue
        for path in listed:
            chosen.setdefault(path, finding.kind)
    return sorted(chosen.items())
