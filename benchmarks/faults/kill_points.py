"""sitecustomize of the operator in a fault: it kills itself at a request of a kind, before or after it.

While /tmp/kill-at has a line `before KIND` or `after KIND`, the next request of that kind is the last of the
process. KIND is the verb and what it is about, such as `PATCH placements/status`, `POST slices` or `load`.
"""

import os
import pathlib
import re
import sys
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")
KILLED = 137
"""Exit status. The first process of a container cannot send SIGKILL to itself; this ends it as abruptly."""
KILL = pathlib.Path("/tmp/kill-at")
_OBJECT = re.compile(
    r"/(?:api|apis/[^/]+)/v[^/]+(?:/namespaces/[^/]+(?=/))?/(?P<kind>[^/?]+)(?:/[^/?]+)?(?P<part>/[^/?]+)?"
)
_STORE = re.compile(r"/v1/(?P<kind>models|slices|blobs|codecs)")
_CONTROL = re.compile(r"/v2/repository/models/[^/]+/(?P<kind>load|unload)")


def kind_of(method: str, url: str) -> str:
    """Returns what a request is; empty for one at which no fault is planted."""
    path = re.sub(r"^https?://[^/]+", "", url)
    if found := _CONTROL.match(path):
        return found["kind"]
    if found := _OBJECT.match(path):
        return f"{method} {found['kind']}{found['part'] or ''}"
    if found := _STORE.match(path):
        return f"{method} {found['kind']}"
    return ""


def due(when: str, kind: str) -> bool:
    """Whether the process is to end now; only one does."""
    try:
        wanted = KILL.read_text().strip()
    except OSError:
        return False
    if wanted != f"{when} {kind}":
        return False
    KILL.unlink()
    return True


def wrapped(call: Callable[P, T], kind: Callable[..., str]) -> Callable[P, T]:
    """Returns a call that can be the last of the process."""

    def at(*given: P.args, **named: P.kwargs) -> T:
        of = kind(*given, **named)
        if due("before", of):
            os._exit(KILLED)
        found = call(*given, **named)
        if due("after", of):
            os._exit(KILLED)
        return found

    return at


def install() -> None:
    """Wraps the functions through which the operator calls the API server, the model store and Triton."""
    import httpx
    import kubernetes.client

    from edge_operator.tritons import triton

    client = kubernetes.client.ApiClient
    of_request = lambda _, method, url, *rest, **more: kind_of(method, str(url))  # noqa: E731
    setattr(client, "call_api", wrapped(client.call_api, of_request))  # noqa: B010 - a method of a class
    setattr(httpx.Client, "request", wrapped(httpx.Client.request, of_request))  # noqa: B010
    setattr(triton.TritonServers, "load", wrapped(triton.TritonServers.load, lambda *_: "load"))  # noqa: B010
    setattr(triton.TritonServers, "unload", wrapped(triton.TritonServers.unload, lambda *_: "unload"))  # noqa: B010


if any(word.endswith("edge-operator") for word in sys.orig_argv):
    install()
