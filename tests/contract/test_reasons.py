"""Conditions, reasons and events are constants of one module, each on the page, none set by a literal."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import edge_operator
import edge_runtime
from edge_api import reasons
from edge_runtime import errors

PAGE = Path(__file__).parents[2] / "docs" / "reasons.md"
REASONS = Path(reasons.__file__)
# The arguments of a call that set a condition or a reason: by position and by name.
SETTERS = {
    "Finding": ((0, 2), {"type", "reason"}),
    "Blocked": ((0, 1), {"step", "reason"}),
    "Measuring": ((3,), {"reason"}),
    "Remedy": ((0,), {"reason"}),
    "StoreError": ((0,), {"reason"}),
    "record": ((2,), {"reason"}),
    "refuse": ((2,), {"reason"}),
}
# Reasons that a runtime or the store can pass to the operator; other errors end a request or a process.
REPORTED = (
    errors.ModelError,
    errors.StorageError,
    errors.AccessDenied,
    errors.CannotLoad,
    errors.BadPlacement,
    errors.BadCertificates,
    errors.ModelFailed,
    errors.BadRequest,
)
# Of HTTP only: the operator's client never sends what they reject.
HTTP_ONLY = (
    errors.UnsupportedEncoding,
    errors.HeadersTooLarge,
    errors.NotOffered,
    errors.UnknownVersion,
    errors.TooSlow,
)


def modules() -> Iterator[Path]:
    for package in (edge_operator, edge_runtime):
        assert package.__file__ is not None
        yield from (path for path in Path(package.__file__).parent.rglob("*.py") if path != REASONS)


def literals(tree: ast.AST) -> Iterator[ast.Constant]:
    """The string constants that a call of the setters uses as a condition or a reason."""
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
        positions, names = SETTERS.get(name, ((), set()))
        given = [argument for n, argument in enumerate(call.args) if n in positions]
        given += [keyword.value for keyword in call.keywords if keyword.arg in names]
        for argument in given:
            parts = [argument.body, argument.orelse] if isinstance(argument, ast.IfExp) else [argument]
            yield from (p for p in parts if isinstance(p, ast.Constant) and isinstance(p.value, str))
    for compare in (node for node in ast.walk(tree) if isinstance(node, ast.Compare)):
        sides = [compare.left, *compare.comparators]
        if any(isinstance(side, ast.Attribute) and side.attr == "reason" for side in sides):
            yield from (s for s in sides if isinstance(s, ast.Constant) and isinstance(s.value, str))


def test_no_condition_reason_or_event_is_set_by_a_literal() -> None:
    found = [
        f"{path.name}:{constant.lineno}: {constant.value!r}"
        for path in modules()
        for constant in literals(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert found == []


def test_the_search_for_literals_finds_them() -> None:
    text = 'Blocked(x, "A" if y else "B", m); cluster.record(o, "Warning", "C", m); e.reason == "D"'
    assert {constant.value for constant in literals(ast.parse(text))} == {"A", "B", "C", "D"}


def test_every_reason_has_a_user() -> None:
    source = "\n".join(path.read_text(encoding="utf-8") for path in modules())
    constants = {
        value: name for name, value in vars(reasons).items() if name.isupper() and type(value) is str
    }
    unused = [
        name
        for name in reasons.REASONS
        if f"reasons.{constants[name]}" not in source and not hasattr(errors, name)
    ]
    assert unused == []


def subclasses(kind: type[errors.EdgeError]) -> Iterator[type[errors.EdgeError]]:
    yield kind
    for below in kind.__subclasses__():
        yield from subclasses(below)


@pytest.mark.parametrize("family", REPORTED, ids=lambda kind: kind.__name__)
def test_what_runtimes_and_the_store_report_is_a_known_reason(family: type[errors.EdgeError]) -> None:
    abstract = {errors.ModelError, errors.StorageError, errors.AccessDenied}
    found = {kind for kind in subclasses(family) if kind.__module__ == errors.__name__}
    assert {k.__name__ for k in found - abstract - set(HTTP_ONLY)} <= set(reasons.REASONS)


def test_a_reason_that_this_version_does_not_know_is_replaced() -> None:
    assert reasons.known("TrialCrashed", reasons.ENTRIES_NOT_READY) == reasons.TRIAL_CRASHED
    assert reasons.known("FromTheFuture", reasons.ENTRIES_NOT_READY) == reasons.ENTRIES_NOT_READY
    assert reasons.known(None, reasons.ENTRIES_NOT_READY) == reasons.ENTRIES_NOT_READY


def rows(columns: int) -> list[list[str]]:
    lines = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
    return [row for row in cells if len(row) == columns and not row[0].startswith(("---", "condition"))]


def test_the_page_lists_every_reason_and_no_other() -> None:
    listed = {row[1].strip("`"): row for row in rows(4)}
    assert sorted(listed) == sorted(reasons.REASONS)
    for name, reason in reasons.REASONS.items():
        where, _, meaning, fix = listed[name]
        assert where.replace("`", "") == ", ".join(reason.where)
        assert (meaning, fix) == (reason.meaning, reason.fix)


def test_the_page_lists_every_condition_and_no_other() -> None:
    assert [row[0].strip("`") for row in rows(2)] == list(reasons.CONDITIONS)


def test_each_meaning_and_each_fix_is_a_sentence() -> None:
    for reason in reasons.REASONS.values():
        for text in (reason.meaning, reason.fix):
            assert re.fullmatch(r"[A-Z`a-z].*\.", text), reason.name
        assert set(reason.where) <= {
            *reasons.CONDITIONS,
            *reasons.OTHER_KINDS,
            reasons.EVENT,
            reasons.ADMISSION,
        }
