"""The reference of the fields has every field of every kind, readable in Markdown."""

import re
from pathlib import Path

import pytest

from edge_api import KINDS
from edge_api.field_pages import field_page
from edge_api.generate import main
from edge_api.schemas import definition

PAGE = Path(__file__).parents[2] / "docs" / "fields.md"
ROW = re.compile(r"^\| `((?:spec|status)[^`]*)` \| ([^|]*) \| (.*) \|$", re.MULTILINE)


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_has_a_row_for_each_field_of_its_spec_with_type_and_description(kind: str) -> None:
    section = field_page().partition(f"### {kind}: spec")[2].partition("\n## ")[0]
    rows = {path: (type_, text) for path, type_, text in ROW.findall(section)}
    schema = definition(KINDS[kind])["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    assert {f"spec.{name}" for name in schema["properties"]["spec"]["properties"]} <= rows.keys()
    assert all(type_ and text for path, (type_, text) in rows.items() if path.startswith("spec"))


def test_a_field_of_a_list_has_the_list_in_its_path_and_the_values_that_it_can_have() -> None:
    rows = {path: (type_, text) for path, type_, text in ROW.findall(field_page())}
    assert rows["spec.nodes"][0] == "list of objects"
    assert rows["spec.nodes[].tier"][1].endswith("One of `Device`, `Edge`.")
    assert rows["spec.nodes[].nodeSelector"][0] == "map of strings"


def test_signs_of_markdown_and_html_are_escaped() -> None:
    text = re.sub(r"`[^`]*`", "", field_page())
    assert re.findall(r"<\w+>", text) == []
    assert "store://&lt;path&gt;" in text


def test_check_names_a_page_that_was_edited(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "fields.md"
    assert main([str(tmp_path / "crds"), "--fields", str(page)]) == 0
    assert page.read_text() == PAGE.read_text()
    page.write_text(page.read_text() + "by hand\n")
    assert main(["--check", str(tmp_path / "crds"), "--fields", str(page)]) == 1
    assert str(page) in capsys.readouterr().err
