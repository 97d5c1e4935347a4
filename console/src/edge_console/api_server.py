"""The API server as the console uses it: lists and watches, and reviews of tokens and of rights.

The console's only caller of the API server. All calls block.
"""

from collections.abc import Mapping
from typing import Any

from edge_console.errors import UnavailableError
from edge_console.rights import Identity, Right
from edge_operator.cluster import Object
from edge_operator.errors import ApiUnreachableError
from edge_operator.list_watch import Expired, ListWatch


class ApiServer(ListWatch):
    """Reads of the API server with the console's own account."""

    def review(self, token: str) -> Identity | None:
        """Returns whose token it is; None if it is not valid. Raises UnavailableError."""
        found = self._created("authentication.k8s.io/v1", "TokenReview", {"token": token})
        if not found.get("authenticated"):
            return None
        user = found["user"]
        return Identity(
            user["username"],
            user.get("uid") or "",
            tuple(user.get("groups") or ()),
            tuple((key, tuple(values)) for key, values in sorted((user.get("extra") or {}).items())),
        )

    def allows(self, identity: Identity, right: Right) -> bool:
        """Whether the API server allows a right. Raises UnavailableError."""
        spec = {
            "user": identity.name,
            "uid": identity.uid,
            "groups": list(identity.groups),
            "extra": {key: list(values) for key, values in identity.extra},
            "resourceAttributes": {
                "group": right.group,
                "resource": right.resource,
                "verb": right.verb,
                "namespace": right.namespace,
            },
        }
        return bool(self._created("authorization.k8s.io/v1", "SubjectAccessReview", spec).get("allowed"))

    def _created(self, version: str, kind: str, spec: Mapping[str, Any]) -> Object:
        body = {"apiVersion": version, "kind": kind, "spec": spec}
        path = f"/apis/{version}/{kind.lower()}s"
        try:
            status: Object = self.read("POST", path, body=body).get("status") or {}
        except (ApiUnreachableError, Expired) as error:
            raise UnavailableError(str(error) or "API server: expired") from error
        return status
