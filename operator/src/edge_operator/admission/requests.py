"""AdmissionReview of admission.k8s.io/v1: what the API server sends, and what it is answered. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, cast, get_args

from edge_operator.admission.verdicts import Verdict
from edge_operator.errors import ReviewError

API_VERSION: Final = "admission.k8s.io/v1"
Operation = Literal["CREATE", "UPDATE", "DELETE", "CONNECT"]
_FORBIDDEN: Final = 403
Object = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Request:
    """A change that the API server asks about. new: empty for a deletion. old: empty for a creation."""

    uid: str
    kind: str
    operation: Operation
    namespace: str = ""
    name: str = ""
    subresource: str = ""
    new: Object = field(default_factory=dict)
    old: Object = field(default_factory=dict)

    @property
    def changes_spec(self) -> bool:
        """Whether there is something to review: a new spec, of an object that is not being deleted."""
        if self.subresource or self.operation not in ("CREATE", "UPDATE"):
            return False
        if (self.new.get("metadata") or {}).get("deletionTimestamp"):
            return False
        return self.operation == "CREATE" or self.new.get("spec") != self.old.get("spec")


def read(body: object) -> Request:
    """Returns the request of an AdmissionReview. Raises ReviewError with the field that is wrong."""
    found = _mapping(body, "body")
    if found.get("apiVersion") != API_VERSION or found.get("kind") != "AdmissionReview":
        raise ReviewError(
            f'apiVersion and kind: "{found.get("apiVersion")}" and "{found.get("kind")}" are not '
            f"{API_VERSION} "
            "and AdmissionReview: send an AdmissionReview"
        )
    request = _mapping(found.get("request"), "request")
    uid, operation = request.get("uid"), request.get("operation")
    if not isinstance(uid, str) or not uid:
        raise ReviewError("request.uid: must be text: send the identifier of the request")
    if operation not in get_args(Operation):
        raise ReviewError(
            f'request.operation: "{operation}" is not known: send one of {", ".join(get_args(Operation))}'
        )
    return Request(
        uid,
        str(_mapping(request.get("kind"), "request.kind").get("kind") or ""),
        cast("Operation", operation),
        str(request.get("namespace") or ""),
        str(request.get("name") or ""),
        str(request.get("subResource") or ""),
        _mapping(request.get("object") or {}, "request.object"),
        _mapping(request.get("oldObject") or {}, "request.oldObject"),
    )


def answer(uid: str, verdict: Verdict) -> dict[str, Any]:
    """Returns the AdmissionReview that answers a request."""
    response: dict[str, Any] = {"uid": uid, "allowed": verdict.allowed}
    if verdict.warnings:
        response["warnings"] = list(verdict.warnings)
    if not verdict.allowed:
        response["status"] = {
            "status": "Failure",
            "code": _FORBIDDEN,
            "reason": verdict.reasons[0],
            "message": verdict.message,
        }
    return {"apiVersion": API_VERSION, "kind": "AdmissionReview", "response": response}


def _mapping(value: object, field: str) -> Object:
    if not isinstance(value, Mapping):
        raise ReviewError(f"{field}: must be an object: send an AdmissionReview as JSON")
    return value
