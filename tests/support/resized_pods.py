"""The part of a test's API server that changes what running pods request."""

import copy
from collections.abc import Mapping

from edge_operator.cluster import Object
from edge_operator.errors import ObjectRefusedError


class ResizedPods:
    """resizes: whether the API server can resize pods. refusal: why it does not allow it."""

    objects: dict[tuple[str, str, str], Object]
    log: list[str]
    resizes: bool = True
    refusal: str = ""
    tried: int = 0
    """Requests to resize a pod."""

    def resize(self, pod: Object, container: str, requests: Mapping[str, str]) -> Object | None:
        """Changes the requests of a container; None if the pod is gone."""
        name = pod["metadata"]["name"]
        self.tried += 1
        if self.refusal:
            raise ObjectRefusedError(self.refusal)
        body = self.objects.get(("Pod", pod["metadata"]["namespace"], name))
        if body is None or body["metadata"]["uid"] != pod["metadata"]["uid"] or not self.resizes:
            return None
        (found,) = [each for each in body["spec"]["containers"] if each["name"] == container]
        found["resources"]["requests"] |= requests
        self.log.append(f"resize {name} {requests['cpu']}")
        return copy.deepcopy(body)
