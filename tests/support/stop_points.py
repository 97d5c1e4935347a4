"""sitecustomize of the operator in a test: it waits between the fence of a write and its request.

While /tmp/stop exists, each write to a Placement waits there, and /tmp/stopped tells that one does.
"""

import pathlib
import sys
import time
from typing import Any

STOP, STOPPED = pathlib.Path("/tmp/stop"), pathlib.Path("/tmp/stopped")


def install() -> None:
    """Wraps the one function through which the operator calls the API server, after its fence."""
    import kubernetes.client

    call = kubernetes.client.ApiClient.call_api

    def call_api(self: Any, method: str, url: str, *rest: Any, **more: Any) -> Any:
        if method != "GET" and "/placements/" in url and STOP.exists():
            STOPPED.write_text(f"{method} {url}")
            while STOP.exists():
                time.sleep(0.02)
        return call(self, method, url, *rest, **more)

    setattr(kubernetes.client.ApiClient, "call_api", call_api)  # noqa: B010 - a method of a class


if any(word.endswith("edge-operator") for word in sys.orig_argv):
    install()
