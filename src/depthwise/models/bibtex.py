"""A BibTeX entry from a citation of facts.json."""

import re
from collections.abc import Mapping
from typing import Any

SHORT = ("a", "an", "in", "of", "on", "the")
"""Words that a key does without."""
PROCEEDINGS = {
    "CVPR": "Proceedings of the IEEE Conference on Computer Vision and Pattern Recognition (CVPR)",
    "ECCV": "Proceedings of the European Conference on Computer Vision (ECCV)",
    "ICCV": "Proceedings of the IEEE/CVF International Conference on Computer Vision (ICCV)",
    "ICLR": "International Conference on Learning Representations (ICLR)",
    "ICML": "Proceedings of the 36th International Conference on Machine Learning (ICML)",
    "NIPS": "Advances in Neural Information Processing Systems (NIPS)",
}
JOURNAL = re.compile(r"Proc\. IEEE (\d+)\((\d+)\):(\d+)-(\d+), doi (\S+)")


def bibtex_of(citation: Mapping[str, Any]) -> str:
    """Return the entry: of the proceedings or journal where there is one, else of arXiv or the web."""
    kind, year, fields = _place(citation)
    entry = {"author": _authors(citation["authors"]), "title": f"{{{citation['title']}}}", **fields, "year": str(year)}
    if citation["arxiv"]:
        entry |= {"eprint": citation["arxiv"], "archivePrefix": "arXiv"}
    lines = [f"  {name} = {{{value}}}" for name, value in entry.items()]
    return f"@{kind}{{{_key(citation, year)},\n" + ",\n".join(lines) + "\n}"


def _place(citation: Mapping[str, Any]) -> tuple[str, int, dict[str, str]]:
    """Return the kind of entry, the year of publication and the fields that say where."""
    venue, year = citation["venue"], citation["year"]
    if found := JOURNAL.fullmatch(venue):
        volume, number, first, last, doi = found.groups()
        where = {"journal": "Proceedings of the IEEE", "volume": volume, "number": number}
        return "article", year, {**where, "pages": f"{first}--{last}", "doi": doi}
    short, _, published = venue.partition(" ")
    if short in PROCEEDINGS:
        return "inproceedings", int(published), {"booktitle": PROCEEDINGS[short]}
    return "misc", year, {} if citation["arxiv"] else {"howpublished": venue}


def _authors(listed: str) -> str:
    """Turn 'Q. V. Le, L. van der Maaten' into 'Le, Q. V. and van der Maaten, L.'; remarks in brackets go."""
    return " and ".join(_turn(name) for name in listed.partition(" (")[0].split(", "))


def _turn(name: str) -> str:
    words = name.split()
    initials = [word for word in words if word.endswith(".")]
    surname = " ".join(words[len(initials) :])
    return f"{surname}, {' '.join(initials)}" if initials else f"{{{surname}}}"  # braces: an institution


def _key(citation: Mapping[str, Any], year: int) -> str:
    """Return surname, year and the title's first word that says something: sandler2018mobilenetv2."""
    surname = _authors(citation["authors"]).partition(",")[0]
    first = next(word for word in re.split(r"\W+", citation["title"].lower()) if word not in SHORT)
    return re.sub(r"\W", "", surname.lower()) + str(year) + first
