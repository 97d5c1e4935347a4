"""Asks services of one file and compares their responses with onnxruntime's; runs in a node's network.

    python -m benchmarks.models.asking MODEL HOST SERVICE …

Prints one JSON object: for each service the `route` that responded, `wrong` (what differs; empty if nothing
does) and `seconds`, the median of its responses.
"""

import json
import statistics
import sys
import time
from typing import Any, Final

import tritonclient.http

from benchmarks.models.calls import infer
from benchmarks.models.catalogue import catalogue
from benchmarks.models.inputs import requests
from benchmarks.models.truth import Truth, difference

_PORT: Final = 8080
_COUNT: Final = 20
_SWITCH: Final = 60.0


def main() -> int:
    """Sends the requests; returns the exit status."""
    name, host, *services = sys.argv[1:]
    (model,) = [each for each in catalogue([name]) if each.name == name]
    truth = Truth(model.path)
    feeds = requests(model.inputs, truth.dtypes)
    found: dict[str, Any] = {}
    with tritonclient.http.InferenceServerClient(
        f"{host}:{_PORT}", connection_timeout=_SWITCH, network_timeout=_SWITCH
    ) as client:
        for service in services:
            deadline, route = time.monotonic() + _SWITCH, ""
            leaves = not service.endswith("-localonly")
            while leaves and time.monotonic() < deadline and (not route or route.endswith("@local")):
                route = str(infer(tritonclient.http, client, service, feeds[0], truth.outputs)[1]["route"])
            wrong = []
            for feed in feeds:
                response, parameters = infer(tritonclient.http, client, service, feed, truth.outputs)
                route = str(parameters["route"])
                wrong.append(difference(truth.run(feed), response))
            times = []
            for _ in range(_COUNT):
                began = time.perf_counter()
                infer(tritonclient.http, client, service, feeds[0], truth.outputs)
                times.append(time.perf_counter() - began)
            said = "; ".join(filter(None, wrong))
            found[service] = {"route": route, "wrong": said, "seconds": statistics.median(times)}
    json.dump(found, sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
