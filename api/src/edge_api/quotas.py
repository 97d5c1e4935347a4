"""Parts of a pool that a tenant can use, and weights, in the notation of the API: `30%`, `4`, `500m`, `8Gi`.

Unlike a `Quantity`, an amount can be a fraction of one: half a core is `500m` or `0.5`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from edge_api.quantities import LONGEST, QUANTITY_PATTERN, SUFFIXES
from edge_api.rules import VALIDATIONS, formatted, matching
from edge_api.words import shown

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
    from pydantic_core import CoreSchema

_PERCENT = r"(100(\.0+)?|[0-9]{1,2}(\.[0-9]+)?)%"
QUOTA_PATTERN = rf"^({_PERCENT}|{QUANTITY_PATTERN.strip('^$')})$"
QUOTA_FIX = (
    "is neither a share nor an amount: write a percentage up to 100% such as 30%, or a quantity such as 4, "
    "500m, 20M or 8Gi"
)
WEIGHT_FIX = "is not a weight: write a number from 0 up with at most one suffix, e.g. 2, 0.5 or 500m"
_LARGEST_WEIGHT = Decimal(10) ** 9
_NUMBER = re.compile(r"\+?([0-9]+\.?[0-9]*|\.[0-9]+)(.*)")
_QUANTITY = re.compile(QUANTITY_PATTERN.removesuffix("$") + r"\Z")
_SHARE = re.compile(rf"{_PERCENT}\Z")


def parse_amount(text: str) -> Decimal | None:
    """Returns the number of a Kubernetes quantity with any suffix, exactly; None if it is not one."""
    if len(text) > LONGEST or not _QUANTITY.match(text):
        return None
    found = _NUMBER.fullmatch(text)
    assert found is not None
    number, suffix = found.groups()
    return Decimal(number) * SUFFIXES[suffix] if suffix in SUFFIXES else Decimal(f"{number}{suffix}")


@dataclass(frozen=True, slots=True)
class Quota:
    """A share of every resource of a kind, or an amount over the pool, with its text.

    Attributes:
        share: 0 to 1; None for an amount.
        amount: In cores, bytes, bit/s, or seconds of compute time per second; None for a share.
    """

    text: str
    share: float | None = None
    amount: float | None = None

    @classmethod
    def parse(cls, text: str) -> Quota:
        """Raises ValueError with a message."""
        if len(text) <= LONGEST and _SHARE.match(text):
            return cls(text, share=float(Decimal(text[:-1]) / 100))
        amount = parse_amount(text)
        if amount is None:
            raise ValueError(f"{shown(text)} {QUOTA_FIX}")
        return cls(text, amount=float(amount))

    def __str__(self) -> str:
        return self.text

    @classmethod
    def __get_pydantic_core_schema__(cls, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        from pydantic_core import core_schema

        def read(value: object) -> Quota:
            if isinstance(value, Quota):
                return value
            if isinstance(value, str):
                return cls.parse(value)
            if isinstance(value, int | float) and not isinstance(value, bool) and value >= 0:
                raise ValueError(f'{shown(value)} is not text: write "{value}" in quotes, or e.g. 30%')
            raise ValueError(f"{shown(value)} {QUOTA_FIX}")

        return core_schema.no_info_plain_validator_function(
            read, serialization=core_schema.to_string_ser_schema()
        )

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        rule = matching(QUOTA_PATTERN, QUOTA_FIX)
        return {"type": "string", "maxLength": LONGEST, VALIDATIONS: [rule.validation()]}


class Weight(float):
    """A weight from 0 up; written as a number or as a quantity."""

    @classmethod
    def parse(cls, value: object) -> Weight:
        """Raises ValueError with a message."""
        plain = isinstance(value, int) and not isinstance(value, bool)
        found = parse_amount(str(value)) if plain or isinstance(value, str) else None
        if found is None:
            raise ValueError(f"{shown(value)} {WEIGHT_FIX}")
        if found > _LARGEST_WEIGHT:
            raise ValueError(f"{shown(value)} is too large: a weight is at most {_LARGEST_WEIGHT}")
        return cls(found)

    def __str__(self) -> str:
        return f"{float(self):.12g}"

    @classmethod
    def __get_pydantic_core_schema__(cls, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        from pydantic_core import core_schema

        def read(value: object) -> Weight:
            return value if isinstance(value, Weight) else cls.parse(value)

        return core_schema.no_info_plain_validator_function(
            read, serialization=core_schema.to_string_ser_schema()
        )

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        types = [{"type": "integer"}, {"type": "string"}]
        # The type of such a field is only known when a rule runs; a pattern does not apply to a number.
        rule = {
            "rule": "type(self) == string || self >= 0",
            "messageExpression": formatted(f"%s {WEIGHT_FIX}", "self"),
            "message": f"the value {WEIGHT_FIX}",
        }
        bounds = {"pattern": QUANTITY_PATTERN, VALIDATIONS: [rule]}
        return {"anyOf": types, "x-kubernetes-int-or-string": True, **bounds}
