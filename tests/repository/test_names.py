"""The names of tests follow the word lists of the prose linter, `.vale/styles/Edge`."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
RULES = ROOT / ".vale" / "styles" / "Edge"


def patterns() -> Iterator[re.Pattern[str]]:
    """What the rules forbid, as Python's regular expressions."""
    for file in sorted(RULES.glob("*.yml")):
        rule = yaml.safe_load(file.read_text())
        flags = re.IGNORECASE if rule.get("ignorecase") else 0
        for token in (*rule.get("swap", {}), *rule.get("tokens", ())):
            each = re.sub(r"\(\?<!([^()]+)\)", alternatives, token)
            yield re.compile(each if rule.get("nonword", "swap" in rule) else rf"\b(?:{each})\b", flags)


def alternatives(lookbehind: re.Match[str]) -> str:
    """The lookbehind as one of fixed width for each of its alternatives, which Python requires."""
    return "".join(f"(?<!{each})" for each in lookbehind[1].split("|"))


def sentence(name: str) -> str:
    """The words of an identifier."""
    return name.removeprefix("test_").replace("_", " ")


def names() -> Iterator[tuple[Path, str]]:
    for file in sorted((ROOT / "tests").rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
                yield file.relative_to(ROOT), node.name


@pytest.mark.parametrize(
    "name",
    ["test_a_relay_is_told", "test_whoever_asks_waits_in_vain", "test_it_goes_on", "test_that_is_none"],
)
def test_forbidden_words_are_found_in_identifiers(name: str) -> None:
    assert any(pattern.search(sentence(name)) for pattern in patterns())


def test_the_names_of_tests_hold_no_forbidden_words() -> None:
    forbidden = list(patterns())
    assert len(forbidden) > 100
    found = [
        f"{file}: {name}: {match[0]!r}"
        for file, name in names()
        for pattern in forbidden
        if (match := pattern.search(sentence(name)))
    ]
    assert not found, "\n".join(found)
