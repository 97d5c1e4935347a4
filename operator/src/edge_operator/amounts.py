"""Amounts of resources in any of Kubernetes' spellings. Pure."""

import re
from decimal import Decimal

from edge_api.quantities import LONGEST, QUANTITY_PATTERN, SUFFIXES

_QUANTITY = re.compile(QUANTITY_PATTERN)
_PARTS = re.compile(r"\+?([0-9.]+)(.*)")


def amount(value: object) -> object:
    """Returns the number of a quantity, so that 0.5 equals 500m; any other value as it is."""
    text = str(value)
    if len(text) > LONGEST or not _QUANTITY.fullmatch(text):
        return value
    match = _PARTS.fullmatch(text)
    assert match is not None
    number, suffix = match.groups()
    return Decimal(number) * SUFFIXES[suffix] if suffix in SUFFIXES else Decimal(f"{number}{suffix}")
