"""The documentation's site has the repository's pages, and what they link to."""

from pathlib import Path

import pytest

from testbed.site import copy, linked, pages


def test_pages_are_the_markdown_files_except_those_of_tests() -> None:
    tracked = ["docs/b.md", "README.md", "tests/data/page.md", ".vale/styles/note.md", "docs/picture.svg"]
    assert pages(tracked) == ["README.md", "docs/b.md"]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("[a](other.md#part) and ![b](images/b.svg)", {"docs/other.md", "docs/images/b.svg"}),
        ('[a](../README.md "title")', {"README.md"}),
        ("[a](#part), [b](https://example.org/page.md), <mailto:a@example.org>", set()),
        ('<img alt="" src="images/c.png" width="400">', {"docs/images/c.png"}),
    ],
)
def test_links_are_read_relative_to_their_page(text: str, found: set[str]) -> None:
    assert linked("docs/page.md", text) == found


def test_pages_and_what_they_link_to_are_copied_to_the_same_places(tmp_path: Path) -> None:
    root, target = tmp_path / "repository", tmp_path / "site"
    (root / "docs" / "images").mkdir(parents=True)
    (root / "docs" / "page.md").write_text("![a](images/a.svg) [b](../private.txt)")
    (root / "docs" / "images" / "a.svg").write_text("<svg/>")
    (root / "docs" / "images" / "unused.svg").write_text("<svg/>")
    (root / "private.txt").write_text("not tracked")
    target.mkdir()
    (target / "old.md").write_text("of a page that is gone")
    copy(root, ["docs/page.md", "docs/images/a.svg", "docs/images/unused.svg"], target)
    found = sorted(path.relative_to(target).as_posix() for path in target.rglob("*") if path.is_file())
    assert found == ["docs/images/a.svg", "docs/page.md"]
