"""Selectors of nodes and namespaces: labels that are required, and expressions that labels must meet."""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from edge_api.objects import Part
from edge_api.rules import Rule, filled, matching
from edge_api.words import shown

_KEY = re.compile(
    r"(?:(?P<prefix>[a-z0-9](?:[-a-z0-9]*[a-z0-9])?(?:\.[a-z0-9](?:[-a-z0-9]*[a-z0-9])?)*)/)?"
    r"(?P<name>[A-Za-z0-9](?:[-A-Za-z0-9_.]*[A-Za-z0-9])?)"
)
_LONGEST_PREFIX, _LONGEST_NAME = 253, 63
_FILLED = filled(
    "an empty selector selects every node: write at least one label, e.g. kubernetes.io/hostname: edge-a"
)
_VALUE = matching(
    "^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$",
    "is not the value of a label: use letters, digits, hyphens, dots and underscores, e.g. edge-a",
)


def _as_the_api_server_reads_it(value: object) -> object:
    """A label that is null is none, and keys are text."""
    if not isinstance(value, dict):
        return value
    for key in value:
        if not isinstance(key, str):
            raise ValueError(f"the key {shown(key)} is not text: put it in quotes")
    return {key: label for key, label in value.items() if label is not None}


def _with_label_keys(selector: dict[str, str]) -> dict[str, str]:
    for key in selector:
        found = _KEY.fullmatch(key)
        if (
            found is None
            or len(found["prefix"] or "") > _LONGEST_PREFIX
            or len(found["name"]) > _LONGEST_NAME
        ):
            raise ValueError(
                f"{shown(key)} is not the key of a label: use letters, digits, hyphens, dots and "
                f"underscores, at most {_LONGEST_NAME} characters, optionally after a domain and /, e.g. "
                "kubernetes.io/hostname"
            )
    return selector


NodeSelector = Annotated[
    dict[Annotated[str, Field(max_length=317)], Annotated[str, Field(max_length=63), _VALUE]],
    Field(max_length=16),  # beside the dict: behind a validator it is written as a text's maxLength
    BeforeValidator(_as_the_api_server_reads_it),
    AfterValidator(_with_label_keys),
    _FILLED,
]
_EXPRESSION_KEY = matching(
    "^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$",
    "is not the key of a label: use letters, digits, hyphens, dots and underscores, optionally after a "
    "domain and /, e.g. kubernetes.io/hostname",
)
_VALUES_FIX = "operators In and NotIn require values, Exists and DoesNotExist have none"


class Expression(Part):
    """A condition on one label of a node or namespace."""

    key: Annotated[str, Field(max_length=317), _EXPRESSION_KEY] = Field(
        description="Key of the label. Required."
    )
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"] = Field(
        description="In: the label has one of the values. NotIn: it has none of them, or there is no "
        "such label. Exists: there is the label. DoesNotExist: there is not. Required."
    )
    values: Annotated[
        tuple[Annotated[str, Field(max_length=63), _VALUE], ...],
        Field(max_length=16),
    ] = Field(
        default=(),
        description="Values of the label, at most 16, for the operators In and NotIn. Default: none.",
    )


def _check_values(expression: Expression) -> str | None:
    return None if (expression.operator in ("In", "NotIn")) == bool(expression.values) else _VALUES_FIX


_VALUES = Rule(
    cel="(self.operator in ['In', 'NotIn']) == (has(self.values) && size(self.values) > 0)",
    message=_VALUES_FIX,
    sentence=f"'{_VALUES_FIX}'",
    check=_check_values,
)


class LabelSelector(Part):
    """A label selector as in metav1: a node or namespace must meet all of it."""

    match_labels: Annotated[
        dict[Annotated[str, Field(max_length=317)], Annotated[str, Field(max_length=63), _VALUE]],
        Field(max_length=16),
        BeforeValidator(_as_the_api_server_reads_it),
        AfterValidator(_with_label_keys),
    ] = Field(default={}, description="Labels that are required, all of them, at most 16. Default: none.")
    match_expressions: Annotated[
        tuple[Annotated[Expression, _VALUES], ...],
        Field(max_length=16),
    ] = Field(
        default=(),
        description="Conditions on the labels, at most 16; all must be met. Default: none.",
    )


_SOMETHING_FIX = (
    "a selector without labels and expressions selects every node: write at least one into nodeSelector or "
    "selector"
)


class SelectsNodes(Part):
    """What selects nodes: by labels, by expressions, or both."""

    node_selector: NodeSelector | None = Field(
        default=None,
        description="Labels that a node must have, all of them: the short form of selector.matchLabels. "
        "Default: none; then selector is required.",
    )
    selector: LabelSelector | None = Field(
        default=None,
        description="Label selector that a node must match beside nodeSelector. Default: none; then "
        "nodeSelector is required.",
    )


def _check_something(part: SelectsNodes) -> str | None:
    given = part.selector is not None and (part.selector.match_labels or part.selector.match_expressions)
    return None if part.node_selector or given else _SOMETHING_FIX


SELECTS_SOMETHING = Rule(
    cel="has(self.nodeSelector) || has(self.selector) && "
    "(has(self.selector.matchLabels) && size(self.selector.matchLabels) > 0 || "
    "has(self.selector.matchExpressions) && size(self.selector.matchExpressions) > 0)",
    message=_SOMETHING_FIX,
    sentence=f"'{_SOMETHING_FIX}'",
    check=_check_something,
)
"""For every SelectsNodes: an empty nodeSelector is refused by itself."""


def _check_something_or_nothing(part: SelectsNodes) -> str | None:
    return None if part.node_selector is None and part.selector is None else _check_something(part)


SELECTS_SOMETHING_IF_GIVEN = Rule(
    cel=f"!has(self.nodeSelector) && !has(self.selector) || {SELECTS_SOMETHING.cel}",
    message=_SOMETHING_FIX,
    sentence=f"'{_SOMETHING_FIX}'",
    check=_check_something_or_nothing,
)
"""For a part that need not select nodes at all."""


_SOME_FIX = (
    "a selector without labels and expressions selects every namespace: write at least one into matchLabels "
    "or matchExpressions, e.g. matchLabels: {team: shop}"
)
SELECTS_SOME = Rule(
    cel="has(self.matchLabels) && size(self.matchLabels) > 0 || "
    "has(self.matchExpressions) && size(self.matchExpressions) > 0",
    message=_SOME_FIX,
    sentence=f"'{_SOME_FIX}'",
    check=lambda found: None if found.match_labels or found.match_expressions else _SOME_FIX,
)
"""For a LabelSelector that must not be empty."""
