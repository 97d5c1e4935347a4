"""Constraints that exist twice: in CEL for the API server, and in Python.

A rule belongs to its field as `Annotated[type, RULE]`. `tests/api/bad_manifests.yaml` checks that
both have the same messages.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

from pydantic import Field, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, core_schema

from edge_api.quantities import DURATION_PATTERN, Duration, Quantity
from edge_api.words import shown

T = TypeVar("T")

VALIDATIONS = "x-kubernetes-validations"


@dataclass(frozen=True, slots=True)
class Rule:
    """One constraint on a value (in CEL: `self`).

    cel is true for good values. sentence is a CEL expression that gives the refusal's sentence, and message
    the sentence without the value, for when the expression cannot be used (line breaks in the value). check
    gives the same sentence in Python, or None for a good value.
    """

    cel: str
    message: str
    sentence: str
    check: Callable[[Any], str | None]

    def validation(self) -> dict[str, str]:
        """The entry of `x-kubernetes-validations`."""
        return {"rule": self.cel, "messageExpression": self.sentence, "message": self.message}

    def apply(self, value: T) -> T:
        """The value itself; ValueError with the sentence when it is refused."""
        if sentence := self.check(value):
            raise ValueError(sentence)
        return value

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self.apply, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        json = handler(schema)
        return {**json, VALIDATIONS: [*json.get(VALIDATIONS, []), self.validation()]}


def formatted(text: str, arguments: str) -> str:
    """CEL for `text` with each %s replaced by an argument."""
    # Not `+`: the API server cannot bound the cost of joining texts of unknown length, of format it can.
    return f"'{text}'.format([{arguments}])"


def _escaped(text: str) -> str:
    return text.replace("%", "%%")


def matching(pattern: str, fix: str) -> Rule:
    """Text that matches `pattern` as a whole; `fix` completes the sentence `"value" …`."""
    compiled = re.compile(re.sub(r"\$$", r"\\Z", pattern))  # Python's $ lets a line break pass, Go's does not
    cel_pattern = pattern.replace("\\", "\\\\")
    return Rule(
        cel=f"self.matches('{cel_pattern}')",
        message=f"the value {fix}",
        sentence=formatted(f'"%s" {_escaped(fix)}', "self"),
        check=lambda value: None if compiled.search(value) else f"{shown(value)} {fix}",
    )


def between(low: float, high: float, fix: str, *, open_ends: bool = False) -> Rule:
    """A number from low to high (without the two themselves if open_ends); `fix` completes `value …`."""
    less = "<" if open_ends else "<="

    def check(value: float) -> str | None:
        good = low < value < high if open_ends else low <= value <= high
        return None if good else f"{value:g} {fix}"

    return Rule(
        cel=f"{float(low)} {less} self && self {less} {float(high)}",
        message=f"the value {fix}",
        sentence=formatted(f"%s {_escaped(fix)}", "self"),
        check=check,
    )


def filled(fix: str) -> Rule:
    """A map or a list that is not empty; `fix` is the whole sentence."""
    return Rule("size(self) > 0", fix, f"'{fix}'", lambda value: None if value else fix)


def one_of_each(key: str, what: str) -> Rule:
    """A list in which no two entries have the same `key`."""

    def check(values: Iterable[object]) -> str | None:
        names = [getattr(v, key) for v in values]
        twice = sorted({n for n in names if names.count(n) > 1})
        return f"two {what} are called {shown(twice[0])}: give each its own name" if twice else None

    return Rule(
        cel=f"self.all(a, self.exists_one(b, b.{key} == a.{key}))",
        message=f"two {what} have the same {key}: give each its own name",
        sentence=formatted(
            f'two {what} are called "%s": give each its own name',
            f"self.filter(a, !self.exists_one(b, b.{key} == a.{key}))[0].{key}",
        ),
        check=check,
    )


_NOT_A_DURATION = "is not a duration: write a number and a unit (ns, us, ms, s, m, h), e.g. 100ms or 1m30s"
_UNIT = Rule(
    cel=f"self.matches('{DURATION_PATTERN}')".replace("\\.", "\\\\."),
    message=f"the value {_NOT_A_DURATION}",
    sentence="self.matches('^[0-9]+(\\\\.[0-9]+)?$') ? "
    + formatted("%s has no unit: write %sms or %ss", "self, self, self")
    + " : "
    + formatted(f'"%s" {_NOT_A_DURATION}', "self"),
    check=lambda value: None,  # Duration itself says it
)
_ABOVE_ZERO = "must be greater than zero: write a duration such as 100ms"
_POSITIVE = Rule(
    cel="self.matches('[1-9]')",
    message=f"the value {_ABOVE_ZERO}",
    sentence=formatted(f'"%s" {_ABOVE_ZERO}', "self"),
    check=lambda value: None if value > 0 else f'"{value}" {_ABOVE_ZERO}',
)


@dataclass(frozen=True, slots=True)
class _WrittenByHand:
    """Leaves the pattern to a rule, so that a missing unit gets a sentence and not a regular expression."""

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        json = handler(schema)
        kept = {k: v for k, v in json.items() if k not in ("pattern", VALIDATIONS)}
        return {**kept, VALIDATIONS: [r.validation() for r in (_UNIT, _POSITIVE)]}


PositiveDuration = Annotated[Duration, _POSITIVE, _WrittenByHand()]
"""A duration above 0 in a manifest that people write."""


def _above_zero(fix: str) -> Rule:
    """A quantity above 0; `fix` completes the sentence `value …`."""
    return Rule(
        cel="!self.matches('^[+0.]+([eE][+-]?[0-9]+|[A-Za-z]*)$')",
        message=f"the value {fix}",
        sentence=formatted(f'"%s" {fix}', "self"),
        check=lambda value: None if value > 0 else f'"{value}" {fix}',
    )


PositiveQuantity = Annotated[Quantity, _above_zero("must be greater than zero: write e.g. 100M")]
"""A quantity above 0 in a manifest that people write."""

Room = Annotated[
    Quantity,
    _above_zero("must be greater than zero: write e.g. 16Mi, or remove resultCache"),
]
"""The requested size of a cache in bytes."""

DIGEST = matching(
    "^sha256:[0-9a-f]{64}$",
    "is not a digest: write sha256: and the 64 lower-case hex digits that sha256sum prints",
)
LABEL = matching(
    "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$",
    "is not a DNS label: use lower-case letters, digits and hyphens, e.g. edge-camera",
)
OBJECT_NAME = matching(
    r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$",
    "is not the name of an object: use lower-case letters, digits, hyphens and dots, e.g. factory.west",
)
EXIT_NAME = matching(
    "^[A-Za-z0-9_]([-._A-Za-z0-9]*[A-Za-z0-9_])?$",
    "is not the name of an exit: use letters, digits, hyphens, dots and underscores, e.g. exit1",
)

Digest = Annotated[str, Field(max_length=128), DIGEST]
Label = Annotated[str, Field(max_length=63), LABEL]
ObjectName = Annotated[str, Field(max_length=253), OBJECT_NAME]
ExitName = Annotated[str, Field(max_length=63), EXIT_NAME]
TensorName = Annotated[str, Field(min_length=1, max_length=512)]
TensorNames = Annotated[str, Field(min_length=1, max_length=4096)]
"""Names of tensors, joined by +."""
Text = Annotated[str, Field(max_length=4096)]
Name = Annotated[str, Field(min_length=1, max_length=253)]
Accuracy = Annotated[
    float,
    Field(strict=True),
    between(0, 1, "is not an accuracy: write a number between 0 and 1, e.g. 0.98 for 98 %"),
]
