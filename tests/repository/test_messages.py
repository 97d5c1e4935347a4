"""Tests assert the reason, fields, values and numbers of a message, so that its words can be changed."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from messages import mentions

ROOT = Path(__file__).resolve().parents[2]
FEWEST = 8  # words of a literal that is a sentence
GOLDEN = {"planning/graphs/test_reading.py": "the header of a printed table"}


def sentences(tree: ast.AST) -> Iterator[str]:
    """The sentences in assertions and `match=`; the message of an assertion is free."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Assert):
            asserted: ast.expr = node.test
        elif isinstance(node, ast.keyword) and node.arg == "match":
            asserted = node.value
        else:
            continue
        for each in ast.walk(asserted):
            if isinstance(each, ast.Constant) and isinstance(each.value, str):
                words = [word for word in each.value.split() if re.fullmatch(r"[A-Za-z'-]+[,.:;]?", word)]
                if len(words) >= FEWEST:
                    yield each.value


@pytest.mark.parametrize(
    "source",
    [
        'assert text == "x: the words of this message are asserted, too"',
        'assert "x: the words of this message are asserted, too" in text, text',
        'pytest.raises(E, match=r"x: the words of this message are asserted, too")',
    ],
)
def test_a_sentence_in_an_assertion_is_found(source: str) -> None:
    assert len(list(sentences(ast.parse(source)))) == 1


def test_parts_and_the_message_of_an_assertion_are_accepted() -> None:
    source = 'assert "spec.slo.latency: 0s" in text, "a message of an assertion may be a sentence"'
    assert not list(sentences(ast.parse(source)))


def test_no_assertion_holds_a_sentence() -> None:
    files = {str(file.relative_to(ROOT / "tests")): file for file in (ROOT / "tests").rglob("*.py")}
    found = {name: list(sentences(ast.parse(file.read_text()))) for name, file in files.items()}
    assert {name for name, each in found.items() if each} == set(GOLDEN), {
        name: each for name, each in found.items() if each and name not in GOLDEN
    }


@pytest.mark.parametrize(
    ("parts", "text"),
    [
        (("x.shape:", 3, "[-1, 2]"), "x.shape: [-1, 2] has 3 values"),
        ((3, "x.shape:"), "x.shape: [1] has 3"),
        (("edge-a",), "node edge-a: away"),
        (("tls.crt",), "/etc/tls.crt: gone."),
        ((0.5,), "0.5"),
        (("a", "b"), "first line a\nsecond b"),
    ],
)
def test_parts_are_found_in_any_order(parts: tuple[object, ...], text: str) -> None:
    assert mentions(*parts).search(text)


@pytest.mark.parametrize(
    ("part", "text"),
    [
        (1, "10"),
        (1, "21"),
        (1, "1.5"),
        (5, "1.5"),
        (1, "-1"),
        ("a", "edge-a"),
        ("edge", "edge-a"),
        ("spec.slo", "spec.slo.latency"),
        ("90ms", "90 ms"),
    ],
)
def test_a_part_of_another_value_is_not_found(part: object, text: str) -> None:
    assert not mentions(part).search(text)
