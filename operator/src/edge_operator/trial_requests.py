"""Sends one request to each Ready service, as a client inside the cluster does: what `helm test` runs."""

import http.client
import json
import ssl
from collections.abc import Callable, Iterable, Iterator
from math import prod
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from edge_operator.cluster import Object
from edge_operator.errors import ClusterError

Send = Callable[[str, Object | None], Object]
"""Sends a body to a URL, or reads it without one; returns the response. Raises RequestFailedError."""
_SECONDS = 30.0
_LARGEST = 2**22
"""Elements of an input above which no request is made."""


class RequestFailedError(ClusterError):
    """A service did not respond as the protocol says."""


def trial_requests(services: Iterable[Object], send: Send) -> Iterator[str]:
    """Sends zeros to each service that is Ready; yields a line for each. Raises RequestFailedError."""
    for service in services:
        meta = service["metadata"]
        name = f"InferenceService {meta['namespace']}/{meta['name']}"
        url = (service.get("status") or {}).get("url")
        if not url or not _ready(service):
            yield f"{name}: not Ready, no request sent"
            continue
        model = f"{url}/v2/models/{meta['name']}"
        about = send(model, None)
        inputs = [_zeros(each, f"{name}: input") for each in about.get("inputs") or ()]
        outputs = send(f"{model}/infer", {"inputs": inputs}).get("outputs")
        if not outputs:
            raise RequestFailedError(
                f"{name}: the response of {model}/infer has no outputs: see its pods' logs"
            )
        said = ", ".join(f"{each['name']} {each['shape']}" for each in outputs)
        yield f"{name}: {said}"


def _ready(service: Object) -> bool:
    conditions = (service.get("status") or {}).get("conditions") or ()
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def _zeros(tensor: Object, where: str) -> dict[str, Any]:
    """Returns an input of zeros; a dimension that requests choose is 1."""
    shape = [size if size > 0 else 1 for size in tensor["shape"]]
    if (count := prod(shape)) > _LARGEST:
        raise RequestFailedError(
            f'{where} "{tensor["name"]}": {count} elements are more than {_LARGEST}: send a request yourself'
        )
    zero: Any = "" if tensor["datatype"] == "BYTES" else False if tensor["datatype"] == "BOOL" else 0
    return {"name": tensor["name"], "datatype": tensor["datatype"], "shape": shape, "data": [zero] * count}


def sender(tls_dir: str = "") -> Send:
    """Returns a sender over HTTP. tls_dir: folder with tls.crt, tls.key and ca.crt, for services with TLS."""
    context = None
    if tls_dir:
        context = ssl.create_default_context(cafile=f"{tls_dir}/ca.crt")
        context.load_cert_chain(f"{tls_dir}/tls.crt", f"{tls_dir}/tls.key")

    def send(url: str, body: Object | None) -> Object:
        data = None if body is None else json.dumps(body).encode()
        request = Request(url, data, {"Content-Type": "application/json"} if data else {})  # noqa: S310 - status.url
        try:
            with urlopen(request, timeout=_SECONDS, context=context) as response:  # noqa: S310
                found: Object = json.load(response)
        except HTTPError as error:
            said = error.read().decode(errors="replace")[:500]
            raise RequestFailedError(f"{url}: status {error.code}: {said}") from error
        except (URLError, OSError, http.client.HTTPException, ValueError) as error:
            raise RequestFailedError(f"{url}: no response: {error}") from error
        return found

    return send
