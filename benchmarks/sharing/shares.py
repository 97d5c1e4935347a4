"""How a resource was divided between tenants, and how far that is from their weights. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

_ENOUGH: Final = 0.9
"""Of what a tenant is to have: a window of a second holds few turns of a tenant with a small share."""


def used(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, float]:
    """Returns what each tenant used between two readings of its counter."""
    return {name: after[name] - value for name, value in before.items()}


def parts(amounts: Mapping[str, float]) -> dict[str, float]:
    """Returns the part of each in the sum; 0 of nothing."""
    total = sum(amounts.values())
    return {name: amount / total if total > 0 else 0.0 for name, amount in amounts.items()}


def max_error(shares: Mapping[str, float], weights: Mapping[str, float]) -> float:
    """Returns the largest relative difference between a share and the part of its weight in their sum."""
    return max(abs(shares[name] / part - 1) for name, part in parts(weights).items())


def division(
    weights: Mapping[str, float], spent: Mapping[str, float], responses: Mapping[str, float]
) -> dict[str, object]:
    """Returns the figures of a division, by tenant in the order of `weights`.

    spent: of the resource that binds. responses: their number; a second measure of the same division.
    """
    shares = parts({name: spent[name] for name in weights})
    return {
        "weights": list(weights.values()),
        "shares": rounded(shares),
        "max_error": round(max_error(shares, weights), 4),
        "responses": [round(responses[name]) for name in weights],
        "response_shares": rounded(parts({name: responses[name] for name in weights})),
    }


def rounded(values: Mapping[str, float]) -> list[float]:
    """Returns the values with the digits of figures."""
    return [round(value, 4) for value in values.values()]


def is_lent(spent: Mapping[str, float], user: str, whole: float) -> bool:
    """Whether one tenant used the whole, in the unit of `spent`, while the others were idle."""
    return spent[user] >= _ENOUGH * whole


def is_returned(spent: Mapping[str, float], weights: Mapping[str, float], borrower: str) -> bool:
    """Whether each tenant but the borrower has its share back."""
    shares, due = parts(spent), parts(weights)
    return all(shares[name] >= _ENOUGH * due[name] for name in weights if name != borrower)
