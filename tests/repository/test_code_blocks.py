"""What the pages tell readers to type and to apply is accepted by the programs and by the API."""

from __future__ import annotations

import argparse
import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from click import ClickException

from edge_api import KINDS
from edge_api.objects import API_VERSION
from edge_api.validation_messages import problems
from edge_cli.app import application
from edge_runtime import cli as runtime
from testbed import cli as testbed
from testbed.site import pages, tracked_files

ROOT = Path(__file__).resolve().parents[2]
PAGES = pages(tracked_files(ROOT))
_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_TARGET = re.compile(r"^([a-z0-9-]+):", re.MULTILINE)
# A synopsis with choices and omissions cannot be run.
_SYNOPSIS = re.compile(r"…|\[|\||\.\.\.")
PARSERS: dict[str, Callable[[], argparse.ArgumentParser]] = {
    "edge-runtime": runtime._parser,  # noqa: SLF001 - the parser of the command
    "testbed": testbed.parser,
}


def blocks(page: str, *languages: str) -> Iterator[str]:
    """The code blocks of a page in these languages."""
    for language, text in _BLOCK.findall((ROOT / page).read_text(encoding="utf-8")):
        if language in languages:
            yield text


def commands(page: str, program: str) -> Iterator[list[str]]:
    """The words of each command of a program in the shell blocks of a page, without those of a synopsis."""
    for text in blocks(page, "", "sh", "bash"):
        for line in text.replace("\\\n", " ").splitlines():
            typed = line.partition(" #")[0]
            for part in typed.split("&&"):
                if part.split()[:1] == [program] and not _SYNOPSIS.search(typed):
                    yield shlex.split(part.strip().removesuffix("&"))


def shown(program: str) -> list[tuple[str, list[str]]]:
    """The commands of a program on all pages, each with its page."""
    return [(page, words) for page in PAGES for words in commands(page, program)]


def manifests() -> list[tuple[str, dict[str, Any]]]:
    """The objects of our kinds in the YAML blocks of all pages."""
    return [
        (page, body)
        for page in PAGES
        for text in blocks(page, "yaml")
        for body in yaml.safe_load_all(text)
        if isinstance(body, dict) and body.get("apiVersion") == API_VERSION
    ]


def test_every_command_of_ei_has_arguments_that_it_knows() -> None:
    commands: dict[str, Any] = typer.main.get_command(application()).commands  # type: ignore[attr-defined]
    wrong = []
    for page, words in shown("ei"):
        try:
            commands[words[1]].make_context(words[1], words[2:]).close()
        except ClickException as error:
            wrong.append(f"{page}: {' '.join(words)}: {error.format_message()}")
    assert shown("ei")
    assert wrong == []


@pytest.mark.parametrize("program", PARSERS)
def test_every_command_of_a_program_has_arguments_that_it_knows(
    program: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGE_STORE", "https://model-store:8080")  # which pages tell readers to set
    wrong = []
    for page, words in shown(program):
        given = testbed.split(words[1:])[0] if program == "testbed" else words[1:]
        try:
            PARSERS[program]().parse_args(given)
        except SystemExit as end:
            if end.code:
                wrong.append(f"{page}: {' '.join(words)}: {capsys.readouterr().err.splitlines()[-1]}")
    assert wrong == []


def test_every_target_of_make_exists() -> None:
    targets = set(_TARGET.findall((ROOT / "Makefile").read_text()))
    wrong = [(page, words) for page, words in shown("make") if words[1] not in targets]
    assert wrong == []


@pytest.mark.parametrize(("page", "body"), manifests())
def test_every_manifest_of_a_page_is_accepted(page: str, body: dict[str, Any]) -> None:
    assert body["kind"] in KINDS
    assert problems(body) == []


@pytest.mark.parametrize(
    "path", sorted((ROOT / "examples").glob("*/*.yaml")), ids=lambda path: path.parent.name
)
def test_every_manifest_of_an_example_is_accepted(path: Path) -> None:
    for body in yaml.safe_load_all(path.read_text()):
        if body["apiVersion"] == API_VERSION:
            assert problems(body) == [], path.name


def test_there_are_commands_and_manifests_to_check() -> None:
    assert all(shown(program) for program in (*PARSERS, "make"))
    assert {body["kind"] for _, body in manifests()} == set(KINDS)
