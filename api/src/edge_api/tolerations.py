"""Tolerations, as pods have them."""

from typing import Annotated, Literal

from pydantic import Field

from edge_api.objects import Part
from edge_api.rules import Rule

_FIX = (
    "a toleration with operator Equal requires a key, one with Exists has no value, and tolerationSeconds "
    "requires effect NoExecute"
)


class Toleration(Part):
    """A taint that the pods of a node tolerate."""

    key: Annotated[str, Field(max_length=317)] | None = Field(
        default=None, description="Key of the taint. Default: any, with operator Exists."
    )
    operator: Literal["Exists", "Equal"] = Field(
        default="Equal",
        description="Equal: the taint has this value. Exists: it has any value. Default: Equal.",
    )
    value: Annotated[str, Field(max_length=63)] | None = Field(
        default=None, description="Value of the taint, for operator Equal. Default: empty."
    )
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = Field(
        default=None, description="Effect of the taint. Default: every effect."
    )
    toleration_seconds: Annotated[int, Field(strict=True, ge=0)] | None = Field(
        default=None,
        description="Seconds for which a taint with effect NoExecute is tolerated. Default: no limit.",
    )


def _check(toleration: Toleration) -> str | None:
    good = (
        (toleration.operator == "Exists" or bool(toleration.key))
        and (toleration.operator == "Equal" or not toleration.value)
        and (toleration.toleration_seconds is None or toleration.effect == "NoExecute")
    )
    return None if good else _FIX


_CONSISTENT = Rule(
    cel="(has(self.operator) && self.operator == 'Exists' ? !has(self.value) || self.value == '' "
    ": has(self.key) && self.key != '') && "
    "(!has(self.tolerationSeconds) || has(self.effect) && self.effect == 'NoExecute')",
    message=_FIX,
    sentence=f"'{_FIX}'",
    check=_check,
)

Tolerations = Annotated[
    tuple[Annotated[Toleration, _CONSISTENT], ...],
    Field(max_length=16),
]
