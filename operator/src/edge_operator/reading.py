"""Objects as users wrote them; what the API server took and cannot be worked with is told. Pure."""

import datetime
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from pydantic import ValidationError

from edge_api import reasons
from edge_api.devicepools import DevicePool, DevicePoolStatus
from edge_api.inferenceservices import InferenceService, InferenceServiceStatus
from edge_api.reasons import ConditionType
from edge_operator.conditions import Finding, conditions

AnyKind = TypeVar("AnyKind", InferenceService, DevicePool)
AnyStatus = TypeVar("AnyStatus", InferenceServiceStatus, DevicePoolStatus)


def read(kind: type[AnyKind], body: Mapping[str, object]) -> AnyKind:
    """The object; its status, should another version have written it, does not matter. ValidationError."""
    try:
        return kind.model_validate(body)
    except ValidationError:
        return kind.model_validate({**body, "status": None})


def unreadable(
    kind: type[AnyStatus],
    body: Mapping[str, Any],
    wrong: Sequence[str],
    order: Sequence[ConditionType],
    now: datetime.datetime,
) -> AnyStatus:
    """The status of an object that cannot be worked with: Ready is False, the rest is as it was before."""
    try:
        before = kind.model_validate(body.get("status") or {})
    except ValidationError:
        before = kind()
    ready = Finding(reasons.READY, "False", reasons.UNREADABLE, "; ".join(wrong))
    generation = int(body["metadata"].get("generation") or 0)
    found = conditions(before.conditions, [ready], order, generation, now)
    return before.model_copy(update={"conditions": found, "observed_generation": generation})
