"""Asks a service of one file and compares its responses with onnxruntime's; runs in a node's network.

    python -m benchmarks.models.asking MODEL HOST SERVICE [--route ROUTE] [--rounds ROUNDS] [--statistics URL]

Waits until the route responds at each shape, then sends requests of each shape in turn, in rounds. Prints one
JSON object: for each shape `wrong` (what differs from onnxruntime; empty if nothing does), the route that was
`reached`, the `routes` that responded, with their number, and the `rounds`. Each has the `seconds` of the
responses by the route, or by any without --route, the estimated `bandwidth` in bit/s, and the `parts` of the
time in seconds, by the counters of the runtime and, with --statistics, of Triton.
"""

import argparse
import http.client
import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

import tritonclient.http

from benchmarks.models import counters
from benchmarks.models.calls import inputs_of
from benchmarks.models.catalogue import catalogue
from benchmarks.models.inputs import Array, Feeds, measured_feeds, shown
from benchmarks.models.truth import Truth, difference

_PORT: Final = 8080
_SWITCH: Final = 60.0
_PAUSE: Final = 0.05
_BLOCK: Final = 4
"""Requests of one shape in a round. One more goes before them: it waits for what reading counters took."""


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
    parser.add_argument("--rounds", type=int, default=0, help="of requests of each shape")
    parser.add_argument("--statistics", default="", metavar="URL", help="of the route's tail at Triton")
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
    read = partial(
        counters.read,
        f"http://{arguments.host}:{_PORT}/metrics",
        arguments.statistics,
        arguments.service,
        arguments.route,
    )
    for each in found:
        each |= {"routes": Counter(), "rounds": []}
    for _ in range(arguments.rounds):
        for each, body in zip(found, bodies, strict=True):
            each["rounds"].append(_round(client, body, truth.outputs, arguments.route, each["routes"], read))
    json.dump(found, sys.stdout)
    return 0


def _round(
    client: Client,
    body: tuple[bytes, dict[str, str]],
    outputs: Sequence[str],
    route: str,
    routes: Counter[str],
    read: Callable[[], counters.Totals],
) -> dict[str, Any]:
    """Sends one block of requests of a shape."""
    before, seconds = read(), list[float]()
    for number in range(1 + _BLOCK):
        spent, _, used = client.infer(*body, outputs)
        routes[used] += 1
        if number and (not route or used == route):
            seconds.append(spent)
    after = read()
    return {"seconds": seconds, "bandwidth": after.bandwidth, "parts": after.since(before)}


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
