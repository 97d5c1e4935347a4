"""Sends queries to the Prometheus on the cloud side.

The file is also the program that runs in the network there, with the standard library only: it reads queries
as JSON on its input, and writes a list of results.
"""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

TIMEOUT_SECONDS = 120


def instant(expression: str) -> dict[str, str]:
    """Returns the query for the newest values of an expression."""
    return {"path": "query", "query": expression}


def over(expression: str, start: float, end: float, step: float) -> dict[str, str]:
    """Returns the query for values over time. start, end: Unix time in seconds; step: seconds."""
    times = {"start": f"{start:.0f}", "end": f"{end:.0f}", "step": f"{step:g}"}
    return {"path": "query_range", "query": expression, **times}


def ask(prefix: Sequence[str], address: str, queries: Sequence[dict[str, str]]) -> list[list[dict[str, Any]]]:
    """Returns the series that each query finds.

    prefix: the argv that runs a program in the network of Prometheus. Raises ValueError with the message of
    Prometheus if one of the queries is wrong.
    """
    argv = [*prefix, sys.executable, "-I", "-S", str(Path(__file__)), address.rstrip("/")]
    done = subprocess.run(
        argv,
        input=json.dumps(list(queries)),
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
        check=True,
    )
    found: list[dict[str, Any]] = json.loads(done.stdout)
    for query, answer in zip(queries, found, strict=True):
        if answer["status"] != "success":
            raise ValueError(f"{query['query']}: {answer['error']}")
    return [answer["data"]["result"] for answer in found]


def _main() -> None:
    address, found = sys.argv[1], []
    for query in json.load(sys.stdin):
        body = urllib.parse.urlencode({k: v for k, v in query.items() if k != "path"}).encode()
        url = f"{address}/api/v1/{query['path']}"
        try:
            with urllib.request.urlopen(url, body, timeout=20) as response:  # noqa: S310 - the testbed's own
                found.append(json.load(response))
        except urllib.error.HTTPError as error:
            found.append(json.load(error))
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    _main()
