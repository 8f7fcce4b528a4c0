"""CITATION.cff says what the package says."""

import re
import tomllib
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def field(name: str) -> str:
    (found,) = re.findall(rf'^{name}: "?(.+?)"?$', TEXT, re.MULTILINE)
    return found


def test_version_licence_and_title_are_the_packages():
    import depthwise

    assert field("version") == PROJECT["version"] == depthwise.__version__
    assert field("license") == PROJECT["license"]
    assert field("title") == PROJECT["name"]


def test_it_has_what_the_format_asks_for():
    if find_spec("yaml"):
        import yaml

        found = yaml.safe_load(TEXT)
        assert found["authors"] == [{"name": "The depthwise authors"}]
        assert {"cff-version", "message", "title", "authors"} <= set(found)
        return
    assert field("cff-version") == "1.2.0"
    assert field("message")
    assert '\nauthors:\n  - name: "The depthwise authors"\n' in TEXT
    for line in TEXT.splitlines():  # keys, items of lists, and the folded text's lines
        assert re.match(r"[a-z-]+:( .+)?$|  - \S|  \S", line), line


def test_the_source_package_holds_it():
    sdist = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["hatch"]["build"]["targets"]
    assert "CITATION.cff" in sdist["sdist"]["include"]
