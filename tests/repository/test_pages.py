"""Pages name files that exist; those for contributors also headings."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = ("CONTRIBUTING.md", "SECURITY.md", "STYLE.md")
EVERY = [*PAGES, "README.md", *sorted(str(page.relative_to(ROOT)) for page in (ROOT / "docs").rglob("*.md"))]
# Folders of the tree that a page names in code font, such as `runtime/src/edge_runtime/codecs/nodes.py`.
_PATH = re.compile(
    r"`((?:api|benchmarks|charts|cli|console|docs|examples|monitoring|operator|planning|runtime|testbed|tests)/[\w./-]+)`"
)
_LINK = re.compile(r"\]\((?!https?:)([^)#]*)#?([^)]*)\)")


def anchors(page: Path) -> set[str]:
    """The fragments of a page's headings, as GitHub generates them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("name", EVERY)
def test_every_path_that_a_page_names_exists(name: str) -> None:
    named = _PATH.findall((ROOT / name).read_text())
    assert [path for path in named if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("name", PAGES)
def test_every_link_of_a_page_leads_to_a_heading_that_exists(name: str) -> None:
    links = _LINK.findall((ROOT / name).read_text())
    assert [target for target, _ in links if not (ROOT / (target or name)).exists()] == []
    pages = [(target or name, fragment) for target, fragment in links if fragment]
    assert [(page, fragment) for page, fragment in pages if fragment not in anchors(ROOT / page)] == []
