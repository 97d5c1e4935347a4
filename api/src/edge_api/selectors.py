"""Selectors of nodes: labels, all of which a node must have."""

import re
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field

from edge_api.rules import filled, matching
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
