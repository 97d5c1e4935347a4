"""Asks a service of one file and compares its responses with onnxruntime's; runs in a node's network.

    python -m benchmarks.models.asking MODEL HOST SERVICE [--route ROUTE] [--count COUNT]

Waits until the route responds at each shape, then sends `count` requests of each shape in turn. Prints one
JSON object: for each shape `wrong` (what differs from onnxruntime; empty if nothing does), the `route`s that
responded, with their number, and the `seconds` of the responses by the route, or by any without --route.
"""

import argparse
import http.client
import json
import sys
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

import tritonclient.http

from benchmarks.models.calls import inputs_of
from benchmarks.models.catalogue import catalogue
from benchmarks.models.inputs import Array, Feeds, measured_feeds, shown
from benchmarks.models.truth import Truth, difference

_PORT: Final = 8080
_SWITCH: Final = 60.0
_PAUSE: Final = 0.05


class Client:
    """One connection to a service, over which a request is one body that is written beforehand."""

    def __init__(self, host: str, service: str) -> None:
        self._connection = http.client.HTTPConnection(host, _PORT, timeout=_SWITCH)
        self._path = f"/v2/models/{service}/infer"

    def body(self, feeds: Feeds) -> tuple[bytes, dict[str, str]]:
        """Returns the body of a request and its headers."""
        library: Any = tritonclient.http
        body, size = library.InferenceServerClient.generate_request_body(inputs_of(library, feeds))
        return body, {} if size is None else {"Inference-Header-Content-Length": str(size)}

    def send(self, body: bytes, headers: dict[str, str]) -> tuple[float, http.client.HTTPResponse, bytes]:
        """Returns the seconds until the whole response has arrived, its head and its body."""
        began = time.perf_counter()
        self._connection.request("POST", self._path, body, headers)
        response = self._connection.getresponse()
        data = response.read()
        return time.perf_counter() - began, response, data

    def infer(
        self, body: bytes, headers: dict[str, str], outputs: Sequence[str]
    ) -> tuple[float, dict[str, Array], str]:
        """Returns the seconds, the outputs by name and the route. Raises RuntimeError for an error."""
        seconds, response, data = self.send(body, headers)
        if response.status != http.client.OK:
            raise RuntimeError(f"{response.status}: {data[:500].decode(errors='replace')}")
        size = response.getheader("Inference-Header-Content-Length")
        library: Any = tritonclient.http
        found = library.InferenceServerClient.parse_response_body(
            data, header_length=None if size is None else int(size)
        )
        parameters = found.get_response().get("parameters", {})
        return seconds, {name: found.as_numpy(name) for name in outputs}, str(parameters.get("route", ""))


def main() -> int:
    """Sends the requests; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("host")
    parser.add_argument("service")
    parser.add_argument("--route", default="", help="the route whose responses count; default: any")
    parser.add_argument("--count", type=int, default=1, help="requests of each shape")
    arguments = parser.parse_args()
    (model,) = [each for each in catalogue([arguments.model]) if each.name == arguments.model]
    truth = Truth(model.path)
    feeds = measured_feeds(model.inputs, truth.dtypes)
    client = Client(arguments.host, arguments.service)
    bodies = [client.body(feed) for feed in feeds]
    found: list[dict[str, Any]] = []
    for feed, body in zip(feeds, bodies, strict=True):
        route = _wait(client, body, truth.outputs, arguments.route)
        _, response, _ = client.infer(*body, truth.outputs)
        found.append({"shape": shown(feed), "wrong": difference(truth.run(feed), response), "reached": route})
    seconds: list[list[float]] = [[] for _ in feeds]
    routes: list[Counter[str]] = [Counter() for _ in feeds]
    for _ in range(arguments.count):
        for number, body in enumerate(bodies):
            spent, _, route = client.infer(*body, truth.outputs)
            routes[number][route] += 1
            if not arguments.route or route == arguments.route:
                seconds[number].append(spent)
    for each, times, taken in zip(found, seconds, routes, strict=True):
        each |= {"seconds": times, "routes": dict(taken)}
    json.dump(found, sys.stdout)
    return 0


def _wait(client: Client, body: tuple[bytes, dict[str, str]], outputs: Sequence[str], route: str) -> str:
    """Sends requests until the route responds; returns the last one that did."""
    deadline = time.monotonic() + _SWITCH
    while True:
        _, _, used = client.infer(*body, outputs)
        if not route or used == route or time.monotonic() > deadline:
            return used
        time.sleep(_PAUSE)


if __name__ == "__main__":
    sys.exit(main())
