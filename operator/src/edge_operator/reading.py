"""Parses objects, and reports those that the API server accepted but that are invalid. Pure."""

import datetime
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from pydantic import ValidationError

from edge_api import reasons
from edge_api.devicepools import DevicePool, DevicePoolStatus
from edge_api.earlier import in_this_version
from edge_api.inferenceservices import InferenceService, InferenceServiceStatus
from edge_api.reasons import ConditionType
from edge_api.tenants import Tenant, TenantStatus
from edge_operator.conditions import Finding, conditions

AnyKind = TypeVar("AnyKind", InferenceService, DevicePool, Tenant)
AnyStatus = TypeVar("AnyStatus", InferenceServiceStatus, DevicePoolStatus, TenantStatus)


def read(kind: type[AnyKind], body: Mapping[str, object]) -> AnyKind:
    """Returns the object, which an earlier version can have stored, without a status that cannot be read.

    Raises ValidationError.
    """
    body = in_this_version(body)
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
    """Returns the status of an invalid object: Ready is False, other fields are unchanged."""
    try:
        before = kind.model_validate(body.get("status") or {})
    except ValidationError:
        before = kind()
    ready = Finding(reasons.READY, "False", reasons.UNREADABLE, "; ".join(wrong))
    generation = int(body["metadata"].get("generation") or 0)
    found = conditions(before.conditions, [ready], order, generation, now)
    return before.model_copy(update={"conditions": found, "observed_generation": generation})
