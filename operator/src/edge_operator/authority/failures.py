"""Why certificates are not issued or renewed, and how a DevicePool reports it. Pure."""

import datetime
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from edge_api import reasons
from edge_operator.conditions import Finding
from edge_operator.errors import ApiUnreachableError, ClusterError, NotLeadingError, WriteConflictError

LASTING = datetime.timedelta(minutes=1)
"""For which a failure that usually passes by itself is not reported."""
_PASSING = (ApiUnreachableError, NotLeadingError, WriteConflictError)
_NAMED = 3
"""Failures that a condition lists; the others are counted."""


class Uncertified(NamedTuple):
    """Why the certificate of a namespace's runtimes is not as it should be.

    serving: whether there is one that is valid until it expires.
    """

    message: str
    serving: bool


class SecretKey(NamedTuple):
    """A Secret by its namespace and name."""

    namespace: str
    name: str


@dataclass(frozen=True, slots=True)
class Failure:
    """Why the last attempts failed. since: of the first of them. passing: whether it passes by itself."""

    message: str
    since: datetime.datetime
    passing: bool


def failure(secret: SecretKey, error: Exception, before: Failure | None, now: datetime.datetime) -> Failure:
    """Returns what a failed attempt is remembered as. before: of the attempt before, if that failed."""
    message = str(error)
    if not isinstance(error, ClusterError):
        what = str(error) or type(error).__name__
        message = f"Secret {secret.namespace}/{secret.name}: {what}: see the operator's log"
    return Failure(message, now if before is None else before.since, isinstance(error, _PASSING))


def reported(failures: Mapping[SecretKey, Failure], now: datetime.datetime) -> dict[str, tuple[str, ...]]:
    """Returns the messages of the failures to report, by namespace."""
    found: dict[str, tuple[str, ...]] = {}
    for secret, each in sorted(failures.items()):
        if not each.passing or now - each.since >= LASTING:
            found[secret.namespace] = (*found.get(secret.namespace, ()), each.message)
    return found


def certificates_finding(
    failures: Mapping[str, Sequence[str]] | None, namespaces: Collection[str]
) -> Finding | None:
    """Returns the condition CertificatesIssued of a pool; None if the operator issues no certificates.

    failures: messages by namespace. namespaces: the operator's own and those with services on the pool.
    """
    if failures is None:
        return None
    found = [message for namespace in sorted(namespaces) for message in failures.get(namespace, ())]
    if not found:
        message = (
            "the operator, the model store and all runtimes have certificates that are not due for renewal"
        )
        return Finding(reasons.CERTIFICATES_ISSUED, "True", reasons.ISSUED, message)
    more = [f"and {len(found) - _NAMED} more"] if len(found) > _NAMED else []
    said = "; ".join([*found[:_NAMED], *more])
    message = f"{said}; certificates that were issued before are used until they expire"
    return Finding(reasons.CERTIFICATES_ISSUED, "False", reasons.ISSUING_FAILED, message)
