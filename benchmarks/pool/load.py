"""Sends images to services, one request at a time for each; runs in a node's network.

    python -m benchmarks.pool.load --images heldout.npz --count 100 digits-1=10.96.3.4 …

With --every SECONDS instead of --count, sends to every service at this interval until standard input closes.
Prints one JSON object: for each service the `seconds` of its responses, and the number of `failed` requests.
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
import time
from pathlib import Path
from typing import Any

import tritonclient.http

from demo.client import Image
from demo.samples import LabeledImages

_PORT = 8080
_TIMEOUT_SECONDS = 10.0


def main() -> int:
    """Sends the requests; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--count", type=int)
    parser.add_argument("--every", type=float)
    parser.add_argument("services", nargs="+", metavar="NAME=HOST")
    arguments = parser.parse_args()
    images = LabeledImages.load(arguments.images).images
    targets = dict(text.split("=", 1) for text in arguments.services)
    found: dict[str, dict[str, Any]] = {name: {"seconds": [], "failed": 0} for name in targets}
    if arguments.count is not None:
        for name, host in targets.items():
            for index in range(arguments.count):
                _ask(name, host, images[index % len(images)][None], found[name])
    else:
        closed = threading.Event()
        threads = [
            threading.Thread(target=_repeat, args=(name, host, images, arguments.every, closed, found[name]))
            for name, host in targets.items()
        ]
        for thread in threads:
            thread.start()
        sys.stdin.read()
        closed.set()
        for thread in threads:
            thread.join()
    json.dump(found, sys.stdout)
    return 0


def _repeat(
    name: str, host: str, images: Image, every: float, closed: threading.Event, into: dict[str, Any]
) -> None:
    sent = 0
    while not closed.wait(every):
        _ask(name, host, images[sent % len(images)][None], into)
        sent += 1


def _ask(name: str, host: str, image: Image, into: dict[str, Any]) -> None:
    """A connection for each request, so that a pod that was replaced is seen at once."""
    tensor = tritonclient.http.InferInput("image", list(image.shape), "FP32")
    tensor.set_data_from_numpy(image)
    began = time.monotonic()
    try:
        with tritonclient.http.InferenceServerClient(
            f"{host}:{_PORT}", connection_timeout=_TIMEOUT_SECONDS, network_timeout=_TIMEOUT_SECONDS
        ) as client:
            client.infer(name, [tensor])
    except Exception as error:  # every error means that the client has no response
        into["failed"] += 1
        into["error"] = str(error)[:300]
    else:
        into["seconds"].append(time.monotonic() - began)


if __name__ == "__main__":
    sys.exit(main())
